"""Random bytes that are fit for secrets. The standard library's `random` and `secrets` work as well."""

import os as _os


def bytes(count: int):
    """So many random bytes."""
    return _os.urandom(count)
