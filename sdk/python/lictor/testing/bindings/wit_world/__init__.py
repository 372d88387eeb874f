"""The bindings in a test: the functions of the host, over what the test gave. In a component, generated bindings are in
this place; the kit does not know which of the two it imports."""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import lictor
from lictor import _values
from lictor._stopped import Stopped

# By what it is called in the words of the host: as a build calls it, by its folder.
PLUGIN = Path(lictor.__file__).resolve().parent.parent.name
MILLISECOND = 1_000_000
# Bytes that a plugin may hand over at once.
MOST_AT_ONCE = (16 << 20) + (64 << 10)
MOST_REPLY = 1 << 20
MOST_OPERATIONS = 10_000
MOST_CARRIED = 64 << 20


class Broken(BaseException):
    """What a test gave for an answer failed itself; why is the cause. No code of a plugin catches that."""


@dataclass
class Call:
    """A call under way: what it has used, and what it has subscribed to."""

    streams: bool
    ends: int
    operations: int = 0
    carried: int = 0
    patterns: list[str] = field(default_factory=list)
    inbox: deque = field(default_factory=deque)
    lost: int = 0


@dataclass
class Kept:
    """An entry of a store; `ends` is by the monotonic clock."""

    value: bytes
    version: int
    ends: int | None


@dataclass
class World:
    """All that the functions of the host look at. Times are in nanoseconds."""

    caller: tuple[str, str] = ("", "")
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    config: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Any] = field(default_factory=dict)
    web: Mapping[str, Callable] = field(default_factory=dict)
    commands: Mapping[str, Callable] = field(default_factory=dict)
    coming: list = field(default_factory=list)
    stores: dict[str, dict[str, Kept]] = field(default_factory=dict)
    stores_fail: Any = None
    version: int = 0
    elapsed: int = 0
    began_at: int = 0
    time_left: int = 0
    random: Random = field(default_factory=Random)
    log: list[str] = field(default_factory=list)
    unended: dict[str, bytes] = field(default_factory=dict)
    published: list = field(default_factory=list)
    streams: list[Call] = field(default_factory=list)
    begun: int = 0
    call: Call | None = None

    def begin(self, streams: bool) -> Call:
        """A new call, which has the whole time."""
        self.begun += 1
        return Call(streams, self.elapsed + self.time_left)

    def go_on(self, call: Call) -> None:
        """What bounds a call begins anew with each part of its reply."""
        call.ends = self.elapsed + self.time_left
        call.operations = call.carried = 0

    def sleep(self, nanoseconds: int) -> None:
        """Has time pass for the command. No test waits for it."""
        ends = self.elapsed + nanoseconds
        if self.call is not None and ends >= self.call.ends:
            self.elapsed = max(self.elapsed, self.call.ends)
            raise Stopped("timeout", "the command did not end in its time")
        self.elapsed = ends

    def operation(self, carried: int) -> None:
        """Counts an operation of the host, which carries so many bytes."""
        if carried > MOST_AT_ONCE:
            raise Stopped("plugin-limit", f"handed the host more than {MOST_AT_ONCE} bytes at once")
        if self.call is not None:
            self.call.operations += 1
            if self.call.operations > MOST_OPERATIONS:
                raise Stopped("plugin-limit", f"asked for more than its {MOST_OPERATIONS} operations of the host")
        self.carry(carried)

    def carry(self, carried: int) -> None:
        """Counts bytes of an operation."""
        if self.call is not None:
            self.call.carried += carried
            if self.call.carried > MOST_CARRIED:
                raise Stopped("plugin-limit", f"moved more than its {MOST_CARRIED} bytes through the host")

    def printed(self, stream: str, data: bytes) -> None:
        """Takes what was printed; a line is logged once it ends."""
        if len(data) > MOST_AT_ONCE:
            raise Stopped("plugin-limit", f"handed the host more than {MOST_AT_ONCE} bytes at once")
        *lines, self.unended[stream] = (self.unended.get(stream, b"") + data).split(b"\n")
        self.log += [line.removesuffix(b"\r").decode(errors="replace") for line in lines]

    def end_line(self, stream: str) -> None:
        """Logs a line that has not ended."""
        if self.unended.get(stream):
            self.printed(stream, b"\n")


_worlds: list[World] = []


def enter(world: World) -> None:
    """Has the functions of the host be over this world, until `leave`."""
    _worlds.append(world)


def leave() -> None:
    """Has them be over the world before."""
    _worlds.pop()


def is_entered() -> bool:
    """Whether there is a world."""
    return bool(_worlds)


def current() -> World:
    """The world of the test that runs."""
    if not _worlds:
        raise RuntimeError("nothing may ask the host but a command that runs, and a test within `with host:`")
    return _worlds[-1]


def _crossing(check: Callable, what: str) -> Callable:
    """The kit's check of a value, for code that calls the bindings by itself: there what can't cross is no exception, it traps."""

    def checked(value: Any, *bounds: int) -> Any:
        try:
            return check(what, value, *bounds)
        except (TypeError, ValueError) as error:
            raise Stopped("plugin-trapped", str(error)) from None

    return checked


text = _crossing(_values.text, "what the host takes here")
whole = _crossing(_values.whole, "what the host takes here")
# A number of 64 bits without a sign.
count = whole


def size(value: Any) -> int:
    """The bytes of a text that can cross to the host."""
    return len(text(value).encode())


def items(value: Any) -> list:
    """The value, which has to be a list."""
    if not isinstance(value, list):
        raise Stopped("plugin-trapped", f"the host takes a list here, not {type(value).__name__}")
    return value


def pairs(value: Any) -> list[tuple[Any, Any]]:
    """The value, which has to be a list of pairs."""
    for pair in items(value):
        if not (isinstance(pair, tuple) and len(pair) == 2):
            raise Stopped("plugin-trapped", f"the host takes a list of tuples of two here, and none of {type(pair).__name__}")
    return value


def octets(value: Any) -> bytes:
    """The value, which has to be bytes."""
    if not isinstance(value, bytes):
        raise Stopped("plugin-trapped", f"the host takes bytes here, not {type(value).__name__}")
    return value
