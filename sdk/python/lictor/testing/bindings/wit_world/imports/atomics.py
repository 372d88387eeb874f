"""`wasi:keyvalue/atomics` over the stores of a test."""

from componentize_py_types import Err

from .. import count, size
from . import state
from .keyvalue import Bucket, Error_Other, errors


def increment(bucket: Bucket, key: str, delta: int) -> int:
    with errors():
        world, entries = bucket.opened(size(key))
        if count(delta) > state.MOST_NUMBER:
            raise Err(Error_Other("the sum does not fit into 64 bits"))
        return state.add(world, entries, state.checked(key), delta, 0)
