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

    _is_of_host = False

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


# Codes that would blame the client for what the plugin asked of the host.
_BLAMING = ("bad-arguments", "not-found", "denied")


def blames_the_client(error: Exception) -> bool:
    """Whether the host gave this failure, and its code is about what the client sent."""
    match error:
        case Failure(_is_of_host=True, code=code) | Err(value=types.Failure(code=code)):
            return code in _BLAMING
    return False


def host(function, *, is_of_host=True):
    """Has a function raise the host's failures as `Failure`."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except Err as error:
            if isinstance(error.value, types.Failure):
                failure = Failure(error.value.code, error.value.message)
                failure._is_of_host = is_of_host
                raise failure from None
            raise

    return call
