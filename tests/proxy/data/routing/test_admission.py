"""How many connections a worker holds."""

from __future__ import annotations

import msgspec

from proxy.data.routing.admission import Admission
from proxy.data.routing.routing import Routing
from proxy.faults import Fault
from proxy.ledger.layout import W_ACCEPTED, W_CONNECTIONS, W_TURNED_AWAY
from proxy.snapshot import Limits, Snapshot
from tests.support.malformed import HEAD
from tests.support.plane import Plane, answer, request, split
from tests.support.transports import settle


def limited(plane: Plane, **limits: float) -> None:
    """Push new limits, as a reload does."""
    routing = plane.context.routing
    new = msgspec.structs.replace(Limits(), **limits)
    snapshot = Snapshot(routing.generation + 1, tuple(plane.backends), (plane.route,), limits=new)
    plane.context.routing = Routing(snapshot, plane.writer, routing)


def test_each_bound_holds_and_frees() -> None:
    """A worker would run out of descriptors, or never admit an address again."""
    admission, limits = Admission(), Limits(max_connections=3, max_connections_per_address=2)
    assert [admission.enter(address, limits) for address in "aaabbc"] == [True, True, False, True, False, False]
    admission.leave("b")
    assert admission.enter("c", limits)
    admission.leave("a")
    assert admission.enter("a", limits)
    assert admission.total == 3


def test_all_addresses_of_one_ipv6_network_are_one_client() -> None:
    """Whoever has IPv6 has 2**64 addresses, and could take all connections with one from each."""
    admission, limits = Admission(), Limits(max_connections_per_address=1)
    assert admission.enter("2001:db8::1", limits)
    assert not admission.enter("2001:db8:0:0:ffff::2", limits)
    assert admission.enter("2001:db8:0:1::1", limits)
    admission.leave("2001:db8:0:0:ffff::2")
    assert admission.enter("2001:db8::3", limits)
    assert admission.enter("fe80::1%eth0", limits)
    admission.leave("fe80::1%eth0")
    assert admission.total == 2


async def test_a_connection_over_the_bound_is_closed_unread(plane: Plane) -> None:
    """One address could take all connections; what is turned away must not be counted as held."""
    limited(plane, max_connections_per_address=1)
    first, second = plane.client(), plane.client()
    assert (first.transport.closed, second.transport.closed) == (False, True)
    second.transport.lose()
    cells = plane.reader.worker(0)
    assert (cells[W_CONNECTIONS], cells[W_ACCEPTED], cells[W_TURNED_AWAY]) == (1, 2, 1)
    assert split(await plane.exchange(first, request(), answer()))[0] == "HTTP/1.1 200 OK"
    first.transport.lose()
    assert not plane.client().transport.closed
    assert plane.context.admission.total == 1


async def test_new_limits_hold_for_open_connections(plane: Plane) -> None:
    """A limit that is lowered during an attack would spare the attackers who are already there."""
    long, many, slow, idle = (plane.client() for _ in range(4))
    limited(plane, max_target_bytes=64, max_headers=1, head_timeout_s=2.0, keep_alive_idle_s=5.0)
    long.send(request(target="/" + "a" * 64))
    many.send(request(headers=("A: b",)))
    slow.send(HEAD)
    plane.sweep(2.1)
    statuses = [split(client.take())[0].split()[1] for client in (long, many, slow)]
    assert statuses == ["414", "431", "408"]
    assert plane.refused() == {Fault.URI_TOO_LONG: 1, Fault.HEAD_TOO_LARGE: 1, Fault.CLIENT_TIMEOUT: 1}
    assert not idle.transport.closed
    plane.sweep(3)
    assert idle.transport.closed


async def test_a_slow_body_has_a_time_of_its_own(plane: Plane) -> None:
    """A slow client would be given the time of a slow model, or a slow model only that of a client."""
    limited(plane, body_timeout_s=2.0)
    slow, patient = plane.client(), plane.client()
    slow.send(request("POST", body=b"abc")[:-1])
    await settle()
    plane.sweep(2.1)
    assert split(slow.take())[1]["x-understudy-fault"] == "client-timeout"
    patient.send(request("POST", body=b"abc")[:-1])
    await settle()
    plane.sweep(1.5)
    patient.send(b"c")
    plane.sweep(9)
    plane.backend().answer(answer())
    assert split(patient.take())[0] == "HTTP/1.1 200 OK"


async def test_a_slow_first_byte_has_a_time_of_its_own(plane: Plane) -> None:
    """A model that hangs would be waited for as long as one that queues."""
    plane.adopt(first_byte_s=2.0)
    whole, late = plane.client(), plane.client()
    whole.send(request())
    late.send(request("POST", body=b"abc")[:-1])
    await settle()
    plane.sweep(2.1)
    assert split(whole.take())[1]["x-understudy-fault"] == "request-timeout"
    late.send(b"c")
    plane.sweep(1.9)
    assert late.take() == b""
    plane.sweep(0.2)
    assert split(late.take())[1]["x-understudy-fault"] == "request-timeout"
