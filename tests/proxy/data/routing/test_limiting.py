"""Rate limits: the law of the bucket, its memory, and what a client sees."""

from __future__ import annotations

import os
import tracemalloc
from collections import deque
from math import ceil

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.data.requests.router import Head
from proxy.data.routing.limiting import Limiter
from proxy.faults import Fault
from proxy.ledger.layout import create
from proxy.ledger.writer import Writer
from proxy.snapshot import Key, Match, RateLimit, StringMatch
from tests.support.plane import Plane, answer, request, split
from tests.support.transports import settle

BY_USER = (Key("header", "x-user"), Key("sourceIp"))


def head(user: str = "", target: str = "/") -> Head:
    fields = [(b"x-user", user.encode())] if user else []
    return Head(b"POST", target.encode(), fields, "192.0.2.7")


class Buckets:
    """The limiters of some workers over one ledger."""

    def __init__(self, limit: RateLimit, workers: int = 1) -> None:
        self._fd = create(workers, 1, 1)
        self.limiters = [Limiter("r", limit, Writer(self._fd, worker).guards) for worker in range(workers)]
        os.close(self._fd)

    def take(self, now_s: float, user: str = "u", worker: int = 0) -> float:
        limiter = self.limiters[worker]
        bucket = limiter.bucket(head(user))
        assert bucket is not None
        wait_s = limiter.wait_s(bucket, now_s)
        if not wait_s:
            limiter.take(bucket, now_s)
        return wait_s


ARRIVALS = st.lists(st.tuples(st.floats(0, 3), st.integers(0, 2), st.sampled_from("ab")), max_size=120)


@given(st.integers(1, 50), st.floats(0.01, 100), st.integers(1, 60), ARRIVALS)
def test_never_more_than_the_burst_and_what_came_in(
    requests: int, per_s: float, burst: int, arrivals: list[tuple[float, int, str]]
) -> None:
    """Between any two moments more would pass than the file allows, by one worker or by several together."""
    buckets = Buckets(RateLimit(requests, per_s, burst, BY_USER), workers=3)
    now_s = 5_000.0
    passed: dict[str, deque[float]] = {"a": deque(), "b": deque()}
    for pause_s, worker, user in arrivals:
        now_s += pause_s
        wait_s = buckets.take(now_s, user, worker)
        assert wait_s >= 0
        if wait_s:
            assert len(passed[user]) >= burst, "the first burst passes"
            assert ceil(wait_s) >= 1, "Retry-After is at least a second"
            assert wait_s <= per_s / requests * (1 + 1e-6), "one token later there is one"
        else:
            passed[user].append(now_s)
    for times in passed.values():
        for first, begin_s in enumerate(times):
            for count, end_s in enumerate(list(times)[first:], 1):
                assert count <= burst + (end_s - begin_s + 2e-6) * requests / per_s


def test_who_waits_as_told_is_let_through() -> None:
    """A client that obeys Retry-After would be turned away again and again."""
    buckets, now_s = Buckets(RateLimit(3, 7.0, 2, BY_USER)), 5_000.0
    assert [buckets.take(now_s) > 0 for _ in range(3)] == [False, False, True]
    for _ in range(200):
        wait_s = buckets.take(now_s)
        now_s += ceil(wait_s)
        assert buckets.take(now_s) == 0 or ceil(wait_s) < 7 / 3


def test_the_full_rate_is_given() -> None:
    """A client at its rate would lose requests."""
    buckets = Buckets(RateLimit(1000, 1.0, 1, BY_USER))
    assert sum(buckets.take(5_000.0 + i / 4000) == 0 for i in range(8000)) == pytest.approx(2000, abs=2)


def test_a_client_that_comes_to_every_worker_has_one_bucket() -> None:
    """With connections to each of four workers a client would have the limit four times."""
    buckets = Buckets(RateLimit(10, 1.0, 10, BY_USER), workers=4)
    assert sum(buckets.take(5_000.0, worker=i % 4) == 0 for i in range(200)) == 10
    assert sum(buckets.take(5_001.0, worker=i % 4) == 0 for i in range(200)) == 10


def test_a_worker_that_dies_gives_no_new_burst() -> None:
    """A client that makes workers crash would be let through without end."""
    limit = RateLimit(1, 60.0, 5, BY_USER)
    fd = create(1, 1, 1)
    for _ in range(3):
        limiter = Limiter("r", limit, Writer(fd, 0).guards)
        bucket = limiter.bucket(head("u"))
        assert bucket is not None
        for _ in range(5):
            if not limiter.wait_s(bucket, 5_000.0):
                limiter.take(bucket, 5_000.0)
    assert limiter.wait_s(bucket, 5_000.0) == pytest.approx(60)
    os.close(fd)


def test_keys_fall_back_and_what_has_none_shares_a_bucket() -> None:
    """A client would get around its limit by leaving the key out."""
    buckets = Buckets(RateLimit(1, 60.0, 1, (Key("header", "x-user"),)))
    assert [buckets.take(5_000.0, user) > 0 for user in ("", "", "a", "b")] == [False, True, False, False]
    buckets = Buckets(RateLimit(1, 60.0, 1, BY_USER))
    assert [buckets.take(5_000.0, user) > 0 for user in ("", "", "a", "b")] == [False, True, False, False]


def test_a_client_with_many_addresses_of_ipv6_has_one_bucket() -> None:
    """Every client has a new address for each request: with IPv6 there are 2**64 of them in the smallest network."""
    limiter = Buckets(RateLimit(1, 60.0, 1, (Key("sourceIp"),))).limiters[0]
    buckets = [
        limiter.bucket(Head(b"GET", b"/", [], peer))
        for peer in ("2001:db8::1", "2001:db8:0:0:ffff::2", "2001:db8:0:1::1", "192.0.2.1", "192.0.2.2", "fe80::1%eth0")
    ]
    assert buckets[0] == buckets[1]
    assert len(set(buckets)) == 5


def test_memory_is_bounded_however_many_and_long_the_keys_are() -> None:
    """An attacker would fill the worker's memory with made-up keys."""
    buckets = Buckets(RateLimit(1, 60.0, 1, BY_USER, max_keys=1000))
    tracemalloc.start()
    for number in range(20_000):
        buckets.take(5_000.0 + number / 1000, f"{number}" * 500)
    held_bytes = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert buckets.limiters[0].keys <= 1000
    assert held_bytes < 400_000


def test_full_buckets_are_forgotten_first() -> None:
    """A flood of new keys would give those who are limited a new burst, while buckets with nothing to tell are kept."""
    buckets = Buckets(RateLimit(1, 100.0, 2, BY_USER, max_keys=10))
    for _ in range(2):
        buckets.take(5_000.0, "greedy")
    for number in range(9):
        buckets.take(5_000.0, f"modest-{number}")
    for number in range(9):
        buckets.take(5_101.0, f"late-{number}")
    assert buckets.limiters[0].keys <= 10
    assert buckets.take(5_101.0, "greedy") == 0
    assert buckets.take(5_101.0, "greedy") > 0


# --- on the wire


async def test_what_is_turned_away_is_told_when_to_come_back(plane: Plane) -> None:
    """Clients would hammer on, or a version be judged by requests that it never saw."""
    plane.adopt(rate_limits=(RateLimit(1, 30.0, 2, BY_USER),))
    client = plane.client()
    for _ in range(2):
        await plane.exchange(client, request("POST", headers=("X-User: u",), body=b"[1]"), answer())
    plane.clock.move(2.5)
    client.send(request("POST", headers=("X-User: u",), body=b"[1]"))
    first, fields, body = split(client.take())
    assert (first, fields["retry-after"]) == ("HTTP/1.1 429 Too Many Requests", "28")
    assert fields["x-understudy-fault"] == "rate-limited"
    assert msgspec.json.decode(body)["detail"] == "the rate limit of route all is used up"
    assert (plane.totals().arrived, plane.refused()) == (2, {Fault.RATE_LIMITED: 1})
    assert plane.reader.guards(0, "all").rate_limited == 1
    other = request("POST", headers=("X-User: v",), body=b"[1]")
    assert split(await plane.exchange(client, other, answer()))[0] == "HTTP/1.1 200 OK", "the connection is kept"
    plane.clock.move(27.5)
    again = request("POST", headers=("X-User: u",), body=b"[1]")
    assert split(await plane.exchange(client, again, answer()))[0] == "HTTP/1.1 200 OK"


async def test_only_what_a_limit_matches_is_counted_and_all_limits_hold(plane: Plane) -> None:
    """Reads would be limited for writes, or a request that one limit turns away be charged by the other."""
    writes = RateLimit(1, 60.0, 1, matches=(Match(method="POST"),))
    everything = RateLimit(1, 60.0, 3, matches=(Match(path=StringMatch("prefix", "/")),))
    plane.adopt(rate_limits=(writes, everything))
    client = plane.client()
    statuses = []
    for method in ("POST", "POST", "POST", "GET", "GET", "GET"):
        client.send(request(method))
        await settle()
        answered = client.take()
        if not answered:
            plane.backend().answer(answer())
            answered = client.take()
        statuses.append(split(answered)[0].split()[1])
    assert statuses == ["200", "429", "429", "200", "200", "429"]


async def test_a_reload_leaves_a_limit_that_did_not_change(plane: Plane) -> None:
    """Each reload would give everybody a new burst; a limit that is raised has to hold at once."""
    plane.adopt(rate_limits=(RateLimit(1, 60.0, 1),))
    client = plane.client()
    await plane.exchange(client, request(), answer())
    plane.adopt(request_timeout_s=3.0)
    client.send(request())
    assert split(client.take())[0].startswith("HTTP/1.1 429")
    plane.adopt(rate_limits=(RateLimit(2, 60.0, 2),))
    assert split(await plane.exchange(client, request(), answer()))[0] == "HTTP/1.1 200 OK"


async def test_a_body_that_is_still_coming_is_not_waited_for(plane: Plane) -> None:
    """A client over its limit would have its uploads read to the end."""
    plane.adopt(rate_limits=(RateLimit(1, 60.0, 1),))
    await plane.exchange(plane.client(), request(), answer())
    client = plane.client()
    client.send(request("POST", body=b"abc")[:-1])
    assert split(client.take())[1]["connection"] == "close"
    assert client.transport.closed
