"""Errors in one line of the log: a server logs so many lines a second of a plugin, and a traceback has many."""

import traceback

# Bytes of a line that the server logs in one piece.
MOST_CHARACTERS = 1900


def shown(value: object) -> str:
    """The value as text that can be handed to the host: without surrogates, whatever its `__str__` does."""
    try:
        text = str(value)
    except Exception as error:
        text = f"<{type(value).__name__} that can't be shown: {type(error).__name__}>"
    return text.encode(errors="backslashreplace").decode()


def in_one_line(error: BaseException) -> str:
    """The error, the places where it was raised, the innermost first, and what caused it."""
    try:
        told = _told(error)
    except Exception:  # Its own `__str__` may raise.
        told = f"uncaught {type(error).__name__}"
    finally:
        # What the frames hold is let go: the error may be that there is no memory left.
        traceback.clear_frames(error.__traceback__)
    return shown(told if len(told) <= MOST_CHARACTERS else f"{told[:MOST_CHARACTERS]}…")


def _told(error: BaseException) -> str:
    parts = [f"uncaught {_named(error)}"]
    if isinstance(error, ModuleNotFoundError) and error.name:
        parts.append(
            f"; a plugin has the modules that were imported while it was built: write `import {error.name}` at the top of plugin.py"
        )
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
    frames = traceback.extract_tb(error.__traceback__)
    kit = tuple(f"/lictor/{name}.py" for name in ("__init__", "_bundle", "_parts", "_streaming"))
    places = [frame for frame in reversed(frames) if not frame.filename.endswith(kit)]
    return [f"{', in' if at else ' at'} {_short(frame.filename)}:{frame.lineno} {frame.name}{_code(frame)}" for at, frame in enumerate(places)]


def _code(frame: traceback.FrameSummary) -> str:
    return f" (`{frame.line}`)" if frame.line else ""


def _short(filename: str) -> str:
    """Without the folder from which the build read it."""
    for start in ("/0/", "/1/", "/2/", "/python/", "/bundled/"):
        if filename.startswith(start):
            return filename[len(start) :]
    return filename
