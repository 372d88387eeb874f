"""Replies in parts, as the component sends them and as a test gets them."""

import asyncio
import weakref
from collections.abc import AsyncGenerator, Generator
from typing import Any

from . import Command, Parts, Reply, _bytes_of, _find, _report

_tasks: weakref.WeakSet[asyncio.Task] = weakref.WeakSet()


def noted(task: asyncio.Task) -> asyncio.Task:
    """The task, whose exception is told at the reply's end if nobody asked for it by then."""
    _tasks.add(task)
    return task


def tell(context: dict[str, Any]) -> None:
    """Tells of what a callback raised, or a task or a future that nobody asks any more."""
    if "exception" in context:
        _report(context["exception"])


def tell_left() -> None:
    """Tells of tasks whose exceptions nobody asked for."""
    for task in list(_tasks):
        if task.done() and task._log_traceback:
            _report(task.exception())
    _tasks.clear()


def begin(args: list[str]) -> tuple[Command, Reply | Parts]:
    """Begins the command that `args` names. Of a generator nothing runs yet."""
    entry = _find(args[0], len(args) - 1)
    return entry, entry.run(*args[1:])


async def parts(entry: Command, begun: Reply | Parts) -> AsyncGenerator[bytes, None]:
    """The parts of a reply; one that is whole is one part. Empty ones are left out."""
    try:
        if isinstance(begun, AsyncGenerator):
            async for part in begun:
                if data := _bytes_of(part, entry):
                    yield data
        elif isinstance(begun, Generator):
            for part in begun:
                if data := _bytes_of(part, entry):
                    yield data
        elif data := _bytes_of(begun, entry):
            yield data
    finally:
        tell_left()
