"""Clocks and random numbers of Python's library, which in a test are the host's: no test waits, and a seed says what is drawn."""

import asyncio
import datetime
import os
import random
import selectors
import sys
import time
from typing import Any

from wit_world import Stopped, World, current

_real_gmtime, _real_strftime, _real_datetime, _real_date = time.gmtime, time.strftime, datetime.datetime, datetime.date
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def _time_ns() -> int:
    world = current()
    return world.began_at + world.elapsed


def _monotonic_ns() -> int:
    return current().elapsed


def _sleep(seconds: float, /) -> None:
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    current().sleep(round(seconds * 1_000_000_000))


def _gmtime(seconds: float | None = None, /) -> time.struct_time:
    return _real_gmtime(_time_ns() // 1_000_000_000 if seconds is None else seconds)


def _strftime(format: str, moment: Any = None, /) -> str:
    return _real_strftime(format, _gmtime() if moment is None else moment)


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
        moment = _EPOCH + datetime.timedelta(microseconds=_time_ns() // 1000)
        return moment.replace(tzinfo=None) if tz is None else moment.astimezone(tz)

    @classmethod
    def utcnow(cls) -> Any:
        return cls.now()

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


# What stands for what while a command runs, whatever name it was imported by.
_INSTEAD: dict[int, tuple[Any, Any]] = {
    id(real): (real, instead)
    for real, instead in [
        (time.time, lambda: _time_ns() / 1_000_000_000),
        (time.time_ns, _time_ns),
        (time.monotonic, lambda: _monotonic_ns() / 1_000_000_000),
        (time.monotonic_ns, _monotonic_ns),
        (time.perf_counter, lambda: _monotonic_ns() / 1_000_000_000),
        (time.perf_counter_ns, _monotonic_ns),
        (time.sleep, _sleep),
        (time.gmtime, _gmtime),
        (time.localtime, _gmtime),
        (time.strftime, _strftime),
        (datetime.datetime, _Datetime),
        (datetime.date, _Date),
        (os.urandom, lambda count: current().random.randbytes(count)),
    ]
}


class Nature:
    """Puts them in place, and back."""

    def __init__(self) -> None:
        self._replaced: list[tuple[dict[str, Any], str, Any]] = []
        self._state = random.getstate()

    def enter(self, world: World) -> None:
        for module in list(sys.modules.values()):
            names = getattr(module, "__dict__", None)
            if names is None or names.get("__name__") == __name__:
                continue
            for name, value in list(names.items()):
                real, instead = _INSTEAD.get(id(value), (None, None))
                if real is value and instead is not None:
                    names[name] = instead
                    self._replaced.append((names, name, value))
        self._state = random.getstate()
        random.seed(world.random.getrandbits(64))

    def leave(self) -> None:
        random.setstate(self._state)
        for names, name, real in self._replaced:
            names[name] = real
        self._replaced.clear()


class _Selector(selectors.DefaultSelector):
    """Nothing comes from elsewhere: a loop that waits has its timers alone to wait for."""

    def select(self, timeout: float | None = None) -> list:
        if timeout is None:
            raise Stopped("timeout", "the command waits for what nothing in the test does")
        if timeout > 0:
            current().sleep(round(timeout * 1_000_000_000) + 1)
        return super().select(0)


def loop() -> asyncio.AbstractEventLoop:
    """A loop whose timers go by the host's clock."""
    return asyncio.SelectorEventLoop(_Selector())
