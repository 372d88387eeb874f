"""The kit of a plugin in Python: a table of commands over what `lictor:plugin` imports and exports.

    from lictor import command

    @command("greet [WHO]", "greets somebody", idempotent=True)
    def greet(who="world"):
        return f"hello {who}"

Beside what stands here there are `config`, `state`, `files`, `events`, `http`, `clock` and `random`, each a module of its own
(`from lictor import http`), and the functions `call` and `log_event`; `stream` is for replies in parts. Tests are
written with `lictor.testing`. An interface of the host is a part of the plugin
only where the plugin names it in one of these ways, so that nothing has to be granted that it does not use.

This module and the plugin's are imported once while the plugin is built, and are frozen then: nothing may ask the host
at top level.
"""

import importlib
import inspect
import io
import math
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if sys.platform != "wasi":
    # A test, on the author's machine: the host is the one of `lictor.testing`, and packages are those of the last build.
    sys.path.insert(0, __file__.removesuffix("__init__.py") + "testing/bindings")
    sys.path.append(__file__.removesuffix("lictor/__init__.py") + "build/packages")

from componentize_py_types import Err
from wit_world.imports import output, request, types

from . import _sockets
from ._errors import in_one_line, place_of, shown
from ._failure import Failure, blames_the_client, is_of_host
from ._values import text as _text

if TYPE_CHECKING:
    from . import clock, config, events, files, http, random, state
    from ._call import call
    from ._logging import log_event

__all__ = [
    "Commands", "Failure", "body", "call", "caller", "clock", "command", "config", "events", "files", "header", "headers",
    "http", "log", "log_event", "random", "request_id", "state", "stream", "text", "time_left",
]

Reply = str | int | float | bytes | bytearray | memoryview | None
Parts = Iterator[Reply] | AsyncIterator[Reply]


@dataclass
class Command:
    """An entry of the table."""

    info: types.CommandInfo
    least: int
    most: float
    run: Callable[..., Reply | Parts]


_table: dict[str, Command] = {}


def command(usage: str, summary: str, *, idempotent: bool = False):
    """Makes a function a command.

    `usage` begins with its name and says how many arguments it takes: `[X]` may be left out, and what ends with `...`
    may be repeated. The function gets them as texts, and returns the reply: a text, a number, bytes, or None.
    """
    def add(run: Callable[..., Reply]) -> Callable[..., Reply]:
        if _yields(run):
            raise TypeError(f"{run.__name__} yields its reply in parts: write @stream in place of @command")
        if inspect.iscoroutinefunction(run):
            raise TypeError(f"{run.__name__} is async: a command replies with what its function returns, so write def")
        _enter(run, usage, summary, idempotent)
        return run

    return add


def stream(usage: str, summary: str, *, idempotent: bool = False):
    """Makes a generator function a command whose reply comes in parts: each value that it yields is one.

        @stream("count TO", "counts, a number each second")
        def count(to):
            for number in range(1, int(to) + 1):
                yield f"{number}\\n"
                time.sleep(1)

    A part is sent as it is yielded, and `yield` waits while the client does not read. When the function ends, the reply
    ends; what it raises ends the reply as a failure, whatever was yielded before. When the client cancels or goes away, the
    plugin is dropped at the `yield` or the call of the host where it stands: no `finally` runs.

    Where a plugin has one such command, the replies of all of its commands stream.
    """

    def add(run: Callable[..., Parts]) -> Callable[..., Parts]:
        if not _yields(run):
            raise TypeError(f"{run.__name__} has no yield: a command that streams yields the parts of its reply")
        _enter(run, usage, summary, idempotent)
        return run

    return add


def _yields(run: Callable[..., Reply | Parts]) -> bool:
    return inspect.isgeneratorfunction(run) or inspect.isasyncgenfunction(run)


def _enter(run: Callable[..., Reply | Parts], usage: str, summary: str, idempotent: bool) -> None:
    name, *parameters = usage.split(" ")
    least = sum(not parameter.startswith("[") for parameter in parameters)
    most = math.inf if usage.endswith("...") else len(parameters)
    if name in _table:
        raise ValueError(f"two functions are the command {name}: {place_of(_table[name].run)} and {place_of(run)}")
    signature = inspect.signature(run)
    for count in (least, len(signature.parameters) + len(parameters) if most == math.inf else most):
        try:
            signature.bind(*range(count))
        except TypeError as error:
            raise TypeError(
                f'"{usage}" may give {count} arguments, which {place_of(run)} can\'t take: {error}; write a parameter for each'
                " argument, with a default for each [ARGUMENT], and *rest for ARGUMENT..."
            ) from None
    _table[name] = Command(types.CommandInfo(name, summary, usage, idempotent), least, most, run)


class Commands:
    """What the plugin exports."""

    def describe(self) -> list[types.CommandInfo]:
        return [entry.info for entry in _table.values()]

    def handle(self, args: list[str]) -> bytes:
        with _Failing(_raise):
            entry = _find(args[0], len(args) - 1)
            return _bytes_of(entry.run(*args[1:]), entry)


def caller() -> types.Caller:
    """Who sent the request: its `name` and `thumbprint`."""
    return request.caller()


def request_id() -> str:
    """The id of the request, which stands in the log beside all that it does."""
    return request.id()


def header(name: str) -> str | None:
    """The first header of this name."""
    return request.header(_text("header: the name", name))


def headers() -> list[tuple[str, str]]:
    """All headers, as pairs of name and value."""
    return request.headers()


def body() -> bytes:
    """The body of the request."""
    return request.body()


def text() -> str:
    """The body of the request, which has to be text in UTF-8."""
    try:
        return request.body().decode()
    except UnicodeDecodeError:
        raise Failure("bad-arguments", "the body is no text in UTF-8") from None


def time_left() -> int:
    """Milliseconds until the host stops this call."""
    return request.time_left_ms()


# What crosses at once. The host takes 16 MiB; of a call it logs 64 KiB and counts the rest.
_PIECE_BYTES = 1 << 20


def log(*values: object) -> None:
    """Logs values as `print` would show them, and never fails. What `print` prints is logged too, as of standard output."""
    data = " ".join(map(shown, values)).encode()
    for at in range(0, len(data), _PIECE_BYTES):
        output.write(data[at : at + _PIECE_BYTES])
    output.print("")


def _flush() -> None:
    """What is printed is kept until its line ends, and would be printed for the next request."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # the plugin has put something else there, or closed it


def _find(name: str, count: int) -> Command:
    entry = _table.get(name)
    if entry is None:
        raise Failure("not-found", f"this plugin has no command {name}")
    if not entry.least <= count <= entry.most:
        raise Failure("bad-arguments", f"usage: {entry.info.usage}")
    return entry


def _bytes_of(reply: Reply, entry: Command | None = None) -> bytes:
    """The reply, or a part of one, of this command, or of another one that a test plays."""
    match reply:
        case None:
            return b""
        case bytes() | bytearray() | memoryview():
            return bytes(reply)
        case str() | int() | float():
            # A surrogate, which no text may have, is shown as one that is missing.
            return str(reply).encode(errors="replace")
        case _:
            gave = f"the command {entry.info.name}, {place_of(entry.run)}, gave" if entry else "got"
            raise TypeError(
                f"a reply is str, int, float, bytes or None; {gave} a value of the type {type(reply).__name__}"
                " (json.dumps makes text of what JSON has)"
            )


def _failure_of(error: Exception) -> types.Failure:
    """What the client is told.

    A failure that the host's interfaces gave goes to the log with its place, since the author did not write it, and is passed on
    unless that would blame the client. What nobody expected goes to the log too, and the client only hears that it happened.
    """
    match error:
        case _ if blames_the_client(error):
            pass
        case Failure():
            if is_of_host(error):
                _report(error)
            return types.Failure(shown(error.code), shown(error.message))
        case Err(value=types.Failure()):
            _report(error)
            return error.value
    _report(error)
    return types.Failure("failed", "the plugin met an error that it did not expect")


class _Failing:
    """Gives `fail` what the client is told of what a command raises. Logs what was printed, however the command ends."""

    def __init__(self, fail: Callable[[types.Failure], None]):
        self._fail = fail

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> bool:
        try:
            if isinstance(error, Exception):
                self._fail(_failure_of(error))
                return True
            if isinstance(error, SystemExit):
                _report(error)
            return False
        finally:
            _flush()


def _raise(failure: types.Failure) -> None:
    raise Err(failure) from None


def _report(error: BaseException) -> None:
    """Logs what nobody caught: as an error where the plugin's code has `log_event`, and else as a line like those of `log`."""
    told = in_one_line(error)
    _flush()
    logging = sys.modules.get(f"{__name__}._logging")
    if logging is None:
        log(told)
    else:
        logging.log_event("error", told)


def __getattr__(name: str):
    """Modules and functions over interfaces that not every plugin imports."""
    match name:
        case "clock" | "config" | "events" | "files" | "http" | "random" | "state":
            return importlib.import_module(f"{__name__}.{name}")
        case "call":
            return importlib.import_module(f"{__name__}._call").call
        case "log_event":
            return importlib.import_module(f"{__name__}._logging").log_event
    raise AttributeError(f"module {__name__} has no {name}")


def _printing(stream) -> io.TextIOWrapper:
    """The same stream, printed line by line so that what was printed before a trap is in the log.

    As it is, nothing buffers it, and of what is more than 64 KiB the rest would be lost. And nothing that is printed fails.
    """
    buffer = io.BufferedWriter(stream.buffer)
    return io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace", line_buffering=True)


if sys.platform == "wasi":
    _sockets.take_away()
    # Those that are replaced stay as `sys.__stdout__` and `sys.__stderr__`; without that they would be closed.
    sys.stdout, sys.stderr = _printing(sys.stdout), _printing(sys.stderr)
