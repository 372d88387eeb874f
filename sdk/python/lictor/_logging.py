"""Events in the server's log."""

from typing import Literal

from wit_world.imports import logging as _logging


def log_event(
    level: Literal["trace", "debug", "info", "warn", "error", "critical"], message: str, context: str = ""
) -> None:
    """Logs an event of this severity. Needs `logging = true` in the plugin's grants."""
    _logging.log(_logging.Level[level.upper()], context, message)
