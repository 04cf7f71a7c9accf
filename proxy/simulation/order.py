"""Whole seconds of records, in time order.

Several processes may have written one log, so records may be a little out of order: by LATENESS_S at most. A record
that comes later than that belongs to a second which is judged already, and is refused. So is one that comes MOST_GAP_S
after all before it: the clock ticks through every second, and what looks like a gap of years is another unit of time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np

from analysis.summaries import FloatArray
from proxy.simulation.records import Ints, Lines, Record, RefusedError

LATENESS_S: Final = 1.0
"""How much older than the newest record before it a record may be."""
MOST_GAP_S: Final = 7 * 86_400.0
"""How long the records may be silent: a quarter of an hour of computing, since the judge is shown each second of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Second:
    """The records that arrived in a second, by their arrival, with the numbers of their lines. `plain` says that all of
    them are requests and nothing else; what is not known to be so is not plain."""

    second: int
    records: Sequence[Record[Any]]
    lines: Ints
    plain: bool = False


def seconds(blocks: Iterable[tuple[int, bytes]], reader: Lines) -> Iterator[Second]:
    """The seconds that have records, in order.

    Raises:
        RefusedError: of the first record that is refused, once all that is complete before it was answered.
    """
    waiting = _Waiting()
    newest = -np.inf
    for first_line, text in blocks:
        more, numbers, refused, plain = reader.decode(first_line, text)
        times = np.fromiter([record.t for record in more], np.float64, len(more))
        before = np.maximum.accumulate(np.concatenate(([newest], times)))
        astray = np.flatnonzero((times < before[:-1] - LATENESS_S) | (times > _latest(before[:-1])))
        if astray.size:
            at = int(astray[0])
            refused = _astray(int(numbers[at]), float(times[at]), float(before[at]))
            more, numbers, times, before = more[:at], numbers[:at], times[:at], before[: at + 1]
        newest = float(before[-1])
        waiting.add(more, times, numbers, plain)
        yield from waiting.ended(newest - LATENESS_S)
        if refused is not None:
            raise refused
    yield from waiting.ended(np.inf)


class _Waiting:
    """Records whose second has not ended."""

    def __init__(self) -> None:
        self._records: list[Record[Any]] = []
        self._times: list[FloatArray] = []
        self._lines: list[Ints] = []
        self._first = np.inf
        self._mixed = -np.inf
        """The last arrival that was read together with what is no request."""

    def add(self, records: Sequence[Record[Any]], times: FloatArray, lines: Ints, plain: bool) -> None:
        """Take in what was read next."""
        if records:
            self._records += records
            self._times.append(times)
            self._lines.append(lines)
            self._first = min(self._first, float(times.min()))
            if not plain:
                self._mixed = max(self._mixed, float(times.max()))

    def ended(self, until: float) -> list[Second]:
        """The seconds that end before a time. Until there is one nothing that waits is touched: of many records in a
        second each block would look at all."""
        until = float(np.floor(until))
        if not self._first < until:
            return []
        records, times, lines = self._records, np.concatenate(self._times), np.concatenate(self._lines)
        if np.any(times[1:] < times[:-1]):
            order = np.argsort(times, kind="stable")
            records, times, lines = [records[at] for at in order], times[order], lines[order]
        whole = np.floor(times)
        last = int(np.searchsorted(whole, until))
        starts = [0, *(np.flatnonzero(whole[1:last] > whole[: last - 1]) + 1).tolist(), last]
        found = [
            Second(int(whole[start]), records[start:end], lines[start:end], bool(whole[start] > self._mixed))
            for start, end in pairwise(starts)
        ]
        self._records, self._times, self._lines = records[last:], [times[last:]], [lines[last:]]
        self._first = float(times[last]) if last < len(times) else np.inf
        return found


def _latest(before: FloatArray) -> FloatArray:
    """The latest time at which a record may follow these; the first one may have any."""
    return np.where(np.isfinite(before), before + MOST_GAP_S, np.inf)


def _astray(line: int, t: float, newest: float) -> RefusedError:
    if t > newest:
        days, allowed = (t - newest) / 86_400, MOST_GAP_S / 86_400
        message = f"t: {t:.15g} is {days:.6g} days after the record above it, {allowed:g} are allowed"
        return RefusedError(line, message, "give t in seconds, or simulate what is before the gap and after it alone")
    message = f"t: {t:.15g} is {newest - t:g} s before a record above it, {LATENESS_S:g} s is allowed"
    return RefusedError(line, message, "sort the records by t, the time of arrival")
