"""One request from its head to its one outcome, played."""

from __future__ import annotations

import msgspec
import pytest

from proxy.data.exchange import PENDING_BYTES, REPLAY_BYTES
from proxy.faults import Fault
from proxy.ledger.layout import L_ARRIVED, L_FAILED, L_ON_TIME
from proxy.snapshot import CIRCLE, Arm, Mirror, Segment
from tests.support.plane import CANARY, ROWS, STABLE, Plane, answer, chunked, request, split
from tests.support.transports import settle


async def test_answer_reaches_the_client_and_the_ledger(plane: Plane) -> None:
    """The main journey: broken, nothing works."""
    client = plane.client()
    client.send(request("POST", "/v2/models/m/infer", body=b"[1]"))
    await settle()
    first, fields, body = split(plane.backend().take())
    assert (first, body) == ("POST /v2/models/m/infer HTTP/1.1", b"[1]")
    assert fields["host"] == "m.test"
    assert fields["content-length"] == "3"
    plane.clock.move(0.05)
    plane.backend().answer(answer(b"[0.5]", headers=("Content-Type: application/json",)))
    first, fields, body = split(client.take())
    assert (first, body) == ("HTTP/1.1 200 OK", b"[0.5]")
    assert fields == {
        "content-type": "application/json",
        "content-length": "5",
        "x-understudy-backend": "v1",
    }
    lane = plane.lane()
    assert (lane[L_ARRIVED], lane[L_ON_TIME], lane[L_FAILED]) == (1, 1, 0)
    assert plane.totals().statuses == {200: 1}
    assert not plane.context.live


async def test_each_read_is_passed_on_in_one_write(plane: Plane) -> None:
    """Two writes for one read cost a system call each, and a packet each."""
    client = plane.client()
    client.send(request("POST", body=b"abc"))
    await settle()
    assert len(plane.backend().transport.writes) == 1
    plane.backend().answer(answer(b"abc"))
    assert len(client.transport.writes) == 1


async def test_connection_is_used_again(plane: Plane) -> None:
    """Without reuse each request pays for a connect."""
    client = plane.client()
    for _ in range(3):
        assert split(await plane.exchange(client, request(), answer(b"x")))[2] == b"x"
    assert plane.connections() == 1


@pytest.mark.parametrize("method", ["GET", "DELETE", "OPTIONS", "POST"])
async def test_request_without_body_says_nothing_of_length(plane: Plane, method: str) -> None:
    """An invented length is refused by strict servers."""
    plane.client().send(request(method))
    await settle()
    _, fields, body = split(plane.backend().take())
    assert "content-length" not in fields
    assert "transfer-encoding" not in fields
    assert body == b""


async def test_hop_by_hop_fields_stay_behind(plane: Plane) -> None:
    """A field that belongs to one connection would be taken for the next one's (RFC 9110, section 7.6.1)."""
    client = plane.client()
    sent = (
        "Connection: keep-alive, X-Private",
        "Keep-Alive: timeout=5",
        "X-Private: 1",
        "X-Public: 2",
        "TE: trailers",
        "Proxy-Authorization: Basic eA==",
        "Upgrade: h2c",
    )
    client.send(request(headers=sent))
    await settle()
    _, fields, _ = split(plane.backend().take())
    assert set(fields) == {"host", "x-public", "x-forwarded-for", "x-forwarded-proto", "x-request-id"}
    plane.backend().answer(
        answer(headers=("Connection: X-Gone", "X-Gone: 1", "X-Kept: 2", "Proxy-Authenticate: Basic"))
    )
    _, fields, _ = split(client.take())
    assert set(fields) == {"x-kept", "content-length", "x-understudy-backend"}


async def test_connection_cannot_name_the_host_away(plane: Plane) -> None:
    """A client could otherwise make the proxy send requests that every backend has to refuse."""
    plane.client().send(request(headers=("Connection: host, content-length",), body=b"ab"))
    await settle()
    _, fields, _ = split(plane.backend().take())
    assert (fields["host"], fields["content-length"]) == ("m.test", "2")


async def test_forwarded_for_keeps_its_order(plane: Plane) -> None:
    """The chain of addresses is read from the right: in another order the wrong hop is trusted."""
    plane.client().send(request(headers=("X-Forwarded-For: 10.0.0.1, 10.0.0.2", "X-Forwarded-For: 10.0.0.3")))
    await settle()
    assert split(plane.backend().take())[1]["x-forwarded-for"] == "10.0.0.1, 10.0.0.2, 10.0.0.3, 192.0.2.7"


async def test_request_id_is_kept_or_made(plane: Plane) -> None:
    """Without an id a request cannot be followed from log to log."""
    client = plane.client()
    client.send(request(headers=("X-Request-Id: mine",)))
    await settle()
    assert split(plane.backend().take())[1]["x-request-id"] == "mine"
    plane.backend().answer(answer())
    made = set()
    for _ in range(2):
        client.send(request())
        made.add(split(plane.backend().take())[1]["x-request-id"])
        plane.backend().answer(answer())
    assert len(made) == 2


async def test_http_1_0_request_goes_on_with_a_host(plane: Plane) -> None:
    """HTTP/1.1 needs a host field, which HTTP/1.0 does not: the backend would answer 400."""
    plane.client().send(b"GET / HTTP/1.0\r\n\r\n")
    await settle()
    assert split(plane.backend().take())[1]["host"] == "192.0.2.1:8080"


async def test_chunked_request_stays_chunked(plane: Plane) -> None:
    """A body of unknown length has to be framed again on its way."""
    client = plane.client()
    client.send(request("POST", headers=("Transfer-Encoding: chunked",)) + b"3;x=y\r\nabc\r\n")
    await settle()
    client.send(b"2\r\nde\r\n0\r\nTrailer: 1\r\n\r\n")
    _, fields, body = split(plane.backend().take())
    assert fields["transfer-encoding"] == "chunked"
    assert body == b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


async def test_chunked_answer_stays_chunked(plane: Plane) -> None:
    """Streams of tokens come in chunks of unknown number."""
    client = plane.client()
    client.send(request())
    await settle()
    plane.backend().answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    assert split(client.take())[2] == b"3\r\nabc\r\n"
    plane.backend().answer(b"2\r\nde\r\n")
    assert client.take() == b"2\r\nde\r\n"
    plane.backend().answer(b"0\r\nTrailer: 1\r\n\r\n")
    assert client.take() == b"0\r\n\r\n"
    assert not client.transport.closed
    await plane.exchange(client, request(), answer())
    assert plane.connections() == 1


async def test_close_delimited_answer_is_framed_for_http_1_1(plane: Plane) -> None:
    """The client's connection lives on, so the end of the answer must be said."""
    client = plane.client()
    client.send(request())
    await settle()
    plane.backend().answer(b"HTTP/1.0 200 OK\r\n\r\nabc")
    plane.backend().answer(b"de")
    plane.backend().close()
    _, fields, body = split(client.take())
    assert fields["transfer-encoding"] == "chunked"
    assert body == b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert plane.totals().faults == {}
    await plane.exchange(client, request(), answer())
    assert plane.connections() == 2


@pytest.mark.parametrize(
    "raw", [b"HTTP/1.1 200 OK\r\n\r\nabc", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"]
)
async def test_http_1_0_client_gets_no_chunks(plane: Plane, raw: bytes) -> None:
    """HTTP/1.0 does not know chunks: the answer lasts until the connection ends."""
    client = plane.client()
    client.send(request(headers=("Connection: keep-alive",), version="1.0"))
    await settle()
    plane.backend().answer(raw + (b"3\r\nabc\r\n0\r\n\r\n" if b"chunked" in raw else b""))
    if b"chunked" not in raw:
        plane.backend().close()
    _, fields, body = split(client.take())
    assert (fields["connection"], body) == ("close", b"abc")
    assert "transfer-encoding" not in fields
    assert client.transport.closed


async def test_broken_close_delimited_answer_is_cut(plane: Plane) -> None:
    """A reset is not an end: half an answer must not look like a whole one."""
    client = plane.client()
    client.send(request())
    await settle()
    plane.backend().answer(b"HTTP/1.1 200 OK\r\n\r\nabc")
    plane.backend().reset()
    assert client.transport.aborted
    assert plane.totals().faults == {Fault.RESPONSE_CUT: 1}


@pytest.mark.parametrize("length", ["Content-Length: 10", "Transfer-Encoding: chunked", "X-None: 1"])
async def test_answer_to_head_has_no_body(plane: Plane, length: str) -> None:
    """A client that waits for a body after HEAD, or a proxy that does, hangs."""
    client = plane.client()
    client.send(request("HEAD"))
    await settle()
    plane.backend().answer(f"HTTP/1.1 200 OK\r\n{length}\r\n\r\n".encode())
    _, fields, body = split(client.take())
    assert body == b""
    assert fields.get("content-length") == ("10" if "10" in length else None)
    assert "transfer-encoding" not in fields
    assert plane.totals().finished == 1
    client.send(request())
    await settle()
    plane.backend().answer(answer(b"next"))
    assert split(client.take())[2] == b"next"


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("length", [None, 0, 5])
async def test_statuses_without_body(plane: Plane, status: int, length: int | None) -> None:
    """204 says nothing of a length (RFC 9110, section 8.6); 304 may tell that of the thing it stands for."""
    client = plane.client()
    client.send(request())
    await settle()
    field = "" if length is None else f"Content-Length: {length}\r\n"
    plane.backend().answer(f"HTTP/1.1 {status} X\r\n{field}\r\n".encode())
    _, fields, body = split(client.take())
    assert body == b""
    assert fields.get("content-length") == (str(length) if status == 304 and length is not None else None)
    assert plane.totals().statuses == {status: 1}
    await settle()
    assert split(await plane.exchange(client, request(), answer(b"next")))[2] == b"next"


async def test_informational_answers_are_not_passed_on(plane: Plane) -> None:
    """The answer after 100 and 103 is the one."""
    client = plane.client()
    client.send(request())
    await settle()
    plane.backend().answer(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer(b"a"))
    first, fields, body = split(client.take())
    assert (first, body) == ("HTTP/1.1 200 OK", b"a")
    assert "link" not in fields


MALFORMED = {
    "no status line": b"garbage\r\n\r\n",
    "status of four digits": b"HTTP/1.1 1000 X\r\n\r\n",
    "status below 100": b"HTTP/1.1 099 X\r\nContent-Length: 0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "another transfer coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    "another coding under chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "NUL in a field": b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
    "folded field": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
    "unasked switch": b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "fields over the limit": b"HTTP/1.1 200 OK\r\n" + b"X: %b\r\n" % (b"x" * 60_000) * 5 + b"\r\n",
}


@pytest.mark.parametrize("raw", MALFORMED.values(), ids=MALFORMED.keys())
async def test_malformed_answer_is_502(plane: Plane, raw: bytes) -> None:
    """A version that does not speak HTTP is at fault, and the client is told so."""
    client = plane.client()
    client.send(request())
    await settle()
    plane.backend().answer(raw)
    first, fields, _ = split(client.take())
    assert first == "HTTP/1.1 502 Bad Gateway"
    assert fields["x-understudy-fault"] == "bad-response"
    assert plane.totals().faults == {Fault.BAD_RESPONSE: 1}
    assert plane.totals().failed == 1
    assert plane.backend().transport.aborted
    assert not client.transport.closed


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n",
    ],
)
async def test_answer_that_ends_early_is_cut(plane: Plane, raw: bytes) -> None:
    """At status 200 half an answer would count as a success, and the client would take it for a whole one."""
    client = plane.client()
    client.send(request())
    await settle()
    plane.backend().answer(raw)
    plane.backend().close()
    assert client.transport.aborted
    assert plane.totals().faults == {Fault.RESPONSE_CUT: 1}
    assert plane.totals().failed == 1
    assert plane.totals().statuses == {200: 1}


async def test_chunks_that_turn_bad_are_cut(plane: Plane) -> None:
    """The head is out: nothing can be said any more but that this is not whole."""
    client = plane.client()
    client.send(request())
    await settle()
    plane.backend().answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
    plane.backend().answer(b"zz\r\n")
    assert client.transport.aborted
    assert plane.totals().faults == {Fault.BAD_RESPONSE: 1}


@pytest.mark.parametrize("extra", [b"EXTRA", answer(b"y")])
async def test_bytes_after_an_answer_spoil_the_connection(plane: Plane, extra: bytes) -> None:
    """Else they would be taken for the answer to another user's request."""
    client = plane.client()
    client.send(request())
    await settle()
    plane.backend().answer(answer(b"x") + extra)
    assert split(client.take())[2] == b"x"
    assert plane.backend().transport.closed
    await settle()
    assert split(await plane.exchange(client, request(), answer(b"z")))[2] == b"z"
    assert plane.connections() == 2


async def test_unasked_bytes_close_an_idle_connection(plane: Plane) -> None:
    """What nobody asked for is no answer."""
    client = plane.client()
    await plane.exchange(client, request(), answer(b"x"))
    plane.backend().answer(answer(b"other"))
    assert plane.backend().transport.aborted
    assert client.take() == b""


# --- stale connections


@pytest.mark.parametrize("framing", ["length", "chunks"])
async def test_stale_connection_is_tried_again_once(plane: Plane, framing: str) -> None:
    """A backend closes idle connections: that race is not the version's failure, nor the client's."""
    raw = request("POST", body=b"abc")
    if framing == "chunks":
        raw = request("POST", headers=("Transfer-Encoding: chunked",)) + chunked(b"ab", b"c")
    client = plane.client()
    await plane.exchange(client, request(), answer(b"x"))
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
    assert (totals.arrived, totals.finished, totals.failed, totals.retries) == (2, 2, 0, 1)


async def test_second_loss_is_a_failure(plane: Plane) -> None:
    """A version that always closes must not be tried for ever."""
    client = plane.client()
    await plane.exchange(client, request(), answer(b"x"))
    client.send(request())
    plane.backend().reset()
    await settle()
    plane.backend().close()
    assert split(client.take())[0] == "HTTP/1.1 502 Bad Gateway"
    assert plane.connections() == 2
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


# --- routing


async def test_no_route_is_404(plane: Plane) -> None:
    """A request for nobody must not reach anybody."""
    plane.adopt(arms=(), segments=())
    client = plane.client()
    client.send(request())
    await settle()
    assert split(client.take())[1]["x-understudy-fault"] == "no-backend"
    plane.context.routing.plans = ()
    client.send(request(target="/nowhere"))
    await settle()
    first, _, body = split(client.take())
    assert first == "HTTP/1.1 404 Not Found"
    assert b"/nowhere" in body
    assert plane.refused() == {Fault.NO_BACKEND: 1, Fault.NO_ROUTE: 1}
    assert plane.connections() == 0


async def test_exchange_keeps_the_routing_it_began_with(plane: Plane) -> None:
    """A promotion in the middle of a request must not send it elsewhere, count it elsewhere, or cut it."""
    client = plane.client()
    client.send(request())
    await settle()
    plane.backends = [CANARY]
    plane.adopt(arms=(Arm(0, ROWS["v2"]),), segments=(Segment(CIRCLE, 0),))
    plane.backend("v1").answer(answer(b"old"))
    _, fields, body = split(client.take())
    assert (fields["x-understudy-backend"], body) == ("v1", b"old")
    assert plane.totals("v1").finished == 1
    assert plane.backend("v1").transport.closed
    assert split(await plane.exchange(client, request(), answer(b"new"), "v2"))[2] == b"new"


@pytest.mark.parametrize("framing", ["length", "chunks in one read", "chunks"])
async def test_body_over_the_route_s_limit_is_413(plane: Plane, framing: str) -> None:
    """A limit that only binds honest clients is none."""
    plane.adopt(max_body_bytes=5)
    client = plane.client()
    if framing == "length":
        client.send(request("POST", body=b"abcdef"))
    else:
        head = request("POST", headers=("Transfer-Encoding: chunked",))
        if framing == "chunks":
            client.send(head)
            await settle()
            head = b""
        client.send(head + chunked(b"abc", b"def"))
    await settle()
    first, fields, _ = split(client.take())
    assert (first[:12], fields["x-understudy-fault"]) == ("HTTP/1.1 413", "body-too-large")
    assert plane.totals().failed == 0


async def test_shares_of_live_traffic_follow_the_segments(plane: Plane) -> None:
    """The weight is what people set; here all of it goes to the canary."""
    plane.adopt(segments=(Segment(CIRCLE, 1), Segment(CIRCLE, 0)))
    client = plane.client()
    _, fields, _ = split(await plane.exchange(client, request(), answer(status=500), "v2"))
    assert fields["x-understudy-backend"] == "v2"
    assert plane.totals("v2").failed == 1
    assert plane.totals("v1").arrived == 0


async def test_backend_that_is_full_is_503(plane: Plane) -> None:
    """Beyond the bounds of pool and queue a request is told so at once, instead of waiting for its deadline."""
    plane.backends[0] = msgspec.structs.replace(STABLE, max_connections=1, max_pending=1)
    plane.adopt()
    busy, waiting, refused = plane.client(), plane.client(), plane.client()
    for client in (busy, waiting, refused):
        client.send(request())
        await settle()
    first, fields, _ = split(refused.take())
    assert (first, fields["x-understudy-fault"]) == ("HTTP/1.1 503 Service Unavailable", "overflow")
    for client in (busy, waiting):
        plane.backend().answer(answer(b"x"))
        assert split(client.take())[2] == b"x"
    assert plane.totals().faults == {Fault.OVERFLOW: 1}
