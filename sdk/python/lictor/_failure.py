"""What a command fails with."""

import functools

from componentize_py_types import Err
from wit_world.imports import types


class Failure(Exception):
    """Says no to the client. `code` is bad-arguments, not-found, conflict, denied, unavailable or failed.

    The functions of the kit raise it too, with what the host said. Where a command does not catch that, the client is told the
    code and the message only if these do not blame it for what the plugin asked of the host: `bad-arguments`, `not-found` and
    `denied` become `failed`, and the log has the message. To tell the client as it is, raise a new `Failure` with both.
    """

    # Of one that the author did not write: the codes that would blame the client.
    _blaming: tuple[str, ...] | None = None

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


# Codes that would blame the client for what the plugin asked of the host.
_BLAMING = ("bad-arguments", "not-found", "denied")


def blames_the_client(error: Exception) -> bool:
    """Whether the host gave this failure, and its code is about what the client sent."""
    match error:
        case Failure(_blaming=tuple() as blaming, code=code):
            return code in blaming
        case Err(value=types.Failure(code=code)):
            return code in _BLAMING
    return False


def is_of_host(failure: Failure) -> bool:
    """Whether the author did not write it: it goes to the log with its place where nobody catches it."""
    return failure._blaming is not None


def of_host(code: str, message: str, blaming: tuple[str, ...] = _BLAMING) -> Failure:
    failure = Failure(code, message)
    failure._blaming = blaming
    return failure


def host(function, *, blaming: tuple[str, ...] = _BLAMING):
    """Has a function raise the host's failures as `Failure`."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except Err as error:
            if isinstance(error.value, types.Failure):
                raise of_host(error.value.code, error.value.message, blaming) from None
            raise

    return call
