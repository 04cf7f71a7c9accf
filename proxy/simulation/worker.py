"""A worker on a virtual clock: counts the records of whole seconds into the ledger, as live workers count requests.

It is the bulk form of `proxy.ledger.writer`, cell by cell the same (a test plays the same requests to both). What a
record says of its end is not written before that end: a slice is complete when its last request has finished, a glance
at one that goes on sees what has ended by then, and what outlives the grace is late, as live.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np

from analysis.summaries import FloatArray
from proxy.control.evidence.lending import Loan
from proxy.data.answers import disguise
from proxy.ledger import layout as at
from proxy.ledger.row import Row
from proxy.ledger.writer import Writer
from proxy.simulation.columns import Bools, Columns, Outputs, Values
from proxy.simulation.records import Ints, Record, Side
from proxy.simulation.users import ANONYMOUS, drawn
from proxy.snapshot import Output


@dataclass(frozen=True, slots=True, eq=False)
class _Open:
    """What goes on: when each ends, who counts the ends of those at some places, and the last end."""

    ends_s: FloatArray
    count: Callable[[Ints], None]
    last_s: float

    def advanced(self, now_s: float, exact: bool) -> _Open | None:
        """What is left once all that has ended is counted; without `exact` all of it is left until the last end."""
        if self.last_s <= now_s:
            self.count(np.arange(len(self.ends_s)))
            return None
        ended = self.ends_s <= now_s
        if not exact or not ended.any():
            return self
        self.count(np.flatnonzero(ended))
        left = np.flatnonzero(~ended)
        return _Open(self.ends_s[left], lambda places: self.count(left[places]), self.last_s)


class Worker:
    """The one worker of a simulated ledger. `label_key` is what labels are hashed with, where an output asks for it."""

    def __init__(self, fd: int, seed: int, outputs: Sequence[Output], label_key: bytes = b"") -> None:
        memory, self._shape = at.attach(fd)
        self._writer = Writer(fd, 0)
        self._cells: FloatArray = np.frombuffer(memory, dtype=np.float64)
        self._bytes = np.frombuffer(memory, dtype=np.uint8)
        self._seed = seed
        self._outputs = Outputs(outputs, [disguise.table(self._writer, output, label_key) for output in outputs])
        self._open: list[_Open] = []
        self._late: list[tuple[float, float, int, int, bool]] = []
        """When it finishes, when it arrived, row, tenant, failed."""
        self.unknown = 0
        """Requests of a route that knows users, and whose user is not known."""

    def columns(self, sides: Sequence[Side[Any]] | Sequence[Record[Any]]) -> Columns:
        """What requests did, as arrays."""
        return self._outputs.columns(sides)

    def advance(self, now_s: float, exact: bool = False) -> None:
        """Let finish what finishes until then. Slices that go on are right with `exact` alone: else what came together
        is counted once all of it has ended, which is all that those need who wait for closed slices."""
        self._open = [left for each in self._open if (left := each.advanced(now_s, exact)) is not None]
        while self._late and self._late[0][0] <= now_s:
            end_s, arrived_s, index, tenant, failed = heapq.heappop(self._late)
            if self._cells[self._shape.row(0, index) + at.R_TENANT] == tenant:
                row = self._writer.occupy(index, tenant, len(self._outputs))
                self._writer.finish(row, arrived_s, end_s, failed, 0 if failed else 200, 0)

    def requests(
        self, loan: Loan, second: int, arrived_s: FloatArray, columns: Columns, users: Sequence[str | int | None] | None
    ) -> None:
        """Count requests that arrived in a second. `users` is None where the route does not know users."""
        if loan.index < 0 or not len(columns):
            return
        row, lane = self._lane(loan, second)
        groups = None if users is None else self._users(row, users)
        self._cells[lane + at.L_ARRIVED] += len(columns)
        late = columns.late
        self._put_off(loan, arrived_s[late], columns.latency_s[late], columns.failed[late])
        if late.any():
            on_time = np.flatnonzero(~late)
            arrived_s, columns = arrived_s[on_time], columns.part(on_time)
            groups = None if groups is None else groups[on_time]

        def finish(places: Ints) -> None:
            self._finish(row, lane, columns.part(places), None if groups is None else groups[places])

        self._wait(columns.ends_s(arrived_s), finish)

    def lose(self, loan: Loan, second: int, requests: int) -> None:
        """Requests that were assigned and have no record."""
        if loan.index >= 0 and requests:
            _, lane = self._lane(loan, second)
            self._cells[lane + at.L_ARRIVED] += requests
            self._cells[lane + at.L_LOST] += requests

    def pairs(
        self,
        loan: Loan,
        second: int,
        arrived_s: FloatArray,
        stable: Columns,
        shadow: Columns,
        again: Columns | None = None,
    ) -> None:
        """Compare both answers to the same requests, in the shadow's row, and where stable was asked twice both with
        its second one. Where one side failed nothing is compared."""
        some = np.flatnonzero(~stable.failed & ~shadow.failed & ~shadow.late)
        if loan.index < 0 or not some.size:
            return
        row, lane = self._lane(loan, second)
        arrived_s, stable, shadow = arrived_s[some], stable.part(some), shadow.part(some)
        second_answers = None if again is None else again.part(some)

        def compare(places: Ints) -> None:
            left, right = stable.part(places), shadow.part(places)
            self._compare(row, lane, left, right)
            if second_answers is not None:
                self._repeat(lane, left, right, second_answers.part(places))

        self._wait(shadow.ends_s(arrived_s), compare)

    # --- when something ends
    def _wait(self, ends_s: FloatArray, count: Callable[[Ints], None]) -> None:
        if len(ends_s):
            self._open.append(_Open(ends_s, count, float(ends_s.max())))

    def _finish(self, row: Row, lane: int, columns: Columns, groups: Ints | None) -> None:
        """Count the ends of requests, none of them late."""
        cells, failed = self._cells, columns.failed
        buckets = _buckets(columns.latency_s)
        cells[lane + at.L_ON_TIME] += len(columns)
        cells[lane + at.L_LATENCY : lane + at.L_GROUP_N] += _counted(buckets, at.LATENCY_BUCKETS)
        cells[lane + at.L_FAILED] += np.count_nonzero(failed)
        cells[row.base + at.R_STATUSES - 100 + at.NO_STATUS] += np.count_nonzero(failed)
        for number, values in enumerate(columns.values):
            self._read(lane + at.L_OUTPUTS + number * at.OUTPUT_CELLS, number, values)
            if groups is not None:
                self._read_of_groups(row.base, number, values, groups)
        if groups is not None:
            self._group(row.base, lane, buckets, groups, failed)

    def _compare(self, row: Row, lane: int, stable: Columns, shadow: Columns) -> None:
        cells = self._cells
        cells[lane + at.L_PAIRS] += len(stable)
        ratios = [
            at.ratio_bucket(ratio)
            for ratio in (shadow.latency_s / np.maximum(stable.latency_s, 1e-9)).tolist()
            if not isnan(ratio)  # a latency is not known
        ]
        cells[lane + at.L_RATIO : lane + at.L_PAIR_OUTPUTS] += np.bincount(ratios, minlength=at.RATIO_BUCKETS)
        for number in range(len(self._outputs)):
            both, differ = self._outputs.apart(number, stable, shadow)
            cells[lane + at.L_PAIR_OUTPUTS + 2 * number] += np.count_nonzero(both)
            cells[lane + at.L_PAIR_OUTPUTS + 2 * number + 1] += np.count_nonzero(differ)
            if self._outputs.is_category(number):
                known = (stable.values[number].one >= 0) & (shadow.values[number].one >= 0)
                left, right = (each.values[number].one[known].astype(np.int64) for each in (stable, shadow))
                start = row.base + at.R_CONFUSION + number * at.LABELS * at.LABELS
                cells[start : start + at.LABELS**2] += np.bincount(left * at.LABELS + right, minlength=at.LABELS**2)

    def _repeat(self, lane: int, stable: Columns, shadow: Columns, again: Columns) -> None:
        """Which of the other two differ from stable's answer, where all three are there."""
        some = ~again.failed & ~again.late
        for number in range(len(self._outputs)):
            said, by_shadow = self._outputs.apart(number, stable, shadow)
            twice, by_stable = self._outputs.apart(number, stable, again)
            all_three = some & said & twice
            counts = (
                all_three,
                all_three & by_shadow & ~by_stable,
                all_three & ~by_shadow & by_stable,
                all_three & by_shadow & by_stable,
            )
            first = lane + at.L_REPEATED + at.REPEATED_CELLS * number
            self._cells[first : first + at.REPEATED_CELLS] += [np.count_nonzero(each) for each in counts]

    # --- parts of a request
    def _lane(self, loan: Loan, second: int) -> tuple[Row, int]:
        row = self._writer.occupy(loan.index, loan.tenant, len(loan.outputs))
        lane = row.lane_bases[second % at.LANES]
        if self._cells[lane + at.L_STAMP] != second:
            self._writer.arrive(row, float(second))  # opens the lane
            self._cells[lane + at.L_ARRIVED] -= 1
        return row, lane

    def _put_off(self, loan: Loan, arrived_s: FloatArray, latency_s: FloatArray, failed: Bools) -> None:
        for begin_s, took_s, bad in zip(arrived_s.tolist(), latency_s.tolist(), failed.tolist(), strict=True):
            heapq.heappush(self._late, (begin_s + took_s, begin_s, loan.index, loan.tenant, bad))

    def _read(self, cell: int, number: int, values: Values) -> None:
        cells = self._cells
        odd = values.odd.values()
        cells[cell + at.O_MISSING] += len(values.missing) + sum(each.missing for each in odd)
        cells[cell + at.O_INVALID] += len(values.invalid) + sum(each.invalid for each in odd)
        cells[cell + at.O_CLIPPED] += len(values.clipped) + sum(each.clipped for each in odd)
        said, _ = _said(values, self._outputs.is_category(number))
        cells[cell + at.O_N] += len(said)
        if self._outputs.is_category(number):
            cells[cell + at.O_LABELS : cell + at.O_NUMBERS] += _counted(said.astype(np.int64), at.LABELS)
            return
        cells[cell + at.O_SUM] += said.sum()
        cells[cell + at.O_SQUARES] += np.square(said).sum()
        cells[cell + at.O_NUMBERS : cell + at.OUTPUT_CELLS] += _counted(
            self._outputs.number_buckets(number, said), at.NUMBER_BUCKETS
        )

    # --- users
    def groups(self, users: Sequence[str | int | None] | None, length: int) -> list[int]:
        """The group of each user; -1 where it is not known."""
        return [ANONYMOUS] * length if users is None else drawn(self._seed, users)[1].tolist()

    def _users(self, row: Row, users: Sequence[str | int | None]) -> Ints:
        """Mark the users of a row; the group of each, or ANONYMOUS."""
        slots, groups = drawn(self._seed, users)
        self._bytes[row.users + slots[slots >= 0]] = 1
        self.unknown += int(np.count_nonzero(slots < 0))
        return groups

    def _group(self, base: int, lane: int, buckets: Ints, groups: Ints, failed: Bools) -> None:
        cells, known = self._cells, groups >= 0
        if not known.any():
            return
        cells[base + at.R_GROUPED] = 1
        cells[lane + at.L_GROUP_N : lane + at.L_GROUP_FAILED] += _counted(groups[known], at.GROUPS)
        cells[lane + at.L_GROUP_FAILED : lane + at.L_RATIO] += _counted(groups[known & failed], at.GROUPS)
        timed = known & (buckets >= 0)
        places = (buckets[timed] >> at.GROUP_STEP_BITS) * at.GROUPS + groups[timed]
        np.add.at(cells, base + at.R_GROUP_LATENCY + places, 1.0)

    def _read_of_groups(self, base: int, number: int, values: Values, groups: Ints) -> None:
        said, places = _said(values, self._outputs.is_category(number))
        group = groups[places]
        said, group = said[group >= 0], group[group >= 0]
        if self._outputs.is_category(number):
            start = base + at.R_GROUP_LABELS + number * at.LABELS * at.GROUPS
            np.add.at(self._cells, start + said.astype(np.int64) * at.GROUPS + group, 1.0)
            return
        start = base + at.R_GROUP_NUMBERS + number * 2 * at.GROUPS
        np.add.at(self._cells, start + group, 1.0)
        np.add.at(self._cells, start + at.GROUPS + group, said)


def _buckets(latency_s: FloatArray) -> Ints:
    """The latency bucket of each, -1 where it is not known or came after the grace."""
    known = latency_s <= at.GRACE_S
    high = known & (latency_s > at.LATENCY_LOWEST_S)
    buckets = np.where(known, 0, -1)
    buckets[high] = (np.log(latency_s[high]) * at.INV_LOG_BASE + at.LATENCY_OFFSET).astype(np.int64)
    return buckets


def _counted(numbers: Ints, length: int) -> FloatArray:
    """How often each number from 0 on is there."""
    return np.bincount(numbers[numbers >= 0], minlength=length).astype(np.float64)


def _said(values: Values, category: bool) -> tuple[FloatArray, Ints]:
    """All labels (numbers) of an output, and the place of the request that each belongs to."""
    places = np.flatnonzero(values.one >= 0 if category else ~np.isnan(values.one))
    said = values.one[places]
    if values.odd:
        odd = values.odd.items()
        more = [(value, place) for place, each in odd for value in (each.labels if category else each.numbers)]
        if more:
            said = np.concatenate((said, [float(value) for value, _ in more]))
            places = np.concatenate((places, [place for _, place in more]))
    return said, places
