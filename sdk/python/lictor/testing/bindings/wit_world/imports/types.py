"""The values that cross between host and plugin."""

from dataclasses import dataclass

from componentize_py_types import Err


@dataclass
class Caller:
    """The client that sent the request."""

    name: str
    thumbprint: str


@dataclass
class Failure:
    """Why a command was not carried out."""

    code: str
    message: str


@dataclass
class CommandInfo:
    """One command of the plugin."""

    name: str
    summary: str
    usage: str
    idempotent: bool


def fails(code: str, message: str) -> Err:
    """What a function of the host raises."""
    return Err(Failure(code, message))
