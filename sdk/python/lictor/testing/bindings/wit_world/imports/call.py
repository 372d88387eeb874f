"""Other commands of the server."""

from .. import MOST_REPLY, current, octets, size, text
from .types import fails


def command(args: list[str], body: bytes) -> bytes:
    world = current()
    args = [text(argument) for argument in args]
    world.operation(sum(map(size, args)) + len(octets(body)))
    name = args[0] if args else ""
    if name not in world.commands:
        raise fails("forbidden", f"The plugin of this test may not run {name}")
    call, world.call = world.call, None
    try:
        reply = world.commands[name](args, body)
    finally:
        world.call = call
    if len(reply) > MOST_REPLY:
        raise fails("plugin-limit", f"The command {name} was stopped at a limit")
    world.carry(len(reply))
    return reply
