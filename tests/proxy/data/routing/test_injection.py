"""Faults that are injected on purpose: who meets one, what the client sees, and what is counted."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest

from proxy.data.routing import injection
from proxy.data.routing.patience import QUIET_S
from proxy.faults import Fault
from proxy.ledger.guards import GuardTotals
from proxy.ledger.layout import L_LATENCY, latency_bucket
from proxy.snapshot import CIRCLE, Injection, Match, Retries, Segment, StringMatch
from tests.support.plane import Plane, PlayedClient, answer, request, split
from tests.support.transports import settle

ALWAYS = CIRCLE


class Timers:
    """Takes the place of `loop.call_later`: timers go off when the test says so."""

    def __init__(self, plane: Plane) -> None:
        self._plane = plane
        self.set: list[tuple[float, object]] = []

    def call_later(self, delay_s: float, call: object) -> None:
        self.set.append((delay_s, call))

    async def go_off(self) -> None:
        for delay_s, call in self.set:
            self._plane.clock.move(delay_s)
            call()  # type: ignore[operator]
        self.set.clear()
        await settle()


@pytest.fixture
async def timers(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> Timers:
    timers = Timers(plane)
    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", timers.call_later)
    return timers


def inject(plane: Plane, **changes: object) -> None:
    plane.adopt(injection=Injection(**changes))  # type: ignore[arg-type]


def counted(plane: Plane) -> GuardTotals:
    return plane.reader.guards(0, "all")


def answered(client: PlayedClient) -> str:
    return split(client.take())[0].split()[1]


# --- aborts


async def test_an_abort_of_a_version_counts_against_it(plane: Plane) -> None:
    """A game day would show that a rollout is not aborted, or would reach the model."""
    inject(plane, abort_status=500, abort_share=ALWAYS, backend=0)
    client = plane.client()
    client.send(request("POST", body=b"[1]"))
    first, fields, body = split(client.take())
    assert first == "HTTP/1.1 500 Internal Server Error"
    assert fields["x-understudy-fault"] == "injected"
    assert msgspec.json.decode(body)["status"] == 500
    assert "connection" not in fields
    totals = plane.totals()
    assert (totals.failed, totals.statuses, totals.faults) == (1, {500: 1}, {Fault.INJECTED: 1})
    assert (plane.network.dialled, plane.refused(), counted(plane)) == ([], {}, GuardTotals(0, 0, 1))


async def test_an_abort_with_a_status_of_the_client_s_is_no_error(plane: Plane) -> None:
    """A 4xx is no failure of a version where it answers so itself, and must not be one where it is injected."""
    inject(plane, abort_status=404, abort_share=ALWAYS, backend=0)
    client = plane.client()
    client.send(request())
    assert answered(client) == "404"
    assert (plane.totals().failed, plane.totals().statuses) == (0, {404: 1})


async def test_an_abort_of_nobody_counts_against_nobody(plane: Plane) -> None:
    """A rollout would be aborted for what no version did."""
    inject(plane, abort_status=503, abort_share=ALWAYS)
    client = plane.client()
    for _ in range(3):
        client.send(request("POST", body=b"[1]"))
        assert answered(client) == "503"
    assert (plane.totals().arrived, plane.totals("v2").arrived) == (0, 0)
    assert (plane.refused(), counted(plane)) == ({Fault.INJECTED: 3}, GuardTotals(0, 0, 3))


async def test_other_versions_are_left_alone(plane: Plane) -> None:
    """Stable would fail with the candidate, and their difference would show nothing."""
    inject(plane, abort_status=500, abort_share=ALWAYS, backend=1)
    first, fields, _ = split(await plane.exchange(plane.client(), request(), answer()))
    assert (first, "x-understudy-fault" in fields) == ("HTTP/1.1 200 OK", False)
    plane.adopt(segments=(Segment(CIRCLE, 1), Segment(CIRCLE, 0)))
    client = plane.client()
    client.send(request())
    assert answered(client) == "500"


async def test_only_what_matches_meets_a_fault(plane: Plane) -> None:
    """A game day for some clients would be one for all."""
    match = Match(path=StringMatch("prefix", "/game"))
    inject(plane, abort_status=500, abort_share=ALWAYS, backend=0, matches=(match,))
    client = plane.client()
    assert split(await plane.exchange(client, request(), answer()))[0] == "HTTP/1.1 200 OK"
    client.send(request(target="/game"))
    assert answered(client) == "500"
    assert counted(plane).aborted == 1


async def test_each_request_is_drawn_by_itself(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same users would always meet the fault, and the others never."""
    monkeypatch.setattr(injection, "random", random.Random(5).random)
    inject(plane, abort_status=500, abort_share=CIRCLE // 4, backend=0)
    client = plane.client()
    met = 0
    for _ in range(2000):
        client.send(request())
        await settle(2)
        if not client.transport.writes:
            plane.backend().answer(answer())
            await settle(2)
        met += answered(client) == "500"
    assert 440 < met < 560
    assert counted(plane).aborted == plane.totals().failed == met


# --- delays


async def test_a_delay_of_a_version_is_its_latency(plane: Plane, timers: Timers) -> None:
    """A game day would not show that a rollout sees a slow version; and the client could not tell why it waits."""
    inject(plane, delay_s=2.0, delay_share=ALWAYS, backend=0)
    client = plane.client()
    client.send(request())
    await settle()
    assert (plane.network.dialled, len(plane.context.live)) == ([], 1)
    await timers.go_off()
    plane.backend().answer(answer(b"x"))
    first, fields, _ = split(client.take())
    assert (first, fields["x-understudy-fault"]) == ("HTTP/1.1 200 OK", "injected-delay")
    assert plane.lane(at_s=plane.clock.now_s - 2.0)[L_LATENCY + latency_bucket(2.0)] == 1
    assert counted(plane) == GuardTotals(0, 1, 0)


async def test_a_delay_of_nobody_is_nobody_s_latency(plane: Plane, timers: Timers) -> None:
    """Versions would be compared by a wait that they had no part in."""
    inject(plane, delay_s=2.0, delay_share=ALWAYS)
    client = plane.client()
    client.send(request("POST", body=b"[1]"))
    await settle()
    assert plane.network.dialled == []
    await timers.go_off()
    assert split(plane.backend().take())[2] == b"[1]"
    plane.backend().answer(answer(b"x"))
    assert split(client.take())[1]["x-understudy-fault"] == "injected-delay"
    assert plane.lane()[L_LATENCY + latency_bucket(0.0)] == 1


async def test_who_is_delayed_and_aborted_waits_first(plane: Plane, timers: Timers) -> None:
    """A slow failure is not a quick one."""
    for backend in (0, -1):
        inject(plane, delay_s=1.0, delay_share=ALWAYS, abort_status=503, abort_share=ALWAYS, backend=backend)
        client = plane.client()
        client.send(request())
        assert client.take() == b""
        await timers.go_off()
        assert answered(client) == "503"
    assert counted(plane) == GuardTotals(0, 2, 2)


@pytest.mark.parametrize("backend", [0, -1])
async def test_a_client_that_leaves_during_a_delay_is_let_go(plane: Plane, timers: Timers, backend: int) -> None:
    """The request would be sent to the model for nobody, or be counted twice."""
    inject(plane, delay_s=1.0, delay_share=ALWAYS, backend=backend)
    client = plane.client()
    client.send(request())
    client.transport.lose()
    await timers.go_off()
    assert (plane.network.dialled, plane.context.live) == ([], set())
    named = backend == 0
    assert plane.totals().faults == ({Fault.CLIENT_GONE: 1} if named else {})
    assert plane.refused() == ({} if named else {Fault.CLIENT_GONE: 1})


async def test_a_delay_beyond_the_timeout_is_one(plane: Plane, timers: Timers) -> None:
    """A version that seems to hang would not be timed out as one that does."""
    inject(plane, delay_s=30.0, delay_share=ALWAYS, backend=0)
    client = plane.client()
    client.send(request())
    plane.sweep(plane.route.request_timeout_s + 0.1)
    assert answered(client) == "504"
    await timers.go_off()
    assert (plane.network.dialled, plane.totals().faults) == ([], {Fault.REQUEST_TIMEOUT: 1})


@pytest.mark.parametrize("backend", [0, -1])
async def test_a_body_that_comes_during_a_delay_is_held_and_sent(plane: Plane, timers: Timers, backend: int) -> None:
    """A large upload would fill the memory, or arrive with a piece missing."""
    inject(plane, delay_s=1.0, delay_share=ALWAYS, backend=backend)
    client = plane.client()
    body = b"a" * 600_000
    client.send(request("POST", body=body)[:-500_000])
    client.send(body[:200_000])
    assert not client.transport.reading
    await timers.go_off()
    assert client.transport.reading
    client.send(body[:300_000])
    assert split(plane.backend().take())[2] == body
    plane.backend().answer(answer())
    assert answered(client) == "200"


@pytest.mark.parametrize("backend", [0, -1])
async def test_a_reload_ends_a_game_day_but_not_what_it_delays(plane: Plane, timers: Timers, backend: int) -> None:
    """Requests that wait would be lost with the settings that had them wait."""
    inject(plane, delay_s=1.0, delay_share=ALWAYS, backend=backend)
    waiting, after = plane.client(), plane.client()
    waiting.send(request())
    plane.backends[0] = msgspec.structs.replace(plane.backends[0], idle_timeout_s=1.0)
    plane.adopt(injection=None)
    assert "x-understudy-fault" not in split(await plane.exchange(after, request(), answer()))[1]
    await timers.go_off()
    plane.backend("v1", -1).answer(answer())
    assert answered(waiting) == "200"


async def test_a_drain_waits_for_what_is_delayed(plane: Plane, timers: Timers) -> None:
    """A worker would cut a request that it is still going to serve."""
    inject(plane, delay_s=1.0, delay_share=ALWAYS)
    client = plane.client()
    client.send(request())
    plane.context.draining = True
    client.connection.drain(plane.clock.now_s + QUIET_S)
    assert not client.transport.closed
    await timers.go_off()
    plane.backend().answer(answer())
    assert split(client.take())[1]["connection"] == "close"


# --- with retries


async def test_an_injected_failure_is_tried_again_as_any_other(plane: Plane) -> None:
    """A game day would show clients failures that retries keep from them, or hide one from the rollout."""
    retries = Retries(1, ("5xx",), base_interval_s=0.0, max_interval_s=0.0)
    plane.adopt(retries=retries, injection=Injection(abort_status=503, abort_share=ALWAYS, backend=0))
    client = plane.client()
    client.send(request())
    await asyncio.sleep(0.01)
    plane.backend().answer(answer(b"x"))
    first, fields, _ = split(client.take())
    assert (first, fields["x-understudy-attempts"]) == ("HTTP/1.1 200 OK", "2")
    totals = plane.totals()
    assert (totals.arrived, totals.failed, totals.faults) == (1, 1, {Fault.INJECTED: 1})


async def test_a_retry_does_not_wait_for_the_delay_that_it_gave_up(plane: Plane) -> None:
    """The request would be sent twice at once, over two connections."""
    retries = Retries(1, ("5xx",), base_interval_s=0.0, max_interval_s=0.0, try_timeout_s=1.0)
    plane.adopt(retries=retries, injection=Injection(delay_s=0.05, delay_share=ALWAYS, backend=0))
    client = plane.client()
    client.send(request())
    plane.sweep(1.1)
    await asyncio.sleep(0.1)
    assert plane.network.dialled == ["v1.test"]
    plane.backend().answer(answer(b"x"))
    assert split(client.take())[0] == "HTTP/1.1 200 OK"
