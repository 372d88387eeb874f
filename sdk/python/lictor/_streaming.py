"""What a plugin exports whose replies come in parts."""

import asyncio
import contextvars
import heapq
import itertools
import time
from collections.abc import AsyncIterator

import componentize_py_async_support
import wit_world.exports
from wit_world.imports import reply, types

from . import _Failing, _flush, _raise, _table
from ._parts import begin, noted, parts, tell, tell_left

# The host takes up a part in pieces of this size, as the client reads.
_PIECE_BYTES = 64 << 10


class StreamingCommands(wit_world.exports.StreamingCommands):
    """What the plugin exports."""

    def describe(self) -> list[types.CommandInfo]:
        return [entry.info for entry in _table.values()]

    async def handle(self, args: list[str]):
        with _Failing(_raise):
            begun = begin(args)
        writer, reader = wit_world.byte_stream()
        componentize_py_async_support.spawn(_send(parts(*begun), writer))
        return reader


async def _send(reply_in_parts: AsyncIterator[bytes], writer) -> None:
    with writer, _Failing(reply.fail):
        async for part in reply_in_parts:
            # What was printed before a part is logged before it, however long the part waits.
            _flush()
            await _write(part, writer)


async def _write(part: bytes, writer) -> None:
    view = memoryview(part)
    for at in range(0, len(part), _PIECE_BYTES):
        await writer.write_all(bytes(view[at : at + _PIECE_BYTES]))


class _Loop(type(componentize_py_async_support._loop)):
    """The loop of componentize-py, where an exception that nobody handles would be silent, or a trap, and with timers: there
    `asyncio.sleep` and its like are not implemented.

    The host has no clock that an instance could wait for beside its streams. So the loop waits once nothing else can go on, and
    while a part waits for the client no timer comes.
    """

    _timers: list[tuple[float, int, asyncio.TimerHandle]] = []
    _numbers = itertools.count()

    def call_exception_handler(self, context):
        tell(context)

    def create_task(self, coroutine, **options):
        return noted(super().create_task(coroutine, **options))

    def call_soon(self, callback, *args, context=None):
        return super().call_soon(callback, *args, context=context or contextvars.copy_context())

    def time(self):
        return time.monotonic()

    def call_at(self, when, callback, *args, context=None):
        handle = asyncio.TimerHandle(when, callback, args, self, context or contextvars.copy_context())
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def call_later(self, delay, callback, *args, context=None):
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def _timer_handle_cancelled(self, handle):
        pass

    def poll(self, future_state):
        super().poll(future_state)
        # What tasks wait for behind the reply's end is nobody's concern.
        while self._timers and future_state.pending_count > 0:
            when, _, handle = self._timers[0]
            if future_state.futures and when > self.time():
                break
            heapq.heappop(self._timers)
            if not handle.cancelled():
                time.sleep(max(0, when - self.time()))
                future_state.handles.append(handle)
                super().poll(future_state)
        if future_state.pending_count > 0 and not future_state.futures:
            tell_left()
            raise RuntimeError("the command waits for what nothing does")


componentize_py_async_support._loop.__class__ = _Loop
