"""Requests to switch protocols: which are passed on, what a backend may answer, and what came too early."""

from __future__ import annotations

import pytest

from proxy.data.requests.router import Head
from proxy.data.requests.upgrade import EARLY_BYTES, agreed, asked
from proxy.faults import Fault, Skip
from proxy.snapshot import Mirror
from tests.support.plane import ROWS, Plane, answer, chunked, request, split
from tests.support.transports import settle
from tests.support.upgrades import SWITCHED, UPGRADE, upgrade

H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__")


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ((b"websocket",), b"websocket"),
        ((b"WebSocket",), b"WebSocket"),
        ((b"websocket, foo/2",), b"websocket, foo/2"),
        ((b"websocket", b"foo"), b"websocket, foo"),
        ((b"h2c",), b""),
        ((b"H2C , websocket",), b"websocket"),
        ((b"TLS/1.0, HTTP/1.1",), b""),
        ((b"",), b""),
        ((b", ,",), b""),
        ((b"web socket",), b""),
        ((b"foo/",), b""),
        ((b'"websocket"',), b""),
    ],
)
async def test_protocols_that_are_passed_on(plane: Plane, fields: tuple[bytes, ...], wanted: bytes) -> None:
    """A protocol that leads back to HTTP would carry requests past routes, limits and counts."""
    client = plane.client()
    client.send(request(headers=("Connection: upgrade", *(f"Upgrade: {value.decode()}" for value in fields))))
    await settle()
    _, sent, _ = split(plane.backend().take())
    assert sent.get("upgrade", "").encode() == wanted
    assert sent.get("connection", "") == ("upgrade" if wanted else "")


@pytest.mark.parametrize(
    ("chosen", "wanted", "protocol"),
    [
        ([b"websocket"], b"websocket", b"websocket"),
        ([b"WebSocket"], b"websocket", b"WebSocket"),
        ([b"b"], b"a, b", b"b"),
        ([b"a", b"b"], b"a, b", b"a, b"),
        ([b"c"], b"a, b", b""),
        ([b"a, c"], b"a, b", b""),
        ([], b"a", b""),
        ([b""], b"a", b""),
        ([b"a"], b"", b""),
    ],
)
def test_protocols_that_an_answer_may_choose(chosen: list[bytes], wanted: bytes, protocol: bytes) -> None:
    """A backend that switches to what nobody asked for would be believed (RFC 9110, section 7.8)."""
    assert agreed([(b"upgrade", value) for value in chosen], wanted) == protocol


async def test_the_head_is_passed_on_hop_by_hop(plane: Plane) -> None:
    """Without its own Connection field an upgrade is none; with the client's other ones it would say too much."""
    client = plane.client()
    client.send(
        request(
            headers=(
                "Connection: keep-alive, Upgrade, X-Private",
                "Upgrade: websocket",
                "X-Private: 1",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
                "Sec-WebSocket-Protocol: chat",
            )
        )
    )
    await settle()
    first, sent, rest = split(plane.backend().take())
    assert first == "GET / HTTP/1.1"
    assert (sent["connection"], sent["upgrade"]) == ("upgrade", "websocket")
    assert (sent["sec-websocket-key"], sent["sec-websocket-protocol"]) == ("dGhlIHNhbXBsZSBub25jZQ==", "chat")
    assert "x-private" not in sent
    assert rest == b""
    plane.backend().answer(
        b"HTTP/1.1 101 X\r\nConnection: Upgrade, X-Gone\r\nUpgrade: WebSocket\r\nX-Gone: 1\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello"
    )
    first, got, rest = split(client.take())
    assert first == "HTTP/1.1 101 Switching Protocols"
    assert got == {
        "connection": "upgrade",
        "upgrade": "WebSocket",
        "sec-websocket-accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "x-understudy-backend": "v1",
    }
    assert rest == b"hello"


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (request(headers=H2C), b""),
        (request("POST", headers=H2C, body=b"abcd"), b"abcd"),
        (request("POST", headers=("Transfer-Encoding: chunked", *H2C)) + chunked(b"ab", b"cd"), b"abcd"),
        (request("POST", headers=UPGRADE, body=b"abcd"), b"abcd"),
        (request("POST", headers=("Transfer-Encoding: chunked", *UPGRADE)) + chunked(b"abcd"), b"abcd"),
        (request(headers=UPGRADE, version="1.0"), b""),
        (request(headers=("Upgrade: websocket",)), b""),
    ],
    ids=["h2c", "h2c with a length", "h2c in chunks", "length", "chunks", "HTTP/1.0", "not named by Connection"],
)
async def test_an_upgrade_that_is_ignored_is_an_ordinary_request(plane: Plane, raw: bytes, body: bytes) -> None:
    """What follows such a head is its body and the next request: taken for anything else it could smuggle."""
    client = plane.client()
    for at in range(len(raw)):
        client.send(raw[at : at + 1])
        await settle(1)
    await settle()
    _, sent, rest = split(plane.backend().take())
    assert not {"upgrade", "connection", "http2-settings"} & set(sent)
    got = rest if "transfer-encoding" not in sent else b"".join(rest.split(b"\r\n")[1:-3:2])
    assert got == body
    plane.backend().answer(answer(b"done"))
    assert split(client.take())[2] == b"done"
    plane.backend().connection.transport.close()
    assert plane.totals().statuses == {200: 1}


async def test_many_ignored_upgrades_in_one_read(plane: Plane) -> None:
    """A client that pipelines a thousand of them must neither recurse nor lose one."""
    client = plane.client()
    client.send(request(headers=H2C) * 3000 + request(target="/last"))
    for _ in range(3001):
        await settle(3)
        assert plane.backend().take().startswith(b"GET /")
        plane.backend().answer(answer(b""))
    await settle()
    assert client.take().count(b"HTTP/1.1 200") == 3001
    assert plane.totals().statuses == {200: 3001}


async def test_refused_upgrade_leaves_the_connection_to_http(plane: Plane) -> None:
    """A client that is told 401 or 426 may ask again on the same connection."""
    client = plane.client()
    got = await plane.exchange(client, upgrade(), answer(b"no", status=426, headers=("Upgrade: x", "Connection: x")))
    first, fields, body = split(got)
    assert (first[9:12], body) == ("426", b"no")
    assert "connection" not in fields
    got = await plane.exchange(client, request(target="/next"), answer(b"yes"))
    assert split(got)[2] == b"yes"
    assert plane.connections() == 1
    plane.backend().take()
    client.send(upgrade("/again"))
    await settle()
    assert plane.backend().take().startswith(b"GET /again ")
    plane.backend().answer(SWITCHED)
    assert client.take().startswith(b"HTTP/1.1 101")
    client.send(b"raw")
    assert plane.backend().take() == b"raw"


@pytest.mark.parametrize("split_at", [0, 1, 20])
@pytest.mark.parametrize("when", ["with the head", "before the answer", "within the answer"])
async def test_what_came_before_a_refusal_is_never_a_request(plane: Plane, when: str, split_at: int) -> None:
    """If it were, bytes that a client meant for the other protocol would smuggle a request."""
    client = plane.client()
    smuggled = request("POST", "/smuggled", body=b"x")
    refusal = answer(b"no", status=403)
    client.send(upgrade() + (smuggled[:split_at] if when == "with the head" else b""))
    await settle()
    if when != "within the answer":
        client.send(smuggled if when == "before the answer" else smuggled[split_at:])
        plane.backend().answer(refusal)
    else:
        plane.backend().answer(refusal[:-1])
        client.send(smuggled)
        plane.backend().answer(refusal[-1:])
    await settle()
    first, fields, body = split(client.take())
    assert (first[9:12], body) == ("403", b"no")
    if when != "within the answer":
        assert fields["connection"] == "close"
    assert client.transport.shut
    assert b"smuggled" not in plane.backend().take()
    assert plane.totals().finished == 1


async def test_what_came_before_a_101_goes_first(plane: Plane) -> None:
    """Bytes of a tunnel would be lost, or change places."""
    client = plane.client()
    client.send(upgrade() + b"one ")
    await settle()
    client.send(b"two ")
    assert plane.backend().take().count(b"one") == 0, "the backend has not agreed yet"
    plane.backend().answer(SWITCHED + b"first ")
    plane.backend().answer(b"second")
    client.send(b"three")
    assert plane.backend().take() == b"one two three"
    assert split(client.take())[2] == b"first second"


async def test_a_client_that_sends_too_much_too_early_is_not_read(plane: Plane) -> None:
    """Whoever does not wait for the answer could fill the memory."""
    client = plane.client()
    client.send(upgrade())
    await settle()
    client.send(b"x" * EARLY_BYTES)
    assert client.transport.reading
    client.send(b"x")
    assert not client.transport.reading
    plane.backend().take()
    plane.backend().answer(SWITCHED)
    assert client.transport.reading
    assert plane.backend().take() == b"x" * (EARLY_BYTES + 1)


async def test_upgrade_waits_for_its_turn(plane: Plane) -> None:
    """A tunnel that opens before an earlier answer is out would mix its bytes with it."""
    client = plane.client()
    client.send(request(target="/a") + upgrade("/b") + b"early")
    await settle()
    assert plane.backend().take().startswith(b"GET /a ")
    plane.backend().answer(answer(b"a"))
    await settle()
    assert plane.backend().take().startswith(b"GET /b ")
    plane.backend().answer(SWITCHED)
    got = client.take()
    assert got.index(b"HTTP/1.1 200") < got.index(b"HTTP/1.1 101")
    assert plane.backend().take() == b"early"


@pytest.mark.parametrize(
    ("sent", "raw"),
    [
        (request(), SWITCHED),
        (request(headers=H2C), b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"),
        (upgrade(), SWITCHED.replace(b"websocket", b"other")),
        (upgrade(), b"HTTP/1.1 101 X\r\n\r\n"),
        (upgrade(), SWITCHED.replace(b"Upgrade:", b"Content-Length: 5\r\nUpgrade:") + b"hello"),
        (upgrade(), b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\n\r\n"),
        (upgrade(), b"HTTP/1.1 101 X\r\nConnection: upgrade\r\n\r\n"),
        (upgrade(), b"HTTP/1.1 103 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nabc"),
    ],
    ids=["unasked", "h2c", "another protocol", "bare", "with a body", "no Connection", "no Upgrade", "early hints"],
)
async def test_wrong_101_is_502(plane: Plane, sent: bytes, raw: bytes) -> None:
    """A backend that switches on its own would have its bytes taken for an answer, or for nothing at all."""
    client = plane.client()
    got = await plane.exchange(client, sent, raw)
    assert split(got)[1]["x-understudy-fault"] == "bad-response"
    assert plane.backend().transport.aborted
    assert plane.totals().faults == {Fault.BAD_RESPONSE: 1}
    assert plane.totals().failed == 1


async def test_informational_answers_come_before_101(plane: Plane) -> None:
    """A backend may send a 100 before it switches; its fields are none of the 101's."""
    client = plane.client()
    got = await plane.exchange(client, upgrade(), b"HTTP/1.1 100 X\r\nUpgrade: other\r\n\r\n" + SWITCHED)
    assert b" 101 Switching" in got
    assert b"other" not in got


async def test_unanswered_upgrade_times_out(plane: Plane) -> None:
    """A client would wait forever for a backend that does not answer its upgrade."""
    client = plane.client()
    client.send(upgrade())
    await settle()
    plane.sweep(plane.route.request_timeout_s + 1)
    assert split(client.take())[1]["x-understudy-fault"] == "request-timeout"


async def test_client_that_leaves_before_the_answer(plane: Plane) -> None:
    """The backend would go on with an upgrade that nobody waits for."""
    client = plane.client()
    client.send(upgrade())
    await settle()
    client.transport.lose()
    await settle()
    assert plane.backend().transport.aborted
    assert plane.totals().faults == {Fault.CLIENT_GONE: 1}
    assert not plane.context.live


async def test_upgrade_meets_a_stale_connection(plane: Plane) -> None:
    """A pooled connection that the backend closed meanwhile would cost the client its socket."""
    client = plane.client()
    await plane.exchange(client, request(), answer(b""))
    plane.clock.move(1.0)
    client.send(upgrade())
    plane.backend().close()
    await settle()
    assert plane.connections() == 2
    assert b"upgrade: websocket" in plane.backend().take()
    plane.backend().answer(SWITCHED)
    assert client.take().count(b"HTTP/1.1 101") == 1


async def test_upgrades_are_not_mirrored(plane: Plane) -> None:
    """A copy would be another request, without its upgrade; that there is none has to be seen."""
    plane.adopt(mirrors=(Mirror(2, 1_000_000, ROWS["v3"]),))
    client = plane.client()
    await plane.exchange(client, upgrade(), SWITCHED)
    refused = plane.client()
    await plane.exchange(refused, upgrade(), answer(b"", status=400))
    await settle()
    assert plane.connections("v3") == 0
    assert plane.totals("v3").skips == {Skip.UPGRADE: 2}


def test_asked_without_an_upgrade_field() -> None:
    """Only heads with one come here; were it otherwise, nothing must be made up."""
    assert asked(Head(b"GET", b"/", [], "192.0.2.7")) == b""
