"""Errors in one line of the log: a server logs so many lines a second of a plugin, and a traceback has many."""

import inspect
import sys
import traceback
from collections import Counter

from ._failure import Failure
from ._sockets import NONE

# Of a line, which the server cuts at 2048 bytes; and of what an error says in it, which leaves room for its places.
MOST_BYTES = 1900
MOST_WORDS_BYTES = 700
MOST_SOURCE_BYTES = 120

# Names in the folders from which the build imported: of modules, and some others. None in a test.
at_hand: frozenset[str] = frozenset()

# Of Python's library, but not to be imported in a plugin, for want of the code in C that they need.
ABSENT = {"bz2", "ctypes", "curses", "idlelib", "lzma", "pty", "ssl", "tkinter", "tty", "turtle", "turtledemo"}


def shown(value: object) -> str:
    """The value as text that can be handed to the host: without surrogates, whatever its `__str__` does."""
    try:
        text = str(value)
    except Exception as error:
        text = f"<{type(value).__name__} that can't be shown: {type(error).__name__}>"
    return text.encode(errors="backslashreplace").decode()


def cut(text: str, most: int) -> str:
    """The text, which can be handed to the host, in at most so many bytes."""
    data = text.encode(errors="backslashreplace")
    return data.decode() if len(data) <= most else f"{data[:most].decode(errors='ignore')}…"


def in_one_line(error: BaseException) -> str:
    """The error, the places where it was raised, the innermost first, what caused it, and what to do about it."""
    try:
        told = _told(error)
    except Exception:  # Its own `__str__` may raise.
        told = f"uncaught {type(error).__name__}"
    finally:
        # What the frames hold is let go: the error may be that there is no memory left.
        traceback.clear_frames(error.__traceback__)
    return cut(told, MOST_BYTES)


def _told(error: BaseException) -> str:
    parts = [f"uncaught {_named(error)}"]
    advice = _advice(error)
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if len(seen) > 1:
            parts.append(f"; caused by {_named(error)}")
        parts += _places(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "".join([*parts, f"; {advice}" if advice else ""])


def _advice(error: BaseException) -> str | None:
    if isinstance(error, SystemExit):
        return "sys.exit ends the call as a trap: end a command with return, or with raise Failure(…)"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return _about_module(error.name)
    if isinstance(error, OSError) and "unknown url type: https" in shown(error):
        return NONE  # There is no `ssl`.
    return None


def _about_module(name: str) -> str:
    top = name.partition(".")[0]
    if top in ABSENT or (top in sys.stdlib_module_names and top not in at_hand):
        return f"{top} is a part of Python that plugins don't have"
    if top in at_hand:
        return f"a plugin has the modules that were imported while it was built: write `import {name}` at the top of plugin.py"
    return f"no module is called {top}: write it as it is spelt, or the package that has it into requirements.txt"


def _named(error: BaseException) -> str:
    if isinstance(error, Failure):
        words = f"Failure: {error.message} (code {error.code})"
    else:
        words = "".join(traceback.TracebackException(type(error), error, None, compact=True).format_exception_only())
    return cut(" ".join(line.strip() for line in words.strip().splitlines()), MOST_WORDS_BYTES)


def _places(error: BaseException) -> list[str]:
    """Each place once, also those of a recursion, or its caller would not be seen."""
    others = (_places.__code__.co_filename.removesuffix("_errors.py"), "<frozen importlib", "/python/importlib/")
    frames = [frame for frame in reversed(traceback.extract_tb(error.__traceback__)) if not frame.filename.startswith(others)]
    counts = Counter(_place(frame) for frame in frames)
    return [
        f"{', in' if at else ' at'} {place}{f' {count} times' if count > 1 else ''}" for at, (place, count) in enumerate(counts.items())
    ]


def _place(frame: traceback.FrameSummary) -> str:
    return f"{_short(frame.filename)}:{frame.lineno} {frame.name}{f' (`{cut(frame.line, MOST_SOURCE_BYTES)}`)' if frame.line else ''}"


def place_of(function) -> str:
    """The place of a function in the author's code."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{_short(code.co_filename)}:{code.co_firstlineno} {code.co_name}" if code else repr(function)


def _short(filename: str) -> str:
    """Without the folder from which the build read it."""
    for start in ("/0/", "/1/", "/2/", "/python/", "/bundled/"):
        if filename.startswith(start):
            return filename[len(start) :]
    return filename
