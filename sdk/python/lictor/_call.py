"""Other commands of the server."""

from collections.abc import Iterable

from wit_world.imports import call as _call

from ._failure import host as _host
from ._values import octets, text


def call(args: Iterable[str], *, body: str | bytes = b"") -> bytes:
    """Runs another command for the client whose request is being handled, with that client's permissions.

    `args` are its name and its arguments. Needs `commands = ["PATTERN"]` in the plugin's grants. What the command fails with
    is raised as `lictor.Failure`.
    """
    if isinstance(args, str | bytes):
        raise TypeError(f'call takes a list, the name first: call(["echo", "hi"]), not {args!r}')
    texts = [str(argument) if isinstance(argument, int | float) else text("call: an argument", argument) for argument in args]
    # Its failures are what another command told the client.
    return _host(_call.command, blaming=())(texts, octets("call: the body", body))
