"""The request being handled."""

from .. import MILLISECOND, current, text
from .types import Caller


def caller() -> Caller:
    return Caller(*current().caller)


def id() -> str:
    return f"c0-{current().begun}"


def header(name: str) -> str | None:
    wanted = text(name).lower()
    return next((value for known, value in current().headers if known.lower() == wanted), None)


def headers() -> list[tuple[str, str]]:
    return list(current().headers)


def body() -> bytes:
    return current().body


def time_left_ms() -> int:
    world = current()
    return 0 if world.call is None else (world.call.ends - world.elapsed) // MILLISECOND
