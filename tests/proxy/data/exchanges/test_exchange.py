"""One request from its head to its one outcome, played."""

from __future__ import annotations

import msgspec
import pytest

from proxy.data.requests.heads import MAX_ID_BYTES
from proxy.faults import Fault
from proxy.ledger.layout import L_ARRIVED, L_FAILED, L_ON_TIME
from proxy.snapshot import CIRCLE, Arm, Key, Segment
from tests.support import malformed
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


async def test_white_space_around_a_value_is_none_of_it(plane: Plane) -> None:
    """A user whose key has a space behind it would be another user, and a request match no route (RFC 9110, 5.5)."""
    plane.adopt(keys=(Key("header", "x-user-id"),))
    client = plane.client()
    places = []
    for value in ("x-user-id:u1", "x-user-id: u1", "x-user-id:\t u1 \t "):
        client.send(request(headers=(value, "X-Empty:  ")))
        await settle()
        (exchange,) = plane.context.live
        places.append(plane.context.routing.plans[0].choice.draw(exchange.head).place)
        sent = split(plane.backend().take())[1]
        assert (sent["x-user-id"], sent["x-empty"]) == ("u1", "")
        plane.backend().answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-A: b \t\r\n\r\n")
        assert b"\r\nx-a: b\r\n" in client.take()
    assert len(set(places)) == 1


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
    forwarded = {"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"}
    assert set(fields) == {"host", "x-public", "x-request-id", *forwarded}
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
    plane.listen(trusted=("192.0.2.0/24",))
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


async def test_request_id_has_a_bound(plane: Plane) -> None:
    """An id goes into every log on its way: a client could fill them with one header field."""
    client = plane.client()
    await plane.exchange(client, request(headers=("X-Request-Id: " + "a" * MAX_ID_BYTES,)), answer())
    assert split(plane.backend().take())[1]["x-request-id"] == "a" * MAX_ID_BYTES
    await plane.exchange(client, request(headers=("X-Request-Id: " + "a" * (MAX_ID_BYTES + 1),)), answer())
    head = plane.backend().take()
    assert head.lower().count(b"x-request-id:") == 1
    assert len(split(head)[1]["x-request-id"]) < 64


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


@pytest.mark.parametrize("raw", malformed.ANSWERS.values(), ids=malformed.ANSWERS.keys())
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
