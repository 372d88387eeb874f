"""Single files of the server's machine. Needs `files = ["/path"]` in the plugin's grants."""

from wit_world.imports import files as _files

from ._failure import host as _host
from ._values import text as _text


@_host
def read(path: str) -> bytes:
    """All bytes of a granted file as it is now, at most 1 MiB."""
    return _files.read(_text("files.read: the path", path))


def text(path: str) -> str:
    """The same as text in UTF-8."""
    return read(path).decode()
