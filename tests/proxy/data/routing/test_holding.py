"""The waiting room of a route by itself: who waits, who goes first, and what is counted."""

from __future__ import annotations

import os

import pytest

from proxy.data.requests.router import Head
from proxy.data.routing.holding import BODY_BYTES, Room
from proxy.faults import Fault
from proxy.ledger.guards import GuardTotals
from proxy.ledger.layout import create
from proxy.ledger.reader import Reader
from proxy.ledger.writer import Writer
from proxy.snapshot import Hold, Match, NamedMatch, StringMatch

GOLD = (Match(headers=(NamedMatch("x-tier", StringMatch("exact", "gold")),)),)
SILVER = (Match(headers=(NamedMatch("x-tier", StringMatch("exact", "silver")),)),)


class Waiting:
    """A request that notes what becomes of it."""

    def __init__(self, name: str = "", told: list[str] | None = None) -> None:
        self.name, self.told = name, [] if told is None else told
        self.deadline_s = 0.0
        self.fault: Fault | None = None
        self.detail = ""
        self.retry_after_s = -1

    def released(self, now_s: float) -> None:
        self.told.append(self.name)

    def turned_away(self, fault: Fault, detail: str, retry_after_s: int) -> None:
        self.fault, self.detail, self.retry_after_s = fault, detail, retry_after_s


class Place:
    """A room in a real ledger."""

    def __init__(self, workers: int = 1) -> None:
        fd = create(workers, 1, 1)
        self.writer, self.reader = Writer(fd, 0), Reader(fd)
        os.close(fd)
        self.room = Room("r", self.writer.guards.route("r"), workers)

    @property
    def totals(self) -> GuardTotals:
        return self.reader.guards(0, "r")


def head(*fields: tuple[bytes, bytes], length: int = 0, chunked: bool = False) -> Head:
    return Head(b"POST", b"/", list(fields), "10.0.0.1", length, chunked)


def tier(name: str) -> Head:
    return head((b"x-tier", name.encode()))


@pytest.fixture
def place() -> Place:
    return Place()


def enter(place: Place, waiter: Waiting, of: Head | None = None, now_s: float = 100.0) -> Waiting:
    assert place.room.takes(waiter, of or head(), now_s)
    return waiter


def test_a_room_without_a_hold_lets_everybody_pass(place: Place) -> None:
    """Broken: requests would wait for nothing."""
    assert not place.room.takes(Waiting(), head(), 1.0)
    place.room.hold(Hold())
    place.room.open()
    assert not place.room.takes(Waiting(), head(), 1.0)
    assert place.room.idle
    assert place.totals == GuardTotals()


def test_released_by_priority_then_as_they_came(place: Place) -> None:
    """Broken: who pays for speed would wait behind a batch, or a queue would be no queue."""
    place.room.hold(Hold(priorities=(GOLD, SILVER), release_rate=1000.0))
    told: list[str] = []
    for name in ("a", "gold-1", "b", "silver-1", "gold-2", "silver-2"):
        enter(place, Waiting(name, told), tier(name.partition("-")[0]))
    place.room.sweep(101.0)
    assert told == []
    place.room.open()
    place.room.sweep(102.0)
    place.room.sweep(102.5)
    assert told == ["gold-1", "gold-2", "silver-1", "silver-2", "a", "b"]
    assert place.totals == GuardTotals(held=6, released=6)
    assert place.room.idle


@pytest.mark.parametrize(("workers", "released"), [(1, [1, 3, 15, 43, 100]), (4, [1, 1, 4, 11, 25])])
def test_released_at_a_rate_that_doubles(workers: int, released: list[int]) -> None:
    """Broken: a model that has just started would be met by all who waited at once; or by each worker's full rate."""
    place, told = Place(workers), list[str]()
    place.room.hold(Hold(release_rate=20.0))
    for number in range(200):
        enter(place, Waiting(str(number), told))
    place.room.open()
    counts = []
    for at_s in (0.0, 0.1, 0.6, 1.3, 2.15):
        place.room.sweep(200.0 + at_s)
        counts.append(len(told))
    assert counts == released
    assert told == [str(number) for number in range(len(told))]


def test_who_comes_while_the_queue_empties_waits_behind(place: Place) -> None:
    """Broken: newcomers would overtake those who waited, and the slow start would be none."""
    place.room.hold(Hold(release_rate=1.0))
    told: list[str] = []
    for name in ("a", "b"):
        enter(place, Waiting(name, told))
    place.room.open()
    place.room.sweep(101.0)
    enter(place, Waiting("c", told), now_s=101.1)
    assert told == ["a"]
    place.room.sweep(104.0)
    assert told == ["a", "b", "c"]


def test_a_full_room_refuses_at_once(place: Place) -> None:
    """Broken: memory would grow with the crowd, or the refused would not know when to come again."""
    place.room.hold(Hold(max_requests=2, at_least_s=8.0))
    place.room.sweep(100.0)
    kept = [enter(place, Waiting(), now_s=101.0) for _ in range(2)]
    refused = enter(place, Waiting(), now_s=103.0)
    assert refused.fault is Fault.HOLD_FULL
    assert refused.retry_after_s == 5
    assert [waiter.fault for waiter in kept] == [None, None]
    assert place.totals == GuardTotals(held=2, hold_refused=1, waiting=2)


def test_a_higher_priority_takes_the_place_of_the_last_of_the_lowest(place: Place) -> None:
    """Broken: a batch that came first would shut out those whom the file puts first."""
    place.room.hold(Hold(max_requests=3, priorities=(GOLD, SILVER)))
    silver, first, last = (enter(place, Waiting(), tier(name)) for name in ("silver", "x", "x"))
    enter(place, Waiting(), tier("gold"))
    assert (silver.fault, first.fault, last.fault) == (None, None, Fault.HOLD_FULL)
    assert enter(place, Waiting(), tier("x")).fault is Fault.HOLD_FULL
    enter(place, Waiting(), tier("silver"))
    assert first.fault is Fault.HOLD_FULL
    assert enter(place, Waiting(), tier("silver")).fault is Fault.HOLD_FULL
    assert silver.fault is None
    assert place.totals == GuardTotals(held=5, displaced=2, hold_refused=2, waiting=3)


def test_bodies_have_a_bound_of_their_own(place: Place) -> None:
    """Broken: a few large uploads would take the memory that the number of requests seems to bound."""
    place.room.hold(Hold(max_bytes=BODY_BYTES + 1000, priorities=(GOLD,)))
    enter(place, Waiting(), head(length=1000))
    large = enter(place, Waiting(), head(length=1 << 40))  # no more than is read of it
    assert large.fault is None
    assert enter(place, Waiting(), head(length=1)).fault is Fault.HOLD_FULL
    assert enter(place, Waiting(), head()).fault is None
    place.room.leave(large)
    assert enter(place, Waiting(), head(chunked=True)).fault is None
    too_much = enter(place, Waiting(), head((b"x-tier", b"gold"), length=BODY_BYTES))
    assert too_much.fault is None, "the chunked one made room"


def test_nobody_is_displaced_in_vain(place: Place) -> None:
    """Broken: two requests would be lost where one had to be."""
    place.room.hold(Hold(max_bytes=1000, priorities=(GOLD,)))
    enter(place, Waiting(), head((b"x-tier", b"gold"), length=600))
    other = enter(place, Waiting(), head(length=300))
    assert enter(place, Waiting(), head((b"x-tier", b"gold"), length=500)).fault is Fault.HOLD_FULL
    assert other.fault is None


@pytest.mark.parametrize(
    ("fields", "deadline_s"),
    [
        ([], 130.0),
        ([(b"prefer", b"respond-async, wait=10")], 110.0),
        ([(b"prefer", b'wait="7"; x=1')], 130.0),
        ([(b"prefer", b"WAIT=7")], 107.0),
        ([(b"x-envoy-expected-rq-timeout-ms", b"2500")], 102.5),
        ([(b"x-stainless-read-timeout", b"600")], 130.0),
        ([(b"x-stainless-read-timeout", b"4.5"), (b"prefer", b"wait=20")], 104.5),
        ([(b"x-stainless-read-timeout", b"nan"), (b"prefer", b"wait=-1"), (b"prefer", b"wait=")], 130.0),
        ([(b"x-envoy-expected-rq-timeout-ms", b"1e1")], 130.0),
    ],
)
def test_a_client_is_held_no_longer_than_it_waits(
    place: Place, fields: list[tuple[bytes, bytes]], deadline_s: float
) -> None:
    """Broken: an answer would be made for a client that has given up, in the place of one that has not."""
    place.room.hold(Hold(timeout_s=30.0))
    assert enter(place, Waiting(), head(*fields)).deadline_s == pytest.approx(deadline_s)


def test_a_deadline_that_cannot_be_met_is_refused_at_once(place: Place) -> None:
    """Broken: a client would wait in vain, rather than try elsewhere at once."""
    place.room.hold(Hold(timeout_s=30.0, at_least_s=10.0))
    place.room.sweep(100.0)
    late = enter(place, Waiting(), head((b"prefer", b"wait=5")), now_s=102.0)
    assert late.fault is Fault.HOLD_TIMEOUT
    assert late.retry_after_s == 8
    assert enter(place, Waiting(), head((b"prefer", b"wait=5")), now_s=106.0).fault is None


def test_an_expired_request_is_told_as_long_again(place: Place) -> None:
    """Broken: clients would come back in a second, each second, while a model takes minutes to load."""
    place.room.hold(Hold(timeout_s=5.0))
    place.room.sweep(80.0)
    waiter = enter(place, Waiting())
    place.room.expire(waiter, 105.0)
    assert (waiter.fault, waiter.retry_after_s) == (Fault.HOLD_TIMEOUT, 25)
    place.room.expire(waiter, 106.0)
    assert place.totals == GuardTotals(held=1, expired=1)


def test_who_leaves_is_not_released(place: Place) -> None:
    """Broken: a request without a client would take a turn, and the gauge would never come down."""
    told: list[str] = []
    place.room.hold(Hold())
    gone = enter(place, Waiting("gone", told))
    enter(place, Waiting("there", told))
    place.room.leave(gone)
    place.room.leave(gone)
    place.room.open()
    place.room.sweep(101.0)
    assert told == ["there"]
    assert place.totals == GuardTotals(held=2, left=1, released=1)


def test_a_worker_that_ends_turns_all_away(place: Place) -> None:
    """Broken: connections would be cut without a word."""
    place.room.hold(Hold())
    waiters = [enter(place, Waiting()) for _ in range(3)]
    place.room.clear(103.0)
    assert {waiter.fault for waiter in waiters} == {Fault.DRAINING}
    assert all(waiter.retry_after_s >= 1 for waiter in waiters)
    assert place.room.idle is False
    assert place.totals.waiting == 0


def test_other_settings_keep_those_who_wait(place: Place) -> None:
    """Broken: a reload in the middle of a swap would lose the queue."""
    told: list[str] = []
    place.room.hold(Hold(priorities=(GOLD,), release_rate=1000.0))
    enter(place, Waiting("gold", told), tier("gold"))
    place.room.hold(Hold(priorities=(SILVER, GOLD), release_rate=1000.0))
    enter(place, Waiting("silver", told), tier("silver"))
    place.room.open()
    place.room.sweep(101.0)
    place.room.sweep(102.0)
    assert told == ["silver", "gold"]


def test_a_new_worker_holds_nobody(place: Place) -> None:
    """Broken: what a killed worker held would be shown as waiting for ever."""
    place.room.hold(Hold())
    enter(place, Waiting())
    assert place.totals.waiting == 1
    place.writer.guards.begin(["other", "r"])
    assert place.totals == GuardTotals(held=1)
