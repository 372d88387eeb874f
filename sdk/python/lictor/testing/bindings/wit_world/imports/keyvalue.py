"""`wasi:keyvalue` over the stores of a test."""

from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass

from componentize_py_types import Err

from .. import Stopped, current, octets, size
from . import state, types

MOST_CURSORS = 64


@dataclass
class Error_NoSuchStore:
    pass


@dataclass
class Error_AccessDenied:
    pass


@dataclass
class Error_Other:
    value: str


Error = Error_NoSuchStore | Error_AccessDenied | Error_Other


@dataclass
class KeyResponse:
    """Some of a store's keys."""

    keys: list[str]
    cursor: int | None


@contextmanager
def errors():
    """Has failures of the state be errors of this interface."""
    try:
        yield
    except Err as error:
        if isinstance(error.value, types.Failure):
            raise Err(Error_Other(error.value.message)) from None
        raise


class Bucket:
    """An open store."""

    def __init__(self, name: str):
        self.name: str | None = name
        self._count = 0
        self._last: deque[str] = deque(maxlen=MOST_CURSORS)

    def opened(self, carried: int):
        """The world, and the entries of the store."""
        if self.name is None:
            raise Stopped("plugin-trapped", "the bucket was released")
        return state.opened(self.name, carried)

    def get(self, key: str) -> bytes | None:
        with errors():
            world, entries = self.opened(size(key))
            kept = entries.get(state.checked(key))
        world.carry(0 if kept is None else len(kept.value))
        return None if kept is None else kept.value

    def set(self, key: str, value: bytes) -> None:
        with errors():
            world, entries = self.opened(size(key) + len(octets(value)))
            state.write(world, entries, state.checked(key), state.fitting(value), None)

    def delete(self, key: str) -> None:
        with errors():
            self.opened(size(key))[1].pop(state.checked(key), None)

    def exists(self, key: str) -> bool:
        with errors():
            return state.checked(key) in self.opened(size(key))[1]

    def list_keys(self, cursor: int | None) -> KeyResponse:
        age = None if cursor is None else self._count - cursor
        if age is not None and not 0 <= age < len(self._last):
            raise Err(Error_Other("this cursor is not one of this bucket's last"))
        with errors():
            after = None if age is None else self._last[len(self._last) - 1 - age]
            assert self.name is not None
            page = state.list_keys(self.name, "", after, state.MOST_KEYS)
        if not page.more:
            return KeyResponse(page.keys, None)
        self._last.append(page.keys[-1])
        self._count += 1
        return KeyResponse(page.keys, self._count)

    def __enter__(self) -> "Bucket":
        return self

    def __exit__(self, *_: object) -> None:
        self.name = None


def open(identifier: str) -> Bucket:
    world = current()
    world.operation(size(identifier))
    if identifier not in world.stores:
        raise Err(Error_AccessDenied())
    return Bucket(identifier)

