"""Replies in parts, as the component sends them and as a test gets them."""

from collections.abc import AsyncGenerator, Generator

from . import Parts, Reply, _bytes_of, _find


def begin(args: list[str]) -> Reply | Parts:
    """Begins the command that `args` names. Of a generator nothing runs yet."""
    return _find(args[0], len(args) - 1).run(*args[1:])


async def parts(begun: Reply | Parts) -> AsyncGenerator[bytes, None]:
    """The parts of a reply; one that is whole is one part. Empty ones are left out."""
    if isinstance(begun, AsyncGenerator):
        async for part in begun:
            if data := _bytes_of(part):
                yield data
    elif isinstance(begun, Generator):
        for part in begun:
            if data := _bytes_of(part):
                yield data
    elif data := _bytes_of(begun):
        yield data
