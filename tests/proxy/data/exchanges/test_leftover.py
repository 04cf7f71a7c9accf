"""The rest of an answer that was given up for another attempt."""

from __future__ import annotations

from typing import Final

from proxy.data.exchanges.leftover import LEFTOVER_BYTES, LEFTOVER_S
from proxy.faults import Retry
from proxy.snapshot import Retries
from tests.support.plane import Plane, PlayedClient, answer, request, split
from tests.support.transports import settle

AGAIN: Final = Retries(1, ("5xx",), base_interval_s=0.0)
PART: Final = b"HTTP/1.1 503 X\r\nContent-Length: 10\r\n\r\nabc"


async def given_up(plane: Plane, first: bytes) -> PlayedClient:
    plane.adopt(retries=AGAIN)
    client = plane.client()
    client.send(request())
    await settle()
    plane.backend().answer(first)
    return client


async def test_a_whole_answer_frees_its_connection(plane: Plane) -> None:
    """A version that answers 503 now and then would cost a new connection each time."""
    client = await given_up(plane, answer(b"later", status=503))
    await settle()
    assert plane.connections() == 1
    plane.backend().answer(answer(b"yes"))
    assert split(client.take())[2] == b"yes"
    await plane.exchange(client, request(), answer(b"next"))
    assert plane.connections() == 1


async def test_nothing_of_it_reaches_the_client(plane: Plane) -> None:
    """Half of a failure before the answer would be taken for the answer."""
    client = await given_up(plane, PART)
    await settle()
    plane.backend(number=0).answer(b"defghij")
    assert client.take() == b""
    plane.backend(number=1).answer(answer(b"yes"))
    assert split(client.take())[2] == b"yes"
    assert not plane.context.live
    assert plane.totals().retries == {Retry.SUCCEEDED: 1}


async def test_an_answer_without_end_is_closed(plane: Plane) -> None:
    """A version could keep a connection of its pool for ever, or flood the worker."""
    client = await given_up(plane, b"HTTP/1.1 503 X\r\nTransfer-Encoding: chunked\r\n\r\n")
    await settle()
    leftover = plane.backend(number=0)
    plane.backend(number=1).answer(answer(b"yes"))
    assert split(client.take())[2] == b"yes"
    piece = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    for _ in range(LEFTOVER_BYTES // 0x4000):
        leftover.answer(piece)
    assert not leftover.transport.closed
    leftover.answer(piece)
    assert leftover.transport.aborted
    assert not plane.context.live


async def test_an_answer_that_stands_still_is_closed(plane: Plane) -> None:
    """The bound in bytes is none for a version that sends nothing."""
    await given_up(plane, PART)
    await settle()
    plane.sweep(LEFTOVER_S / 2)
    assert not plane.backend(number=0).transport.closed
    plane.sweep(LEFTOVER_S)
    assert plane.backend(number=0).transport.aborted
    assert len(plane.context.live) == 1  # the request


async def test_its_loss_is_nobodys(plane: Plane) -> None:
    """The failure was counted; the end of its connection is not another."""
    client = await given_up(plane, PART)
    await settle()
    plane.backend(number=0).reset()
    plane.backend(number=1).answer(answer(b"yes"))
    assert split(client.take())[2] == b"yes"
    assert (plane.totals().failed, plane.totals().faults) == (1, {})


async def test_an_answer_before_the_end_of_the_request_closes(plane: Plane) -> None:
    """The rest of the request is never sent there, so that nothing else can be."""
    plane.adopt(retries=AGAIN)
    client = plane.client()
    client.send(request("PUT", headers=("Content-Length: 6",)) + b"abc")
    await settle()
    plane.backend().answer(answer(status=503))
    assert plane.backend().transport.aborted
    await settle()
    client.send(b"def")
    assert split(plane.backend().take())[2] == b"abcdef"
    plane.backend().answer(answer(b"yes"))
    assert split(client.take())[2] == b"yes"
