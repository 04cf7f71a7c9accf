"""Fields after a body: which of them go on, where to, and within which bounds."""

from __future__ import annotations

import pytest

from proxy.data.backends.pool import STALE_AFTER_S
from proxy.data.requests.trailers import FORBIDDEN, announced, last_chunk, welcome
from proxy.faults import Fault
from proxy.snapshot import CIRCLE, Mirror
from tests.support import malformed
from tests.support.plane import ROWS, Plane, PlayedClient, answer, chunked, request, split
from tests.support.transports import settle

CHUNKED = ("Transfer-Encoding: chunked",)
LIMITS = malformed.LIMITS


def with_trailers(*lines: str) -> bytes:
    """A chunked body with trailers."""
    return b"3\r\nabc\r\n0\r\n" + "".join(line + "\r\n" for line in lines).encode("latin-1") + b"\r\n"


async def answered(plane: Plane, client: PlayedClient, *lines: str, head: str = "") -> tuple[dict[str, str], bytes]:
    """Fields and body of an answer with trailers, as the client gets them."""
    client.send(request())
    await settle()
    plane.backend().take()
    plane.backend().answer(malformed.CHUNKED + head.encode() + b"\r\n" + with_trailers(*lines))
    _, fields, body = split(client.take())
    return fields, body


async def test_trailers_of_a_request_go_on(plane: Plane) -> None:
    """A checksum that can only follow the body would be lost (RFC 9110, section 6.5)."""
    client = plane.client()
    client.send(request("POST", headers=(*CHUNKED, "Trailer: X-Sum, Content-Length")))
    await settle()
    client.send(with_trailers("X-Sum: 1", "X-More:  two"))
    _, fields, body = split(plane.backend().take())
    assert fields["trailer"] == "x-sum"
    assert body == with_trailers("x-sum: 1", "x-more: two")
    plane.backend().answer(answer(b"x"))
    client.send(request(target="/next"))
    assert plane.backend().take().startswith(b"GET /next "), "the connection cannot be used again"


async def test_trailers_of_an_answer_go_on(plane: Plane) -> None:
    """Server-Timing, checksums and the end states of streams come there."""
    client = plane.client()
    fields, body = await answered(plane, client, "X-State: done", "Server-Timing: a", head="Trailer: X-State\r\n")
    assert fields["trailer"] == "x-state"
    assert body == with_trailers("x-state: done", "server-timing: a")
    assert split(await plane.exchange(client, request(), answer(b"next")))[2] == b"next"
    assert plane.connections() == 1
    assert (await answered(plane, client))[1] == b"3\r\nabc\r\n0\r\n\r\n", "trailers of an answer went on with the next"


@pytest.mark.parametrize("name", sorted(FORBIDDEN - {b"content-length", b"transfer-encoding"}))
async def test_forbidden_trailers_stay_behind(plane: Plane, name: bytes) -> None:
    """Who takes a trailer for a part of the head could be told another host, user or length."""
    line = name.decode() + ": 1"
    client = plane.client()
    client.send(request("POST", headers=CHUNKED) + with_trailers("x-a: 1", line, "x-b: 2"))
    await settle()
    assert split(plane.backend().take())[2] == with_trailers("x-a: 1", "x-b: 2")
    plane.backend().answer(malformed.CHUNKS + with_trailers("x-c: 1", line, "x-d: 2"))
    assert split(client.take())[2] == with_trailers("x-c: 1", "x-d: 2")


async def test_trailers_that_connection_names_stay_behind(plane: Plane) -> None:
    """They belong to one connection, wherever they stand."""
    client = plane.client()
    client.send(request("POST", headers=(*CHUNKED, "Connection: X-Mine")) + with_trailers("x-mine: 1", "x-all: 2"))
    await settle()
    assert split(plane.backend().take())[2] == with_trailers("x-all: 2")


async def test_client_that_knows_no_chunks_gets_no_trailers(plane: Plane) -> None:
    """They would be a part of the body to it."""
    client = plane.client()
    client.send(request(version="1.0"))
    await settle()
    plane.backend().answer(malformed.CHUNKED + b"Trailer: x-a\r\n\r\n" + with_trailers("x-a: 1"))
    _, fields, body = split(client.take())
    assert body == b"abc"
    assert "trailer" not in fields


async def test_second_attempt_has_the_trailers(plane: Plane) -> None:
    """A request that is sent once more is the same request."""
    client = plane.client()
    await plane.exchange(client, request(), answer(b"x"))
    plane.clock.move(STALE_AFTER_S * 2)
    client.send(request("POST", headers=(*CHUNKED, "Trailer: X-Sum")) + with_trailers("x-sum: 1"))
    plane.backend().close()
    await settle()
    assert plane.connections() == 2
    _, fields, body = split(plane.backend().take())
    assert (fields["trailer"], body) == ("x-sum", with_trailers("x-sum: 1"))


async def test_copy_goes_without_trailers(plane: Plane) -> None:
    """A copy says how long its body is: bytes after it would be the next request."""
    plane.adopt(mirrors=(Mirror(2, CIRCLE, ROWS["v3"]),))
    client = plane.client()
    sent = request("POST", headers=(*CHUNKED, "Trailer: X-Sum", "TE: trailers", "Connection: TE"))
    client.send(sent + with_trailers("x-sum: 1"))
    await settle()
    plane.backend().answer(malformed.CHUNKS + with_trailers("x-a: 1"))
    await settle()
    _, fields, body = split(plane.backend("v3").take())
    assert (fields["content-length"], body) == ("3", b"abc")
    assert not {"trailer", "te", "connection", "x-sum"} & set(fields)
    plane.backend("v3").answer(malformed.CHUNKS + with_trailers("x-b: 1"))
    assert plane.totals("v3").finished == 1


async def test_te_is_passed_on_where_it_is_said_properly(plane: Plane) -> None:
    """A server may keep trailers from a client that did not say it reads them (RFC 9110, section 10.1.4)."""
    client = plane.client()
    client.send(request(headers=("TE: gzip;q=0.5, Trailers", "Connection: TE")))
    await settle()
    _, fields, _ = split(plane.backend().take())
    assert (fields["te"], fields["connection"]) == ("trailers", "te")


@pytest.mark.parametrize("many", [False, True])
async def test_trailers_over_the_limit_of_a_head_are_431(plane: Plane, many: bool) -> None:
    """They are held in memory as the head is."""
    client = plane.client()
    client.send(request("POST", headers=CHUNKED) + b"3\r\nabc\r\n")
    await settle()
    over = b"x: 1\r\n" * (LIMITS.max_headers + 1) if many else b"x: %b\r\n" % (b"a" * LIMITS.max_head_bytes)
    client.send(b"0\r\n" + over + b"\r\n")
    assert split(client.take())[0].startswith("HTTP/1.1 431")
    assert plane.backend().transport.aborted
    assert plane.totals().faults == {Fault.HEAD_TOO_LARGE: 1}


@pytest.mark.parametrize("start", [b"0\r\nX: ", b"3;"], ids=["trailer", "chunk extension"])
async def test_fields_without_an_end_are_431(plane: Plane, start: bytes) -> None:
    """The parser keeps what has no end: the bound cannot wait for it."""
    client = plane.client()
    client.send(request("POST", headers=CHUNKED) + start)
    await settle()
    for _ in range(10):
        client.send(b"a" * 100_000)
    assert split(client.take())[0].startswith("HTTP/1.1 431")
    assert client.transport.closed


async def test_long_chunked_body_is_no_endless_field(plane: Plane) -> None:
    """The bound on fields must not count the body, however it is cut."""
    client = plane.client()
    client.send(request("POST", headers=CHUNKED))
    await settle()
    for _ in range(30):
        client.send(b"8000\r\n" + b"a" * 0x8000)
        client.send(b"\r\n")
    client.send(b"0\r\n\r\n")
    plane.backend().answer(answer(b"x"))
    assert split(client.take())[2] == b"x"


async def test_trailers_over_the_limit_of_an_answer_are_refused(plane: Plane) -> None:
    """The worker's memory is bounded on both sides."""
    client = plane.client()
    client.send(request())
    await settle()
    plane.backend().answer(malformed.CHUNKS + chunked(b"abc")[:-2] + b"X:\r\n" * 2000 + b"\r\n")
    assert split(client.take())[1]["x-understudy-fault"] == "bad-response"


def test_lines() -> None:
    """What is announced and sent is a list of names that may go on, each a valid one."""
    assert last_chunk(None, []) == last_chunk([], []) == b"0\r\n\r\n"
    assert last_chunk([(b"host", b"a")], []) == b"0\r\n\r\n"
    assert announced([(b"trailer", b"A, b b,,Host"), (b"trailer", b"c"), (b"connection", b"c")]) == b"trailer: a\r\n"
    assert announced([(b"trailer", b"Host")]) == b""
    assert welcome([(b"te", b"trailers")]) == b""
    assert welcome([(b"te", b"deflate"), (b"connection", b"te")]) == b""
