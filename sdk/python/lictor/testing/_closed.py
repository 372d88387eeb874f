"""Files, sockets and processes of the author's machine, which a command does not find in a test, as it does not in a component."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from .._sockets import NONE

# Of Python's library and of tools for tests: these read what a component has in memory, or is none of the command's.
_OPEN_TO = {"importlib", "_frozen_importlib", "_frozen_importlib_external", "zipimport", "pkgutil", "linecache", "tokenize"}
_TOOLS = {"lictor", "_pytest", "coverage"}
_LIBRARY = os.path.dirname(os.__file__) + os.sep

_FILES = {
    "open", "os.chmod", "os.chown", "os.link", "os.listdir", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.scandir", "os.symlink",
    "os.truncate", "os.utime",
}  # fmt: skip
_PROCESSES = {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn", "subprocess.Popen"}
_SOCKETS = {
    "socket.__new__", "socket.getaddrinfo", "socket.gethostbyaddr", "socket.gethostbyname", "socket.getnameinfo", "socket.getservbyname",
    "socket.getservbyport",
}  # fmt: skip

# Whether it is a command that runs, or what a test gave it; the innermost last.
_runs = [False]


@contextlib.contextmanager
def command_runs(is_so: bool = True) -> Iterator[None]:
    _runs.append(is_so)
    try:
        yield
    finally:
        _runs.pop()


def _is_commands(frame: FrameType | None) -> bool:
    """Whether the plugin's code is what asks, by itself or by Python's library."""
    while frame is not None:
        top = frame.f_globals.get("__name__", "").partition(".")[0]
        if top in _OPEN_TO or top in _TOOLS:
            return False
        name = frame.f_code.co_filename
        if "-packages" + os.sep in name or not name.startswith((_LIBRARY, "<frozen ")):
            return True
        frame = frame.f_back
    return False


def _no_file(path: object) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, "plugins get no file system: use lictor.files", path)


def _hook(event: str, given: tuple[Any, ...]) -> None:
    if not _runs[-1]:
        return
    if event in _SOCKETS:
        raise OSError(NONE)
    if event in _PROCESSES:
        raise OSError(errno.ENOTSUP, "plugins get no processes")
    # What has a number is open already.
    if event in _FILES and not isinstance(given[0], int) and _is_commands(sys._getframe(1)):
        raise _no_file(given[0])


sys.addaudithook(_hook)


def _looking(real: Any) -> Any:
    def look(path: Any, *args: Any, **kwargs: Any) -> Any:
        if _runs[-1] and not isinstance(path, int) and _is_commands(sys._getframe(1)):
            raise _no_file(path)
        return real(path, *args, **kwargs)

    return look


# No hook hears of these, by which `os.path` and `pathlib` ask what is there.
INSTEAD = [(real, _looking(real)) for real in (os.stat, os.lstat, os.readlink)]
