"""Bodies that come a byte at a time."""

from __future__ import annotations

import pytest

from proxy.data.clients.pace import BodyPace
from proxy.snapshot import Limits
from tests.proxy.data.routing.test_admission import limited
from tests.support.plane import Plane, PlayedClient, answer, request, split
from tests.support.transports import settle

LIMITS = Limits(body_timeout_s=10.0, min_body_rate=100)
LONG = request("POST", body=b"x" * 5000)


def trickle(plane: Plane, client: PlayedClient, seconds: int, each: bytes = b"x") -> None:
    for _ in range(seconds):
        client.send(each)
        plane.sweep(1.0)


def test_what_has_come_buys_time() -> None:
    """Broken: an upload that is slow and steady is refused, or one that is too slow goes on."""
    steady, slow = BodyPace(1.0, 100.0), BodyPace(1.0, 100.0)
    assert not any(steady.too_slow(100 * second, True, 100.0 + second, LIMITS) for second in range(1, 500))
    assert [slow.too_slow(50 * second, True, 100.0 + second, LIMITS) for second in (10, 20, 21)] == [False, False, True]


def test_time_in_which_nobody_reads_is_not_the_client_s() -> None:
    """Broken: a client is blamed for a backend that takes nothing."""
    pace = BodyPace(1.0, 0.0)
    assert not any(pace.too_slow(10, False, float(second), LIMITS) for second in range(1, 600))
    assert not pace.too_slow(10, True, 601.0, LIMITS)
    assert pace.too_slow(10, True, 611.0, LIMITS)


async def test_a_byte_a_second_is_refused(plane: Plane) -> None:
    """Broken: whoever sends a byte now and then holds as many connections as there are, for ever (Slowloris)."""
    limited(plane, body_timeout_s=3.0, min_body_rate=10)
    slow = plane.client()
    slow.send(LONG[:-5000])
    await settle()
    trickle(plane, slow, 4)
    assert slow.take() == b""
    trickle(plane, slow, 2)
    line, headers, body = split(slow.take())
    assert (line, headers["x-understudy-fault"]) == ("HTTP/1.1 408 Request Timeout", "client-timeout")
    assert b"less than 10 bytes/s" in body


async def test_a_fast_body_and_one_without_a_least_rate_go_on(plane: Plane) -> None:
    """Broken: uploads end that nobody meant to end."""
    limited(plane, body_timeout_s=3.0, min_body_rate=10)
    fast = plane.client()
    fast.send(LONG[:-5000])
    await settle()
    trickle(plane, fast, 40, b"x" * 11)
    assert fast.take() == b""
    limited(plane, body_timeout_s=3.0)
    trickle(plane, fast, 60)
    assert fast.take() == b""
    fast.send(b"x" * (5000 - 500))
    plane.backend().answer(answer())
    assert split(fast.take())[0] == "HTTP/1.1 200 OK"


async def test_each_body_of_a_connection_has_its_own_time(plane: Plane) -> None:
    """Broken: the time of one upload is held against the next."""
    limited(plane, body_timeout_s=3.0, min_body_rate=10)
    client = plane.client()
    for _ in range(4):
        client.send(request("POST", body=b"xxx")[:-2])
        await settle()
        trickle(plane, client, 2)
        plane.backend().answer(answer())
        assert split(client.take())[0] == "HTTP/1.1 200 OK"


@pytest.mark.parametrize("busy", [False, True])
async def test_the_longest_idle_make_room(plane: Plane, busy: bool) -> None:
    """Broken: clients are turned away for the sake of connections that nobody uses, or those in use are cut."""
    limited(plane, max_connections=32)
    clients = []
    for _ in range(31):
        clients.append(plane.client())
        plane.clock.move(0.1)
    if busy:
        clients[0].send(request())
        await settle()
    plane.clock.move(2.0)
    found = plane.context.admission.crowding(plane.registry, plane.context.routing.limits, plane.clock.now_s)
    for client in found:
        client.drain(plane.clock.now_s)
    closed = [number for number, client in enumerate(clients) if client.transport.closed]
    assert closed == ([1] if busy else [0])
    assert not plane.context.admission.crowding((), plane.context.routing.limits, plane.clock.now_s)


async def test_few_connections_make_room_as_well(plane: Plane) -> None:
    """Broken: with a bound below 16 a sixteenth is none, and idle clients lock everybody else out."""
    limited(plane, max_connections=3)
    clients = []
    for _ in range(3):
        clients.append(plane.client())
        plane.clock.move(0.1)
    assert plane.client().transport.closed
    plane.clock.move(5.0)
    for client in plane.context.admission.crowding(plane.registry, plane.context.routing.limits, plane.clock.now_s):
        client.drain(plane.clock.now_s)
    assert [client.transport.closed for client in clients] == [True, False, False]
