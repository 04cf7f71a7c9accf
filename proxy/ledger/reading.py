"""What one answer says in one output, as the ledger counts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_NO_SLOTS: Final[list[int]] = []
_NO_NUMBERS: Final[list[float]] = []
"""Of readings that have none: nobody adds to the lists of a reading."""


@dataclass(init=False)
class Reading:
    """One output of one answer: its label slots or its numbers, already clipped, and what was wrong with it.

    Its values are in lists: any other sequence costs compiled code an iterator. It has no `__slots__`: a compiled class
    has its fields in place anyway, and of one that is a dataclass with slots there is no subclass.
    """

    output: int
    labels: list[int]
    numbers: list[float]
    number_buckets: list[int]
    missing: int
    invalid: int
    clipped: int

    def __init__(  # written out: the one that `dataclass` makes is never compiled
        self,
        output: int,
        labels: list[int] | None = None,
        numbers: list[float] | None = None,
        number_buckets: list[int] | None = None,
        missing: int = 0,
        invalid: int = 0,
        clipped: int = 0,
    ) -> None:
        self.output = output
        self.labels = _NO_SLOTS if labels is None else labels
        self.numbers = _NO_NUMBERS if numbers is None else numbers
        self.number_buckets = _NO_SLOTS if number_buckets is None else number_buckets
        self.missing = missing
        self.invalid = invalid
        self.clipped = clipped
