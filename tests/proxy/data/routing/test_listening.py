"""What a listener is to a connection."""

from __future__ import annotations

from proxy.ledger.layout import W_ACCEPTED, W_CONNECTIONS
from tests.support.plane import Plane, answer, request
from tests.support.transports import settle


async def test_a_listener_of_which_nothing_is_known_takes_nobody(plane: Plane) -> None:
    """A socket that should ask for a certificate would serve whoever comes, until a restart."""
    before = plane.client()
    plane.listen(closed=True)
    client = plane.client()
    client.send(request())
    await settle()
    assert client.take() == b""
    assert client.transport.closed
    assert (await plane.exchange(before, request(), answer(b"x"))).endswith(b"x"), "who was there before stays"
    assert plane.reader.worker(0)[W_ACCEPTED] == 2
    assert plane.reader.worker(0)[W_CONNECTIONS] == 1
