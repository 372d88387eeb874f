"""Other commands of the server."""

from collections.abc import Iterable

from wit_world.imports import call as _call

from ._failure import host as _host


@_host
def call(args: Iterable[str], *, body: str | bytes = b"") -> bytes:
    """Runs another command for the client whose request is being handled, with that client's permissions.

    `args` are its name and its arguments. Needs `commands = ["PATTERN"]` in the plugin's grants. What the command fails with
    is raised as `lictor.Failure`.
    """
    return _call.command([str(argument) for argument in args], body.encode() if isinstance(body, str) else bytes(body))
