"""Commands called by a plugin's own tests, which run on the author's machine, without a server: `python3 -m unittest`.

    import unittest

    from lictor.testing import Host

    import plugin  # its commands

    class Greet(unittest.TestCase):
        def test_greets_its_caller(self):
            host = Host(caller="ada", config={"greeting": "good day"})
            self.assertEqual(host.run("greet", "Grace"), b"good day Grace, from ada")
            self.assertEqual(host.take_log(), ["greeting Grace"])

A `Host` has what the functions of the host give a command: the request, the config, stores, files, other commands, a web,
clocks and random numbers. It refuses what the server's host refuses, in the same words.
"""

import asyncio
import contextlib
import io
import random as _random
import sys
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

from componentize_py_types import Err
from wit_world import MILLISECOND, MOST_REPLY, Broken, Call, World, enter, leave
from wit_world.imports import http as _http
from wit_world.imports import types
from wit_world.imports.events import Event

from .. import Commands, Failure, Reply, _bytes_of, _Failing, _printing, _table, _yields
from .._parts import begin, parts
from .._stopped import Stopped
from ..http import Response
from ._closed import command_runs
from ._nature import Nature, loop

__all__ = ["Event", "Failure", "Host", "Response", "Stopped"]

# Headers that the protocol itself reads.
_OF_THE_PROTOCOL = {"sequence", "size", "timeout-ms"}

Answer = Response | str | bytes
Headers = Mapping[str, str] | Iterable[tuple[str, str]]


class Host:
    """What a command finds. It keeps what commands change: what one stores, the next one reads.

    Everything that a test gives is granted, and the store `default`. Nothing else is there: another file or address is
    `denied`, and a command has no files, sockets and processes of Python's library. No test waits: `time.sleep` sets the clocks on, and a command that sleeps longer than it may is stopped.

    All that is given here is an attribute as well, and may be changed between two commands.
    """

    def __init__(
        self,
        *,
        caller: str = "tester",
        headers: Headers = (),
        body: str | bytes = b"",
        time_left_ms: int = 5000,
        config: Mapping[str, str] | None = None,
        files: Mapping[str, str | bytes | Failure | None] | None = None,
        stores: Mapping[str, Mapping[str, str | bytes]] | None = None,
        web: Mapping[str, Answer | Failure | Callable[[_http.Request], Answer]] | None = None,
        commands: Mapping[str, Reply | Failure | Callable[[list[str], bytes], Reply]] | None = None,
        events: Iterable[tuple[str, str | bytes]] = (),
        unix_time: int = 1_767_225_600,
        seed: int = 0,
    ):
        """
        - `caller`, `headers`, `body`: the request.
        - `time_left_ms`: how long a command may take, and a command that streams from one part to the next.
        - `config`: what the operator wrote into `[plugins.NAME.config]`.
        - `files`: granted files by their paths; None is one that is not there now, and a `Failure` one that can't be read.
        - `stores`: stores by their names, with entries that do not expire.
        - `web`: answers by the start of their URLs, as the grant `http` has it. A function gets the request; it may sleep, to
          be slow. A `Failure`, given or raised, is what the plugin gets.
        - `commands`: what other commands reply, by their names. A function gets the arguments, the name first, and the body.
        - `events`: topics and data of events that come to commands which subscribe to them.
        - `unix_time`: the time of day in seconds; 2026-01-01 without it.
        - `seed`: what random numbers follow from.
        """
        self.caller = caller
        self.headers = headers
        self.body = body
        self.time_left_ms = time_left_ms
        self.config = {} if config is None else config
        self.files = {} if files is None else files
        self.web = {} if web is None else web
        self.commands = {} if commands is None else commands
        self.stores_fail: Failure | None = None
        """What each operation on stores fails with, where a test wants that."""
        self._world = World(began_at=unix_time * 1000 * MILLISECOND, random=_random.Random(seed))
        self._world.coming = [Event(topic, _octets(data), 0) for topic, data in events]
        self._calls: list[tuple[Call | None, contextlib.ExitStack]] = []
        self._fill({"default": {}} | dict(stores or {}))

    def _fill(self, stores: Mapping[str, Mapping[str, str | bytes]]) -> None:
        from ..state import Store

        self._world.stores = {name: {} for name in stores}
        with self:
            for name, entries in stores.items():
                for key, value in entries.items():
                    Store(name).set(key, value)

    def run(self, *arguments: str) -> bytes:
        """Runs the command that `arguments` name, the name first, and gives its reply.

        Raises `Failure` where the command fails; one that nobody expected is its cause. Raises `Stopped` where the host would
        end the call: at a limit, or when its time is up.
        """
        with self._under_way(self._begin(streams=False)):
            texts = _texts(arguments)
            entry = _table.get(texts[0])
            if entry is not None and _yields(entry.run):
                raise TypeError(f'{texts[0]} streams its reply: write host.stream("{texts[0]}", …), which gives the parts')
            reply = b""
            failed = None
            try:
                reply = Commands().handle(texts)
            except Err as error:
                failed = error
            # Outside of `except`, or the test would show the bindings' error beside the cause.
            if failed is not None:
                raise _told(failed) from failed.__context__
            if len(reply) > MOST_REPLY:
                raise Stopped("plugin-limit", f"the reply has more than {MOST_REPLY} bytes")
            return reply

    def stream(self, *arguments: str) -> Iterator[bytes]:
        """Runs a command that streams, and gives the parts of its reply as it yields them. It goes on when the next part is
        asked for, as one does whose client does not read.

        Raises what `run` raises, after the parts that came before. `close()` is what a client does that cancels: the command
        is dropped where it stands.
        """
        call = self._begin(streams=True)
        with self._under_way(call):
            coming = parts(*_begun(arguments))
        self._world.streams.append(call)
        own = loop()
        try:
            while True:
                with self._under_way(call):
                    part = _next(own, coming)
                if part is None:
                    return
                yield part
                self._world.go_on(call)
        finally:
            self._world.streams.remove(call)
            # What the command has in a `finally` does not run in the host. Here it finds a host of its own, and changes nothing.
            with Host(), contextlib.suppress(BaseException):
                own.run_until_complete(coming.aclose())
            own.close()

    def advance(self, milliseconds: int) -> None:
        """Sets the clocks on, as if a test had waited: entries expire."""
        self._world.elapsed += milliseconds * MILLISECOND

    def take_log(self) -> list[str]:
        """Takes the lines that were logged: as they were printed, or with their level, `warn: the file is empty`."""
        taken, self._world.log = self._world.log, []
        return taken

    def take_published(self) -> list[Event]:
        """Takes the events that were published."""
        taken, self._world.published = self._world.published, []
        return taken

    def __enter__(self) -> "Host":
        """Has the functions of the kit be over this host: `with host: state.get("key")`."""
        self._enter(self._begin(streams=False))
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def _begin(self, streams: bool) -> Call:
        self._world.time_left = self.time_left_ms * MILLISECOND
        return self._world.begin(streams)

    @contextlib.contextmanager
    def _under_way(self, call: Call) -> Iterator[None]:
        self._enter(call)
        try:
            with command_runs():
                yield
        except Broken as broken:
            raise broken.__cause__ or broken from None
        except SystemExit as error:
            raise Stopped("plugin-trapped", "the command called sys.exit") from error
        finally:
            self._leave()

    def _enter(self, call: Call) -> None:
        world = self._world
        world.caller = (self.caller, "0" * 64)
        world.headers = [(name, value) for name, value in _fields(self.headers) if name.lower() not in _OF_THE_PROTOCOL]
        world.body = _octets(self.body)
        world.config = {key: _config(key, value) for key, value in self.config.items()}
        world.files = {path: _content(content) for path, content in self.files.items()}
        world.web = {url: _answers(answer) for url, answer in self.web.items()}
        world.commands = {name: _replies(reply) for name, reply in self.commands.items()}
        world.stores_fail = self.stores_fail
        nature, printed = Nature(), contextlib.ExitStack()
        enter(world)
        nature.enter(world)
        printed.callback(leave)
        printed.callback(nature.leave)
        for name, redirect in [("stdout", contextlib.redirect_stdout), ("stderr", contextlib.redirect_stderr)]:
            stream = _printing(SimpleNamespace(buffer=_Printed(world, name)))
            printed.enter_context(redirect(stream))
            printed.callback(world.end_line, name)
            printed.callback(stream.flush)
        printed.callback(world.end_line, "output")
        self._calls.append((world.call, printed))
        world.call = call

    def _leave(self) -> None:
        call, printed = self._calls.pop()
        printed.close()
        self._world.call = call


class _Printed(io.RawIOBase):
    """Where a command prints."""

    def __init__(self, world: World, name: str):
        self._world, self._name = world, name

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._world.printed(self._name, bytes(data))
        return len(data)


def _begun(arguments: tuple[str, ...]) -> Any:
    texts = _texts(arguments)
    with _Failing(_fail):
        return begin(texts)


def _next(own: asyncio.AbstractEventLoop, coming: AsyncGenerator[bytes, None]) -> bytes | None:
    with _Failing(_fail), contextlib.suppress(StopAsyncIteration):
        return own.run_until_complete(anext(coming))
    return None


def _fail(failure: types.Failure) -> None:
    """Fails as the client is told it, because of what the command raised."""
    raise Failure(failure.code, failure.message) from sys.exc_info()[1]


def _told(error: Err) -> Failure:
    """The failure as the client is told it."""
    return Failure(error.value.code, error.value.message)


def _texts(arguments: tuple[str, ...]) -> list[str]:
    for argument in arguments:
        if not isinstance(argument, str):
            raise TypeError(f"arguments are texts, as a client sends them, not {type(argument).__name__}")
    if not arguments:
        raise TypeError('name a command: run("greet", "Ada")')
    if not _table:
        raise RuntimeError("there is no command yet: import the plugin's module in the test")
    return list(arguments)


def _octets(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else bytes(data)


def _config(key: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"what an operator writes for {key} comes to the plugin as a text, not as {type(value).__name__}")
    return value


def _fields(headers: Headers) -> list[tuple[str, str]]:
    return list(headers.items() if isinstance(headers, Mapping) else headers)


def _content(content: Any) -> Any:
    """What the bindings have for a file."""
    if isinstance(content, Failure):
        return _wire(content)
    return None if content is None else _octets(content)


def _wire(failure: Failure) -> Err:
    return Err(types.Failure(failure.code, failure.message))


def _answers(answer: Any) -> Callable[[_http.Request], _http.Response]:
    def response(request: _http.Request) -> _http.Response:
        given = _given(answer, request)
        if isinstance(given, Response):
            if not 200 <= given.status <= 999:
                raise Broken from ValueError(f"no answer has the status {given.status}")
            return _http.Response(given.status, _fields(given.headers), _octets(given.body))
        return _http.Response(200, [], _octets(given))

    return response


def _replies(reply: Any) -> Callable[[list[str], bytes], bytes]:
    return lambda arguments, body: _bytes_of(_given(reply, arguments, body))


def _given(answer: Any, *asked: Any) -> Any:
    """The answer, or what its function gives. What that fails with is the plugin's to handle if it is a `Failure`; all else is
    a fault of the test, and ends it."""
    if isinstance(answer, Failure):
        raise _wire(answer)
    if not callable(answer):
        return answer
    try:
        with command_runs(False):
            return answer(*asked)
    except Failure as failure:
        raise _wire(failure) from None
    except Exception as error:
        raise Broken from error
