"""An exchange that meets stale connections, deadlines, slow sides, and clients that leave."""

from __future__ import annotations

import pytest

from proxy.data.backends.pool import STALE_AFTER_S
from proxy.data.exchanges.attempt import PENDING_BYTES, REPLAY_BYTES
from proxy.faults import Fault, Retry
from proxy.snapshot import CIRCLE, Mirror
from tests.support.plane import ROWS, Plane, answer, chunked, request, split
from tests.support.transports import settle

# --- stale connections


@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_stale_connection_is_tried_again_once(plane: Plane, framing: str) -> None:
    """A backend closes idle connections: that race is not the version's failure, nor the client's."""
    raw = request("POST", body=b"abc")
    if framing == "chunks":
        raw = request("POST", headers=("Transfer-Encoding: chunked",)) + chunked(b"ab", b"c")
    client = plane.client()
    await plane.exchange(client, request(), answer(b"x"))
    plane.clock.move(STALE_AFTER_S * 2)
    plane.backend().take()
    client.send(raw)
    sent = plane.backend().take()
    plane.backend().close()
    await settle()
    assert plane.connections() == 2
    again = plane.backend().take()
    assert split(again)[2] == split(sent)[2]
    plane.backend().answer(answer(b"y"))
    assert split(client.take())[2] == b"y"
    totals = plane.totals()
    assert (totals.arrived, totals.finished, totals.failed, totals.retries) == (2, 2, 0, {Retry.RESENT: 1})


async def test_second_loss_is_a_failure(plane: Plane) -> None:
    """A version that always closes must not be tried for ever."""
    client = plane.client()
    await plane.exchange(client, request(), answer(b"x"))
    plane.clock.move(STALE_AFTER_S * 2)
    client.send(request())
    plane.backend().reset()
    await settle()
    plane.backend().close()
    assert split(client.take())[0] == "HTTP/1.1 502 Bad Gateway"
    assert plane.connections() == 2
    assert plane.totals().faults == {Fault.UPSTREAM_RESET: 1}


async def test_busy_connection_is_not_tried_again(plane: Plane) -> None:
    """Second attempts on connections that were in use a moment ago would hide a version that crashes on requests."""
    client = plane.client()
    await plane.exchange(client, request(), answer(b"x"))
    plane.clock.move(STALE_AFTER_S / 2)
    client.send(request())
    plane.backend().close()
    await settle()
    assert plane.connections() == 1
    assert plane.totals().faults == {Fault.UPSTREAM_RESET: 1}


async def test_fresh_connection_is_not_tried_again(plane: Plane) -> None:
    """Retries would hide a version that crashes on its requests."""
    client = plane.client()
    client.send(request())
    await settle()
    plane.backend().close()
    await settle()
    assert plane.connections() == 1
    assert split(client.take())[1]["x-understudy-fault"] == "upstream-reset"


async def test_connection_that_began_to_answer_is_not_stale(plane: Plane) -> None:
    """The backend had the request: doing it twice may charge a customer twice, and hides a crash."""
    client = plane.client()
    await plane.exchange(client, request(), answer(b"x"))
    plane.clock.move(STALE_AFTER_S * 2)
    client.send(request())
    plane.backend().answer(b"HTTP/1.1 20")
    plane.backend().close()
    await settle()
    assert plane.connections() == 1
    assert plane.totals().faults == {Fault.UPSTREAM_RESET: 1}


async def test_large_body_is_not_sent_again(plane: Plane) -> None:
    """Only what was kept can be sent twice, and what is kept has a bound."""
    client = plane.client()
    await plane.exchange(client, request(), answer(b"x"))
    plane.clock.move(STALE_AFTER_S * 2)
    client.send(request("POST", headers=("X: y",), body=b"a" * (REPLAY_BYTES + 1))[:-10])
    client.send(b"a" * 10)
    plane.backend().close()
    await settle()
    assert plane.connections() == 1
    assert split(client.take())[0] == "HTTP/1.1 502 Bad Gateway"


async def test_retry_reads_on_from_the_client(plane: Plane) -> None:
    """A client that was held back for the stale connection's sake would be held for ever."""
    plane.adopt(mirrors=(Mirror(2, CIRCLE, ROWS["v3"]),))
    client = plane.client()
    await plane.exchange(client, request(), answer(b"x"))
    plane.clock.move(STALE_AFTER_S * 2)
    plane.backend("v3").answer(answer())
    plane.backend().transport.room = 1000
    raw = request("POST", body=b"a" * 200_000)
    client.send(raw[:150_000])
    assert not client.transport.reading
    plane.backend().reset()
    await settle()
    assert client.transport.reading
    client.send(raw[150_000:])
    assert split(plane.backend().take())[2] == b"a" * 200_000


# --- deadlines


async def test_slow_answer_is_504(plane: Plane) -> None:
    """A client would wait for ever."""
    client = plane.client()
    client.send(request())
    await settle()
    plane.sweep(9.9)
    assert client.take() == b""
    plane.sweep(0.2)
    first, fields, _ = split(client.take())
    assert (first, fields["x-understudy-fault"]) == ("HTTP/1.1 504 Gateway Timeout", "request-timeout")
    assert plane.backend().transport.aborted
    assert plane.totals().faults == {Fault.REQUEST_TIMEOUT: 1}
    assert plane.totals().failed == 1
    assert not client.transport.closed


async def test_slow_request_is_408(plane: Plane) -> None:
    """A client that does not finish its body is not the version's failure."""
    client = plane.client()
    client.send(request("POST", body=b"abc")[:-1])
    await settle()
    plane.sweep(10.1)
    first, fields, _ = split(client.take())
    assert (first, fields["x-understudy-fault"]) == ("HTTP/1.1 408 Request Timeout", "client-timeout")
    assert fields["connection"] == "close"
    assert client.transport.closed
    assert plane.totals().faults == {Fault.CLIENT_TIMEOUT: 1}
    assert plane.totals().failed == 0


async def test_steady_upload_is_not_late(plane: Plane) -> None:
    """The time to answer begins when the request is there."""
    client = plane.client()
    client.send(request("POST", body=b"abcdef")[:-6])
    await settle()
    for piece in (b"a", b"b", b"c", b"d", b"e", b"f"):
        plane.sweep(8)
        client.send(piece)
    plane.sweep(8)
    plane.backend().answer(answer())
    assert split(client.take())[0] == "HTTP/1.1 200 OK"


async def test_backend_that_does_not_read_is_at_fault(plane: Plane) -> None:
    """It is the proxy that holds the client then: the blame must not fall on the client."""
    plane.network.room = 1000
    client = plane.client()
    client.send(request("POST", body=b"a" * 5000)[:-1])
    await settle()
    assert not client.transport.reading
    plane.sweep(10.1)
    assert split(client.take())[1]["x-understudy-fault"] == "request-timeout"
    assert plane.totals().failed == 1


async def test_stream_that_stands_still_is_cut(plane: Plane) -> None:
    """A stream that goes on may last for hours; one that stopped may not."""
    client = plane.client()
    client.send(request())
    await settle()
    plane.backend().answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(5):
        plane.sweep(59)
        plane.backend().answer(b"1\r\na\r\n")
    assert not client.transport.closed
    plane.sweep(60.1)
    assert client.transport.aborted
    assert plane.totals().faults == {Fault.STREAM_IDLE: 1}
    assert plane.totals().failed == 1


async def test_upload_during_an_answer_keeps_the_stream_deadline(plane: Plane) -> None:
    """A stream in both directions would be cut by the shorter limit, which is for answers that have not begun."""
    client = plane.client()
    client.send(request("POST", headers=("Transfer-Encoding: chunked",)) + b"1\r\na\r\n")
    await settle()
    plane.backend().answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    client.send(b"1\r\nb\r\n")
    plane.sweep(30)
    assert not client.transport.closed


async def test_connect_failure_is_503(plane: Plane) -> None:
    """A dead backend is said to be dead at once, and counts against its version."""
    plane.network.refusing.add("v1.test")
    client = plane.client()
    client.send(request())
    await settle()
    first, fields, _ = split(client.take())
    assert (first, fields["x-understudy-fault"]) == ("HTTP/1.1 503 Service Unavailable", "connect-failed")
    assert plane.totals().failed == 1
    plane.network.refusing.clear()
    assert split(await plane.exchange(client, request(), answer(b"x")))[2] == b"x"


async def test_client_is_read_again_after_a_refusal(plane: Plane) -> None:
    """A client whose large body waited for a connection that never came would find its connection dead."""
    plane.network.refusing.add("v1.test")
    client = plane.client()
    raw = request("POST", body=b"a" * (PENDING_BYTES + 1))
    client.send(raw[:1000])
    client.send(raw[1000:])
    assert not client.transport.reading
    await settle()
    assert split(client.take())[0] == "HTTP/1.1 503 Service Unavailable"
    assert not client.transport.closed
    assert client.transport.reading


# --- backpressure


async def test_slow_client_holds_the_backend(plane: Plane) -> None:
    """The proxy would gather whole answers in memory."""
    client = plane.client(room=1000)
    client.send(request())
    await settle()
    plane.backend().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + b"a" * 5000)
    assert not plane.backend().transport.reading
    client.transport.drain()
    assert plane.backend().transport.reading
    plane.backend().answer(b"a" * 4000)
    assert split(client.take())[2] == b"a" * 9000


async def test_slow_client_does_not_spoil_the_connection(plane: Plane) -> None:
    """A connection that went back to the pool unread would swallow the next user's request."""
    slow = plane.client(room=1000)
    slow.send(request())
    await settle()
    plane.backend().answer(answer(b"a" * 5000))
    other = plane.client()
    assert split(await plane.exchange(other, request(), answer(b"x")))[2] == b"x"


async def test_client_that_reads_nothing_is_cut(plane: Plane) -> None:
    """It would hold a backend's connection for ever, and it is not the version's failure."""
    client = plane.client(room=1000)
    client.send(request())
    await settle()
    plane.backend().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + b"a" * 5000)
    plane.sweep(60.1)
    assert client.transport.aborted
    assert plane.totals().faults == {Fault.CLIENT_GONE: 1}
    assert plane.totals().failed == 0


async def test_slow_backend_holds_the_client(plane: Plane) -> None:
    """The proxy would gather whole uploads in memory."""
    plane.network.room = 1000
    client = plane.client()
    client.send(request("POST", body=b"a" * 9000)[:-4000])
    await settle()
    assert not client.transport.reading
    plane.backend().transport.drain()
    assert client.transport.reading
    client.send(b"a" * 4000)
    assert split(plane.backend().take())[2] == b"a" * 9000


async def test_large_body_waits_for_its_connection_and_for_the_backend(plane: Plane) -> None:
    """The bound holds while connecting, and the connection that comes must not undo the backend's own hold."""
    plane.network.room = 1000
    client = plane.client()
    raw = request("POST", body=b"a" * (PENDING_BYTES * 2))
    client.send(raw[:1000])
    client.send(raw[1000 : PENDING_BYTES + 2000])
    assert not client.transport.reading
    await settle()
    assert plane.connections() == 1
    assert not client.transport.reading
    plane.backend().transport.drain()
    assert client.transport.reading


async def test_early_answer_frees_the_client(plane: Plane) -> None:
    """A backend that answers before it has read everything must not leave the client's connection unread."""
    plane.network.room = 1000
    client = plane.client()
    client.send(request("POST", body=b"a" * 5000))
    await settle()
    assert not client.transport.reading
    plane.backend().answer(answer(status=400))
    assert split(client.take())[0] == "HTTP/1.1 400 Bad Request"
    assert client.transport.reading
    assert plane.backend().transport.aborted
    plane.network.room = 1 << 40
    await settle()
    assert split(await plane.exchange(client, request(), answer(b"x")))[2] == b"x"


async def test_answer_before_the_whole_request_closes_both(plane: Plane) -> None:
    """The rest of the body would be read as a request."""
    client = plane.client()
    client.send(request("POST", body=b"abc")[:-1])
    await settle()
    plane.backend().answer(answer(status=413))
    assert split(client.take())[0].startswith("HTTP/1.1 413")
    assert client.transport.closed
    assert plane.backend().transport.aborted


# --- the client leaves


@pytest.mark.parametrize("begun", [False, True])
async def test_client_that_leaves_ends_the_attempt(plane: Plane, begun: bool) -> None:
    """The backend would go on for nobody, and the version would be blamed."""
    client = plane.client()
    client.send(request())
    await settle()
    if begun:
        plane.backend().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    client.transport.lose(ConnectionResetError())
    assert plane.backend().transport.aborted
    totals = plane.totals()
    assert (totals.finished, totals.failed, totals.faults) == (1, 0, {Fault.CLIENT_GONE: 1})
    assert not plane.context.live
    await settle()


async def test_client_that_leaves_while_connecting(plane: Plane) -> None:
    """A connection would be made for nobody."""
    plane.network.silent.add("v1.test")
    client = plane.client()
    client.send(request())
    await settle()
    client.transport.lose()
    await settle()
    assert plane.totals().faults == {Fault.CLIENT_GONE: 1}
    assert not plane.context.live


async def test_body_over_its_bound_cuts_an_answer_under_way(plane: Plane) -> None:
    """The client would hang until the stream is idle for too long, and the version would be blamed for that."""
    plane.adopt(max_body_bytes=10)
    client = plane.client()
    client.send(request("POST", headers=("Transfer-Encoding: chunked",)) + b"2\r\nab\r\n")
    await settle()
    plane.backend().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
    client.send(b"b\r\n12345678901\r\n")
    await settle()
    assert client.transport.aborted
    assert not plane.context.live
    assert plane.totals().faults == {Fault.BODY_TOO_LARGE: 1}
    assert plane.totals().failed == 0
