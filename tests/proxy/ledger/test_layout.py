"""The grids, and that no two cells are the same."""

from __future__ import annotations

import os
import random
from itertools import pairwise

import pytest

from proxy.faults import Fault, Retry, Skip
from proxy.ledger import layout
from proxy.ledger.layout import (
    GRACE_S,
    LANES,
    LATENCY_BASE,
    LATENCY_BUCKETS,
    LATENCY_LOWEST_S,
    RATIO_BASE,
    RATIO_BUCKETS,
    SLICE_S,
    Shape,
    attach,
    create,
    latency_bucket,
    ratio_bucket,
)


def test_latency_bucket_holds_its_latency() -> None:
    """A quantile is exact to 1 % because a bucket is 1 % wide."""
    draw = random.Random(7)
    for _ in range(5000):
        seconds = 10 ** draw.uniform(-4, 2.98)
        low = LATENCY_LOWEST_S * LATENCY_BASE ** latency_bucket(seconds)
        assert low * (1 - 1e-9) <= seconds <= low * LATENCY_BASE * (1 + 1e-9)
    assert [latency_bucket(s) for s in (-1.0, 0.0, 1e-9, 1e-4)] == [0, 0, 0, 0]
    assert [latency_bucket(s) for s in (1000.1, 1e9)] == [LATENCY_BUCKETS - 1] * 2


def test_ratio_bucket_holds_its_ratio() -> None:
    """Ratios below and above 1 are told apart exactly at 1."""
    draw = random.Random(7)
    for _ in range(5000):
        ratio = 10 ** draw.uniform(-2.17, 2.17)
        low = RATIO_BASE ** (ratio_bucket(ratio) - RATIO_BUCKETS // 2)
        assert low * (1 - 1e-9) <= ratio <= low * RATIO_BASE * (1 + 1e-9)
    assert [ratio_bucket(r) for r in (0.0, -1.0, 1e-9, 1e9)] == [0, 0, 0, RATIO_BUCKETS - 1]
    assert ratio_bucket(1.0) == RATIO_BUCKETS // 2


def test_lanes_outlast_the_grace() -> None:
    """A lane that is cleared while its requests are still on time would lose them."""
    assert LANES * SLICE_S >= 2 * SLICE_S + GRACE_S


def test_cells_do_not_overlap() -> None:
    """Two facts in one cell falsify each other."""
    spans = {
        "row": [
            (layout.R_TENANT, 1),
            (layout.R_ARRIVED, 6),
            (layout.R_GROUPED, 1),
            (layout.R_SKIPS, len(Skip)),
            (layout.R_FAULTS, len(Fault)),
            (layout.R_STATUSES, 512),
            (layout.R_RETRIES, len(Retry)),
            (layout.R_CONFUSION, layout.OUTPUTS * layout.LABELS**2),
            (layout.R_USERS, layout.USER_SLOTS // 8),
            (layout.R_GROUP_LATENCY, layout.GROUP_BUCKETS * layout.GROUPS),
            (layout.R_GROUP_LABELS, layout.OUTPUTS * layout.LABELS * layout.GROUPS),
            (layout.R_GROUP_NUMBERS, layout.OUTPUTS * 2 * layout.GROUPS),
            (layout.R_LANES, LANES * layout.LANE_CELLS),
            (layout.ROW_CELLS, 0),
        ],
        "lane": [
            (layout.L_STAMP, 1),
            (layout.L_ARRIVED, 6),
            (layout.L_PAIRS, 2),
            (layout.L_LATENCY, LATENCY_BUCKETS),
            (layout.L_GROUP_N, layout.GROUPS),
            (layout.L_GROUP_FAILED, layout.GROUPS),
            (layout.L_RATIO, RATIO_BUCKETS),
            (layout.L_PAIR_OUTPUTS, 2 * layout.OUTPUTS),
            (layout.L_OUTPUTS, layout.OUTPUTS * layout.OUTPUT_CELLS),
            (layout.LANE_CELLS, 0),
        ],
        "output": [
            (layout.O_N, 6),
            (layout.O_LABELS, layout.LABELS),
            (layout.O_NUMBERS, layout.NUMBER_BUCKETS),
            (layout.OUTPUT_CELLS, 0),
        ],
        "guards": [
            (0, layout.GUARD_ROUTES * layout.GUARD_ROUTE_CELLS),
            (layout.G_KEYS, 2 * layout.GUARD_KEYS),
            (layout.GUARD_CELLS, 0),
        ],
        "worker": [(layout.W_PID, 12), (layout.W_REFUSED, len(Fault)), (layout.WORKER_CELLS, 0)],
    }
    for name, parts in spans.items():
        for (at, size), (following, _) in pairwise(parts):
            assert at + size <= following, (name, at, size, following)


def test_shape_is_kept_in_the_memory() -> None:
    """Every process has to find the same cells."""
    fd = create(3, 5, 7)
    try:
        memory, shape = attach(fd)
        assert (shape.workers, shape.rows, shape.tables) == (3, 5, 7)
        assert shape.boot > 0
        assert len(memory) == shape.size
        assert shape.row(2, 5 - 1) + layout.ROW_CELLS == shape.size // 8
        assert shape.guards(1) + layout.GUARD_CELLS == shape.endpoint(1, 0)
        assert shape.endpoint(1, layout.ENDPOINTS) == shape.table(1, 0)
        assert shape.slab(1) == shape.row(0, 4) + layout.ROW_CELLS
        assert shape.row(0, 0) == shape.table(0, 6) + layout.TABLE_CELLS
        assert attach(fd)[1] == shape
    finally:
        os.close(fd)


def test_boots_differ() -> None:
    """Evidence of one memory must not be taken up with the slices of another."""
    shapes = []
    for _ in range(2):
        fd = create(1, 1, 1)
        shapes.append(attach(fd)[1])
        os.close(fd)
    assert shapes[0].boot != shapes[1].boot


def test_foreign_memory_is_refused() -> None:
    """Cells of another release would be read as nonsense."""
    fd = os.memfd_create("foreign")
    try:
        os.ftruncate(fd, Shape(1, 1, 1).size)
        with pytest.raises(ValueError, match="not a ledger of this release"):
            attach(fd)
    finally:
        os.close(fd)
