"""The first line of a request, as it came: what llhttp does not show, in any cutting and behind any other request."""

from __future__ import annotations

import asyncio

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.data.requests.request_head import Refused
from proxy.data.requests.request_line import CHUNKED, RequestLine
from tests.proxy.data.test_chunking import Received, pieces
from tests.support.plane import Clock, Network, Plane, answer, chunked, request
from tests.support.transports import settle

BEFORE = {
    "nothing": b"",
    "a request": request(),
    "a request with the same text in a field": request(headers=("X: GET /x HTTP/1.1",)),
    "a body": request("POST", body=b"abc"),
    "chunks": request("POST", headers=("Transfer-Encoding: chunked",)) + chunked(b"abc"),
    "HTTP/1.0": request(version="1.0", headers=("Connection: keep-alive",)),
    "two requests": request() + request("POST", body=b"a\r\n"),
}
FIELDS = b"Host: a\r\n\r\n"
BAD = [
    b"GET  /x HTTP/1.1\r\n", b"GET /x  HTTP/1.1\r\n", b"GET   /x   HTTP/1.1\r\n", b"GET /x RTSP/1.0\r\n",
    b"GET  /x HTTP/1.0\r\n", b"SOURCE /x ICE/1.0\r\n", b"GET /x HTTP/2.0\r\n", b"GET /x HTTP/0.9\r\n",
]  # fmt: skip
BAD_BEFORE = [before + b"GET /x HTTP/1.1\r\n" for before in (b"\n", b"\r", b"\r\n\r\n", b"\n\r\n", b"\r\n" * 9)]


async def reached(parts: list[bytes]) -> tuple[list[bytes], bytes]:
    """Send the pieces and answer all that arrives; the targets that a backend got, and what the client did."""
    network = Network()
    asyncio.get_running_loop().create_connection = network.create_connection
    plane = Plane(network, Clock())
    client = plane.client()
    client.transport.stubborn = True
    seen = Received(httptools.HttpRequestParser)
    for part in [*parts, *[b""] * 4]:
        if part:
            client.send(part)
        await settle(4)
        for backend in network.made.get("v1.test", ()):
            whole = len(seen.messages)
            if sent := backend.take():
                seen.parser.feed_data(sent)
                if len(seen.messages) > whole:
                    backend.answer(answer(b"x"))
    return [target for target, _, _ in seen.messages], client.take()


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(BEFORE)), st.sampled_from(BAD), st.lists(st.integers(0, 400), max_size=5))
def test_line_of_another_shape_is_refused(before: str, line: bytes, cuts: list[int]) -> None:
    """A proxy in front that splits the line at the first two spaces sees another target than we do."""
    twin = b"" if before == "chunks" else b"GET /x HTTP/1.1\r\n" + FIELDS
    seen, got = asyncio.run(reached(pieces(BEFORE[before] + line + FIELDS + twin, cuts)))
    assert b"/x" not in seen
    assert got.count(b"HTTP/1.1 400 ") == 1
    assert b"connection: close" in got


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(BAD_BEFORE), st.lists(st.integers(0, 60), max_size=5))
def test_more_than_an_empty_line_before_is_refused(line: bytes, cuts: list[int]) -> None:
    """Bytes between requests that one side skips and the other does not are where the two lose step."""
    seen, got = asyncio.run(reached(pieces(line + FIELDS, cuts)))
    assert seen == []
    assert got.startswith(b"HTTP/1.1 400 ")


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(BEFORE)), st.booleans(), st.lists(st.integers(0, 400), max_size=8))
def test_line_of_this_shape_is_taken(before: str, empty: bool, cuts: list[int]) -> None:
    """A check of raw bytes that loses its place refuses honest clients; an empty line before is allowed."""
    raw = BEFORE[before] + b"\r\n" * empty + b"GET /x HTTP/1.1\r\n" + FIELDS
    seen, got = asyncio.run(reached(pieces(raw, cuts)))
    assert seen.count(b"/x") == 1
    assert b" 400 " not in got


async def test_line_of_many_pieces_is_kept_once(plane: Plane) -> None:
    """A head that comes byte by byte must not be gathered a second time."""
    client = plane.client()
    line = b"GET /%b HTTP/1.1\r\n" % (b"a" * 100)
    for byte in line:
        client.send(bytes([byte]))
    for _ in range(50):
        client.send(b"X: %b\r\n" % (b"b" * 100))
        assert len(client.connection._line.raw) <= len(line)


@pytest.mark.parametrize(
    ("before", "body"),
    [
        (b"X: GET /x HTTP/1.1\r\n\r\n", 0),
        (b"X: 1\r\n\r\n\r\n\r\nGET /x HTTP/1.1\r\n", 21),
        (b"X: 1\r\n\r\n3;a=b\r\nabc\r\n013\r\n\r\nGET /x HTTP/1.1\r\n\r\n00\r\nT: GET /x HTTP/1.1\r\n\r\n", CHUNKED),
        (b"X: 1\r\n\r\n1\r\na\r\n0\r\n\r\n", CHUNKED),
    ],
    ids=["field", "length", "chunks and a trailer", "chunks"],
)
def test_line_begins_where_the_message_before_it_ends(before: bytes, body: int) -> None:
    """A line found by its looks is one that a client put elsewhere: in a field, a body, or the request after."""
    for text, good in [(b"GET /x HTTP/1.1\r\n", True), (b"GET  /x HTTP/1.1\r\n", False)]:
        line = RequestLine()
        line.raw = b"GET / HTTP/1.1\r\n" + before + text + b"\r\nGET /x HTTP/1.1\r\n\r\n"
        assert line.end(b"GET", b"/") is True
        line.body = body
        if good:
            assert line.end(b"GET", b"/x") is True
        else:
            with pytest.raises(Refused):
                line.end(b"GET", b"/x")
