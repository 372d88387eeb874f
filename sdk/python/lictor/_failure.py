"""What a command fails with."""

import functools

from componentize_py_types import Err
from wit_world.imports import types


class Failure(Exception):
    """Says no to the client. `code` is bad-arguments, not-found, conflict, denied, unavailable or failed.

    The functions of the kit raise it too, with what the host said. A command that does not catch it passes it on.
    """

    def __init__(self, code: str, message: str):
        super().__init__(message)
        self.code = code
        self.message = message


def host(function):
    """Has a function raise the host's failures as `Failure`."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except Err as error:
            if isinstance(error.value, types.Failure):
                raise Failure(error.value.code, error.value.message) from None
            raise

    return call
