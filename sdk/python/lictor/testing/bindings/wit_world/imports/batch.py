"""`wasi:keyvalue/batch` over the stores of a test."""

from componentize_py_types import Err

from .. import items, octets, pairs, size
from . import state
from .keyvalue import Bucket, errors
from .types import fails

MOST_BYTES = 16 << 20


def get_many(bucket: Bucket, keys: list[str]) -> list[tuple[str, bytes] | None]:
    with errors():
        world, entries = bucket.opened(sum(map(size, items(keys))))
        _fit(keys)
        found = [(key, entries[key].value) if key in entries else None for key in keys]
        _bound(sum(len(entry[1]) for entry in found if entry is not None))
    world.carry(sum(size(entry[0]) + len(entry[1]) for entry in found if entry is not None))
    return found


def set_many(bucket: Bucket, key_values: list[tuple[str, bytes]]) -> None:
    with errors():
        carried = sum(size(key) + len(octets(value)) for key, value in pairs(key_values))
        world, entries = bucket.opened(carried)
        for key, value in key_values:
            state.checked(key)
            state.fitting(value)
        _fit([key for key, _ in key_values])
        _bound(carried)
        before = dict(entries)
        try:
            for key, value in sorted(dict(key_values).items(), key=lambda entry: entry[0].encode()):
                state.write(world, entries, key, value, None)
        except Err:
            entries.clear()
            entries.update(before)
            raise


def delete_many(bucket: Bucket, keys: list[str]) -> None:
    with errors():
        _, entries = bucket.opened(sum(map(size, items(keys))))
        _fit(keys)
        for key in keys:
            entries.pop(key, None)


def _fit(keys: list[str]) -> None:
    for key in keys:
        state.checked(key)
    if len(keys) > state.MOST_KEYS:
        raise fails("bad-arguments", f"a call in keys is too large: {len(keys)} where {state.MOST_KEYS} are allowed")


def _bound(carried: int) -> None:
    if carried > MOST_BYTES:
        raise fails("bad-arguments", f"a call in bytes is too large: {carried} where {MOST_BYTES} are allowed")
