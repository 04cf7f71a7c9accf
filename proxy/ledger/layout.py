"""Where every cell of the ledger is: grids, offsets, and the shape of the whole memory."""

from __future__ import annotations

import mmap
import os
import secrets
from array import array
from dataclasses import dataclass
from math import log
from typing import Final

# --- the time grid
SLICE_S: Final = 1.0
"""Length of a slice in seconds of the monotonic clock, which all processes of a machine share."""
LANES: Final = 16
GRACE_S: Final = 10.0
"""A request is on time if it finishes within this many seconds; LANES must cover SLICE_S + GRACE_S and time to read."""

# --- the value grids
LATENCY_BASE: Final = 1.01
LATENCY_LOWEST_S: Final = 1e-4
LATENCY_BUCKETS: Final = 1620
"""0.1 ms to 1,000 s; bucket i holds [lowest * base**i, lowest * base**(i+1)), the ends hold what is beyond them."""
RATIO_BASE: Final = 1.04
RATIO_BUCKETS: Final = 256
"""Shadow latency over stable latency: bucket 128 starts at 1, the ends are 1/151 and 151."""
OUTPUTS: Final = 8
LABELS: Final = 64
"""Label slots of an output: 63 texts in the order they were first seen, and the last slot for all others."""
OTHER: Final = LABELS - 1
LABEL_BYTES: Final = 64
NUMBER_BUCKETS: Final = 64
GROUPS: Final = 64
USER_SLOTS: Final = 32_768
GROUP_STEP_BITS: Final = 3
GROUP_BUCKETS: Final = (LATENCY_BUCKETS >> GROUP_STEP_BITS) + 1
"""Latency by group of users needs no more than buckets of 8 %: how much users differ is read off it, no quantile."""

# --- cells of a worker
W_PID: Final = 0
W_GENERATION: Final = 1
W_STARTED: Final = 2
W_CONNECTIONS: Final = 3
W_ACCEPTED: Final = 4
W_IN_FLIGHT: Final = 5
W_HEARTBEAT: Final = 6
W_UPSTREAM_OPENED: Final = 7
W_UPSTREAM_REUSED: Final = 8
W_TURNED_AWAY: Final = 9
"""Connections of clients that were closed at once, since a bound was reached."""
W_LOGGED: Final = 10
W_LOG_DROPPED: Final = 11
"""Lines of the access log that were written, and those that were not, for want of room or of a place."""
W_REFUSED: Final = 16
"""First of 32 cells: requests that no version saw, by fault."""
WORKER_CELLS: Final = 64

# --- guards: counts of routes, and times of rate-limited keys; both are found by hash
GUARD_ROUTES: Final = 2048
"""Twice as many as a file may have routes: names that are gone keep their place."""
GUARD_ROUTE_CELLS: Final = 16
"""Tag, then the cells that `proxy.ledger.guards` names."""
GUARD_KEYS: Final = 8192
"""Pairs of (tag, time) of keys of rate limits."""
G_KEYS: Final = (GUARD_ROUTES + 1) * GUARD_ROUTE_CELLS
"""After the routes, and one place more for those that found none."""
GUARD_CELLS: Final = G_KEYS + 2 * GUARD_KEYS

# --- endpoints of a worker
ENDPOINTS: Final = 2048
"""Endpoints of all backends that a worker tells of; each takes 64 bytes, and only if it is there."""
E_TAG: Final = 0
"""What the entry is about (`proxy.ledger.endpoints`, which knows the other cells); 0 is nothing."""
ENDPOINT_CELLS: Final = 8

# --- a label table: tenant, count, then LABELS texts of LABEL_BYTES
T_TENANT: Final = 0
T_COUNT: Final = 1
TABLE_HEAD: Final = 2
TABLE_CELLS: Final = TABLE_HEAD + LABELS * LABEL_BYTES // 8

# --- totals of a row
R_TENANT: Final = 0
R_ARRIVED: Final = 1
"""R_ARRIVED to R_LATE_FAILED: carried out of lanes that were cleared; `Reader.totals` adds what the lanes hold."""
R_ON_TIME: Final = 2
R_FAILED: Final = 3
R_LOST: Final = 4
R_LATE: Final = 5
R_LATE_FAILED: Final = 6
R_GROUPED: Final = 7
"""1 where something was counted by group of users: only then are those cells cleared, and worth reading."""
R_SKIPS: Final = 8
"""First of 16 cells: copies not sent or not compared, by reason (rows of shadows)."""
R_FAULTS: Final = 24
"""First of 32 cells: outcomes by fault (NONE is never counted)."""
R_CUT: Final = 56
"""Tunnels that were cut: they finished when they were opened, and have failed since."""
R_RETRYING: Final = 57
"""Requests whose first attempt has failed, which is counted, and which have no answer yet: they are tried again."""
R_STATUSES: Final = 64
"""First of 512 cells: answers by status, status 100 first; 200 is never counted, `Reader.totals` derives it.
Outcomes without an answer count at NO_STATUS."""
NO_STATUS: Final = 611
R_RETRIES: Final = 576
"""First of 16 cells: attempts after the first by what became of them, and failures that were not tried again."""
R_REPEATS: Final = 592
"""First of 16 cells: requests that stable was asked twice, by what became of it (rows of shadows)."""
R_CONFUSION: Final = 608
"""First of OUTPUTS * LABELS * LABELS cells: pairs by (stable's label, shadow's label) of each output."""
R_USERS: Final = R_CONFUSION + OUTPUTS * LABELS * LABELS
"""USER_SLOTS bytes: 1 where a user whose key hashes there was assigned to the row."""
R_GROUP_LATENCY: Final = R_USERS + USER_SLOTS // 8
"""GROUP_BUCKETS times GROUPS cells: what was on time, by latency and group of the user."""
R_GROUP_LABELS: Final = R_GROUP_LATENCY + GROUP_BUCKETS * GROUPS
"""OUTPUTS times LABELS times GROUPS cells."""
R_GROUP_NUMBERS: Final = R_GROUP_LABELS + OUTPUTS * LABELS * GROUPS
"""OUTPUTS times (count, sum) times GROUPS cells."""
R_LANES: Final = R_GROUP_NUMBERS + OUTPUTS * 2 * GROUPS

# --- a lane
L_STAMP: Final = 0
L_ARRIVED: Final = 1
L_ON_TIME: Final = 2
L_FAILED: Final = 3
L_LOST: Final = 4
L_LATE: Final = 5
"""Late finishes DURING this slice, whenever they arrived, and how many of them failed."""
L_LATE_FAILED: Final = 6
L_CUT: Final = 7
"""Tunnels that were cut DURING this slice: as many answers more, all of which failed."""
L_PAIRS: Final = 9
L_REPEATS: Final = 10
"""Copies whose request stable was asked a second time, and those of them of which nothing is awaited any more."""
L_REPEATS_ENDED: Final = 11
L_LATENCY: Final = 16
L_GROUP_N: Final = L_LATENCY + LATENCY_BUCKETS
L_GROUP_FAILED: Final = L_GROUP_N + GROUPS
L_RATIO: Final = L_GROUP_FAILED + GROUPS
L_PAIR_OUTPUTS: Final = L_RATIO + RATIO_BUCKETS
"""OUTPUTS times (compared, disagreed)."""
L_REPEATED: Final = L_PAIR_OUTPUTS + 2 * OUTPUTS
"""OUTPUTS times (compared; the shadow's alone differs from stable's first answer; stable's second alone; both)."""
REPEATED_CELLS: Final = 4
L_OUTPUTS: Final = L_REPEATED + REPEATED_CELLS * OUTPUTS

O_N: Final = 0
O_SUM: Final = 1
O_SQUARES: Final = 2
O_MISSING: Final = 3
O_INVALID: Final = 4
O_CLIPPED: Final = 5
O_LABELS: Final = 8
O_NUMBERS: Final = O_LABELS + LABELS
OUTPUT_CELLS: Final = O_NUMBERS + NUMBER_BUCKETS

LANE_CELLS: Final = L_OUTPUTS + OUTPUTS * OUTPUT_CELLS
ROW_CELLS: Final = R_LANES + LANES * LANE_CELLS

_HEADER_CELLS: Final = 512
_MAGIC: Final = 0x5553_4C35
INV_LOG_BASE: Final = 1.0 / log(LATENCY_BASE)
LATENCY_OFFSET: Final = -log(LATENCY_LOWEST_S) * INV_LOG_BASE
INV_LOG_RATIO: Final = 1.0 / log(RATIO_BASE)


@dataclass(frozen=True, slots=True)
class Shape:
    """How many of each thing a ledger has room for, and the random name of this memory."""

    workers: int
    rows: int
    tables: int
    boot: int = 0

    @property
    def slab_cells(self) -> int:
        """Cells of one worker's slab."""
        fixed = WORKER_CELLS + GUARD_CELLS + ENDPOINTS * ENDPOINT_CELLS
        return fixed + self.tables * TABLE_CELLS + self.rows * ROW_CELLS

    @property
    def size(self) -> int:
        """Bytes of the whole memory; pages that are never touched cost nothing."""
        return 8 * (_HEADER_CELLS + self.workers * self.slab_cells)

    def slab(self, worker: int) -> int:
        """First cell of a worker's slab."""
        return _HEADER_CELLS + worker * self.slab_cells

    def guards(self, worker: int) -> int:
        """First cell of what guards routes."""
        return self.slab(worker) + WORKER_CELLS

    def endpoint(self, worker: int, number: int) -> int:
        """First cell of an endpoint."""
        return self.guards(worker) + GUARD_CELLS + number * ENDPOINT_CELLS

    def table(self, worker: int, table: int) -> int:
        """First cell of a label table."""
        return self.endpoint(worker, ENDPOINTS) + table * TABLE_CELLS

    def row(self, worker: int, row: int) -> int:
        """First cell of a row."""
        return self.table(worker, self.tables) + row * ROW_CELLS


def create(workers: int, rows: int, tables: int) -> int:
    """A new, empty ledger as the descriptor of an anonymous file; children may inherit it."""
    shape = Shape(workers, rows, tables, secrets.randbits(48))
    fd = os.memfd_create("understudy-ledger")
    os.ftruncate(fd, shape.size)
    with mmap.mmap(fd, 8 * _HEADER_CELLS) as memory:
        header = array("d", [_MAGIC, workers, rows, tables, shape.boot])
        memory[: len(header) * 8] = header.tobytes()
    os.set_inheritable(fd, True)
    return fd


def attach(fd: int) -> tuple[mmap.mmap, Shape]:
    """The memory behind a descriptor and its shape.

    Raises:
        ValueError: the descriptor is not a ledger of this release.
    """
    memory = mmap.mmap(fd, 0)
    header = memoryview(memory)[: 8 * _HEADER_CELLS].cast("d")
    magic, workers, rows, tables, boot = (int(cell) for cell in header[:5])
    header.release()
    if magic != _MAGIC:
        raise ValueError(f"descriptor {fd} is not a ledger of this release: start all processes from one release")
    return memory, Shape(workers, rows, tables, boot)


def serving(fd: int) -> bool:
    """Whether every worker of a ledger has a snapshot and takes clients."""
    memory, shape = attach(fd)
    cells = memoryview(memory).cast("d")
    try:
        return all(cells[shape.slab(worker) + W_GENERATION] > 0 for worker in range(shape.workers))
    finally:
        cells.release()
        memory.close()


def latency_bucket(seconds: float) -> int:
    """The bucket of a latency, 0 to LATENCY_BUCKETS - 1.

    >>> latency_bucket(1e-4), latency_bucket(0.05), latency_bucket(1e9)
    (0, 624, 1619)
    """
    if seconds <= LATENCY_LOWEST_S:
        return 0
    bucket = int(log(seconds) * INV_LOG_BASE + LATENCY_OFFSET)
    return bucket if bucket < LATENCY_BUCKETS else LATENCY_BUCKETS - 1


def ratio_bucket(ratio: float) -> int:
    """The bucket of a latency ratio, 0 to RATIO_BUCKETS - 1; ratios of 1 and above start at the middle.

    >>> ratio_bucket(1.0), ratio_bucket(0.99), ratio_bucket(2.0), ratio_bucket(1e9)
    (128, 127, 145, 255)
    """
    bucket = RATIO_BUCKETS // 2 + int((log(ratio) * INV_LOG_RATIO) // 1) if ratio > 0 else 0
    return min(max(bucket, 0), RATIO_BUCKETS - 1)


def texts(cells: memoryview[float], raw: memoryview[int], base: int) -> list[str]:
    """The label texts of the table at a cell, in the order of their slots."""
    texts = []
    for slot in range(min(int(cells[base + T_COUNT]), OTHER)):
        at = (base + TABLE_HEAD) * 8 + slot * LABEL_BYTES
        texts.append(bytes(raw[at + 1 : at + 1 + raw[at]]).decode("utf-8", "replace"))
    return texts
