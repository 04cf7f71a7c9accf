"""Clients' connections: any cutting of the bytes, any order of events, and everything that is malformed."""

from __future__ import annotations

import pytest

from proxy.data.routing.patience import QUIET_S
from proxy.faults import Fault
from proxy.ledger.layout import W_ACCEPTED, W_CONNECTIONS
from tests.support import malformed
from tests.support.plane import Plane, answer, request, split
from tests.support.transports import settle


@pytest.mark.parametrize(("raw", "status"), malformed.REQUESTS.values(), ids=malformed.REQUESTS.keys())
@pytest.mark.parametrize("first", [False, True], ids=["alone", "after another"])
async def test_malformed_request_is_refused(plane: Plane, raw: bytes, status: int, first: bool) -> None:
    """What can be read in two ways is how requests are smuggled: nothing of it may reach a backend."""
    client = plane.client()
    client.send((request() if first else b"") + raw + request(target="/smuggled"))
    await settle()
    if first:
        assert plane.backend().take().startswith(b"GET / ")
        plane.backend().answer(answer(b"first"))
        await settle()
        assert plane.backend().take() == b""
        assert client.transport.writes[0].endswith(b"first")
        del client.transport.writes[0]
    else:
        assert plane.connections() == 0
    first_line, fields, _ = split(client.take())
    assert int(first_line.split()[1]) == status
    assert fields["connection"] == "close"
    assert client.transport.closed
    assert sum(plane.refused().values()) == 1


@pytest.mark.parametrize("cut", [1, 100, 70_000])
async def test_endless_head_is_refused(plane: Plane, cut: int) -> None:
    """A head that never ends would fill the memory, whatever the size of its pieces."""
    client = plane.client()
    raw = malformed.HEAD + b"X: " + b"a" * 600_000
    if cut == 1:
        raw = raw[:2000]
        pieces = [raw[i : i + 1] for i in range(len(raw))]
        pieces.append(b"a" * 600_000)
    else:
        pieces = [raw[i : i + cut] for i in range(0, len(raw), cut)]
    for piece in pieces:
        client.send(piece)
    await settle()
    assert split(client.take())[0].startswith("HTTP/1.1 431")
    assert client.transport.closed


async def test_large_body_leaves_room_for_the_next_head(plane: Plane) -> None:
    """The bound is on a head: what came before it on the connection must not count."""
    client = plane.client()
    body = request("POST", body=b"a" * (malformed.LIMITS.max_head_bytes * 2))
    client.send(body[:1000])
    await plane.exchange(client, body[1000:], answer())
    plane.backend().take()
    head = request(target="/next")
    for raw in (head[:10], head[10:]):
        client.send(raw)
    assert plane.backend().take().startswith(b"GET /next ")
    plane.backend().answer(answer())
    client.send(body[:1000])
    client.send(body[1000:] + head[:10])
    client.send(head[10:])
    plane.backend().answer(answer())
    await settle()
    plane.backend().answer(answer())
    assert client.transport.written.count(b"200 OK") == 3


async def test_long_head_behind_a_short_request_is_refused(plane: Plane) -> None:
    """The bound holds wherever in a read a head begins."""
    client = plane.client()
    client.send(request() + malformed.HEAD + b"X: %b\r\n\r\n" % (b"a" * malformed.LIMITS.max_head_bytes))
    await settle()
    plane.backend().answer(answer())
    await settle()
    assert b"HTTP/1.1 431" in client.take()


async def test_body_that_turns_bad_ends_the_attempt(plane: Plane) -> None:
    """The backend has a part of it: it must never see the end of a request that had none."""
    client = plane.client()
    client.send(malformed.HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    await settle()
    plane.backend().take()
    client.send(b"zz\r\n")
    assert plane.backend().take() == b""
    assert plane.backend().transport.aborted
    assert split(client.take())[0] == "HTTP/1.1 400 Bad Request"
    assert client.transport.closed
    assert plane.totals().faults == {Fault.BAD_REQUEST: 1}
    assert plane.totals().failed == 0


async def test_first_refusal_stands(plane: Plane) -> None:
    """What comes after a refused head is noise and must not change the reason."""
    client = plane.client()
    client.send(request())
    client.send(b"GET /%b HTTP/1.1\r\n" % (b"a" * malformed.LIMITS.max_target_bytes))
    client.send(b"noise\r\n\r\n")
    await settle()
    plane.backend().answer(answer())
    await settle()
    assert b"HTTP/1.1 414" in client.take()


# --- what is allowed


@pytest.mark.parametrize(
    ("target", "forwarded", "host"),
    [
        (b"/a?b", b"/a?b", "a"),
        (b"http://b:81/c?d", b"/c?d", "b:81"),
        (b"HTTP://b", b"/", "b"),
        (b"http://b?c=/d", b"/?c=/d", "b"),
    ],
)
async def test_target_goes_on_as_a_path(plane: Plane, target: bytes, forwarded: bytes, host: str) -> None:
    """A URL as the target replaces the host field (RFC 9112, section 3.2.2), and loses nothing of path and query."""
    plane.client().send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % target)
    await settle()
    first, fields, _ = split(plane.backend().take())
    assert first == f"GET {forwarded.decode()} HTTP/1.1"
    assert fields["host"] == host


async def test_options_of_the_whole_server(plane: Plane) -> None:
    """`OPTIONS *` is a request like others."""
    plane.client().send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
    await settle()
    assert plane.backend().take().startswith(b"OPTIONS * HTTP/1.1")


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n" + request("POST", body=b"abc"),
        malformed.HEAD + b"Content-Length: 3 \t\r\n\r\nabc",
        malformed.HEAD + b"Transfer-Encoding: Chunked \r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ],
    ids=["empty line before", "blank after the length", "blank after chunked"],
)
async def test_what_the_standard_allows_is_taken(plane: Plane, raw: bytes) -> None:
    """Blanks around a value are no part of it (RFC 9110, section 5.5): refusing them breaks honest clients."""
    client = plane.client()
    await plane.exchange(client, raw, answer(b"x"))
    assert split(plane.backend().take())[2] in (b"abc", b"3\r\nabc\r\n0\r\n\r\n")
    assert not client.transport.closed


# --- Expect


async def test_client_that_asks_is_told_to_go_on(plane: Plane) -> None:
    """curl waits a second for it with every larger upload."""
    client = plane.client()
    raw = request("POST", headers=("Expect: 100-continue",), body=b"abc")
    client.send(raw[:-3])
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    await settle()
    client.send(raw[-3:])
    _, fields, body = split(plane.backend().take())
    assert ("expect" in fields, body) == (False, b"abc")


async def test_continue_does_not_break_into_an_answer(plane: Plane) -> None:
    """Among the bytes of an earlier answer it would be taken for a part of that."""
    client = plane.client()
    client.send(request() + request("POST", headers=("Expect: 100-continue",), body=b"abc")[:-3])
    await settle()
    assert client.take() == b""
    plane.backend().answer(answer(b"first"))
    await settle()
    assert client.take().endswith(b"firstHTTP/1.1 100 Continue\r\n\r\n")


@pytest.mark.parametrize(
    "raw",
    [
        request("POST", headers=("Expect: 100-continue",), body=b"abc"),
        request("POST", headers=("Expect: 100-continue",), body=b"abc", version="1.0")[:-3],
        b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
    ],
    ids=["whole already", "HTTP/1.0", "refused"],
)
async def test_nobody_else_is_told_to_go_on(plane: Plane, raw: bytes) -> None:
    """HTTP/1.0 clients take 100 for their answer."""
    client = plane.client()
    client.send(raw)
    await settle()
    assert b"100 Continue" not in client.take()


# --- order, and the life of a connection


async def test_pipelined_requests_are_answered_in_order(plane: Plane) -> None:
    """An answer out of order is another request's answer."""
    client = plane.client()
    client.send(b"".join(request(target=f"/{i}") for i in range(50)))
    assert not client.transport.reading
    for i in range(50):
        await settle()
        assert plane.backend().take().startswith(b"GET /%d " % i)
        assert plane.totals().arrived == i + 1
        plane.backend().answer(answer(b"%d" % i))
    await settle()
    assert client.transport.written.count(b"200 OK") == 50
    assert client.transport.written.index(b"\r\n\r\n48HTTP") < client.transport.written.index(b"\r\n\r\n49")
    assert client.transport.reading


async def test_thousand_refused_requests_do_not_recurse(plane: Plane) -> None:
    """A client that pipelines what is refused at once must not exhaust the stack."""
    plane.context.routing.plans = ()
    client = plane.client()
    client.send(request() * 2000)
    await settle(2010)
    assert client.take().count(b"404 Not Found") == 2000


async def test_client_that_reads_nothing_gets_nothing_more(plane: Plane) -> None:
    """One that sends requests and never reads its answers would fill the memory with them."""
    client = plane.client(room=100)
    client.send(request())
    await settle()
    plane.backend().take()
    plane.backend().answer(answer(b"a" * 500))
    client.send(request(target="/2") + request(target="/3"))
    await settle()
    assert plane.backend().take() == b""
    assert not client.transport.reading
    client.transport.drain()
    await settle()
    assert plane.backend().take().startswith(b"GET /2 ")
    plane.backend().answer(answer(b"a" * 500))
    await settle()
    assert plane.backend().take() == b""
    plane.sweep(malformed.LIMITS.keep_alive_idle_s + 1)
    assert client.transport.aborted


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [("1.1", "", True), ("1.1", "close", False), ("1.0", "", False), ("1.0", "keep-alive", True)],
)
@pytest.mark.parametrize("answered", ["answer", "refusal"])
async def test_who_keeps_the_connection(plane: Plane, version: str, connection: str, kept: bool, answered: str) -> None:
    """A client that expects the end of the connection waits for it; one that does not sends its next request."""
    client = plane.client()
    if answered == "refusal":
        plane.context.routing.plans = ()
    client.send(request(headers=(f"Connection: {connection}",) if connection else (), version=version))
    await settle()
    if answered == "answer":
        plane.backend().answer(answer(b"x"))
    _, fields, _ = split(client.take())
    kept = kept and (answered == "answer" or version == "1.1")  # a refusal spares itself the words
    assert client.transport.closed is not kept
    if not kept:
        assert fields["connection"] == "close"
    elif version == "1.0":
        assert fields["connection"] == "keep-alive"
    else:
        assert "connection" not in fields


async def test_nothing_follows_connection_close(plane: Plane) -> None:
    """What a client sends after it said that nothing follows is not answered."""
    client = plane.client()
    client.send(request(headers=("Connection: close",)) + request(target="/2"))
    await settle()
    plane.backend().answer(answer(b"x"))
    await settle()
    assert client.take().count(b"HTTP/1.1") == 1
    assert client.transport.closed
    assert plane.totals().arrived == 1


async def test_half_closed_client_gets_its_answers(plane: Plane) -> None:
    """`printf … | nc` closes its half at once."""
    client = plane.client()
    client.send(request() + request())
    assert client.connection.eof_received() is True
    for _ in range(2):
        await settle()
        assert not client.transport.closed
        plane.backend().answer(answer(b"x"))
    await settle()
    assert client.take().count(b"200 OK") == 2
    assert client.transport.closed


async def test_half_a_request_and_the_end_is_a_client_gone(plane: Plane) -> None:
    """The rest of the body will never come."""
    client = plane.client()
    client.send(request("POST", body=b"abc")[:-1])
    await settle()
    assert client.connection.eof_received() is False
    client.transport.lose()
    assert plane.totals().faults == {Fault.CLIENT_GONE: 1}
    assert plane.client().connection.eof_received() is False


async def test_connections_are_counted(plane: Plane) -> None:
    """The operator sees how many clients a worker has."""
    one, _ = plane.client(), plane.client()
    one.transport.lose()
    cells = plane.reader.worker(0)
    assert (cells[W_CONNECTIONS], cells[W_ACCEPTED]) == (1, 2)


# --- the worker's calls


async def test_idle_connection_is_closed(plane: Plane) -> None:
    """Descriptors would run out."""
    idle, busy, fresh = plane.client(), plane.client(), plane.client()
    await plane.exchange(fresh, request(), answer())
    plane.clock.move(malformed.LIMITS.keep_alive_idle_s - 1)
    await plane.exchange(fresh, request(), answer())
    plane.adopt(request_timeout_s=1000.0)
    busy.send(request())
    plane.sweep(2)
    assert (idle.transport.closed, busy.transport.closed, fresh.transport.closed) == (True, False, False)
    assert idle.take() == b""


async def test_slow_head_is_408(plane: Plane) -> None:
    """Thousands of connections that send a byte a minute are an old attack."""
    client = plane.client()
    client.send(b"GET / HTT")
    plane.sweep(malformed.LIMITS.head_timeout_s - 1)
    client.send(b"P/1.1\r\n")
    assert not client.transport.closed
    plane.sweep(1.1)
    assert split(client.take())[0] == "HTTP/1.1 408 Request Timeout"
    assert client.transport.closed
    assert plane.refused() == {Fault.CLIENT_TIMEOUT: 1}


async def test_client_that_never_reads_its_last_answer_is_dropped(plane: Plane) -> None:
    """A close waits until everything is sent: without a bound, for ever."""
    client = plane.client(room=100)
    client.send(request(headers=("Connection: close",)))
    await settle()
    plane.clock.move(malformed.LIMITS.keep_alive_idle_s * 2)
    plane.backend().answer(answer(b"a" * 500))
    assert client.transport.closed
    plane.sweep(1)
    assert not client.transport.aborted
    plane.sweep(malformed.LIMITS.keep_alive_idle_s)
    assert client.transport.aborted


async def test_drain_lets_answers_end(plane: Plane) -> None:
    """A restart must not cost an answer."""
    idle, busy = plane.client(), plane.client()
    busy.send(request())
    await settle()
    plane.context.draining = True
    for client in (idle, busy):
        client.connection.drain(plane.clock.now_s + QUIET_S)
    assert idle.transport.closed
    assert not busy.transport.closed
    plane.backend().answer(answer(b"x"))
    _, fields, body = split(busy.take())
    assert (fields["connection"], body) == ("close", b"x")
    assert busy.transport.closed


async def test_drain_waits_for_what_is_on_its_way(plane: Plane) -> None:
    """The request of a client that has just connected, or had its answer a moment ago, would be lost."""
    new, half = plane.client(), plane.client()
    half.send(request()[:10])
    plane.context.draining = True
    for client in (new, half):
        client.connection.drain(plane.clock.now_s)
        assert not client.transport.closed
    half.connection.drain(plane.clock.now_s + QUIET_S)
    assert not half.transport.closed, "a head that has begun is a request"
    new.send(request())
    await settle()
    plane.backend().answer(answer(b"x"))
    assert split(new.take())[1]["connection"] == "close"
    assert new.transport.closed


@pytest.mark.parametrize(
    "bad",
    [
        request(target="/ok", headers=("Host: m.test",)),
        b"GET /ok HTTP/1.1\r\nHost: m test\r\n\r\n",
        b"GET /ok/../admin HTTP/1.1\r\nHost: m.test\r\n\r\n",
    ],
    ids=["two hosts", "no host", "dot segment"],
)
async def test_what_was_well_once_is_looked_at_where_it_changes(plane: Plane, bad: bytes) -> None:
    """A connection remembers the host and the target that it looked at last: of another one it knows nothing."""
    client = plane.client()
    for _ in range(2):
        assert await plane.exchange(client, request(target="/ok"), answer())
    client.send(bad)
    await settle()
    assert split(client.take())[0] == "HTTP/1.1 400 Bad Request"


async def test_each_request_tells_its_own_host(plane: Plane) -> None:
    """What backends are told of the client is kept with its host, and must not be told of another one."""
    client = plane.client()
    for host in ("one.test", "one.test", "two.test", "one.test"):
        client.send(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        await settle()
        fields = split(plane.backend().take())[1]
        assert (fields["host"], fields["x-forwarded-host"]) == (host, host)
        plane.backend().answer(answer())
        await settle()
