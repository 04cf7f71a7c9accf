"""A worker's side of the ledger: one slab, one writer, a handful of cells for each request."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from math import log
from typing import Final, SupportsIndex

from proxy.faults import Fault, Retry, Skip
from proxy.ledger.guards import Guards
from proxy.ledger.labels import LabelTable
from proxy.ledger.layout import (
    ENDPOINT_CELLS,
    GRACE_S,
    GROUP_STEP_BITS,
    GROUPS,
    INV_LOG_BASE,
    INV_LOG_RATIO,
    L_ARRIVED,
    L_CUT,
    L_FAILED,
    L_GROUP_FAILED,
    L_GROUP_N,
    L_LATE,
    L_LATE_FAILED,
    L_LATENCY,
    L_LOST,
    L_ON_TIME,
    L_OUTPUTS,
    L_PAIR_OUTPUTS,
    L_PAIRS,
    L_RATIO,
    L_REPEATS,
    L_REPEATS_ENDED,
    LABELS,
    LANE_CELLS,
    LANES,
    LATENCY_LOWEST_S,
    LATENCY_OFFSET,
    NO_STATUS,
    O_CLIPPED,
    O_INVALID,
    O_LABELS,
    O_MISSING,
    O_N,
    O_NUMBERS,
    O_SQUARES,
    O_SUM,
    OUTPUT_CELLS,
    R_ARRIVED,
    R_CONFUSION,
    R_CUT,
    R_FAULTS,
    R_GROUP_LABELS,
    R_GROUP_LATENCY,
    R_GROUP_NUMBERS,
    R_GROUPED,
    R_LANES,
    R_LOST,
    R_RETRIES,
    R_RETRYING,
    R_SKIPS,
    R_STATUSES,
    R_TENANT,
    RATIO_BUCKETS,
    W_CONNECTIONS,
    W_IN_FLIGHT,
    W_REFUSED,
    attach,
)
from proxy.ledger.reading import Reading
from proxy.ledger.repeats import Repeats
from proxy.ledger.row import Row

_CLEARING: Final = -1.0
"""The tenant of a row that is being cleared: a worker that dies meanwhile leaves a row that is not taken for empty."""
_ZEROS: Final = memoryview(bytes(8 * max(LANE_CELLS, R_LANES))).cast("d")


class Writer:
    """One worker's slab. All methods are called from that worker's thread alone."""

    def __init__(self, fd: int, worker: int) -> None:
        self._memory, self.shape = attach(fd)
        self._cells = memoryview(self._memory).cast("d")
        self._bytes = memoryview(self._memory)
        self._worker = worker
        self._slab = self.shape.slab(worker)
        self._tenants: dict[int, Row] = {}
        self._tables: dict[int, LabelTable] = {}
        self.guards = Guards(self._cells, self.shape, worker)
        self.repeats = Repeats(self._cells)
        self._close_books()

    def _close_books(self) -> None:
        """Settle what a dead predecessor left: the requests it had in flight are lost."""
        cells = self._cells
        for index in range(self.shape.rows):
            row = Row(index, 0, self.shape.row(self._worker, index), 0)
            if cells[row.base + R_TENANT] <= 0:
                continue
            for at in row.lane_bases:
                cells[at + L_LOST] = max(0.0, cells[at + L_ARRIVED] - cells[at + L_ON_TIME])
                cells[at + L_REPEATS_ENDED] = cells[at + L_REPEATS]
            arrived, on_time, lost, late = (
                cells[row.base + cell] + sum(cells[at + cell] for at in row.lane_bases)
                for cell in (L_ARRIVED, L_ON_TIME, L_LOST, L_LATE)
            )
            # In total: what ended late was not lost, and what outlived its lane was.
            cells[row.base + R_LOST] += arrived - on_time - late - lost
            cells[row.base + R_RETRYING] = 0.0  # their clients saw the failure, or nothing
        cells[self._slab + W_CONNECTIONS] = 0
        cells[self._slab + W_IN_FLIGHT] = 0

    # --- the worker itself
    def set_worker(self, cell: int, value: float) -> None:
        """Write one of the worker's own cells (W_…)."""
        self._cells[self._slab + cell] = value

    def add_worker(self, cell: int, amount: float) -> None:
        """Add to one of the worker's own cells (W_…)."""
        _add(self._cells, self._slab + cell, amount)

    def set_endpoint(self, number: int, values: array[float]) -> None:
        """Write the cells of an endpoint (`proxy.ledger.endpoints`)."""
        at = self.shape.endpoint(self._worker, number)
        self._cells[at : at + ENDPOINT_CELLS] = memoryview(values)

    def refuse(self, fault: Fault) -> None:
        """Count a request that no version saw."""
        _add(self._cells, self._slab + W_REFUSED + fault, 1.0)

    # --- rows
    def occupy(self, index: int, tenant: int, outputs: int) -> Row:
        """The hold on a row for its tenant; the row is cleared if another tenant was there.

        Raises:
            IndexError: the ledger has no such row.
        """
        if not 0 <= index < self.shape.rows:
            raise IndexError(f"row {index} is not in a ledger of {self.shape.rows} rows")
        held = self._tenants.get(index)
        if held is not None and held.tenant == tenant:
            held.lane_cells = max(held.lane_cells, L_OUTPUTS + outputs * OUTPUT_CELLS)
            return held
        if held is not None:
            held.live = False
        base = self.shape.row(self._worker, index)
        row = Row(index, tenant, base, outputs)
        cells = self._cells
        if cells[base + R_TENANT] != tenant:
            if cells[base + R_TENANT]:
                self._clear(row)
            cells[base + R_TENANT] = tenant
        self._tenants[index] = row
        return row

    def _clear(self, row: Row) -> None:
        cells, base = self._cells, row.base
        cells[base + R_TENANT] = _CLEARING
        if cells[base + R_GROUPED]:  # cleared first: the mark goes with the cells below
            cells[base + R_GROUP_LATENCY : base + R_LANES] = _ZEROS[R_GROUP_LATENCY:R_LANES]
        cells[base + R_ARRIVED : base + R_GROUP_LATENCY] = _ZEROS[R_ARRIVED:R_GROUP_LATENCY]
        for at in row.lane_bases:
            cells[at : at + LANE_CELLS] = _ZEROS[:LANE_CELLS]

    def _open(self, at: int, row: Row, slice_: int) -> None:
        """Carry the old slice of a lane into the totals and clear the lane for its next slice."""
        cells = self._cells
        for cell in range(L_ARRIVED, L_LATE_FAILED + 1):
            cells[row.base + cell] += cells[at + cell]
        cells[at : at + row.lane_cells] = _ZEROS[: row.lane_cells]
        cells[at] = slice_

    def arrive(self, row: Row, now_s: float, user: int = -1) -> None:
        """Count an assignment. `user` is a slot below USER_SLOTS, or -1 where users are not known."""
        if not row.live:
            return
        cells = self._cells
        slice_ = int(now_s)
        at = row.lane_bases[slice_ % LANES]
        if cells[at] != slice_:
            self._open(at, row, slice_)
        _add(cells, at + L_ARRIVED, 1.0)
        if user >= 0:
            self._bytes[row.users + user] = 1

    def finish(
        self,
        row: Row,
        arrived_s: float,
        now_s: float,
        failed: bool,
        status: int,
        fault: int,
        group: int = -1,
        readings: list[Reading] | None = None,
    ) -> None:
        """Add one outcome, the whole of what an exchange contributed.

        `status` is 0 where nothing was answered. The count that completes the slice is written last, so a reader that
        sees the slice complete sees all of it.
        """
        if not row.live:
            return
        cells = self._cells
        if status != 200:
            answer = status if 100 <= status < NO_STATUS else NO_STATUS
            _add(cells, row.base + R_STATUSES - 100 + answer, 1.0)
        if fault:
            _add(cells, row.base + R_FAULTS + fault, 1.0)
        latency_s = now_s - arrived_s
        if latency_s > GRACE_S:
            self._finish_late(row, now_s, failed)
            return
        at = row.lane_bases[int(arrived_s) % LANES]
        bucket = 0
        if latency_s > LATENCY_LOWEST_S:  # latency_bucket, in line
            bucket = int(log(latency_s) * INV_LOG_BASE + LATENCY_OFFSET)
        _add(cells, at + L_LATENCY + bucket, 1.0)
        if failed:
            _add(cells, at + L_FAILED, 1.0)
        if group >= 0:
            _add(cells, at + L_GROUP_N + group, 1.0)
            if failed:
                _add(cells, at + L_GROUP_FAILED + group, 1.0)
            _add(cells, row.base + R_GROUP_LATENCY + (bucket >> GROUP_STEP_BITS) * GROUPS + group, 1.0)
            if not row.grouped:
                cells[row.base + R_GROUPED] = 1
                row.grouped = True
        if readings:
            for reading in readings:
                self._read(at, reading)
                if group >= 0:
                    self._read_of_group(row.base, reading, group)
        _add(cells, at + L_ON_TIME, 1.0)

    def _finish_late(self, row: Row, now_s: float, failed: bool) -> None:
        cells = self._cells
        slice_ = int(now_s)
        at = row.lane_bases[slice_ % LANES]
        if cells[at] != slice_:
            self._open(at, row, slice_)
        _add(cells, at + L_LATE, 1.0)
        if failed:
            _add(cells, at + L_LATE_FAILED, 1.0)

    def cut(self, row: Row, now_s: float) -> None:
        """Turn the outcome of a tunnel, which was none of failure when it was opened, into one.

        The slice of that outcome is closed. The failure belongs to the one that it happens in, with an answer of its
        own there, so that no slice has more failures than answers; in total there is the one outcome.
        """
        if not row.live:
            return
        cells = self._cells
        _add(cells, row.base + R_FAULTS + Fault.RESPONSE_CUT, 1.0)
        _add(cells, row.base + R_CUT, 1.0)
        slice_ = int(now_s)
        at = row.lane_bases[slice_ % LANES]
        if cells[at] != slice_:
            self._open(at, row, slice_)
        _add(cells, at + L_CUT, 1.0)

    def _read(self, lane: int, reading: Reading) -> None:
        cells = self._cells
        at = lane + L_OUTPUTS + reading.output * OUTPUT_CELLS
        labels, numbers = reading.labels, reading.numbers
        for slot in labels:
            _add(cells, at + O_LABELS + slot, 1.0)
        if count := len(labels) + len(numbers):
            _add(cells, at + O_N, float(count))
        if numbers:
            total, squares = cells[at + O_SUM], cells[at + O_SQUARES]
            for number in numbers:
                total += number
                squares += number * number
            cells[at + O_SUM], cells[at + O_SQUARES] = total, squares
            for bucket in reading.number_buckets:
                _add(cells, at + O_NUMBERS + bucket, 1.0)
        if reading.missing:  # a cell that is left alone costs nothing, and these are rare
            _add(cells, at + O_MISSING, float(reading.missing))
        if reading.invalid:
            _add(cells, at + O_INVALID, float(reading.invalid))
        if reading.clipped:
            _add(cells, at + O_CLIPPED, float(reading.clipped))

    def _read_of_group(self, row: int, reading: Reading, group: int) -> None:
        cells, numbers = self._cells, reading.numbers
        for slot in reading.labels:
            _add(cells, row + R_GROUP_LABELS + (reading.output * LABELS + slot) * GROUPS + group, 1.0)
        if numbers:
            at = row + R_GROUP_NUMBERS + reading.output * 2 * GROUPS + group
            _add(cells, at, float(len(numbers)))
            total = cells[at + GROUPS]
            for number in numbers:
                total += number
            cells[at + GROUPS] = total

    def pair(
        self,
        row: Row,
        arrived_s: float,
        now_s: float,
        ratio: float,
        outputs: Sequence[tuple[int, bool, Sequence[tuple[int, int]]]],
    ) -> None:
        """Add one compared pair to a shadow's row, before that shadow's `finish`.

        `ratio` is the shadow's latency over stable's. `outputs` has (output, disagrees, label pairs) for each output
        that both answers had; a label pair is (stable's slot, shadow's slot).
        """
        if not row.live or now_s - arrived_s > GRACE_S:
            return
        cells, base = self._cells, row.base
        at = row.lane_bases[int(arrived_s) % LANES]
        if cells[at] != int(arrived_s):
            return
        _add(cells, at + L_PAIRS, 1.0)
        bucket = 0
        if ratio > 0:  # ratio_bucket, in line
            bucket = min(max(RATIO_BUCKETS // 2 + int(log(ratio) * INV_LOG_RATIO // 1), 0), RATIO_BUCKETS - 1)
        _add(cells, at + L_RATIO + bucket, 1.0)
        for output, disagrees, labels in outputs:
            _add(cells, at + L_PAIR_OUTPUTS + 2 * output, 1.0)
            if disagrees:
                _add(cells, at + L_PAIR_OUTPUTS + 2 * output + 1, 1.0)
            for stable, shadow in labels:
                _add(cells, base + R_CONFUSION + (output * LABELS + stable) * LABELS + shadow, 1.0)

    def skip(self, row: Row, reason: Skip) -> None:
        """Count a copy that was not sent to a shadow, or not compared."""
        if row.live:
            _add(self._cells, row.base + R_SKIPS + reason, 1.0)

    def retry(self, row: Row, result: Retry) -> None:
        """Count what became of an attempt after the first, or why none was made."""
        if row.live:
            _add(self._cells, row.base + R_RETRIES + result, 1.0)

    def retrying(self, row: Row, change: float) -> None:
        """Count a request that is to be tried again (1), or which was and has ended (-1)."""
        if row.live:
            _add(self._cells, row.base + R_RETRYING, change)

    def labels(self, index: int, tenant: int, disguise: Callable[[str], str] | None = None) -> LabelTable:
        """The one hold on a table of label texts for its tenant, with what is in it already. A tenant has one way in
        which its labels are written (`disguise`, see LabelTable)."""
        if not 0 <= index < self.shape.tables:
            raise IndexError(f"label table {index} is not in a ledger of {self.shape.tables} tables")
        held = self._tables.get(index)
        if held is not None:
            if held.tenant == tenant:
                return held
            held.close()
        table = LabelTable(self._cells, self._bytes, self.shape.table(self._worker, index), tenant, disguise)
        self._tables[index] = table
        return table


def _add(cells: memoryview[float], cell: SupportsIndex, amount: float) -> None:
    """Add to a cell. `+=` would leave the addition to the objects, and an `int` would be made twice from what compiled
    code has in its place: each costs as much as the reading."""
    cells[cell] = cells[cell] + amount
