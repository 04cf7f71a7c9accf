"""What the ledger says, slice by slice: closed slices of a stage as plain counts of all workers.

A past slice closes once every request of it is finished in every row and worker (looked at SETTLE_S after its end, so
that no arrival is still being written), or when the grace is over: what is in flight then counts at the bucket of its
age. Slices close in order, so a controller that was away for some seconds catches up. One that was away for longer
than the ledger keeps lanes skips what is overwritten: as a whole, since one arm's lanes are cleared before the
other's, and half a slice would look like a lost half of the traffic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from analysis.summaries import OTHER as OTHER_LABEL
from analysis.summaries import ArmCounts, Cut, FloatArray, Grid, GroupCounts, Moments, PairCounts, Repeats, Slice
from proxy.control.evidence.lending import LABELLED, Loan, find
from proxy.ledger import layout as at
from proxy.ledger.reader import Reader

SETTLE_S: Final = 0.05
TICK_AFTER_S: Final = 0.06
"""A tick comes this long after the end of a slice: what was answered at once is judged at once."""
CLOSE_AFTER_S: Final = at.GRACE_S + 0.2
READ_MARGIN_S: Final = 0.5
"""A lane is not read this close before it may be cleared."""
GROUPS_EVERY: Final = 10
"""Slices between two readings of what groups of users did, which no block of evidence needs more often."""
Slots = NDArray[np.bool_]
GRID: Final = Grid(at.LATENCY_BASE, at.LATENCY_LOWEST_S, at.LATENCY_BUCKETS)


@dataclass(slots=True, eq=False)
class Track:
    """The slices of one stage: which rows, how far they are read, and what they add up to.

    `until` is the last slice that requests of the stage may have arrived in, None while it goes on. `sums` are by
    role, `disagreed` by output (compared pairs, those that differ), `repeated` likewise: what was read, for people to
    look at. Only a judged track makes slices for a judge. `control` is the role that live requests of the candidate are
    compared with, `share` the candidate's of what is compared, `weight_ppm` its part of all live traffic.
    `rival` is the candidate, where there are several. `cuts` are moments in slices that are not read yet, by slice.
    """

    stage: int
    share: float
    judged: bool
    sticky: bool
    loans: tuple[Loan, ...]
    next_slice: int
    until: int | None = None
    skipped: int = 0
    sums: dict[str, ArmCounts] = field(default_factory=dict)
    compared: float = 0.0
    disagreed: dict[str, tuple[float, float]] = field(default_factory=dict)
    repeated: dict[str, Repeats] = field(default_factory=dict)
    control: str = "stable"
    weight_ppm: int = 0
    rival: str = ""
    cuts: dict[int, Cut] = field(default_factory=dict)

    @property
    def roles(self) -> tuple[str, str]:
        """The roles that stable and the candidate are compared in: whichever has no live traffic has its copies."""
        return "shadow" if self.share == 1 else self.control, "canary" if self.share else "shadow"

    @property
    def arrived(self) -> float:
        """Live requests that were read."""
        return sum(arm.assigned for role, arm in self.sums.items() if role != "shadow")

    @property
    def done(self) -> bool:
        """Whether all slices are read."""
        return self.until is not None and self.next_slice > self.until

    def read(self, reader: Reader, now_s: float, clock_offset_s: int = 0) -> Iterator[Slice]:
        """The slices that have closed since the last call, in order, empty ones too.

        `now_s` is the ledger's clock (monotonic), `clock_offset_s` turns it into one that outlives a reboot.
        """
        while not self.done:
            slice_ = self.next_slice
            if now_s > slice_ + at.LANES - READ_MARGIN_S:
                self.next_slice, self.skipped = slice_ + 1, self.skipped + 1
                self.cuts.pop(slice_, None)
                continue
            if not is_closed(reader, self.loans, slice_, now_s):
                return
            arms = {loan.role: counts(reader, loan, slice_) for loan in self.loans}
            compared = self._pairs(reader, slice_)
            self.next_slice = slice_ + 1
            self._add(arms, compared)
            cut = self.cuts.pop(slice_, None)
            if self.judged:
                yield self._slice(reader, arms, compared, slice_ + clock_offset_s, cut)

    def cut_short(self, reader: Reader, slices: Iterable[int], clock_offset_s: int = 0) -> Iterator[Slice]:
        """The next slices as they stand, whether they have closed or not: what is in flight counts as well for the
        candidate and as failed for stable. Nothing is moved: `skip_to` goes on after them."""
        stable, candidate = self.roles
        for slice_ in slices:
            arms = {
                loan.role: counts(reader, loan, slice_, {candidate: 0.0, stable: 1.0}.get(loan.role))
                for loan in self.loans
            }
            at_s, cut = slice_ + clock_offset_s, self.cuts.get(slice_)
            yield self._slice(reader, arms, self._pairs(reader, slice_), at_s, cut)

    def skip_to(self, slice_: int, cut: Iterable[Slice]) -> None:
        """Read on at a slice; those before it were cut short."""
        for each in cut:
            self._add(dict(zip(self.roles, (each.stable, each.candidate), strict=True)), each.pairs)
        self.next_slice = slice_
        self.cuts.clear()

    def _pairs(self, reader: Reader, slice_: int) -> PairCounts | None:
        shadow = find(self.loans, "shadow")
        return None if shadow is None else pairs(reader, shadow, slice_, turned=self.share == 1)

    def _add(self, arms: Mapping[str, ArmCounts], compared: PairCounts | None) -> None:
        for role, arm in arms.items():
            self.sums[role] = self.sums[role] + arm if role in self.sums else arm
        if compared is not None:
            self.compared += compared.compared
            self.disagreed = add_pairs(self.disagreed, compared.disagreed)
            self.repeated = add_repeats(self.repeated, compared.repeated)

    def _slice(
        self,
        reader: Reader,
        arms: Mapping[str, ArmCounts],
        compared: PairCounts | None,
        at_s: float,
        cut: Cut | None,
    ) -> Slice:
        nothing = ArmCounts.empty(GRID)
        stable, candidate = self.roles
        return Slice(
            stage=self.stage,
            at_s=at_s,
            duration_s=at.SLICE_S,
            share=self.share,
            stable=arms.get(stable, nothing),
            candidate=arms.get(candidate, nothing),
            pairs=compared,
            users=self._users(reader),
            sticky=self.sticky,
            groups=self._groups(reader) if self.sticky and not at_s % GROUPS_EVERY else None,
            rival=self.rival,
            cut=cut,
        )

    def _users(self, reader: Reader) -> tuple[int, int] | None:
        stable, canary = find(self.loans, self.control), find(self.loans, "canary")
        if not self.sticky or stable is None or canary is None:
            return None
        return user_count(users(reader, stable)), user_count(users(reader, canary))

    def _groups(self, reader: Reader) -> tuple[GroupCounts, GroupCounts] | None:
        stable, canary = find(self.loans, self.control), find(self.loans, "canary")
        return None if stable is None or canary is None else (groups(reader, stable), groups(reader, canary))


def is_closed(reader: Reader, loans: Sequence[Loan], slice_: int, now_s: float) -> bool:
    """Whether nothing more can come to a slice that would be evidence."""
    past_s = now_s - (slice_ + at.SLICE_S)
    if past_s < SETTLE_S:
        return False
    return past_s >= CLOSE_AFTER_S or all(
        reader.complete(worker, loan.index, loan.tenant, slice_)
        for loan in loans
        if loan.index >= 0
        for worker in reader.workers()
    )


def counts(reader: Reader, loan: Loan, slice_: int, failing: float | None = None) -> ArmCounts:
    """A slice of one row, over all workers. `failing` is the part of what is in flight that counts as failed; without
    it that is not answered at all, as is right for a slice that has closed."""
    lanes = _lanes(reader, loan, slice_)
    cells: FloatArray = np.sum([lane for _, lane in lanes], axis=0) if lanes else np.zeros(at.LANE_CELLS)
    latency = cells[at.L_LATENCY : at.L_LATENCY + at.LATENCY_BUCKETS].copy()
    in_flight = max(0.0, cells[at.L_ARRIVED] - cells[at.L_ON_TIME] - cells[at.L_LOST])
    latency[at.latency_bucket(at.GRACE_S)] += in_flight
    taken, failed = (0.0, 0.0) if failing is None else (in_flight, in_flight * failing)
    outputs = {name: _output(cells, number) for number, name in enumerate(loan.outputs)}
    labelled = [name for name, kind in zip(loan.outputs, loan.kinds, strict=True) if kind in LABELLED]
    numbers = [name for name, kind in zip(loan.outputs, loan.kinds, strict=True) if kind == "number"]
    return ArmCounts(
        assigned=float(cells[at.L_ARRIVED]),
        recorded=float(cells[at.L_ON_TIME]),
        answered=float(cells[at.L_ON_TIME] + cells[at.L_LATE] + cells[at.L_CUT] + taken),
        failed=float(cells[at.L_FAILED] + cells[at.L_LATE_FAILED] + cells[at.L_CUT] + failed),
        latency=latency,
        labels={name: _labels(reader, loan, name, lanes) for name in labelled},
        numbers={name: Moments(*map(float, outputs[name][at.O_N : at.O_SQUARES + 1])) for name in numbers},
        histograms={name: outputs[name][at.O_NUMBERS :].copy() for name in numbers},
        group_n=cells[at.L_GROUP_N : at.L_GROUP_FAILED].copy(),
        group_failed=cells[at.L_GROUP_FAILED : at.L_RATIO].copy(),
        missing={name: float(output[at.O_MISSING]) for name, output in outputs.items()},
        invalid={name: float(output[at.O_INVALID]) for name, output in outputs.items()},
        clipped={name: float(output[at.O_CLIPPED]) for name, output in outputs.items()},
    )


def pairs(reader: Reader, loan: Loan, slice_: int, turned: bool = False) -> PairCounts:
    """What a shadow's copies said, compared with the live answers to the same requests.

    `turned` where stable is the shadow: the ratio of latencies is that of the candidate's to stable's all the same.
    """
    lanes = _lanes(reader, loan, slice_)
    cells: FloatArray = np.sum([lane for _, lane in lanes], axis=0) if lanes else np.zeros(at.LANE_CELLS)
    compared = {
        name: (float(cells[at.L_PAIR_OUTPUTS + 2 * n]), float(cells[at.L_PAIR_OUTPUTS + 2 * n + 1]))
        for n, name in enumerate(loan.outputs)
    }
    width, end = at.REPEATED_CELLS, at.L_REPEATED + at.REPEATED_CELLS * len(loan.outputs)
    again = zip(loan.outputs, cells[at.L_REPEATED : end].reshape(-1, width).tolist(), strict=True)
    repeated = {name: Repeats(*found) for name, found in again if found[0]}
    ratio = cells[at.L_RATIO : at.L_PAIR_OUTPUTS]
    # Buckets lie evenly around 1 on a logarithmic scale, so that the other way round is the inverse.
    ratio = (ratio[::-1] if turned else ratio).copy()
    return PairCounts(float(cells[at.L_PAIRS]), compared, ratio, {} if turned else repeated)


def users(reader: Reader, loan: Loan) -> Slots:
    """Which user slots of a row are filled, in any worker."""
    seen = np.zeros(at.USER_SLOTS, dtype=np.bool_)
    for worker in reader.workers():
        raw = reader.users(worker, loan.index, loan.tenant) if loan.index >= 0 else None
        if raw is not None:
            seen |= np.frombuffer(raw, dtype=np.bool_)
    return seen


def groups(reader: Reader, loan: Loan) -> GroupCounts:
    """What a row counted by group of users, over all workers, since it was lent: all of its stage so far."""
    found = GroupCounts(np.zeros((at.GROUP_BUCKETS, at.GROUPS)), {}, {})
    for worker in reader.workers() if loan.index >= 0 else ():
        latency = reader.group_latency(worker, loan.index, loan.tenant)
        if latency is None:
            continue
        labels, numbers = {}, {}
        for number, (name, kind) in enumerate(zip(loan.outputs, loan.kinds, strict=True)):
            if kind in LABELLED:
                labels[name] = _group_labels(reader, loan, number, worker)
                continue
            cells = reader.group_numbers(worker, loan.index, loan.tenant, number)
            if kind == "number" and cells is not None:
                numbers[name] = np.frombuffer(cells).reshape(2, at.GROUPS)
        found += GroupCounts(np.frombuffer(latency).reshape(-1, at.GROUPS), labels, numbers)
    return found


def _group_labels(reader: Reader, loan: Loan, number: int, worker: int) -> dict[str, FloatArray]:
    cells = reader.group_labels(worker, loan.index, loan.tenant, number)
    found: dict[str, FloatArray] = {}
    if cells is not None:
        table = np.frombuffer(cells).reshape(at.LABELS, at.GROUPS)
        for text, counted in zip(label_texts(reader, loan, number, worker), table, strict=True):
            if counted.any():
                found[text] = found[text] + counted if text in found else counted
    return found


def user_count(slots: Slots) -> int:
    """How many users fill these slots, where some share one (linear counting: 0.5 % off at 30,000 users).

    >>> user_count(np.arange(at.USER_SLOTS) < 100), user_count(np.arange(at.USER_SLOTS) < 8192)
    (100, 9427)
    """
    empty = max(1, at.USER_SLOTS - int(np.count_nonzero(slots)))
    return round(at.USER_SLOTS * log(at.USER_SLOTS / empty))


def add_pairs(
    left: Mapping[str, tuple[float, float]], right: Mapping[str, tuple[float, float]]
) -> dict[str, tuple[float, float]]:
    """Compared pairs, and those that differ, by output."""
    none = (0.0, 0.0)
    return {
        name: (left.get(name, none)[0] + right.get(name, none)[0], left.get(name, none)[1] + right.get(name, none)[1])
        for name in {**left, **right}
    }


def add_repeats(left: Mapping[str, Repeats], right: Mapping[str, Repeats]) -> dict[str, Repeats]:
    """Requests that stable was asked twice, by output."""
    return {name: left.get(name, Repeats()) + right.get(name, Repeats()) for name in {**left, **right}}


def _lanes(reader: Reader, loan: Loan, slice_: int) -> list[tuple[int, FloatArray]]:
    """(worker, cells) of every worker that had requests of the slice."""
    if loan.index < 0:
        return []
    found = ((worker, reader.lane(worker, loan.index, loan.tenant, slice_)) for worker in reader.workers())
    return [(worker, np.frombuffer(lane)) for worker, lane in found if lane is not None]


def _output(cells: FloatArray, number: int) -> FloatArray:
    start = at.L_OUTPUTS + number * at.OUTPUT_CELLS
    return cells[start : start + at.OUTPUT_CELLS]


def _labels(reader: Reader, loan: Loan, output: str, lanes: Sequence[tuple[int, FloatArray]]) -> dict[str, float]:
    """Counts by text: each worker numbers the labels in the order in which it met them."""
    number = loan.outputs.index(output)
    found: Counter[str] = Counter()
    for worker, lane in lanes:
        texts = label_texts(reader, loan, number, worker)
        slots = _output(lane, number)[at.O_LABELS : at.O_LABELS + at.LABELS]
        for slot in np.flatnonzero(slots):
            found[texts[slot]] += float(slots[slot])  # type: ignore[assignment]  # counts are floats in the ledger
    return dict(found)


def label_texts(reader: Reader, loan: Loan, output: int, worker: int) -> list[str]:
    """The text of every label slot of an output in one worker; slots without a text are OTHER_LABEL."""
    table = loan.tables[output]
    known = reader.labels(worker, table.index, table.tenant) if table.index >= 0 else []
    return known + [OTHER_LABEL] * (at.LABELS - len(known))
