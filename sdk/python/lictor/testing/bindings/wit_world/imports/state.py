"""Key-value state, by the rules of the host's."""

import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from .. import MILLISECOND, Kept, World, count, current, octets, size, text, whole
from .types import fails

MOST_KEY_BYTES = 256
MOST_VALUE_BYTES = 1 << 20
MOST_TTL_MS = 10 * 365 * 24 * 3_600_000
MOST_KEYS = 1000
# Of a store, where an operator has set nothing else.
QUOTA_KEYS = 100_000
QUOTA_BYTES = 64 << 20
NUMBER = re.compile(rb"[+-]?[0-9]+")
LEAST_NUMBER, MOST_NUMBER = -(2**63), 2**63 - 1


@dataclass
class Entry:
    """What is kept under a key."""

    value: bytes
    version: int
    expires_in_ms: int | None


@dataclass
class Page:
    """Some keys of a listing."""

    keys: list[str]
    more: bool


def get(store: str, key: str) -> Entry | None:
    world, entries = opened(store, size(key))
    kept = entries.get(checked(key))
    if kept is None:
        return None
    world.carry(len(kept.value))
    left = None if kept.ends is None else max(1, (kept.ends - world.elapsed) // MILLISECOND)
    return Entry(kept.value, kept.version, left)


def set(store: str, key: str, value: bytes, ttl_ms: int | None) -> int:
    world, entries = opened(store, size(key) + len(octets(value)))
    return write(world, entries, checked(key), fitting(value), end(world, ttl_ms))


def delete(store: str, key: str) -> bool:
    _, entries = opened(store, size(key))
    return entries.pop(checked(key), None) is not None


def increment(store: str, key: str, delta: int) -> int:
    whole(delta, LEAST_NUMBER, MOST_NUMBER)
    world, entries = opened(store, size(key))
    return add(world, entries, checked(key), delta, LEAST_NUMBER)


def compare_and_set(store: str, key: str, expected: int | None, value: bytes, ttl_ms: int | None) -> int:
    carried = size(key) + len(octets(value))
    # Here, as in a listing, the host asks for the store last.
    checked(key)
    fitting(value)
    ends = end(current(), ttl_ms)
    world, entries = opened(store, carried)
    want(entries, key, None if expected is None else count(expected))
    return write(world, entries, key, value, ends)


def compare_and_delete(store: str, key: str, expected: int) -> None:
    _, entries = opened(store, size(key))
    want(entries, checked(key), count(expected))
    del entries[key]


def touch(store: str, key: str, ttl_ms: int | None) -> bool:
    world, entries = opened(store, size(key))
    checked(key)
    ends = end(world, ttl_ms)
    if key not in entries:
        return False
    world.version += 1
    entries[key] = Kept(entries[key].value, world.version, ends)
    return True


def list_keys(store: str, prefix: str, after: str | None, limit: int) -> Page:
    whole(limit, 0, 2**32 - 1)
    carried = size(prefix)
    behind = b"" if after is None else checked(text(after)).encode()
    world, entries = opened(store, carried)
    keys = sorted(key.encode() for key in entries)
    keys = [key for key in keys if key.startswith(prefix.encode()) and (after is None or key > behind)]
    page = keys[: min(max(limit, 1), MOST_KEYS)]
    world.carry(sum(map(len, page)))
    return Page([key.decode() for key in page], len(page) < len(keys))


def opened(store: str, carried: int) -> tuple[World, dict[str, Kept]]:
    """The entries of a granted store, from which those that have expired are gone."""
    world = current()
    world.operation(carried)
    if text(store) not in world.stores:
        raise fails("denied", "this store is not granted to the plugin")
    if world.stores_fail is not None:
        raise fails(world.stores_fail.code, world.stores_fail.message)
    entries = world.stores[store]
    for key in [key for key, kept in entries.items() if kept.ends is not None and kept.ends <= world.elapsed]:
        del entries[key]
    return world, entries


def checked(key: str) -> str:
    """The key, which has to be one."""
    if key == "":
        raise fails("bad-arguments", "not a key: it is empty")
    if len(key.encode()) > MOST_KEY_BYTES:
        raise fails("bad-arguments", "not a key: it is longer than 256 bytes")
    if any(unicodedata.category(character) == "Cc" for character in key):
        raise fails("bad-arguments", "not a key: it holds a control character")
    return key


def fitting(value: bytes) -> bytes:
    """The value, which must not be too large."""
    if len(value) > MOST_VALUE_BYTES:
        raise fails("bad-arguments", f"a value in bytes is too large: {len(value)} where {MOST_VALUE_BYTES} are allowed")
    return value


def end(world: World, ttl_ms: int | None) -> int | None:
    """When an entry ends that is written now."""
    if ttl_ms is None:
        return None
    if not 1 <= count(ttl_ms) <= MOST_TTL_MS:
        raise fails("bad-arguments", "not a time to live: it must be from 1 millisecond to 10 years")
    return world.elapsed + ttl_ms * MILLISECOND


def want(entries: dict[str, Kept], key: str, version: int | None) -> None:
    """Fails where the entry is not of this version."""
    kept: Any = entries.get(key)
    if (None if kept is None else kept.version) != version:
        raise fails("conflict", "the entry is not what was expected")


def write(world: World, entries: dict[str, Kept], key: str, value: bytes, ends: int | None) -> int:
    """Writes an entry, and gives its version. What makes the store smaller is never refused."""
    before = [entries[key]] if key in entries else []
    used, less = sum(map(stored, entries, entries.values())), sum(stored(key, kept) for kept in before)
    entry = Kept(value, world.version + 1, ends)
    keys, needed = len(entries) + 1 - len(before), used + stored(key, entry) - less
    if not before and keys > QUOTA_KEYS:
        raise used_up("keys", QUOTA_KEYS, keys)
    if needed > max(used, QUOTA_BYTES):
        raise used_up("bytes", QUOTA_BYTES, needed)
    world.version += 1
    entries[key] = entry
    return world.version


def stored(key: str, kept: Kept) -> int:
    """What an entry takes of its store's quota."""
    return len(key.encode()) + len(kept.value)


def used_up(kind: str, limit: int, needed: int) -> Exception:
    return fails("failed", f"the store's quota of {limit} {kind} is used up: the write would make it {needed}")


def add(world: World, entries: dict[str, Kept], key: str, delta: int, least: int) -> int:
    """Adds to an entry that is a number; the sum is at least `least`."""
    kept = entries.get(key)
    if kept is None:
        number = 0
    elif NUMBER.fullmatch(kept.value) and LEAST_NUMBER <= int(kept.value) <= MOST_NUMBER:
        number = int(kept.value)
    else:
        raise fails("failed", "the entry is not a whole decimal number of 64 bits, so nothing can be added to it")
    total = number + delta
    if not least <= total <= MOST_NUMBER:
        raise fails("failed", "the sum does not fit into 64 bits")
    write(world, entries, key, str(total).encode(), None if kept is None else kept.ends)
    return total
