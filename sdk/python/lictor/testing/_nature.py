"""Clocks and random numbers of Python's library, which in a test are the host's: no test waits, and a seed says what is drawn. Files
are in _closed.py."""

import asyncio
import copyreg
import datetime
import math
import os
import random
import selectors
import sys
import time
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any

from wit_world import World, current, is_entered

from .._parts import noted, tell, tell_left
from .._stopped import Stopped
from ._closed import INSTEAD

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def _unix_ns() -> int:
    world = current()
    return world.began_at + world.elapsed


def _elapsed_ns() -> int:
    return current().elapsed


def _sleep(seconds: float) -> None:
    if seconds in (math.inf, -math.inf):
        raise OverflowError("timestamp out of range for platform time_t")
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    current().sleep(round(seconds * 1_000_000_000))


def _gmtime(seconds: float | None = None) -> time.struct_time:
    return _real_gmtime(_unix_ns() // 1_000_000_000 if seconds is None else seconds)


def _strftime(format: str, moment: Any = None) -> str:
    return _real_strftime(format, _gmtime() if moment is None else moment)


def _now(tz: datetime.tzinfo | None = None) -> datetime.datetime:
    moment = _EPOCH + datetime.timedelta(microseconds=_unix_ns() // 1000)
    return moment.replace(tzinfo=None) if tz is None else moment.astimezone(tz)


class _Same(type):
    """Of a class that stands for its base."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, cls.__mro__[1])

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, cls.__mro__[1])


class _Datetime(datetime.datetime, metaclass=_Same):
    """Makes dates and times as `datetime` does; the time now is the test's, and the zone is that of a plugin: UTC."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return _real_datetime(*args, **kwargs)

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> Any:
        return _now(tz) if is_entered() else _real_datetime.now(tz)

    @classmethod
    def utcnow(cls) -> Any:
        return cls.now(datetime.timezone.utc).replace(tzinfo=None)

    @classmethod
    def today(cls) -> Any:
        return cls.now()


class _Date(datetime.date, metaclass=_Same):
    """Makes dates as `date` does; today is the test's."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return _real_date(*args, **kwargs)

    @classmethod
    def today(cls) -> Any:
        return _Datetime.now().date()


_real_gmtime, _real_strftime, _real_datetime, _real_date = time.gmtime, time.strftime, datetime.datetime, datetime.date
# Pickles have the classes by their names.
for _class, _name in [(_Datetime, "datetime"), (_Date, "date")]:
    _class.__module__, _class.__qualname__ = "datetime", _name


def _within(real: Callable, instead: Callable) -> Callable:
    """`instead` while a command runs: what is imported meanwhile keeps it."""
    return lambda *args, **kwargs: (instead if is_entered() else real)(*args, **kwargs)


# What stands for what while a command runs, whatever name it was imported by.
_INSTEAD: dict[int, tuple[Any, Any]] = {id(real): (real, _within(real, instead)) for real, instead in [
    (time.time, lambda: _unix_ns() / 1_000_000_000),
    (time.time_ns, _unix_ns),
    (time.monotonic, lambda: _elapsed_ns() / 1_000_000_000),
    (time.monotonic_ns, _elapsed_ns),
    (time.perf_counter, lambda: _elapsed_ns() / 1_000_000_000),
    (time.perf_counter_ns, _elapsed_ns),
    (time.sleep, _sleep),
    (time.gmtime, _gmtime),
    (time.localtime, _gmtime),
    (time.strftime, _strftime),
    (os.urandom, lambda count: current().random.randbytes(count)),
]}  # fmt: skip
_INSTEAD |= {id(real): (real, instead) for real, instead in [(_real_datetime, _Datetime), (_real_date, _Date), *INSTEAD]}

# Of each module how many names it has, and which of them are to be replaced.
_found: weakref.WeakKeyDictionary[ModuleType, tuple[int, list[str]]] = weakref.WeakKeyDictionary()


def _names_in(module: ModuleType) -> list[str]:
    names = vars(module)
    count, found = _found.get(module, (0, []))
    if count != len(names):
        found = [name for name, value in list(names.items()) if id(value) in _INSTEAD]
        _found[module] = len(names), found
    return found


class Nature:
    """Puts them in place, and back."""

    def __init__(self) -> None:
        self._replaced: list[tuple[dict[str, Any], str, Any]] = []
        self._state = random.getstate()

    def enter(self, world: World) -> None:
        for module in list(sys.modules.values()):
            if isinstance(module, ModuleType) and module.__name__ != __name__:
                self._replace(vars(module), _names_in(module))
        for real, instead in [(_real_datetime, _Datetime), (_real_date, _Date)]:
            copyreg.pickle(real, lambda moment, instead=instead: (instead, moment.__reduce__()[1]))
        random.seed(world.random.getrandbits(64))

    def _replace(self, names: dict[str, Any], found: list[str]) -> None:
        for name in found:
            real, instead = _INSTEAD.get(id(names.get(name)), (None, None))
            if real is not None:
                names[name] = instead
                self._replaced.append((names, name, real))

    def leave(self) -> None:
        random.setstate(self._state)
        for real in (_real_datetime, _real_date):
            copyreg.dispatch_table.pop(real, None)
        for names, name, real in self._replaced:
            names[name] = real


class _Selector(selectors.DefaultSelector):
    """Nothing comes from elsewhere: a loop that waits has its timers alone to wait for."""

    def select(self, timeout: float | None = None) -> list:
        if timeout is None:
            tell_left()
            raise Stopped("plugin-trapped", "the command waits for what nothing does")
        if timeout > 0:
            current().sleep(round(timeout * 1_000_000_000) + 1)
        return super().select(0)


class _Loop(asyncio.SelectorEventLoop):
    """A loop whose timers go by the host's clock, and that has what a plugin's has."""

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if is_entered():
            tell(context)

    def create_task(self, coro: Any, **options: Any) -> asyncio.Task:
        return noted(super().create_task(coro, **options))

    def _lacks(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    run_in_executor = create_connection = create_datagram_endpoint = create_server = getaddrinfo = getnameinfo = _lacks
    create_unix_connection = create_unix_server = connect_read_pipe = connect_write_pipe = subprocess_exec = subprocess_shell = _lacks
    add_reader = add_writer = add_signal_handler = sock_recv = sock_sendall = sock_connect = sock_accept = _lacks


def loop() -> asyncio.AbstractEventLoop:
    """A new one, for one reply."""
    return _Loop(_Selector())
