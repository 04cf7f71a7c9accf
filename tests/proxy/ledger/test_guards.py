"""Counts by route, and what workers know of each other's buckets."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from proxy.ledger.guards import ABORTED, DELAYED, DIRECT, RATE_LIMITED, GuardTotals
from proxy.ledger.layout import GUARD_KEYS, GUARD_ROUTES, create
from proxy.ledger.reader import Reader
from proxy.ledger.writer import Writer


@pytest.fixture
def fd() -> Iterator[int]:
    fd = create(2, 1, 1)
    yield fd
    os.close(fd)


def test_counts_are_a_route_s_own_and_outlive_a_worker(fd: int) -> None:
    """A counter would fall when a worker dies, or show what another route did."""
    for _ in range(2):
        guards = Writer(fd, 0).guards
        for cell in (RATE_LIMITED, DELAYED, DELAYED, ABORTED, DIRECT):
            guards.route("a").add(cell)
    Writer(fd, 1).guards.route("b").add(RATE_LIMITED)
    reader = Reader(fd)
    assert reader.guards(0, "a") == GuardTotals(2, 4, 2, 2)
    assert reader.guards(1, "b") == GuardTotals(1, 0, 0)
    assert reader.guards(0, "b") == reader.guards(1, "a") == reader.guards(0, "never") == GuardTotals()


def test_routes_without_room_harm_nobody(fd: int) -> None:
    """After many renames a route would write into another one's cells, or into the keys."""
    guards, reader = Writer(fd, 0).guards, Reader(fd)
    for number in range(GUARD_ROUTES + 50):
        guards.route(f"r{number}").add(ABORTED)
    found = [reader.guards(0, f"r{number}") for number in range(GUARD_ROUTES + 50)]
    assert found.count(GuardTotals(0, 0, 1)) == GUARD_ROUTES
    assert found[GUARD_ROUTES:] == [GuardTotals()] * 50
    assert guards.times.latest(1 << 40) == 0.0


def test_workers_know_each_other_s_times(fd: int) -> None:
    """A limit would hold for each worker by itself, and many connections would make it many times as much."""
    one, other = (Writer(fd, worker).guards.times for worker in (0, 1))
    one.tell(7 << 40, 12.5)
    assert (one.latest(7 << 40), other.latest(7 << 40), other.latest(8 << 40)) == (12.5, 12.5, 0.0)
    other.tell(7 << 40, 11.0)
    assert one.latest(7 << 40) == 12.5
    assert Writer(fd, 0).guards.times.latest(7 << 40) == 12.5, "a worker that died takes nothing with it"


def test_a_key_never_has_another_key_s_time(fd: int) -> None:
    """A client would be turned away for what another one did."""
    times = Writer(fd, 0).guards.times
    same_place = (3 << 40, (3 << 40) + (GUARD_KEYS << 30))
    times.tell(same_place[0], 99.0)
    times.tell(same_place[1], 5.0)
    assert [times.latest(digest) for digest in same_place] == [0.0, 5.0]


def test_workers_hash_with_one_salt(fd: int) -> None:
    """Each would look for a key where no other has written, or clients could make keys collide."""
    salts = {Writer(fd, worker).guards.salt for worker in (0, 1)}
    assert len(salts) == 1
    assert salts != {0}
