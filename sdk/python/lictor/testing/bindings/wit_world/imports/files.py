"""Single files of the server's machine."""

from .. import current, size
from .types import fails

MOST_BYTES = 1 << 20


def read(path: str) -> bytes:
    world = current()
    world.operation(size(path))
    if path not in world.files:
        raise fails("denied", "this file is not granted to the plugin")
    content = world.files[path]
    if isinstance(content, Exception):
        raise content
    if content is None:
        raise fails("not-found", "there is no such file now")
    if len(content) > MOST_BYTES:
        raise fails("failed", "the file is larger than 1 MiB")
    world.carry(len(content))
    return content
