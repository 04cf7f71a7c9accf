"""Bodies in many small pieces take the memory of their bytes."""

from __future__ import annotations

import doctest
import tracemalloc

import pytest

from proxy.data.exchanges.attempt import PENDING_BYTES
from proxy.data.wire import gathering
from proxy.data.wire.gathering import PIECES, SMALL_BYTES, gather
from proxy.snapshot import CIRCLE, Mirror, Output, Predictions
from tests.support.plane import ROWS, Plane, answer, chunked, request
from tests.support.transports import settle

TINY = chunked(b"ab")[:-5]
CHUNKED = ("Transfer-Encoding: chunked",)
READER = Predictions("json", (Output("label", "category", ("label",)),))


def test_examples_in_the_docstrings() -> None:
    """An example that is no longer true misleads whoever trusts it."""
    assert doctest.testmod(gathering).failed == 0


@pytest.mark.parametrize("size", [1, 2, 100, SMALL_BYTES - 1, SMALL_BYTES, 100_000])
def test_pieces_are_few_and_whole(size: int) -> None:
    """Bytes would be lost, or large pieces copied again and again."""
    kept: list[bytes] = []
    pieces = [bytes([number % 251]) * size for number in range(3 * PIECES + 7)]
    large = [piece for piece in pieces if size >= SMALL_BYTES]
    for piece in pieces:
        gather(kept, piece)
    assert b"".join(kept) == b"".join(pieces)
    assert len(kept) <= PIECES + 3 * PIECES * size // SMALL_BYTES + 7
    assert all(one is other for one, other in zip(kept, large, strict=False))


async def test_a_body_of_tiny_chunks_that_waits_holds_its_client(plane: Plane) -> None:
    """A chunk of two bytes takes sixty while it waits for a connection: a few hundred clients would fill the memory."""
    plane.network.silent.add("v1.test")
    client = plane.client()
    tracemalloc.start()
    try:
        client.send(request("POST", headers=CHUNKED))
        sent = 0
        while client.transport.reading and sent < PENDING_BYTES:
            client.send(TINY * 500)
            sent += 1000
            await settle(1)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert not client.transport.reading
    assert taken < 4 * PENDING_BYTES


async def test_a_body_of_tiny_chunks_is_copied_whole_and_small(plane: Plane) -> None:
    """What is kept for a copy is bounded in bytes, and took thirty times as much in pieces of two."""
    plane.adopt(mirrors=(Mirror(2, CIRCLE, ROWS["v3"]),))
    client = plane.client()
    client.send(request("POST", headers=CHUNKED))
    await settle()
    for _ in range(400):
        client.send(TINY * 1000)
    exchange = client.connection._exchange
    assert exchange is not None
    assert exchange._kept is not None
    assert len(exchange._kept) < 2 * PIECES
    client.send(b"0\r\n\r\n")
    plane.backend().answer(answer(b"done"))
    await settle()
    sent = plane.backend("v3").take()
    assert sent.endswith(b"\r\n\r\n" + b"ab" * 400_000)


@pytest.mark.parametrize("who", ["live", "shadow"])
async def test_an_answer_of_tiny_chunks_is_read_and_kept_small(plane: Plane, who: str) -> None:
    """A shadow that answers in pieces of one byte would take thirty megabytes for each of its copies."""
    mirrors = (Mirror(2, CIRCLE, ROWS["v3"]),) if who == "shadow" else ()
    plane.adopt(mirrors=mirrors, predictions=READER)
    client = plane.client()
    client.send(request())
    await settle()
    if who == "shadow":
        plane.backend().answer(answer(b'{"label": "a"}'))
        await settle()
    (live,) = plane.context.live
    backend = plane.backend("v3" if who == "shadow" else "v1")
    text = b'{"label": "a", "more": "%b"}' % (b"x" * 500_000)
    backend.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    framed = b"".join(b"2\r\n%b\r\n" % text[at : at + 2] for at in range(0, len(text), 2))
    assert len(text) % 2 == 0
    backend.answer(framed)
    kept = live._kept if who == "shadow" else live._answer_kept
    assert len(kept) < 2 * PIECES
    backend.answer(b"0\r\n\r\n")
    await settle()
    totals = plane.totals("v3" if who == "shadow" else "v1")
    assert totals.statuses == {200: 1}
    assert not totals.skips
