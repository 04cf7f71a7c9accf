"""The sides of many requests as arrays: latencies, failures, and what each output said.

Labels and numbers in the usual form are taken in bulk. What is not (lists of predictions, values of odd types) goes
through the same functions that read the answers of live traffic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from operator import attrgetter
from typing import Any, Final

import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from analysis.summaries import FloatArray
from proxy.data.answers.predictions import HUGE, compared, read_category, read_number
from proxy.ledger.labels import LabelTable
from proxy.ledger.layout import GRACE_S, NUMBER_BUCKETS
from proxy.ledger.reading import Reading
from proxy.simulation.records import Ints, Record, Side
from proxy.snapshot import Output

NOTHING: Final = -1
"""The slot of what has no label, or has several."""
_ASK: Final = -2
_NOWHERE: Final[Ints] = np.zeros(0, dtype=np.int64)
_KNOWN_MAX: Final = 10_000
"""Texts of labels that are remembered with their slots; a category has fewer, and what has more is not remembered."""
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """What one output said: `one` has by side its label slot (NOTHING or NaN: none) or its number (NaN: none) where it
    said one thing, `odd` has by place the readings of the others. The rest are places of sides."""

    one: FloatArray
    missing: Ints
    invalid: Ints
    clipped: Ints
    odd: Mapping[int, Reading]

    def placed(self, places: Ints, length: int) -> Values:
        """The same, said by the sides at these places of so many."""
        if len(places) == length:
            return self
        one = np.full(length, np.nan)
        one[places] = self.one
        odd = {int(places[place]): reading for place, reading in self.odd.items()}
        return Values(one, places[self.missing], places[self.invalid], places[self.clipped], odd)

    def part(self, places: Ints) -> Values:
        """What the sides at these places said alone."""
        new = np.full(len(self.one), NOTHING)
        new[places] = np.arange(len(places))
        missing, invalid, clipped = (new[each] for each in (self.missing, self.invalid, self.clipped))
        odd = {int(new[place]): reading for place, reading in self.odd.items() if new[place] >= 0}
        return Values(self.one[places], missing[missing >= 0], invalid[invalid >= 0], clipped[clipped >= 0], odd)


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Sides as arrays, in their order. `latency_s` is NaN where it is not known."""

    latency_s: FloatArray
    failed: Bools
    values: tuple[Values, ...]

    def __len__(self) -> int:
        return len(self.failed)

    def part(self, places: Ints) -> Columns:
        """The sides at these places alone."""
        if len(places) == len(self):
            return self
        return Columns(self.latency_s[places], self.failed[places], tuple(each.part(places) for each in self.values))

    def ends_s(self, arrived_s: FloatArray) -> FloatArray:
        """When each of them was answered. Without a latency that is when it came."""
        ends: FloatArray = arrived_s + np.nan_to_num(self.latency_s)
        return ends

    @property
    def late(self) -> Bools:
        """Whether an outcome came after the grace."""
        return self.latency_s > GRACE_S


class Outputs:
    """Reads the outputs of a route. `tables` have the texts of the labels, None for numbers and where no labels are
    written."""

    def __init__(self, outputs: Sequence[Output], tables: Sequence[LabelTable | None]) -> None:
        self._outputs, self._tables = tuple(outputs), tuple(tables)
        self._fields = tuple(attrgetter(f"o{number}") for number in range(len(outputs)))
        self._known: tuple[dict[type, dict[Any, int]], ...] = tuple({str: {}, int: {}} for _ in outputs)

    def __len__(self) -> int:
        return len(self._outputs)

    def is_category(self, number: int) -> bool:
        """Whether an output is counted by label."""
        return self._outputs[number].kind == "category"

    def number_buckets(self, number: int, said: FloatArray) -> Ints:
        """The bucket of each number of an output, inside its range."""
        output = self._outputs[number]
        scale = NUMBER_BUCKETS / (output.high - output.low)
        return np.minimum(((said - output.low) * scale).astype(np.int64), NUMBER_BUCKETS - 1)

    def columns(self, sides: Sequence[Side[Any]] | Sequence[Record[Any]]) -> Columns:
        """Of what failed, or came after the grace, nothing is read."""
        latency_s = np.array([side.latency_ms for side in sides], dtype=np.float64) / 1000.0
        errors = [side.error for side in sides]
        failed = np.fromiter(errors, np.bool_, len(errors))  # None is False
        read = ~failed & ~(latency_s > GRACE_S)
        answers = [side.outputs for side in sides]
        if not read.all():
            answers = [answers[place] for place in np.flatnonzero(read)]
        places = np.flatnonzero(read)
        values = (self._values(each, answers).placed(places, len(sides)) for each in range(len(self._outputs)))
        return Columns(latency_s, failed, tuple(values))

    def apart(self, number: int, left: Columns, right: Columns) -> tuple[Bools, Bools]:
        """Of each pair, whether both sides have the output, and whether they differ in it then."""
        one, other = left.values[number], right.values[number]
        if self.is_category(number):
            both = (one.one >= 0) & (other.one >= 0)
            differ = both & (one.one != other.one)
        else:
            both = ~np.isnan(one.one) & ~np.isnan(other.one)
            differ = both & (np.abs(one.one - other.one) > self._outputs[number].tolerance)
        for place in {*one.odd, *other.odd}:
            said = self._reading(number, one, place), self._reading(number, other, place)
            found = compared(self._outputs[number], self.is_category(number), *said)
            both[place], differ[place] = found is not None, bool(found)
        return both, differ

    def _reading(self, number: int, values: Values, place: int) -> Reading:
        if place in values.odd:
            return values.odd[place]
        value = float(values.one[place])
        if self.is_category(number):
            return Reading(number, labels=[int(value)] if value >= 0 else [])
        return Reading(number, numbers=[] if np.isnan(value) else [value])

    def _values(self, number: int, answers: Sequence[Any]) -> Values:
        try:
            found = [*map(self._fields[number], answers)]
        except AttributeError:  # some have no outputs at all
            found = [UNSET if answer is None else self._fields[number](answer) for answer in answers]
        types = {*map(type, found)}
        missing = _NOWHERE if UnsetType not in types else np.flatnonzero([value is UNSET for value in found])
        if self.is_category(number):
            return self._labels(number, found, types - {UnsetType}, missing)
        return self._numbers(number, found, types, missing)

    def _labels(self, number: int, found: Sequence[Any], types: set[type], missing: Ints) -> Values:
        known = self._known[number].get(next(iter(types))) if len(types) == 1 else None
        if known is None:  # True and 1 are one key of a dictionary, and two labels
            one = np.full(len(found), _ASK, dtype=np.float64)
        else:
            one = np.fromiter(map(known.get, found, repeat(_ASK)), np.float64, len(found))
        odd: dict[int, Reading] = {}
        for place in map(int, np.flatnonzero(one == _ASK)):
            value, one[place] = found[place], NOTHING
            if value is UNSET:
                continue
            reading = read_category(number, [value], self._tables[number])
            if len(reading.labels) != 1 or reading.invalid:
                odd[place] = reading
                continue
            one[place] = reading.labels[0]
            if known is not None and len(known) < _KNOWN_MAX:
                known[value] = reading.labels[0]
        return Values(one, missing, _NOWHERE, _NOWHERE, odd)

    def _numbers(self, number: int, found: Sequence[Any], types: set[type], missing: Ints) -> Values:
        output = self._outputs[number]
        odd: dict[int, Reading] = {}
        if types <= {float, int}:
            given = _floats(found)
            wrong = ~(np.abs(given) < HUGE)
        else:
            usual = np.array([type(value) in (float, int) for value in found], dtype=np.bool_)
            given = _floats([value if is_usual else np.nan for value, is_usual in zip(found, usual, strict=True)])
            wrong = usual & ~(np.abs(given) < HUGE)
            for place in map(int, np.flatnonzero(~usual)):
                if found[place] is not UNSET:
                    odd[place] = read_number(number, [found[place]], output)
        kept = np.where(wrong, np.nan, given)
        one = np.clip(kept, output.low, output.high)
        clipped = np.flatnonzero((one < kept) | (one > kept))
        return Values(one, missing, np.flatnonzero(wrong), clipped, odd)


def _floats(found: Sequence[Any]) -> FloatArray:
    try:
        return np.fromiter(found, np.float64, len(found))
    except OverflowError:  # JSON has integers that are no float
        return np.array([np.inf if value >= HUGE or value <= -HUGE else value for value in found], dtype=np.float64)
