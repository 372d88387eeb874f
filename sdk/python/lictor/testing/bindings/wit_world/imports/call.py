"""Other commands of the server."""

from componentize_py_types import Err

from .. import MOST_REPLY, PLUGIN, current, items, octets, size, text
from .types import Failure, fails

MOST_HEAD_BYTES = 8192
MOST_ARGUMENTS = 1024
# What a command's client is told; a plugin's failure of another code is `plugin-failed` to it.
CODES = {
    "bad-request", "too-large", "unknown-command", "forbidden", "bad-arguments", "not-found", "conflict", "denied", "timeout",
    "cancelled", "busy", "rate-limited", "plugin-failed", "plugin-trapped", "plugin-limit", "reply-unframeable", "unavailable",
    "shutting-down", "internal",
}  # fmt: skip


def command(args: list[str], body: bytes) -> bytes:
    world = current()
    args = [text(argument) for argument in items(args)]
    sizes = [size(argument) for argument in args]
    world.operation(sum(sizes) + len(octets(body)))
    name = args[0] if args else ""
    if name not in world.commands:
        raise fails("forbidden", f"The plugin {PLUGIN} may not run {name if len(name) <= 64 else f'{name[:64]}…'}")
    if name == "":
        raise fails("bad-arguments", "a command needs a name")
    if sum(sizes) + len(sizes) > MOST_HEAD_BYTES:
        raise fails("bad-arguments", "the arguments are longer than 8192 bytes; send large data as the body")
    if len(args) > MOST_ARGUMENTS:
        raise fails("bad-arguments", "there are more than 1024 arguments; send many as the body")
    call, world.call = world.call, None
    try:
        reply = world.commands[name](args, body)
    except Err as error:
        if isinstance(error.value, Failure) and error.value.code not in CODES:
            raise fails("plugin-failed", error.value.message) from None
        raise
    finally:
        world.call = call
    if len(reply) > MOST_REPLY:
        raise fails("plugin-limit", f"Plugin {name} returned more than its {MOST_REPLY} bytes")
    world.carry(len(reply))
    return reply
