"""Any cutting of the bytes, in either direction, gives the same messages."""

from __future__ import annotations

import asyncio
import itertools

import httptools
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.data.wire.bodies import LONG_BYTES
from tests.support.plane import Clock, Network, Plane, answer, chunked, request
from tests.support.transports import settle


def ordinary(body: bytes) -> bytes:
    """An answer as most begin: a read that does is looked at in another way."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


class Received:
    """Messages out of bytes, by a parser of their own."""

    def __init__(self, parser: type) -> None:
        self.messages: list[tuple[bytes, list[tuple[bytes, bytes]], bytes]] = []
        self.parser = parser(self)

    def on_message_begin(self) -> None:
        self._url, self._fields, self._body = b"", [], b""

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name, value))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self.messages.append((self._url, self._fields, self._body))


LONG = (b"GET /smuggled HTTP/1.1\r\nHost: m.test\r\n\r\n" * 600)[: LONG_BYTES + 999]
"""A body that goes past the parser; to whoever parses it, it is requests."""
REQUESTS = [
    request(target="/plain?x=1", headers=("X-A: b",)),
    request("POST", "/length", body=b"0123456789" * 5),
    request("POST", "/chunks", headers=("Transfer-Encoding: chunked",)) + chunked(b"abc", b"d" * 40),
    request("POST", "/trailers", headers=("Transfer-Encoding: chunked",))
    + chunked(b"abc")[:-2]
    + b"X-T: 1\r\nHost: b\r\n\r\n",
    request("POST", "/expect", headers=("Expect: 100-continue",), body=b"xyz"),
    request("HEAD", "/head"),
    request("POST", "/empty", body=b""),
    request("POST", "/long", body=LONG),
    request("POST", "/longest", headers=("Expect: 100-continue",), body=LONG * 3),
    request("POST", "/short", body=LONG[: LONG_BYTES - 1]),
    request("POST", "/long-chunk", headers=("Transfer-Encoding: chunked",)) + chunked(LONG),
]
ANSWERS = [
    answer(b"hello", headers=("X-C: d",)),
    ordinary(LONG),
    answer(LONG[:LONG_BYTES]),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"12", b"3456789"),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"12")[:-2] + b"X-T: 1\r\nAge: 2\r\n\r\n",
    b"HTTP/1.1 103 Early\r\n\r\n" + answer(b"", status=404),
    b"HTTP/1.1 204 No\r\n\r\n",
    ordinary(LONG[: LONG_BYTES - 1]),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(LONG),
]


def pieces(raw: bytes, cuts: list[int]) -> list[bytes]:
    """Bytes cut at places taken modulo their length."""
    at = sorted({cut % (len(raw) + 1) for cut in cuts} | {0, len(raw)})
    return [raw[a:b] for a, b in itertools.pairwise(at)]


async def played(order: list[int], request_cuts: list[int], answer_cuts: list[int]) -> tuple[list, list, int]:
    """Send all requests in pieces, answer each in pieces, and give what both sides received, decoded."""
    network = Network()
    asyncio.get_running_loop().create_connection = network.create_connection
    plane = Plane(network, Clock())
    client = plane.client()
    up, down = Received(httptools.HttpRequestParser), Received(httptools.HttpResponseParser)
    raw = b"".join(REQUESTS[i] for i in order)
    for piece in [*pieces(raw, request_cuts), *[b""] * (2 * len(order))]:
        if piece:
            client.send(piece)
        await settle(4)
        for backend in network.made.get("v1.test", []):
            before = len(up.messages)
            if sent := backend.take():
                up.parser.feed_data(sent)
            assert len(up.messages) <= before + 1, "two requests are under way on one connection"
            if len(up.messages) > before:
                head_only = up.messages[-1][0] == b"/head"
                reply = answer(b"") if head_only else ANSWERS[before % len(ANSWERS)]
                for part in pieces(reply, answer_cuts):
                    backend.answer(part)
    down.parser.feed_data(client.take().replace(b"HTTP/1.1 100 Continue\r\n\r\n", b""))
    return up.messages, down.messages, plane.totals().finished


CUTS = st.one_of(st.integers(0, 2000), st.integers(0, 1 << 18))
"""Around heads more often than in the middle of long bodies."""


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, len(REQUESTS) - 1), min_size=1, max_size=len(ANSWERS)),
    st.lists(CUTS, max_size=12),
    st.lists(CUTS, max_size=4),
)
def test_any_cutting_gives_the_same_messages(order: list[int], request_cuts: list[int], answer_cuts: list[int]) -> None:
    """Where the network cuts the bytes must not matter, in either direction."""
    whole = asyncio.run(played(order, [], []))
    assert whole[2] == len(order)
    assert len(whole[0]) == len(whole[1]) == len(order)
    assert asyncio.run(played(order, request_cuts, answer_cuts)) == whole
