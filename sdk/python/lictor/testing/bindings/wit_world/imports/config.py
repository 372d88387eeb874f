"""What the operator tells the plugin."""

from .. import current, text


def get(key: str) -> str | None:
    return current().config.get(text(key))


def get_all() -> list[tuple[str, str]]:
    return list(current().config.items())
