"""{{name}}: a plugin of Lictor. Its commands are below; the folder lictor is the kit."""

from lictor import Failure, caller, command, config, log


@command("{{name}} [WHO]", "greets somebody", idempotent=True)
def greet(who="world"):
    if len(who) > 40:
        raise Failure("bad-arguments", "WHO has at most 40 characters")

    # The value of `greeting` in [plugins.{{name}}.config] of server.toml, or None.
    greeting = config.get("greeting") or "hello"
    log(f"greeting {who}")  # goes to the server's log
    return f"{greeting} {who}, from {caller().name}"
