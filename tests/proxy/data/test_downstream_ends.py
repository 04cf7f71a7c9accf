"""The last answer on a connection, while the client still sends: it has to be read, and to be the last."""

from __future__ import annotations

import pytest

from proxy.data.routing.patience import LINGER_BYTES, LINGER_S
from proxy.faults import Fault
from tests.support import malformed
from tests.support.plane import Plane, PlayedClient, answer, chunked, request, split
from tests.support.transports import settle

MIB = b"a" * (1 << 20)


async def refused(plane: Plane) -> PlayedClient:
    """A client that goes on sending after its 413."""
    plane.adopt(max_body_bytes=5)
    client = plane.client()
    client.transport.stubborn = True
    client.send(request("POST", body=b"a" * 100_000_000)[:1000])
    await settle()
    assert split(client.take())[0].startswith("HTTP/1.1 413")
    return client


async def test_client_that_sends_on_is_heard_out(plane: Plane) -> None:
    """A reset would take the answer away from it before it has read why it was refused."""
    client = await refused(plane)
    assert client.transport.ended, "the client is not told that nothing follows"
    assert client.transport.reading
    for _ in range(10):
        client.send(MIB)
    assert not client.transport.shut
    assert client.take() == b""
    client.transport.finish()
    assert client.transport.shut
    assert not client.transport.aborted


async def test_patience_ends_with_bytes(plane: Plane) -> None:
    """A client that sends for ever would cost as much as one that is served."""
    client = await refused(plane)
    for _ in range(LINGER_BYTES // len(MIB)):
        assert not client.transport.shut
        client.send(MIB)
    assert client.transport.shut


async def test_patience_ends_with_time(plane: Plane) -> None:
    """A client that never closes would hold a descriptor for as long."""
    client = await refused(plane)
    plane.sweep(LINGER_S - 0.1)
    client.send(b"a")
    assert not client.transport.shut
    plane.sweep(0.2)
    assert client.transport.shut


async def test_nothing_after_a_refusal_is_a_request(plane: Plane) -> None:
    """What follows a request that could not be read may be a part of it: it must not be served."""
    client = plane.client()
    client.transport.stubborn = True
    client.send(malformed.HEAD + b"Content-Length: x\r\n\r\n")
    for _ in range(3):
        client.send(request(target="/smuggled"))
        await settle()
    assert client.take().count(b"HTTP/1.1 400 ") == 1
    assert plane.connections() == 0
    assert plane.refused() == {Fault.BAD_REQUEST: 1}


async def test_pipelined_requests_after_the_last_answer_are_dropped(plane: Plane) -> None:
    """An early answer ends the connection, so what was sent behind the request is not served."""
    client = plane.client()
    client.transport.stubborn = True
    client.send(request("POST", body=b"abc")[:-1])
    await settle()
    plane.backend().answer(answer(status=400))
    client.send(b"c" + request(target="/2") + request(target="/3"))
    await settle()
    assert client.transport.reading
    assert client.take().count(b"HTTP/1.1") == 1
    assert plane.totals().arrived == 1


async def test_whole_request_is_not_waited_for(plane: Plane) -> None:
    """A connection whose client has said everything is closed at once: lingering is for others."""
    client = plane.client()
    await plane.exchange(client, request(headers=("Connection: close",)), answer(b"x"))
    assert client.transport.lost
    assert not client.transport.ended


# --- answers before the request is whole


@pytest.mark.parametrize("status", [200, 401, 413])
@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_early_answer_says_that_it_is_the_last(plane: Plane, status: int, framing: str) -> None:
    """A client that keeps the connection sends its next request into one that is closed (RFC 9112, section 9.6)."""
    head = {
        "length": request("POST", headers=("Content-Length: 9",)),
        "chunks": request("POST", headers=("Transfer-Encoding: chunked",)),
    }[framing]
    client = plane.client()
    client.send(head + (b"abc" if framing == "length" else b"3\r\nabc\r\n"))
    await settle()
    plane.backend().answer(answer(b"early", status=status))
    first, fields, body = split(client.take())
    assert (int(first.split()[1]), fields["connection"], body) == (status, "close", b"early")
    assert plane.backend().transport.aborted, "the rest of the body would be the next request"
    assert plane.totals().faults == {}
    await settle()
    assert client.transport.lost


async def test_answer_that_begins_early_may_end_late(plane: Plane) -> None:
    """Echoes and transcriptions answer while they listen: both directions go on until both are done."""
    client = plane.client()
    client.send(request("POST", headers=("Transfer-Encoding: chunked",)) + b"1\r\na\r\n")
    await settle()
    plane.backend().answer(malformed.CHUNKS + b"1\r\nA\r\n")
    client.send(b"1\r\nb\r\n0\r\n\r\n")
    plane.backend().answer(b"1\r\nB\r\n0\r\n\r\n")
    _, fields, body = split(client.take())
    assert (fields["connection"], body) == ("close", chunked(b"A", b"B"))
    assert plane.backend().take().endswith(chunked(b"a", b"b"))
    assert client.transport.closed
    assert not client.transport.ended, "the client has said everything"
    other = plane.client()
    assert split(await plane.exchange(other, request(), answer(b"x")))[2] == b"x"
    assert plane.connections() == 1


async def test_refusal_instead_of_the_body_that_was_asked_for(plane: Plane) -> None:
    """A client told to go on may hear the version's refusal before it has begun with its body."""
    client = plane.client()
    client.send(request("POST", headers=("Expect: 100-continue", "Content-Length: 1000")))
    await settle()
    plane.backend().answer(answer(b"no", status=401))
    got = client.take()
    assert got.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 401 ")
    assert b"connection: close" in got
    await settle()
    assert client.transport.lost


@pytest.mark.parametrize("raw", [b"HTTP/1.1 200 OK\r\n\r\nearly", b"HTTP/1.0 200 OK\r\n\r\nearly"])
async def test_early_answer_until_the_end(plane: Plane, raw: bytes) -> None:
    """Its end is the end of the connection, which must not look like a loss while the body was under way."""
    client = plane.client()
    client.send(request("POST", headers=("Content-Length: 9",)) + b"abc")
    await settle()
    plane.backend().answer(raw)
    plane.backend().close()
    assert split(client.take())[2] == chunked(b"early")
    assert plane.totals().faults == {}


async def test_half_closed_client_with_a_whole_body_is_answered(plane: Plane) -> None:
    """Its end says that no other request follows, not that it left."""
    client = plane.client()
    client.send(request("POST", body=b"abc"))
    assert client.connection.eof_received() is True
    await settle()
    plane.backend().answer(malformed.CHUNKS + b"1\r\na\r\n")
    assert not client.transport.closed
    plane.backend().answer(b"0\r\n\r\n")
    assert client.take().endswith(chunked(b"a"))
    assert client.transport.closed
