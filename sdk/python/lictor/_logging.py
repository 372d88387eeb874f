"""Events in the server's log."""

from typing import Literal

from wit_world.imports import logging as _logging

from ._values import text


def log_event(
    level: Literal["trace", "debug", "info", "warn", "error", "critical"], message: str, context: str = ""
) -> None:
    """Logs an event of this severity. Needs `logging = true` in the plugin's grants."""
    levels = {known.name.lower(): known for known in _logging.Level}
    if level not in levels:
        raise ValueError(f"log_event: the level has to be one of {', '.join(levels)}, not {level!r}")
    _logging.log(levels[level], text("log_event: the context", context), text("log_event: the message", message))
