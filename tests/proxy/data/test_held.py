"""Requests of a route that is held, through a whole worker: what clients see, and what is counted."""

from __future__ import annotations

import pytest

from proxy.ledger.guards import GuardTotals
from proxy.ledger.layout import L_LATENCY, latency_bucket
from proxy.snapshot import CIRCLE, Hold, Injection, Match, Segment, StringMatch
from tests.support.plane import START_S, Plane, answer, request, split
from tests.support.transports import settle

HOLD = Hold(timeout_s=30.0, release_rate=1000.0)


def held(plane: Plane) -> GuardTotals:
    return plane.reader.guards(0, "all")


async def release(plane: Plane, **changes: object) -> None:
    plane.adopt(hold=None, **changes)
    plane.sweep()
    plane.sweep(0.5)
    await settle()


async def test_a_held_request_goes_to_what_routes_when_the_hold_ends(plane: Plane) -> None:
    """Broken: requests that waited out a swap would go to the version that was stopped."""
    plane.adopt(hold=HOLD)
    client = plane.client()
    client.send(request("POST", "/p", body=b"abc"))
    await settle()
    assert plane.network.dialled == []
    plane.clock.move(4.0)
    await release(plane, segments=(Segment(CIRCLE, 1),))
    assert plane.network.dialled == ["v2.test"]
    assert plane.backend("v2").take().endswith(b"\r\n\r\nabc")
    plane.backend("v2").answer(answer(b"ok"))
    first, fields, body = split(client.take())
    assert (first[:12], fields["x-understudy-backend"], body) == ("HTTP/1.1 200", "v2", b"ok")
    assert held(plane) == GuardTotals(held=1, released=1)


async def test_what_was_waited_is_no_latency(plane: Plane) -> None:
    """Broken: the version that starts would be judged by the time that it was not there, and be aborted for it."""
    plane.adopt(hold=HOLD)
    client = plane.client()
    client.send(request())
    await settle()
    assert plane.totals().arrived == 0
    plane.clock.move(7.0)
    await release(plane)
    plane.clock.move(0.1)
    plane.backend().answer(answer())
    lane = plane.lane(at_s=START_S + 7.0)
    assert plane.totals().arrived == 1
    assert lane[L_LATENCY + latency_bucket(0.6)] == 1, "released half a second ago"


async def test_nobody_waits_where_nothing_is_held(plane: Plane) -> None:
    """Broken: ordinary requests would pay for a queue that is not there."""
    assert all(plan.room is None for plan in plane.context.routing.plans)
    plane.adopt(hold=HOLD)
    assert plane.context.routing.plans[0].room is not None
    plane.adopt(hold=None)
    assert plane.context.routing.plans[0].room is None
    assert plane.context.routing.rooms == {}


async def test_a_client_that_goes_away_leaves_the_queue(plane: Plane) -> None:
    """Broken: the model would answer those who have left first."""
    plane.adopt(hold=HOLD)
    client = plane.client()
    client.send(request())
    client.transport.lose()
    await release(plane)
    assert plane.network.dialled == []
    assert held(plane) == GuardTotals(held=1, left=1)
    assert plane.context.live == set()


async def test_the_time_of_a_request_ends(plane: Plane) -> None:
    """Broken: a client would wait for as long as a hold takes, though the file says for how long."""
    plane.adopt(hold=Hold(timeout_s=5.0))
    client = plane.client()
    client.send(request())
    plane.sweep(4.9)
    assert client.take() == b""
    plane.sweep(0.2)
    first, fields, body = split(client.take())
    assert first.startswith("HTTP/1.1 503")
    assert fields["x-understudy-fault"] == "hold-timeout"
    assert fields["retry-after"] == "6"
    assert b"route all is held" in body
    assert held(plane) == GuardTotals(held=1, expired=1)
    client.send(request())  # the connection lives on
    assert held(plane).waiting == 1


async def test_a_full_queue_refuses_at_once_and_keeps_the_connection(plane: Plane) -> None:
    """Broken: who finds no room would wait as well, or lose its connection."""
    plane.adopt(hold=Hold(max_requests=1))
    first, second = plane.client(), plane.client()
    first.send(request())
    second.send(request())
    assert b"503" in second.take()
    assert first.take() == b""
    assert plane.refused() == {25: 1}
    second.send(request())
    assert b"hold-full" in second.take()


async def test_a_body_waits_with_the_client(plane: Plane) -> None:
    """Broken: held uploads would be read into memory, however large they are."""
    plane.adopt(hold=HOLD)
    client = plane.client()
    client.send(request("POST", headers=("Content-Length: 10000000",)))
    client.send(b"x" * (200 << 10))
    assert client.transport.reading
    client.send(b"x" * (100 << 10))
    assert not client.transport.reading
    await release(plane)
    assert client.transport.reading
    assert len(plane.backend().take()) > 300 << 10
    client.send(b"x" * (10_000_000 - (300 << 10)))
    plane.backend().answer(answer(b"done"))
    assert client.take().endswith(b"done")


async def test_a_slow_body_may_come_while_its_request_waits(plane: Plane) -> None:
    """Broken: the end of a body that arrives in the queue would be forgotten, or would cost the request its place."""
    plane.adopt(hold=HOLD)
    client = plane.client()
    client.send(request("POST", headers=("Transfer-Encoding: chunked",)))
    plane.sweep(12.0)
    client.send(b"3\r\nabc\r\n")
    client.send(b"0\r\n\r\n")
    plane.sweep(12.0)
    assert client.take() == b""
    await release(plane)
    assert plane.backend().take().endswith(b"3\r\nabc\r\n0\r\n\r\n")


async def test_continue_is_said_when_the_hold_ends(plane: Plane) -> None:
    """Broken: a client that asks before it sends would be told to send into a queue."""
    plane.adopt(hold=HOLD)
    client = plane.client()
    client.send(request("POST", headers=("Content-Length: 3", "Expect: 100-continue")))
    assert client.take() == b""
    await release(plane)
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(b"abc")
    plane.backend().answer(answer(b"ok"))
    assert client.take().endswith(b"ok")


async def test_continue_is_not_said_to_who_is_refused(plane: Plane) -> None:
    """Broken: a client would send its body to nobody."""
    plane.adopt(hold=Hold(max_requests=1))
    plane.client().send(request())
    client = plane.client()
    client.send(request("POST", headers=("Content-Length: 3", "Expect: 100-continue")))
    assert client.take().startswith(b"HTTP/1.1 503")


async def test_what_is_no_request_leaves_the_queue(plane: Plane) -> None:
    """Broken: a malformed body would keep its place, and be sent on."""
    plane.adopt(hold=HOLD)
    client = plane.client()
    client.send(request("POST", headers=("Transfer-Encoding: chunked",)))
    client.send(b"nonsense\r\n")
    assert client.take().startswith(b"HTTP/1.1 400")
    await release(plane)
    assert plane.network.dialled == []
    assert held(plane) == GuardTotals(held=1, left=1)


async def test_requests_of_one_connection_keep_their_order(plane: Plane) -> None:
    """Broken: answers of a client that pipelines would be swapped."""
    plane.adopt(hold=HOLD)
    client = plane.client()
    client.send(request(target="/1") + request(target="/2"))
    await release(plane)
    assert b"GET /1" in plane.backend().take()
    plane.backend().answer(answer(b"one"))
    await settle()
    assert b"GET /2" in plane.backend().take()
    plane.backend().answer(answer(b"two"))
    assert client.take().index(b"one") < len(b"one") + 200


async def test_a_reload_keeps_those_who_wait(plane: Plane) -> None:
    """Broken: an edit of the file in the middle of a swap would lose the queue."""
    plane.adopt(hold=HOLD)
    client = plane.client()
    client.send(request())
    plane.adopt(hold=Hold(timeout_s=60.0, release_rate=1000.0))
    plane.adopt(request_timeout_s=3.0)
    assert held(plane).waiting == 1
    await release(plane)
    plane.backend().answer(answer(b"ok"))
    assert client.take().endswith(b"ok")


async def test_a_route_that_is_gone_releases_to_what_matches_now(plane: Plane) -> None:
    """Broken: those who wait for a route that was renamed or taken away would wait until their time is over."""
    plane.adopt(hold=HOLD)
    stays, goes = plane.client(), plane.client()
    stays.send(request(target="/m/1"))
    goes.send(request(target="/other"))
    matches = (Match(path=StringMatch("prefix", "/m")),)
    await release(plane, name="renamed", matches=matches)
    plane.backend().answer(answer(b"ok"))
    assert stays.take().endswith(b"ok")
    assert goes.take().startswith(b"HTTP/1.1 404")
    assert held(plane).released == 2


async def test_faults_on_purpose_meet_those_who_waited(plane: Plane) -> None:
    """Broken: a game day would not know who was held."""
    plane.adopt(hold=HOLD, injection=Injection(abort_status=418, abort_share=CIRCLE))
    client = plane.client()
    client.send(request())
    assert client.take() == b""
    await release(plane)
    assert client.take().startswith(b"HTTP/1.1 418")


async def test_a_body_over_the_limit_is_refused_when_it_is_known(plane: Plane) -> None:
    """Broken: a request would wait only to be refused."""
    plane.adopt(hold=HOLD, max_body_bytes=10)
    client = plane.client()
    client.send(request("POST", body=b"x" * 11))
    await settle()
    assert client.take().startswith(b"HTTP/1.1 413")
    assert held(plane) == GuardTotals()


@pytest.mark.parametrize("upgrade", ["websocket"])
async def test_an_upgrade_waits_as_well(plane: Plane, upgrade: str) -> None:
    """Broken: sockets would be opened to a version that is being stopped."""
    plane.adopt(hold=HOLD)
    client = plane.client()
    client.send(request(headers=("Connection: upgrade", f"Upgrade: {upgrade}")))
    assert plane.network.dialled == []
    await release(plane)
    assert b"upgrade: websocket" in plane.backend().take()
    plane.backend().answer(b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert client.take().startswith(b"HTTP/1.1 101")
