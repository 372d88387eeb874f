"""Time."""

import time as _time


def now() -> int:
    """Milliseconds since 1970, UTC."""
    return _time.time_ns() // 1_000_000


def monotonic() -> float:
    """Milliseconds of a clock that never goes back; only differences mean something."""
    return _time.monotonic_ns() / 1_000_000


def sleep(milliseconds: float) -> None:
    """Waits, as `time.sleep` does. It counts as the command's time."""
    _time.sleep(milliseconds / 1000)
