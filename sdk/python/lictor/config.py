"""What the operator tells the plugin in `[plugins.NAME.config]`."""

from wit_world.imports import config as _config

from ._values import text as _text


def get(key: str, default: str | None = None) -> str | None:
    """The value of this key, or `default` where there is none."""
    value = _config.get(_text("config.get: the key", key))
    return default if value is None else value


def all() -> dict[str, str]:
    """All keys with their values."""
    return dict(_config.get_all())
