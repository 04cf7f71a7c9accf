"""A tunnel: bytes both ways, its ends, and what of it counts."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.data.exchanges.tunnel import LINGER_S
from proxy.faults import Fault
from proxy.ledger.layout import L_ARRIVED, L_CUT, L_LATENCY, L_ON_TIME, W_CONNECTIONS, latency_bucket
from proxy.snapshot import Outliers
from tests.proxy.data.test_chunking import pieces
from tests.support.plane import STABLE, Clock, Network, Plane, PlayedBackend, PlayedClient, answer, request, split
from tests.support.transports import settle
from tests.support.upgrades import SWITCHED, close_frame, upgrade


async def opened(plane: Plane, protocol: str = "websocket", room: int = 1 << 40) -> tuple[PlayedClient, PlayedBackend]:
    """A tunnel, and both of its ends."""
    client = plane.client(room)
    client.send(upgrade(protocol=protocol))
    await settle()
    backend = plane.backend()
    backend.take()
    backend.answer(SWITCHED.replace(b"websocket", protocol.encode()))
    assert client.take().startswith(b"HTTP/1.1 101")
    return client, backend


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=60),
    st.binary(max_size=60),
    st.lists(st.integers(0, 400), max_size=6),
    st.lists(st.integers(0, 400), max_size=6),
)
async def test_any_cutting_gives_the_same_bytes(
    up: bytes, down: bytes, up_cuts: list[int], down_cuts: list[int]
) -> None:
    """Bytes would be lost or change places at the seam between HTTP and the other protocol."""
    network = Network()
    asyncio.get_running_loop().create_connection = network.create_connection  # type: ignore[method-assign,assignment]
    plane = Plane(network, Clock())
    client = plane.client()
    for piece in pieces(upgrade() + up, up_cuts):
        if piece:
            client.send(piece)
        await settle(4)
    backend = plane.backend()
    for piece in pieces(SWITCHED + down, down_cuts):
        if piece:
            backend.answer(piece)
    assert split(client.take())[2] == down
    head, _, rest = backend.take().partition(b"\r\n\r\n")
    assert b"upgrade: websocket" in head
    assert rest == up


async def test_bytes_pass_both_ways_unread(plane: Plane) -> None:
    """What looks like HTTP in a tunnel would be taken for it."""
    client, backend = await opened(plane)
    for number in range(3):
        raw = request(target=f"/{number}")
        client.send(raw)
        assert backend.take() == raw
        backend.answer(answer(b"x" * number))
        assert client.take() == answer(b"x" * number)
    assert plane.totals().finished == 1


async def test_outcome_is_made_when_it_opens(plane: Plane) -> None:
    """Hours of a healthy tunnel would be its latency, or its slice would wait for its end."""
    client = plane.client()
    client.send(upgrade())
    await settle()
    arrived_s = plane.clock.now_s
    plane.clock.move(0.2)
    plane.backend().answer(SWITCHED)
    plane.clock.move(3600)
    client.transport.lose()
    await settle()
    cells = plane.reader.totals(0, 0, 11)
    assert cells is not None
    assert (cells.arrived, cells.finished, cells.failed, cells.late) == (1, 1, 0, 0)
    assert cells.statuses == {101: 1}
    lane = plane.lane(at_s=arrived_s)
    assert (lane[L_ARRIVED], lane[L_ON_TIME]) == (1, 1)
    assert lane[L_LATENCY + latency_bucket(0.2)] == 1


async def test_life_counts_as_under_way(plane: Plane) -> None:
    """A drain would not wait for a tunnel, and nobody would see that connections are in use."""
    client, _ = await opened(plane)
    assert len(plane.context.live) == 1
    assert plane.reader.worker(0)[W_CONNECTIONS] == 1
    client.transport.lose()
    await settle()
    assert not plane.context.live
    assert plane.reader.worker(0)[W_CONNECTIONS] == 0
    assert plane.context.admission.total == 0


async def test_slow_client_holds_the_backend(plane: Plane) -> None:
    """A client that does not read would fill the memory."""
    client, backend = await opened(plane, room=1000)
    client.transport.drain()
    backend.answer(b"x" * 1001)
    assert not backend.transport.reading
    client.send(b"y")
    assert backend.take() == b"y", "the other direction does not wait"
    client.transport.drain()
    assert backend.transport.reading


async def test_slow_backend_holds_the_client(plane: Plane) -> None:
    """A backend that does not read would fill the memory."""
    plane.network.room = 1000
    client, backend = await opened(plane)
    backend.transport.drain()
    client.send(b"x" * 1001)
    assert not client.transport.reading
    backend.transport.drain()
    assert client.transport.reading


async def test_backend_that_has_not_taken_its_head_holds_the_client(plane: Plane) -> None:
    """A backend that switches before it has read the request would be sent more without a bound."""
    plane.network.room = 10
    client = plane.client()
    client.send(upgrade())
    await settle()
    plane.backend().answer(SWITCHED)
    assert not client.transport.reading
    plane.backend().transport.drain()
    assert client.transport.reading


async def test_half_close_is_passed_on(plane: Plane) -> None:
    """A side that is done sending and waits for the rest would never get it."""
    client, backend = await opened(plane, "raw")
    backend.transport.stubborn = True
    assert client.transport.protocol.eof_received() is True
    assert backend.transport.ended
    assert not backend.transport.shut
    backend.answer(b"the rest")
    assert client.take() == b"the rest"
    assert not backend.transport.protocol.eof_received()
    await settle()
    assert client.transport.lost
    backend.transport.lose()
    assert not plane.context.live
    assert plane.totals().failed == 0


async def test_half_close_of_the_backend_is_passed_on(plane: Plane) -> None:
    """The same, the other way round."""
    client, backend = await opened(plane, "raw")
    client.transport.stubborn = True
    assert backend.transport.protocol.eof_received() is True
    assert client.transport.ended
    client.send(b"the rest")
    assert backend.take() == b"the rest"
    assert plane.totals().failed == 0


async def test_half_close_that_cannot_be_passed_on_closes(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS knows no half-closed connection: the other side would wait for an end that cannot be sent."""
    client, backend = await opened(plane)
    monkeypatch.setattr(client.transport, "can_write_eof", lambda: False)
    assert backend.transport.protocol.eof_received() is False
    await settle()
    assert client.transport.lost


async def test_client_that_leaves_ends_it(plane: Plane) -> None:
    """The backend would talk to nobody; and it is not its failure."""
    client, backend = await opened(plane)
    client.transport.lose(ConnectionResetError())
    await settle()
    assert backend.transport.lost
    assert plane.totals().failed == 0
    assert not plane.context.live


ENDS = {
    "reset": ("raw", b"", b"", True, True),
    "orderly end of a protocol that is not known": ("raw", b"", b"", False, False),
    "killed WebSocket server": ("websocket", b"text", b"", False, True),
    "reset WebSocket": ("websocket", b"text", b"", True, True),
    "close frame": ("websocket", b"text" + close_frame(), b"", False, False),
    "close frame alone": ("websocket", close_frame(), b"", False, False),
    "close frame without a reason": ("websocket", b"text" + close_frame(b""), b"", False, False),
    "longest close frame": ("websocket", b"x" * 300 + close_frame(b"r" * 125), b"", False, False),
    "close frame that is not last": ("websocket", close_frame() + b"text", b"", False, True),
    "close frame of the client": ("websocket", b"text", b"t" * 200 + close_frame(masked=True), False, False),
    "longest close frame of the client": ("WebSocket", b"", close_frame(b"r" * 125, masked=True), True, False),
}


@pytest.mark.parametrize(("protocol", "down", "up", "reset", "cut"), ENDS.values(), ids=ENDS.keys())
@pytest.mark.parametrize("size", [1, 3, 1000])
async def test_ends_that_count_against_the_version(
    plane: Plane, protocol: str, down: bytes, up: bytes, reset: bool, cut: bool, size: int
) -> None:
    """A version that drops its sockets would look healthy, or one that closes them properly would look sick."""
    client, backend = await opened(plane, protocol)
    for part in [up[i : i + size] for i in range(0, len(up), size)]:
        client.send(part)
    for part in [down[i : i + size] for i in range(0, len(down), size)]:
        backend.answer(part)
    plane.clock.move(30)
    if reset:
        backend.reset()
    else:
        backend.close()
    await settle()
    assert client.transport.lost
    assert client.take() == down, "what was on its way is lost"
    totals = plane.totals()
    assert (totals.finished, totals.failed) == (1, int(cut))
    assert totals.faults == ({Fault.RESPONSE_CUT: 1} if cut else {})
    assert totals.statuses == {101: 1}
    if cut:
        assert plane.lane()[L_CUT] == 1
    assert not plane.context.live


async def test_silence_on_both_sides_ends_it(plane: Plane) -> None:
    """A peer that vanished without a word would hold two connections forever."""
    plane.adopt(tunnel_idle_s=100.0, stream_idle_s=1.0)
    client, backend = await opened(plane)
    for side in (client, backend, client):
        plane.sweep(99.0)
        assert not client.transport.shut
        side.send(b"x") if isinstance(side, PlayedClient) else side.answer(b"x")
    plane.sweep(101.0)
    assert client.transport.aborted
    assert backend.transport.aborted
    await settle()
    assert plane.totals().failed == 0, "silence is nobody's failure"
    assert not plane.context.live


async def test_reader_that_hangs_at_the_end_is_closed(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that never takes the last bytes would keep its connection forever."""
    client, backend = await opened(plane)
    monkeypatch.setattr(client.transport, "close", lambda: None)  # it waits for its buffer
    backend.answer(close_frame())
    backend.close()
    plane.sweep(LINGER_S - 1)
    assert plane.context.live
    plane.sweep(2)
    assert client.transport.aborted


async def test_reload_and_promotion_leave_it(plane: Plane) -> None:
    """A change of settings or versions would cut every socket (promise 6)."""
    client, backend = await opened(plane)
    plane.backends[0] = type(plane.backends[0])("v1", plane.backends[0].endpoints, idle_timeout_s=1.0)
    plane.adopt()
    plane.sweep(60.0)
    client.send(b"up")
    assert backend.take() == b"up"
    backend.answer(b"down")
    assert client.take() == b"down"


async def test_drain_waits_for_it(plane: Plane) -> None:
    """SIGTERM would cut sockets that have `drainTimeout` to end."""
    client, backend = await opened(plane)
    plane.context.draining = True
    for one in list(plane.registry):
        one.drain()
    plane.sweep(200.0)
    backend.answer(b"down")
    assert client.take() == b"down"
    assert plane.context.live


async def test_it_holds_its_connection(plane: Plane) -> None:
    """`maxConnections` protects a model server: a tunnel that is not counted would let more in."""
    plane.backends[0] = type(plane.backends[0])("v1", plane.backends[0].endpoints, max_connections=1)
    plane.adopt()
    client, _ = await opened(plane)
    waiting = plane.client()
    waiting.send(request())
    await settle()
    assert plane.connections() == 1
    client.transport.lose()
    await settle()
    assert plane.connections() == 2, "the end of the tunnel makes room"
    assert plane.backend().take().startswith(b"GET / ")


async def test_endpoint_that_cuts_tunnels_is_an_outlier(plane: Plane) -> None:
    """An endpoint that accepts sockets and drops them would go on getting new ones."""
    plane.backends[0] = type(STABLE)("v1", STABLE.endpoints, outliers=Outliers(server_errors=2))
    plane.adopt()
    pool = plane.context.routing.upstreams[plane.backends[0]].pools[0]
    backends = [(await opened(plane))[1] for _ in range(2)]
    backends[0].reset()
    await settle()
    assert not pool.standing.ejected_until_s
    backends[1].reset()
    await settle()
    assert pool.standing.ejected_until_s
