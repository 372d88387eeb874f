"""Events in the server's log."""

from enum import Enum

from .. import current, text


class Level(Enum):
    """How important an event is."""

    TRACE = 0
    DEBUG = 1
    INFO = 2
    WARN = 3
    ERROR = 4
    CRITICAL = 5


def log(level: Level, context: str, message: str) -> None:
    text(context)
    current().log.append(f"{level.name.lower()}: {text(message)}")
