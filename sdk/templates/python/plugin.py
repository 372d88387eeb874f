"""{{name}}: a plugin of Lictor. Its commands are below; lictor.py is the kit that it is made with."""

from wit_world.imports import config

from lictor import Commands  # noqa: F401 (what the plugin exports: the table that `command` fills)
from lictor import Failure, caller, command, log


@command("{{name}} [WHO]", "greets somebody", idempotent=True)
def greet(who="world"):
    if len(who) > 40:
        raise Failure("bad-arguments", "WHO has at most 40 characters")

    # The value of `greeting` in [plugins.{{name}}.config] of server.toml, or None.
    greeting = config.get("greeting") or "hello"
    log(f"greeting {who}")  # goes to the server's log
    return f"{greeting} {who}, from {caller().name}"
