"""Things that change with every slice, held as they are: what is read of a look may be read long after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

Thing = TypeVar("Thing")


def still(thing: Thing) -> Thing:
    """A copy whose own arrays do not change any more with those of the thing; what else it refers to stays shared."""
    other = copied(thing)
    held = vars(other)
    for name, value in held.items():
        if type(value) is np.ndarray:
            held[name] = value.copy()
    return other


def copied(thing: Thing) -> Thing:
    """What `copy.copy` gives of a plain object, in a third of the time."""
    other: Thing = object.__new__(type(thing))
    vars(other).update(vars(thing))
    return other


class Later(Generic[Thing]):
    """Something that is found when it is asked for, and only once. Equal if what is found is equal."""

    __slots__ = ("_find", "_found")

    def __init__(self, find: Callable[[], Thing]) -> None:
        self._find: Callable[[], Thing] | None = find
        self._found: Thing

    def __call__(self) -> Thing:
        """What it is."""
        if self._find is not None:
            self._found, self._find = self._find(), None
        return self._found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Later) and bool(self() == other())

    def __hash__(self) -> int:
        return hash(self())

    def __repr__(self) -> str:
        return repr(self())
