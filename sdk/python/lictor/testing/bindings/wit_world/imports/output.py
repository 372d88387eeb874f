"""Lines in the server's log."""

from .. import current, octets, text


def print(text_: str) -> None:
    world = current()
    world.end_line("output")
    world.printed("output", text(text_).encode())
    world.end_line("output")


def write(bytes: bytes) -> None:
    current().printed("output", octets(bytes))
