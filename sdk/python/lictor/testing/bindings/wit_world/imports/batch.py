"""`wasi:keyvalue/batch` over the stores of a test."""

from componentize_py_types import Err

from .. import World, octets, size
from . import state
from .keyvalue import Bucket, errors
from .types import fails

MOST_BYTES = 16 << 20


def get_many(bucket: Bucket, keys: list[str]) -> list[tuple[str, bytes] | None]:
    with errors():
        world, entries = _opened(bucket, keys, 0)
    found = [(key, entries[key].value) if key in entries else None for key in keys]
    world.carry(sum(size(entry[0]) + len(entry[1]) for entry in found if entry is not None))
    return found


def set_many(bucket: Bucket, key_values: list[tuple[str, bytes]]) -> None:
    with errors():
        values = [octets(value) for _, value in key_values]
        world, entries = _opened(bucket, [key for key, _ in key_values], sum(map(len, values)))
        for value in values:
            state.fitting(value)
        carried = sum(size(key) for key, _ in key_values) + sum(map(len, values))
        if carried > MOST_BYTES:
            raise fails("bad-arguments", f"a call in bytes is too large: {carried} where {MOST_BYTES} are allowed")
        before = dict(entries)
        try:
            for key, value in dict(key_values).items():
                state.write(world, entries, key, value, None)
        except Err:
            entries.clear()
            entries.update(before)
            raise


def delete_many(bucket: Bucket, keys: list[str]) -> None:
    with errors():
        _, entries = _opened(bucket, keys, 0)
        for key in keys:
            entries.pop(key, None)


def _opened(bucket: Bucket, keys: list[str], values: int) -> tuple[World, dict[str, state.Kept]]:
    """The world and the entries for a call of these keys and of so many bytes of values."""
    carried = sum(map(size, keys)) + values
    world, entries = bucket.opened(carried)
    for key in keys:
        state.checked(key)
    if len(keys) > state.MOST_KEYS:
        raise fails("bad-arguments", f"a call in keys is too large: {len(keys)} where {state.MOST_KEYS} are allowed")
    return world, entries
