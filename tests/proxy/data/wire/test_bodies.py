"""Long bodies of known length, which are counted and not parsed."""

from __future__ import annotations

import asyncio

import pytest

from proxy.data.wire.bodies import LONG_BYTES, head_end, send
from proxy.faults import Fault
from proxy.ledger.layout import L_OUTPUTS, O_N
from proxy.snapshot import CIRCLE, Backend, Mirror, Outliers, Output, Predictions
from tests.support.plane import ROWS, Plane, answer, request, split
from tests.support.transports import FakeTransport, settle

LONG = b"GET /smuggled HTTP/1.1\r\nHost: m.test\r\n\r\n" * (LONG_BYTES // 40 + 5)
"""To whoever parses it, it is requests."""
OK = b"HTTP/1.1 200 OK\r\n"


def ordinary(body: bytes, headers: bytes = b"") -> bytes:
    return OK + b"%bContent-Length: %d\r\n\r\n" % (headers, len(body)) + body


@pytest.mark.parametrize(
    ("data", "at", "end"), [(b"a\r\n\r\nb", 0, 5), (b"a\r\n\r\nb\r\n\r\n", 5, 10), (b"a\r\n\r", 0, 4)]
)
def test_head_ends_behind_its_empty_line(data: bytes, at: int, end: int) -> None:
    """A part of a body that is taken for a head is parsed, which is slow and no more."""
    assert head_end(data, at) == end


@pytest.mark.parametrize(
    ("pieces", "writes"),
    [
        ([], []),
        ([b"a"], [b"a"]),
        ([b"a", memoryview(b"b")], [b"ab"]),
        ([b"head", memoryview(LONG)], [b"head" + LONG]),
        ([LONG, b"end"], [LONG + b"end"]),
    ],
)
async def test_pieces_go_out_in_one_write(pieces: list[bytes | memoryview], writes: list[bytes]) -> None:
    """Two writes are two packets, and two calls of the system."""
    transport = FakeTransport(asyncio.Protocol())
    send(transport, pieces)
    assert [write for write in transport.writes if write] == writes


@pytest.mark.parametrize("cut", [None, 30, 70, 5000, len(LONG), len(LONG) + 60])
async def test_next_request_begins_behind_a_long_body(plane: Plane, cut: int | None) -> None:
    """A length that is counted wrongly is request smuggling."""
    client = plane.client()
    raw = request("POST", "/long", body=LONG) + request("POST", "/short", body=b"abc") + request(target="/last")
    for part in [raw] if cut is None else [raw[:cut], raw[cut:]]:
        client.send(part)
        await settle()
    for target, body in ((b"/long", LONG), (b"/short", b"abc"), (b"/last", b"")):
        got = plane.backend().take()
        assert got.startswith((b"POST %b HTTP/1.1\r\n" % target, b"GET %b HTTP/1.1\r\n" % target))
        assert split(got)[2] == body
        plane.backend().answer(answer(target))
        await settle()
    assert client.take().count(b"HTTP/1.1 200 OK") == 3


async def test_head_and_long_body_are_one_write(plane: Plane) -> None:
    """What one read brings is passed on in one write, in both directions."""
    client = plane.client()
    client.send(request("POST", body=LONG))
    await settle()
    assert len(plane.backend().transport.writes) == 1
    plane.backend().answer(ordinary(LONG))
    assert len(client.transport.writes) == 1
    assert split(client.take())[2] == LONG


@pytest.mark.parametrize("extra", [b"EXTRA", b"\r\n", ordinary(b"others"), ordinary(LONG)])
@pytest.mark.parametrize("ahead", [0, 100, len(LONG)])
async def test_nothing_behind_a_long_answer_reaches_another_client(plane: Plane, extra: bytes, ahead: int) -> None:
    """A backend that sends more than it said is out of step: the next answer would be another user's."""
    one, other = plane.client(), plane.client()
    one.send(request())
    await settle()
    raw = ordinary(LONG) + extra
    for part in (raw[:ahead], raw[ahead:]):
        if part:
            plane.backend().answer(part)
    await settle()
    assert split(one.take())[2] == LONG
    other.send(request(target="/other"))
    await settle()
    assert plane.connections() == 2
    plane.backend().answer(answer(b"mine"))
    assert split(other.take())[2] == b"mine"


@pytest.mark.parametrize("head", [OK, b"HTTP/1.1 500 No\r\n", b"HTTP/1.1 103 E\r\n\r\n" + OK])
async def test_connection_goes_on_after_a_long_answer(plane: Plane, head: bytes) -> None:
    """The parser was left in the middle of an answer: the next one needs another."""
    client = plane.client()
    for number in range(3):
        client.send(request(target=f"/{number}"))
        await settle()
        raw = head + b"Content-Length: %d\r\n\r\n" % len(LONG) + LONG
        plane.backend().answer(raw[:9000])
        plane.backend().answer(raw[9000:])
        await settle()
        assert split(client.take())[2] == LONG
    assert plane.connections() == 1
    assert split(await plane.exchange(client, request(), answer(b"short")))[2] == b"short"
    assert plane.connections() == 1


async def test_last_long_answer_closes_its_connection(plane: Plane) -> None:
    """The backend's word that it closes is in the head, which nobody parses a second time."""
    client = plane.client()
    got = await plane.exchange(client, request(), ordinary(LONG, b"Connection: close\r\n"))
    assert split(got)[2] == LONG
    assert plane.backend().transport.closed


async def test_long_answer_that_ends_early_is_cut(plane: Plane) -> None:
    """Half an answer that looks whole is worse than none."""
    client = plane.client()
    client.send(request())
    await settle()
    plane.backend().answer(ordinary(LONG)[:-1])
    plane.backend().close()
    await settle()
    assert client.transport.aborted
    assert plane.totals().faults == {Fault.RESPONSE_CUT: 1}


async def test_long_request_that_ends_early_never_ends_at_the_backend(plane: Plane) -> None:
    """A body that is cut must not be taken for whole."""
    client = plane.client()
    client.send(request("POST", body=LONG)[:-1])
    await settle()
    client.transport.lose()
    await settle()
    assert split(plane.backend().take())[2] == LONG[:-1]
    assert plane.backend().transport.aborted
    assert plane.totals().faults == {Fault.CLIENT_GONE: 1}


async def test_head_of_a_long_answer_has_no_body(plane: Plane) -> None:
    """The length that the head of an answer to HEAD tells is that of another body."""
    client = plane.client()
    got = await plane.exchange(client, request("HEAD"), b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n")
    assert split(got)[1]["content-length"] == "99999"
    assert plane.totals().finished == 1


async def test_answer_may_come_before_the_end_of_a_long_body(plane: Plane) -> None:
    """The client is told, closed once it had its time, and what it still sends is no request."""
    client = plane.client()
    raw = request("POST", body=LONG)
    client.send(raw[:10_000])
    await settle()
    plane.backend().answer(answer(b"early", status=401))
    client.send(raw[10_000:] + request(target="/next"))
    await settle()
    first, fields, body = split(client.take())
    assert (first[:12], fields["connection"], body) == ("HTTP/1.1 401", "close", b"early")
    assert plane.connections() == 1
    assert plane.backend().transport.aborted


async def test_long_body_over_the_limit_goes_nowhere(plane: Plane) -> None:
    """The length says so before the body comes; a request behind one that was refused has its turn."""
    plane.adopt(max_body_bytes=LONG_BYTES)
    client = plane.client()
    client.send(request("POST", body=LONG) + request(target="/next"))
    await settle()
    assert split(client.take())[0].startswith("HTTP/1.1 413")
    assert plane.backend().take().startswith(b"GET /next ")


async def test_client_that_waits_with_a_long_body_is_told_to_go_on(plane: Plane) -> None:
    """`Expect: 100-continue` is what clients use for long bodies."""
    client = plane.client()
    head, _, body = request("POST", headers=("Expect: 100-continue",), body=LONG).partition(b"\r\n\r\n")
    client.send(head + b"\r\n\r\n")
    await settle()
    assert client.take() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(body)
    await settle()
    assert split(plane.backend().take())[2] == LONG


async def test_request_with_a_long_body_is_no_upgrade(plane: Plane) -> None:
    """llhttp stops at the head of an upgrade; a body makes it an ordinary request."""
    client = plane.client()
    client.send(request("POST", headers=("Connection: upgrade", "Upgrade: x"), body=LONG) + request(target="/next"))
    await settle()
    _, fields, body = split(plane.backend().take())
    assert "upgrade" not in fields
    assert body == LONG
    plane.backend().answer(answer())
    await settle()
    assert plane.backend().take().startswith(b"GET /next ")


async def test_long_bodies_are_kept_for_who_needs_them(plane: Plane) -> None:
    """Copies and predictions have the bytes that went by, and not a view of something else."""
    reads = Predictions("json", (Output("n", "number", path=("n",), low=0.0, high=10.0),), max_body_bytes=1 << 20)
    plane.adopt(mirrors=(Mirror(2, CIRCLE, row=ROWS["v3"], max_body_bytes=1 << 20),), predictions=reads)
    client = plane.client()
    raw = request("POST", body=LONG)
    client.send(raw[:5000])
    client.send(raw[5000:])
    await settle()
    said = b'{"n": 7, "blanks": "' + b" " * LONG_BYTES + b'"}'
    for part in (ordinary(said)[:8000], ordinary(said)[8000:]):
        plane.backend().answer(part)
    await settle()
    assert split(plane.backend("v3").take())[2] == LONG
    plane.backend("v3").answer(ordinary(said))
    assert plane.lane("v1")[L_OUTPUTS + O_N] == plane.lane("v3")[L_OUTPUTS + O_N] == 1


async def test_watch_is_told_the_status_of_a_long_answer(plane: Plane) -> None:
    """A version that fails at length is ejected like any other."""
    ejecting = Outliers(server_errors=1, max_ejected_share=1.0)
    plane.backends[0] = Backend("v1", plane.backends[0].endpoints, outliers=ejecting)
    plane.adopt()
    client = plane.client()
    raw = b"HTTP/1.1 500 No\r\nContent-Length: %d\r\n\r\n" % len(LONG) + LONG
    await plane.exchange(client, request(), raw)
    assert plane.context.routing.upstreams[plane.backends[0]].pools[0].standing.ejected == 1
