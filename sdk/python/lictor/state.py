"""Key-value state. Needs `keyvalue = ["default"]` in the plugin's grants.

The functions here are those of the store `default`; `Store("name")` is another one. Keys are texts of 1 to 256 bytes, values
at most 1 MiB. What the host refuses is raised as `lictor.Failure`, which has the `code` (such as `conflict`) and the `message`.
"""

from collections.abc import Iterator

from wit_world.imports import state as _state
from wit_world.imports.state import Entry, Page

from ._failure import host as _host
from ._values import octets, optional, text, whole

__all__ = ["Entry", "Page", "Store", "compare_and_delete", "compare_and_set", "delete", "get", "increment", "keys", "list_keys", "set", "touch"]

_EXPECTED = "state: the expected version"


class Store:
    """A store, by the name that the grants have for it."""

    def __init__(self, name: str = "default"):
        self._name = text("Store: the name", name)

    @_host
    def get(self, key: str) -> Entry | None:
        """The entry of `key`: its `value`, its `version`, and `expires_in_ms` where it expires."""
        return _state.get(self._name, _key(key))

    @_host
    def set(self, key: str, value: str | bytes, *, ttl_ms: int | None = None) -> int:
        """Writes an entry, whatever was there, and gives its version. Without `ttl_ms` it does not expire."""
        return _state.set(self._name, _key(key), octets("state: the value", value), _time(ttl_ms))

    @_host
    def delete(self, key: str) -> bool:
        """Takes an entry away; whether it was there."""
        return _state.delete(self._name, _key(key))

    @_host
    def increment(self, key: str, delta: int = 1) -> int:
        """Adds to an entry that is a decimal number, and gives the sum; a missing one counts as 0."""
        return _state.increment(self._name, _key(key), whole("state: delta", delta, -(2**63), 2**63 - 1))

    @_host
    def compare_and_set(
        self, key: str, expected: int | None, value: str | bytes, *, ttl_ms: int | None = None
    ) -> int:
        """Writes an entry if what is there is of the version `expected`, or, with None, if there is none."""
        data = octets("state: the value", value)
        return _state.compare_and_set(self._name, _key(key), optional(whole, _EXPECTED, expected), data, _time(ttl_ms))

    @_host
    def compare_and_delete(self, key: str, expected: int) -> None:
        """Takes an entry away if it still is of the version `expected`."""
        _state.compare_and_delete(self._name, _key(key), whole(_EXPECTED, expected))

    @_host
    def touch(self, key: str, ttl_ms: int | None = None) -> bool:
        """Has an entry expire so many milliseconds from now, or never; whether it was there."""
        return _state.touch(self._name, _key(key), _time(ttl_ms))

    @_host
    def list_keys(self, prefix: str = "", *, after: str | None = None, limit: int = 1000) -> Page:
        """Some keys that begin with `prefix`, those after `after` only, in `keys`; `more` tells whether there are others."""
        start, behind = text("state: the prefix", prefix), optional(text, "state: after", after)
        return _state.list_keys(self._name, start, behind, whole("state: limit", limit, 0, 2**32 - 1))

    def keys(self, prefix: str = "") -> Iterator[str]:
        """All keys that begin with `prefix`, in order."""
        after, more = None, True
        while more:
            page = self.list_keys(prefix, after=after)
            yield from page.keys
            more = page.more
            after = page.keys[-1] if page.keys else None


def _key(key: str) -> str:
    return text("state: the key", key)


def _time(ttl_ms: int | None) -> int | None:
    return optional(whole, "state: ttl_ms", ttl_ms)


_default = Store()
get = _default.get
set = _default.set
delete = _default.delete
increment = _default.increment
compare_and_set = _default.compare_and_set
compare_and_delete = _default.compare_and_delete
touch = _default.touch
list_keys = _default.list_keys
keys = _default.keys
