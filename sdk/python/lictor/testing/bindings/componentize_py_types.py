"""The errors of the bindings, as componentize-py has them."""

from dataclasses import dataclass
from typing import Generic, TypeVar

E = TypeVar("E")


@dataclass
class Err(Generic[E], Exception):
    """A failure of one of the host's functions."""

    value: E

    # In a component it is frozen; here the frameworks of tests write its traceback.
    __hash__ = Exception.__hash__
