"""Whole seconds of records, in time order.

Several processes may have written one log, so records may be a little out of order: by LATENESS_S at most. A record
that comes later than that belongs to a second which is judged already, and is refused. So is one that comes MOST_GAP_S
after all before it: the clock ticks through every second, and what looks like a gap of years is another unit of time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import floor
from typing import Any, Final

import numpy as np

from analysis.summaries import FloatArray
from proxy.simulation.records import Ints, Lines, Record, RefusedError

LATENESS_S: Final = 1.0
"""How much older than the newest record before it a record may be."""
MOST_GAP_S: Final = 7 * 86_400.0
"""How long the records may be silent: some minutes of computing."""


@dataclass(frozen=True, slots=True, eq=False)
class Second:
    """The records that arrived in a second, by their arrival, with the numbers of their lines."""

    second: int
    records: Sequence[Record[Any]]
    lines: Ints


def seconds(blocks: Iterable[tuple[int, bytes]], reader: Lines) -> Iterator[Second]:
    """The seconds that have records, in order.

    Raises:
        RefusedError: of the first record that is refused, once all that is complete before it was answered.
    """
    records: list[Record[Any]] = []
    lines: Ints = np.zeros(0, dtype=np.int64)
    newest = -np.inf
    for first_line, text in blocks:
        more, numbers, refused = reader.decode(first_line, text)
        times = np.array([record.t for record in more])
        before = np.maximum.accumulate(np.concatenate(([newest], times)))
        astray = np.flatnonzero((times < before[:-1] - LATENESS_S) | (times > _latest(before[:-1])))
        if astray.size:
            at = int(astray[0])
            refused = _astray(int(numbers[at]), float(times[at]), float(before[at]))
            more, numbers, before = more[:at], numbers[:at], before[: at + 1]
        newest = float(before[-1])
        records, lines = records + more, np.concatenate((lines, numbers))
        if refused is not None:
            yield from _groups(records, lines, newest - LATENESS_S)[0]
            raise refused
        ended, records, lines = _groups(records, lines, newest - LATENESS_S)
        yield from ended
    yield from _groups(records, lines, np.inf)[0]


def _groups(records: list[Record[Any]], lines: Ints, until: float) -> tuple[list[Second], list[Record[Any]], Ints]:
    """The seconds that end before a time, and what is left."""
    if not records:
        return [], records, lines
    times = np.array([record.t for record in records])
    if np.any(times[1:] < times[:-1]):
        order = np.argsort(times, kind="stable")
        records, lines, times = [records[i] for i in order], lines[order], times[order]
    whole = np.floor(times)
    last = int(np.searchsorted(whole, floor(until) if np.isfinite(until) else np.inf))
    starts = [0, *(np.flatnonzero(whole[1:last] > whole[: last - 1]) + 1).tolist(), last] if last else [0]
    found = [Second(int(whole[start]), records[start:end], lines[start:end]) for start, end in pairwise(starts)]
    return found, records[last:], lines[last:]


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
