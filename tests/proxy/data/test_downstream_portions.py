"""Clients that send much ahead of their turn: all of it is answered, and little of it is held as requests."""

from __future__ import annotations

import pytest

from proxy.data.routing.patience import MAX_WAITING
from proxy.data.wire.bodies import LONG_BYTES
from tests.support.plane import Plane, PlayedClient, answer, chunked, request, split
from tests.support.transports import settle

MANY = 3 * LONG_BYTES // len(request())
BODY = bytes(range(256)) * 512


async def served(plane: Plane, client: PlayedClient, requests: int) -> list[bytes]:
    """The requests that the backend got, each answered before the next one comes."""
    got = []
    for _ in range(requests):
        await settle(3)
        got.append(plane.backend().take())
        plane.backend().answer(answer(b"%d" % len(got)))
    await settle()
    return got


def waiting(client: PlayedClient) -> int:
    """How many requests of a client are parsed and wait."""
    return len(client.connection._queue)


async def test_few_of_many_requests_in_one_read_are_held_as_such(plane: Plane) -> None:
    """Ten thousand requests fit into one read, and take fifteen megabytes as exchanges: a thousand such clients would
    fill the memory of the machine."""
    client = plane.client()
    client.send(b"".join(request(target=f"/{number}") for number in range(MANY)))
    most = 0
    for number in range(MANY):
        await settle(3)
        most = max(most, waiting(client))
        assert client.transport.reading is (number == MANY - 1)
        assert plane.backend().take().startswith(b"GET /%d HTTP/1.1\r\n" % number)
        plane.backend().answer(answer(b"x"))
    await settle()
    assert MAX_WAITING / 2 < most <= MAX_WAITING
    assert client.take().count(b"HTTP/1.1 200 ") == MANY
    assert client.transport.reading


@pytest.mark.parametrize("cut", [1000, 4001, 50_000])
async def test_requests_that_end_with_no_read_are_no_endless_head(plane: Plane, cut: int) -> None:
    """A client that always has its next request begun was refused (431) after so many bytes as a head may have."""
    client = plane.client()
    raw = request(headers=("X-A: " + "a" * 90,)) * 4000
    done = 0
    for at in range(0, len(raw), cut):
        client.send(raw[at : at + cut])
        while True:
            await settle(3)
            if not plane.backend().take():
                break
            plane.backend().answer(answer(b""))
            done += 1
    assert done == 4000
    assert client.take().count(b"HTTP/1.1 200 ") == 4000


@pytest.mark.parametrize("framed", ["length", "chunks"])
async def test_a_body_that_waits_behind_many_requests_is_whole(plane: Plane, framed: str) -> None:
    """A request whose body is among what is not parsed yet would wait for it for ever."""
    head, body = (), BODY
    if framed == "chunks":
        head, body = ("Transfer-Encoding: chunked",), chunked(BODY)
    last = request("POST", "/body", headers=head, body=None if framed == "chunks" else BODY)
    last += body if framed == "chunks" else b""
    ahead = MAX_WAITING + 3
    client = plane.client()
    client.send(request() * ahead + last + request(target="/after") * ahead)
    await served(plane, client, ahead)
    sent = b""
    for _ in range(4):
        await settle(3)
        sent += plane.backend().take()
    _, _, got = split(sent)
    if framed == "chunks":
        assert got.endswith(b"0\r\n\r\n")
        got = unchunked(got)
    assert got == BODY
    plane.backend().answer(answer(b"whole"))
    rest = await served(plane, client, ahead)
    assert all(sent.startswith(b"GET /after ") for sent in rest)
    assert client.take().count(b"HTTP/1.1 200 ") == 2 * ahead + 1


def unchunked(raw: bytes) -> bytes:
    """A body without its chunks."""
    body = b""
    while True:
        size, _, raw = raw.partition(b"\r\n")
        if not int(size, 16):
            return body
        body, raw = body + raw[: int(size, 16)], raw[int(size, 16) + 2 :]


async def test_an_error_among_what_waits_ends_the_connection_at_its_turn(plane: Plane) -> None:
    """What follows a malformed request is nobody's, also where it was not parsed when the error was."""
    client = plane.client()
    client.send(request() * 600 + b"GET / HTTP/1.1\r\nHost : a\r\n\r\n" + request(target="/smuggled") * 600)
    sent = await served(plane, client, 600)
    assert all(b"/smuggled" not in raw for raw in sent)
    got = client.take()
    assert got.count(b"HTTP/1.1 200 ") == 600
    assert got.count(b"HTTP/1.1 400 ") == 1
    assert plane.backend().take() == b""
    assert client.transport.closed


async def test_a_body_that_turns_bad_ends_what_waits_behind_it(plane: Plane) -> None:
    """The rest of such a body is no request."""
    client = plane.client()
    bad = request("POST", headers=("Transfer-Encoding: chunked",)) + b"4\r\nabcd\r\nzz\r\n"
    client.send(bad + request(target="/smuggled") * 2000)
    await settle()
    assert b"/smuggled" not in (plane.backend().take() if plane.connections() else b"")
    assert client.take().count(b"HTTP/1.1 400 ") == 1
    assert client.transport.closed


async def test_who_leaves_or_asks_to_close_has_nothing_more_answered(plane: Plane) -> None:
    """What was not parsed is gone with its client."""
    client = plane.client()
    client.send(request() * 100 + request(headers=("Connection: close",)) + request(target="/late") * 2000)
    await served(plane, client, 101)
    assert client.take().count(b"HTTP/1.1 200 ") == 101
    assert plane.backend().take() == b""
    assert client.transport.closed
    other = plane.client()
    other.send(request() * 2000)
    await settle()
    other.transport.lose()
    await settle()
    assert not other.connection._rest
    assert waiting(other) == 0
    assert not plane.context.live


async def test_a_half_closed_client_gets_all_answers(plane: Plane) -> None:
    """A script that sends all its requests and then says that it is done (shutdown) waits for the answers."""
    client = plane.client()
    client.send(request() * MANY)
    client.connection.eof_received()
    await served(plane, client, MANY)
    assert client.take().count(b"HTTP/1.1 200 ") == MANY
    assert client.transport.closed
