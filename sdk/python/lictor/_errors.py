"""Errors in one line of the log: a server logs so many lines a second of a plugin, and a traceback has many."""

import inspect
import traceback
from collections import Counter

# Bytes of a line that the server logs in one piece.
MOST_CHARACTERS = 1900


def shown(value: object) -> str:
    """The value as text that can be handed to the host: without surrogates, whatever its `__str__` does."""
    try:
        text = str(value)
    except Exception as error:
        text = f"<{type(value).__name__} that can't be shown: {type(error).__name__}>"
    return text.encode(errors="backslashreplace").decode()


# What to do about a module that is not found while a command runs.
LATE = "a plugin has the modules that were imported while it was built: write `import {}` at the top of plugin.py"


def in_one_line(error: BaseException, missing: str = LATE) -> str:
    """The error, the places where it was raised, the innermost first, and what caused it; `missing` is what to do about a module
    that is not found."""
    try:
        told = _told(error, missing)
    except Exception:  # Its own `__str__` may raise.
        told = f"uncaught {type(error).__name__}"
    finally:
        # What the frames hold is let go: the error may be that there is no memory left.
        traceback.clear_frames(error.__traceback__)
    return shown(told if len(told) <= MOST_CHARACTERS else f"{told[:MOST_CHARACTERS]}…")


def _told(error: BaseException, missing: str) -> str:
    parts = [f"uncaught {_named(error)}"]
    if isinstance(error, SystemExit):
        parts.append("; sys.exit ends the call as a trap: end a command with return, or with raise Failure(…)")
    if isinstance(error, ModuleNotFoundError) and error.name:
        parts.append(f"; {missing.format(error.name)}")
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if len(seen) > 1:
            parts.append(f"; caused by {_named(error)}")
        parts += _places(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "".join(parts)


def _named(error: BaseException) -> str:
    words = "".join(traceback.TracebackException(type(error), error, None, compact=True).format_exception_only())
    return " ".join(line.strip() for line in words.strip().splitlines())


def _places(error: BaseException) -> list[str]:
    """Each place once, also those of a recursion, or its caller would not be seen."""
    others = (_places.__code__.co_filename.removesuffix("_errors.py"), "<frozen importlib", "/python/importlib/")
    frames = [frame for frame in reversed(traceback.extract_tb(error.__traceback__)) if not frame.filename.startswith(others)]
    counts = Counter(_place(frame) for frame in frames)
    return [
        f"{', in' if at else ' at'} {place}{f' {count} times' if count > 1 else ''}" for at, (place, count) in enumerate(counts.items())
    ]


def _place(frame: traceback.FrameSummary) -> str:
    return f"{_short(frame.filename)}:{frame.lineno} {frame.name}{f' (`{frame.line}`)' if frame.line else ''}"


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
