"""The controller's side of the ledger: slices and totals as plain values."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from proxy.faults import Fault, Repeat, Retry, Skip
from proxy.ledger.guards import GuardTotals, totals
from proxy.ledger.layout import (
    ENDPOINT_CELLS,
    GROUPS,
    L_ARRIVED,
    L_CUT,
    L_FAILED,
    L_LATE,
    L_LATE_FAILED,
    L_LOST,
    L_ON_TIME,
    L_REPEATS,
    L_REPEATS_ENDED,
    L_STAMP,
    LABELS,
    LANE_CELLS,
    LANES,
    NO_STATUS,
    R_CONFUSION,
    R_CUT,
    R_FAULTS,
    R_GROUP_LABELS,
    R_GROUP_LATENCY,
    R_GROUP_NUMBERS,
    R_GROUPED,
    R_LANES,
    R_REPEATS,
    R_RETRIES,
    R_RETRYING,
    R_SKIPS,
    R_STATUSES,
    R_TENANT,
    R_USERS,
    T_TENANT,
    USER_SLOTS,
    WORKER_CELLS,
    attach,
    texts,
)

_SUMS: Final = range(L_ARRIVED, L_LATE_FAILED + 1)
_ATTEMPTS: Final = 8
"""Readings of totals: a lane is recycled once a second, in a microsecond, so that the second one already fits."""


@dataclass(frozen=True, slots=True)
class Totals:
    """A row since its tenant moved in, in one worker."""

    arrived: int
    finished: int
    failed: int
    lost: int
    late: int
    retries: dict[Retry, int]
    skips: dict[Skip, int]
    faults: dict[Fault, int]
    statuses: dict[int, int]
    """Answers by status; 0 counts outcomes without an answer."""
    repeats: dict[Repeat, int] = field(default_factory=dict)
    """Of a shadow: requests that stable was asked twice, by what became of it."""
    retrying: int = 0
    """Requests that have failed once, which `finished` and `failed` count, and which are tried again."""

    @property
    def failed_to_clients(self) -> int:
        """Failures that clients saw: `failed` counts first attempts, and some requests had an answer of a later one or
        may have one yet."""
        return max(0, self.failed - self.retries.get(Retry.SUCCEEDED, 0) - self.retrying)

    @property
    def in_flight(self) -> int:
        """Requests without an end: neither finished nor lost, or about to be tried again."""
        return max(0, self.arrived - self.finished - self.lost) + self.retrying

    @property
    def over(self) -> Totals:
        """The same once nobody will write of it any more: what is in flight is lost."""
        return replace(self, lost=max(self.lost, self.arrived - self.finished), retrying=0)


class Counted(NamedTuple):
    """Requests of a slice so far: all but those that were lost, those that failed, those in flight."""

    met: float
    failed: float
    in_flight: float


class Reader:
    """All slabs, read only. Values come as copies (`array("d")`); `None` says that a worker has nothing there."""

    def __init__(self, fd: int) -> None:
        self._memory, self.shape = attach(fd)
        self._cells = memoryview(self._memory).cast("d")
        self._bytes = memoryview(self._memory)

    def workers(self) -> range:
        """Numbers of the workers."""
        return range(self.shape.workers)

    def worker(self, worker: int) -> array[float]:
        """The worker's own cells (W_…)."""
        base = self.shape.slab(worker)
        return array("d", self._cells[base : base + WORKER_CELLS])

    def guards(self, worker: int, route: str) -> GuardTotals:
        """What the guards of a route did in a worker."""
        return totals(self._cells, self.shape.guards(worker), route)

    def endpoint(self, worker: int, number: int) -> array[float]:
        """The cells of an endpoint (`proxy.ledger.endpoints`)."""
        base = self.shape.endpoint(worker, number)
        return array("d", self._cells[base : base + ENDPOINT_CELLS])

    def totals(self, worker: int, row: int, tenant: int) -> Totals | None:
        """What happened in a row since its tenant moved in."""
        found = self._sums(worker, row, tenant)
        if found is None:
            return None
        head, (arrived, on_time, failed, lost, late, late_failed) = found
        statuses = {100 + i: int(n) for i, n in enumerate(head[R_STATUSES:R_RETRIES]) if n}
        unanswered = statuses.pop(NO_STATUS, 0)
        ok = on_time + late - unanswered - sum(statuses.values())
        if ok > 0:
            statuses[200] = ok
        if unanswered:
            statuses[0] = unanswered
        return Totals(
            arrived=arrived,
            finished=on_time + late,
            failed=failed + late_failed + int(head[R_CUT]),
            lost=lost,
            late=late,
            retries={retry: int(head[R_RETRIES + retry]) for retry in Retry if head[R_RETRIES + retry]},
            skips={skip: int(head[R_SKIPS + skip]) for skip in Skip if head[R_SKIPS + skip]},
            faults={fault: int(head[R_FAULTS + fault]) for fault in Fault if head[R_FAULTS + fault]},
            statuses=statuses,
            repeats={repeat: int(head[R_REPEATS + repeat]) for repeat in Repeat if head[R_REPEATS + repeat]},
            retrying=int(head[R_RETRYING]),
        )

    def confusion(self, worker: int, row: int, tenant: int, output: int) -> array[float] | None:
        """LABELS x LABELS pairs of one output, stable's label first."""
        return self._copy(worker, row, tenant, R_CONFUSION + output * LABELS * LABELS, LABELS * LABELS)

    def users(self, worker: int, row: int, tenant: int) -> bytes | None:
        """USER_SLOTS bytes, 1 where a user was seen."""
        copy = self._copy(worker, row, tenant, R_USERS, USER_SLOTS // 8)
        return None if copy is None else copy.tobytes()

    def group_latency(self, worker: int, row: int, tenant: int) -> array[float] | None:
        """GROUP_BUCKETS x GROUPS; None also where nothing was counted by group of users."""
        return self._grouped(worker, row, tenant, R_GROUP_LATENCY, R_GROUP_LABELS - R_GROUP_LATENCY)

    def group_labels(self, worker: int, row: int, tenant: int, output: int) -> array[float] | None:
        """LABELS x GROUPS of one output."""
        return self._grouped(worker, row, tenant, R_GROUP_LABELS + output * LABELS * GROUPS, LABELS * GROUPS)

    def group_numbers(self, worker: int, row: int, tenant: int, output: int) -> array[float] | None:
        """Counts and sums, 2 x GROUPS, of one output."""
        return self._grouped(worker, row, tenant, R_GROUP_NUMBERS + output * 2 * GROUPS, 2 * GROUPS)

    def lane(self, worker: int, row: int, tenant: int, slice_: int) -> array[float] | None:
        """The LANE_CELLS cells of one slice, or None if the worker had no request of it (or it is overwritten)."""
        offset = R_LANES + (slice_ % LANES) * LANE_CELLS
        copy = self._copy(worker, row, tenant, offset, LANE_CELLS)
        if copy is None or copy[L_STAMP] != slice_:
            return None
        overtaken = self._cells[self.shape.row(worker, row) + offset + L_STAMP] != slice_
        return None if overtaken else copy

    def complete(self, worker: int, row: int, tenant: int, slice_: int) -> bool:
        """Whether every request of a past slice is finished on time or lost, and nothing more is awaited of repeats."""
        base = self.shape.row(worker, row)
        at = base + R_LANES + (slice_ % LANES) * LANE_CELLS
        cells = self._cells
        if cells[base + R_TENANT] != tenant or cells[at] != slice_:
            return True
        if cells[at + L_REPEATS] > cells[at + L_REPEATS_ENDED]:
            return False
        return cells[at + L_ARRIVED] <= cells[at + L_ON_TIME] + cells[at + L_LOST]

    def counted(self, worker: int, row: int, tenant: int, slice_: int) -> Counted:
        """What a slice has counted by now, which may go on; nothing where the worker had no request of it.

        Read in such an order that what is written meanwhile makes failures no more and what is in flight no less.
        """
        cells, base = self._cells, self.shape.row(worker, row)
        at = base + R_LANES + (slice_ % LANES) * LANE_CELLS
        if cells[base + R_TENANT] != tenant or cells[at] != slice_:
            return Counted(0.0, 0.0, 0.0)
        ended = cells[at + L_ON_TIME] + cells[at + L_LOST]
        late_failed, cut = cells[at + L_LATE_FAILED], cells[at + L_CUT]
        failed = cells[at + L_FAILED] + late_failed + cut
        others = cells[at + L_LATE] + cut - cells[at + L_LOST]
        arrived = cells[at + L_ARRIVED]
        if cells[at] != slice_ or cells[base + R_TENANT] != tenant:
            return Counted(0.0, 0.0, 0.0)
        return Counted(arrived + others, failed, max(0.0, arrived - ended))

    def labels(self, worker: int, table: int, tenant: int) -> list[str]:
        """Label texts of a table in the order of their slots; slot OTHER has no text."""
        base = self.shape.table(worker, table)
        return texts(self._cells, self._bytes, base) if self._cells[base + T_TENANT] == tenant else []

    def _sums(self, worker: int, row: int, tenant: int) -> tuple[array[float], list[int]] | None:
        """The head of a row, and its sums with those of the lanes, read while no lane was recycled."""
        cells = self._cells
        base = self.shape.row(worker, row) + R_LANES
        lanes = range(base, base + LANES * LANE_CELLS, LANE_CELLS)
        for left in reversed(range(_ATTEMPTS)):
            stamps = [cells[at] for at in lanes]
            head = self._copy(worker, row, tenant, 0, R_CONFUSION)
            if head is None:
                return None
            sums = [int(head[cell] + sum(cells[at + cell] for at in lanes)) for cell in _SUMS]
            if not left or stamps == [cells[at] for at in lanes]:
                return head, sums
        return None

    def _grouped(self, worker: int, row: int, tenant: int, offset: int, count: int) -> array[float] | None:
        grouped = self._cells[self.shape.row(worker, row) + R_GROUPED]
        return self._copy(worker, row, tenant, offset, count) if grouped else None

    def _copy(self, worker: int, row: int, tenant: int, offset: int, count: int) -> array[float] | None:
        cells, base = self._cells, self.shape.row(worker, row)
        if cells[base + R_TENANT] != tenant:
            return None
        copy: array[float] = array("d")
        copy.frombytes(self._bytes[(base + offset) * 8 : (base + offset + count) * 8])
        return copy if cells[base + R_TENANT] == tenant else None
