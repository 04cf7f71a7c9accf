"""A worker's side: where each outcome goes, and what a death leaves."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from proxy.faults import Fault, Retry, Skip
from proxy.ledger import layout
from proxy.ledger.layout import (
    GRACE_S,
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
    LABELS,
    LANES,
    LATENCY_BUCKETS,
    O_LABELS,
    O_N,
    O_NUMBERS,
    O_SQUARES,
    O_SUM,
    OUTPUT_CELLS,
    R_TENANT,
    RATIO_BASE,
    RATIO_BUCKETS,
    latency_bucket,
    ratio_bucket,
)
from proxy.ledger.reader import Reader, Totals
from proxy.ledger.reading import Reading
from proxy.ledger.row import NOWHERE
from proxy.ledger.writer import Writer
from tests.support.book import Book


def lane(book: Book, slice_: int) -> list[float]:
    cells = book.reader.lane(0, 0, 7, slice_)
    assert cells is not None
    return list(cells)


def test_request_counts_in_the_slice_of_its_arrival(book: Book) -> None:
    """Counted by completion a slow version would look fast at first."""
    book.writer.arrive(book.row, 100.9)
    book.writer.finish(book.row, 100.9, 103.4, True, 500, 0, group=5)
    cells = lane(book, 100)
    assert (cells[L_ARRIVED], cells[L_ON_TIME], cells[L_FAILED]) == (1, 1, 1)
    assert cells[L_LATENCY + latency_bucket(2.5)] == 1
    assert (cells[L_GROUP_N + 5], cells[L_GROUP_FAILED + 5]) == (1, 1)
    assert book.reader.lane(0, 0, 7, 103) is None


def test_latency_in_line_is_the_grid_s(book: Book) -> None:
    """The writer computes the bucket itself, for speed: both must be one grid."""
    draw = random.Random(3)
    latencies = [10 ** draw.uniform(-6, 1) for _ in range(500)] + [0.0, 1e-4, GRACE_S]
    expected = [0.0] * LATENCY_BUCKETS
    for latency in latencies:
        book.writer.arrive(book.row, 0.0)
        book.writer.finish(book.row, 0.0, latency, False, 200, 0)
        expected[latency_bucket(latency)] += 1
    assert lane(book, 0)[L_LATENCY : L_LATENCY + LATENCY_BUCKETS] == expected


def test_ratio_in_line_is_the_grid_s(book: Book) -> None:
    """The same for the ratio of a pair."""
    draw = random.Random(4)
    ratios = [10 ** draw.uniform(-4, 4) for _ in range(500)] + [
        0.0,
        1.0,
        1e-300,
        1e300,
        0.99,
        RATIO_BASE,
        1 / RATIO_BASE,
    ]
    expected = [0.0] * RATIO_BUCKETS
    book.writer.arrive(book.row, 0.0)
    for ratio in ratios:
        book.writer.pair(book.row, 0.0, 0.1, ratio, [])
        expected[ratio_bucket(ratio)] += 1
    assert lane(book, 0)[L_RATIO : L_RATIO + RATIO_BUCKETS] == expected


def test_a_cut_turns_an_outcome_into_a_failure(book: Book) -> None:
    """Counted as an outcome of its own a tunnel would be two requests, of which one at most could fail."""
    for _ in range(3):
        book.writer.arrive(book.row, 100.0)
        book.writer.finish(book.row, 100.0, 100.1, False, 101, 0)
    book.writer.cut(book.row, 100.9)
    book.writer.cut(book.row, 130.0)
    assert (lane(book, 130)[L_ARRIVED], lane(book, 130)[L_ON_TIME], lane(book, 130)[L_CUT]) == (0, 0, 1)
    for second in range(131, 131 + LANES):
        book.writer.arrive(book.row, float(second))
        book.writer.finish(book.row, float(second), second + 0.1, False, 200, 0)
    totals = book.reader.totals(0, 0, 7)
    assert totals is not None
    assert (totals.arrived, totals.finished, totals.failed, totals.lost) == (3 + LANES, 3 + LANES, 2, 0)
    assert totals.faults == {Fault.RESPONSE_CUT: 2}
    assert totals.statuses == {101: 3, 200: LANES}


def test_a_cut_of_a_row_that_is_lent_to_another_is_dropped(book: Book) -> None:
    """A tunnel outlives its stage: its end would count against whoever has the row then."""
    row = book.row
    book.writer.occupy(0, 8, 0)
    book.writer.cut(row, 100.0)
    totals = book.reader.totals(0, 0, 8)
    assert totals is not None
    assert totals.failed == 0


def test_late_request_counts_where_it_ends(book: Book) -> None:
    """Its slice is closed by then: it was counted there as still in flight."""
    book.writer.arrive(book.row, 100.0)
    book.writer.finish(book.row, 100.0, 100.0 + GRACE_S + 0.001, True, 504, int(Fault.REQUEST_TIMEOUT))
    assert lane(book, 100)[L_ON_TIME] == 0
    cells = lane(book, 110)
    assert (cells[L_ARRIVED], cells[L_LATE], cells[L_LATE_FAILED]) == (0, 1, 1)
    totals = book.reader.totals(0, 0, 7)
    assert totals is not None
    assert (totals.arrived, totals.finished, totals.failed, totals.late) == (1, 1, 1, 1)
    assert totals.statuses == {504: 1}
    assert totals.faults == {Fault.REQUEST_TIMEOUT: 1}


def test_recycled_lane_carries_its_totals(book: Book) -> None:
    """Sums for people go back to the beginning of the stage, slices for the analysis only 16 s."""
    for slice_ in range(3 * LANES):
        for i in range(3):
            book.writer.arrive(book.row, slice_ + 0.1)
            book.writer.finish(
                book.row, slice_ + 0.1, slice_ + 0.2, i == 0, 200 if i else 503, 0, readings=[Reading(1, [i])]
            )
    totals = book.reader.totals(0, 0, 7)
    assert totals is not None
    assert (totals.arrived, totals.finished, totals.failed) == (9 * LANES, 9 * LANES, 3 * LANES)
    assert totals.statuses == {200: 6 * LANES, 503: 3 * LANES}
    assert book.reader.lane(0, 0, 7, 2 * LANES - 1) is None
    last = lane(book, 3 * LANES - 1)
    assert last[L_ARRIVED] == 3
    assert sum(last[L_LATENCY : L_LATENCY + LATENCY_BUCKETS]) == 3
    assert last[L_OUTPUTS + OUTPUT_CELLS + O_N] == 3


def test_groups_of_users_are_counted_for_a_whole_stage(book: Book) -> None:
    """A few odd users would count as many independent requests in latency, labels and scores."""
    made = [Reading(0, labels=[2, 2]), Reading(1, numbers=[0.5, 0.25])]
    for second in (100.0, 100.0 + LANES):
        book.writer.arrive(book.row, second)
        book.writer.finish(book.row, second, second + 0.05, False, 200, 0, group=63, readings=made)
    latency = book.reader.group_latency(0, 0, 7)
    labels = book.reader.group_labels(0, 0, 7, 0)
    numbers = book.reader.group_numbers(0, 0, 7, 1)
    assert latency is not None
    assert labels is not None
    assert numbers is not None
    assert {i: n for i, n in enumerate(latency) if n} == {(latency_bucket(0.05) >> 3) * 64 + 63: 2}
    assert {i: n for i, n in enumerate(labels) if n} == {2 * 64 + 63: 4}
    assert {i: n for i, n in enumerate(numbers) if n} == {63: 4, 64 + 63: 1.5}


def test_groups_of_another_tenant_are_gone(book: Book) -> None:
    """The users of the stage before would be those of the next; and what nobody counted is not even looked at."""
    assert book.reader.group_latency(0, 0, 7) is None
    book.writer.arrive(book.row, 1.0)
    book.writer.finish(book.row, 1.0, 1.1, False, 200, 0, group=1, readings=[Reading(0, labels=[1])])
    row = book.writer.occupy(0, 8, 2)
    assert book.reader.group_latency(0, 0, 8) is None
    book.writer.arrive(row, 2.0)
    book.writer.finish(row, 2.0, 2.1, False, 200, 0, group=2)
    latency, labels = book.reader.group_latency(0, 0, 8), book.reader.group_labels(0, 0, 8, 0)
    assert latency is not None
    assert (sum(latency), sum(labels or ())) == (1, 0)


def test_readings(book: Book) -> None:
    """The sums of a slice are what the analysis gets of the predictions."""
    book.writer.arrive(book.row, 5.0)
    readings = [
        Reading(0, labels=[3, 3, 4], missing=1),
        Reading(1, numbers=[2.0, 3.0], number_buckets=[7, 9], clipped=1),
    ]
    book.writer.finish(book.row, 5.0, 5.1, False, 200, 0, readings=readings)
    cells = lane(book, 5)
    first, second = cells[L_OUTPUTS:], cells[L_OUTPUTS + OUTPUT_CELLS :]
    assert (first[O_N], first[O_LABELS + 3], first[O_LABELS + 4]) == (3, 2, 1)
    assert (second[O_N], second[O_SUM], second[O_SQUARES]) == (2, 5.0, 13.0)
    assert (second[O_NUMBERS + 7], second[O_NUMBERS + 9]) == (1, 1)
    assert (first[layout.O_MISSING], second[layout.O_CLIPPED], second[layout.O_INVALID]) == (1, 1, 0)


def test_pairs(book: Book) -> None:
    """Pairs count with the copy's arrival, and never in a lane that was given to another slice."""
    book.writer.arrive(book.row, 5.0)
    book.writer.pair(book.row, 5.0, 5.5, 1.0, [(0, True, [(1, 2)]), (1, False, ())])
    cells = lane(book, 5)
    assert cells[L_PAIRS] == 1
    assert cells[L_PAIR_OUTPUTS : L_PAIR_OUTPUTS + 4] == [1, 1, 1, 0]
    confusion = book.reader.confusion(0, 0, 7, 0)
    assert confusion is not None
    assert confusion[1 * LABELS + 2] == 1
    book.writer.pair(book.row, 5.0, 5.0 + GRACE_S + 1, 1.0, [])
    book.writer.arrive(book.row, 5.0 + LANES)
    book.writer.pair(book.row, 5.0, 6.0, 1.0, [])
    assert lane(book, 5 + LANES)[L_PAIRS] == 0
    assert cells[L_PAIRS] == 1


@pytest.mark.parametrize(
    ("status", "counted"), [(200, 200), (204, 204), (599, 599), (0, 0), (611, 0), (999, 0), (99, 0)]
)
def test_statuses(book: Book, status: int, counted: int) -> None:
    """Status 200 is derived; whatever has no cell of its own is an outcome without an answer."""
    book.writer.arrive(book.row, 5.0)
    book.writer.finish(book.row, 5.0, 5.1, False, status, 0)
    totals = book.reader.totals(0, 0, 7)
    assert totals is not None
    assert totals.statuses == {counted: 1}


def test_users_are_marked_once(book: Book) -> None:
    """Distinct users, however often they come."""
    for user in (0, 5, 5, layout.USER_SLOTS - 1, -1):
        book.writer.arrive(book.row, 5.0, user)
    users = book.reader.users(0, 0, 7)
    assert users is not None
    assert [i for i, seen in enumerate(users) if seen] == [0, 5, layout.USER_SLOTS - 1]


def test_skips_and_retries(book: Book) -> None:
    """Small counts that people ask for."""
    book.writer.skip(book.row, Skip.BUSY)
    book.writer.skip(book.row, Skip.BUSY)
    book.writer.retry(book.row, Retry.RESENT)
    totals = book.reader.totals(0, 0, 7)
    assert totals is not None
    assert (totals.skips, totals.retries) == ({Skip.BUSY: 2}, {Retry.RESENT: 1})


# --- tenants


def test_new_tenant_finds_an_empty_row(book: Book) -> None:
    """Evidence of one version must never be read as another's."""
    book.writer.arrive(book.row, 5.0, 9)
    book.writer.finish(book.row, 5.0, 5.1, True, 500, 4, group=1, readings=[Reading(1, labels=[1])])
    book.writer.pair(book.row, 5.0, 5.1, 1.0, [(0, True, [(1, 1)])])
    book.writer.skip(book.row, Skip.BUSY)
    book.writer.occupy(0, 8, 2)
    assert book.reader.totals(0, 0, 7) is None
    assert book.reader.lane(0, 0, 7, 5) is None
    base = book.reader.shape.row(0, 0)
    cells = book.writer._cells[base : base + layout.ROW_CELLS]
    assert [(i, cell) for i, cell in enumerate(cells) if cell] == [(R_TENANT, 8)]


def test_old_hold_writes_nothing(book: Book) -> None:
    """A request in flight across the change belongs to the tenant that left."""
    old = book.row
    book.writer.arrive(old, 5.0)
    new = book.writer.occupy(0, 8, 2)
    book.writer.finish(old, 5.0, 5.1, True, 500, 4)
    book.writer.arrive(old, 5.0)
    book.writer.pair(old, 5.0, 5.1, 1.0, [])
    book.writer.skip(old, Skip.BUSY)
    book.writer.retry(old, Retry.RESENT)
    book.writer.retrying(old, -1.0)
    totals = book.reader.totals(0, 0, 8)
    assert totals is not None
    assert totals == Totals(0, 0, 0, 0, 0, {}, {}, {}, {})
    assert new.live
    book.writer.arrive(NOWHERE, 5.0)
    book.writer.finish(NOWHERE, 5.0, 5.1, True, 500, 4)


def test_same_tenant_keeps_its_row(book: Book) -> None:
    """A reload that changes nothing here must not lose a count, nor a request in flight."""
    book.writer.arrive(book.row, 5.0)
    assert book.writer.occupy(0, 7, 2) is book.row
    book.writer.finish(book.row, 5.0, 5.1, False, 200, 0)
    assert lane(book, 5)[L_ON_TIME] == 1


def test_more_outputs_are_cleared_too(book: Book) -> None:
    """Predictions that are added to a route under way would add up over the slices of a lane."""
    row = book.writer.occupy(1, 3, 0)
    assert book.writer.occupy(1, 3, 2) is row
    for slice_ in (5, 5 + LANES):
        book.writer.arrive(row, slice_)
        book.writer.finish(row, slice_, slice_ + 0.1, False, 200, 0, readings=[Reading(1, labels=[1])])
    cells = book.reader.lane(0, 1, 3, 5 + LANES)
    assert cells is not None
    assert cells[L_OUTPUTS + OUTPUT_CELLS + O_N] == 1


def test_row_beyond_the_ledger_is_refused(book: Book) -> None:
    """It would be the next worker's memory."""
    for index in (-1, 3):
        with pytest.raises(IndexError, match="ledger of 3 rows"):
            book.writer.occupy(index, 1, 0)
    with pytest.raises(IndexError, match="ledger of 2 tables"):
        book.writer.labels(2, 1)


# --- death


def test_requests_in_flight_of_a_dead_worker_are_lost(book: Book) -> None:
    """Else its slices would never be complete, and the requests would hang in the figures for ever."""
    for i in range(5):
        book.writer.arrive(book.row, 5.0)
        if i < 3:
            book.writer.finish(book.row, 5.0, 5.1, False, 200, 0)
    assert not book.reader.complete(0, 0, 7, 5)
    book.writer.add_worker(layout.W_CONNECTIONS, 4)
    book.restart()
    cells = lane(book, 5)
    assert (cells[L_ARRIVED], cells[L_ON_TIME], cells[L_LOST]) == (5, 3, 2)
    assert book.reader.complete(0, 0, 7, 5)
    totals = book.reader.totals(0, 0, 7)
    assert totals is not None
    assert (totals.lost, totals.in_flight) == (2, 0)
    assert book.reader.worker(0)[layout.W_CONNECTIONS] == 0
    book.restart()
    assert lane(book, 5)[L_LOST] == 2


def test_late_requests_of_a_dead_worker_are_not_lost_twice(book: Book) -> None:
    """They were counted when they ended."""
    for _ in range(3):
        book.writer.arrive(book.row, 5.0)
    book.writer.finish(book.row, 5.0, 5.0 + GRACE_S + 1, False, 200, 0)
    book.restart()
    totals = book.reader.totals(0, 0, 7)
    assert totals is not None
    assert (totals.arrived, totals.finished, totals.lost) == (3, 1, 2)
    assert book.reader.complete(0, 0, 7, 5)


def test_requests_that_a_dead_worker_was_to_try_again_have_failed(book: Book) -> None:
    """Else they hang in the figures for ever, and a swap waits for them."""
    book.writer.arrive(book.row, 5.0)
    book.writer.retrying(book.row, 1.0)
    book.writer.finish(book.row, 5.0, 5.1, True, 503, 0)
    for in_flight, failed_to_clients in ((1, 0), (0, 1)):
        totals = book.reader.totals(0, 0, 7)
        assert totals is not None
        assert (totals.failed, totals.in_flight, totals.failed_to_clients) == (1, in_flight, failed_to_clients)
        book.restart()


def test_requests_whose_lane_was_recycled_are_lost_too(book: Book) -> None:
    """A stream of a minute that dies with its worker is a request like others."""
    book.writer.arrive(book.row, 5.0)
    book.writer.arrive(book.row, 5.0 + LANES)
    book.restart()
    totals = book.reader.totals(0, 0, 7)
    assert totals is not None
    assert (totals.arrived, totals.lost, totals.in_flight) == (2, 2, 0)


def test_worker_that_died_while_it_cleared_a_row(book: Book) -> None:
    """What is left of the old tenant must not be found by the next one."""
    book.writer.arrive(book.row, 5.0, 9)
    book.writer.finish(book.row, 5.0, 5.1, True, 500, 4)
    cells = book.writer._cells
    book.writer._cells = DyingCells(cells, 2)  # type: ignore[assignment]
    with pytest.raises(KilledError):
        book.writer.occupy(0, 8, 2)
    assert book.reader.totals(0, 0, 7) is None
    assert book.reader.totals(0, 0, 8) is None
    Writer(book.fd, 0).occupy(0, 9, 2)
    totals = book.reader.totals(0, 0, 9)
    assert totals is not None
    assert (totals.arrived, totals.statuses, totals.faults) == (0, {}, {})
    assert book.reader.lane(0, 0, 9, 5) is None


class KilledError(Exception):
    """The worker is dead."""


class DyingCells:
    """Cells of a worker that dies at a store."""

    def __init__(self, cells: memoryview, stores: int) -> None:
        self._cells, self._left = cells, stores

    def __getitem__(self, at: int) -> float:
        return self._cells[at]

    def __setitem__(self, at: int | slice, value: object) -> None:
        if not self._left:
            raise KilledError
        self._left -= 1
        self._cells[at] = value


# --- what a reader sees between two stores


class WatchedCells:
    """Cells that call a watcher after every store."""

    def __init__(self, cells: memoryview, watch: Iterator[None]) -> None:
        self._cells, self._watch = cells, watch

    def __getitem__(self, at: int) -> float:
        return self._cells[at]

    def __setitem__(self, at: int | slice, value: object) -> None:
        self._cells[at] = value
        next(self._watch)


def test_complete_slice_is_whole(book: Book) -> None:
    """The reader takes a slice as soon as it is complete: what came after that would be lost."""
    checks = 0

    def whole(reader: Reader) -> Iterator[None]:
        nonlocal checks
        while True:
            cells = reader.lane(0, 0, 7, 5)
            if cells is not None and cells[L_ARRIVED] and reader.complete(0, 0, 7, 5):
                checks += 1
                n = cells[L_ARRIVED]
                assert sum(cells[L_LATENCY : L_LATENCY + LATENCY_BUCKETS]) == n
                assert sum(cells[L_GROUP_N : L_GROUP_N + 64]) == n
                assert cells[L_OUTPUTS + O_N] == cells[L_OUTPUTS + O_LABELS] == n
                assert cells[L_FAILED] == n // 2
                assert cells[L_PAIRS] == n
            yield

    plain = book.writer._cells
    for i in range(4):
        book.writer.arrive(book.row, 5.5)
        book.writer._cells = WatchedCells(plain, whole(book.reader))  # type: ignore[assignment]
        book.writer.pair(book.row, 5.5, 5.6, 1.1, [(0, False, [(0, 0)])])
        book.writer.finish(book.row, 5.5, 5.6, i % 2 == 1, 200, 0, i, [Reading(0, labels=[0])])
        book.writer._cells = plain
    assert checks >= 4


def test_worker_s_own_cells(book: Book) -> None:
    """Refusals by fault, connections, and whatever the worker says of itself."""
    book.writer.set_worker(layout.W_PID, 42)
    book.writer.refuse(Fault.NO_ROUTE)
    cells = book.reader.worker(0)
    assert (cells[layout.W_PID], cells[layout.W_REFUSED + Fault.NO_ROUTE]) == (42, 1)
    assert not any(book.reader.worker(1))
