"""Replies in parts, as the component sends them and as a test gets them."""

from collections.abc import AsyncGenerator, Generator

from . import Command, Parts, Reply, _bytes_of, _find


def begin(args: list[str]) -> tuple[Command, Reply | Parts]:
    """Begins the command that `args` names. Of a generator nothing runs yet."""
    entry = _find(args[0], len(args) - 1)
    return entry, entry.run(*args[1:])


async def parts(entry: Command, begun: Reply | Parts) -> AsyncGenerator[bytes, None]:
    """The parts of a reply; one that is whole is one part. Empty ones are left out."""
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
