"""Values that can cross to the host. A wrong one is an error with the author's line, where the host's own refusal is a trap."""


def text(what: str, value: object) -> str:
    """The value, which has to be text without surrogates."""
    if not isinstance(value, str):
        raise TypeError(f"{what} has to be a text (str), not {_shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{what} has a surrogate, which no text for the host may have: {value!r}") from None
    return value


def octets(what: str, value: object) -> bytes:
    """The value as bytes; text becomes UTF-8."""
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if not isinstance(value, str):
        raise TypeError(f"{what} has to be text or bytes (str, bytes), not {_shown(value)}")
    return text(what, value).encode()


def whole(what: str, value: object, least: int = 0, most: int = 2**64 - 1) -> int:
    """The value, which has to be a whole number in this range."""
    if not isinstance(value, int):
        raise TypeError(f"{what} has to be a whole number (int), not {_shown(value)}")
    if not least <= value <= most:
        raise ValueError(f"{what} has to be from {least} to {most}, not {value}")
    return value


def optional(check, what: str, value):
    """None, or the value that `check` gives."""
    return None if value is None else check(what, value)


def _shown(value: object) -> str:
    try:
        told = repr(value)
    except Exception:  # Its own `__repr__` may raise.
        told = "one that can't be shown"
    return f"{type(value).__name__}: {told if len(told) <= 60 else f'{told[:60]}…'}"
