"""Mutated bytes at the border: what is forwarded reads the same to a strict parser that shares no code with ours."""

from __future__ import annotations

import asyncio
import random

import h11
import httptools
import pytest

from proxy.data.wire.bodies import LONG_BYTES
from tests.support import malformed
from tests.support.plane import Clock, Network, Plane, answer, chunked, request
from tests.support.transports import settle

LONG = (b"GET /smuggled HTTP/1.1\r\nHost: m.test\r\n\r\n" * 500)[: LONG_BYTES + 1]
"""A body that goes past the parser; to whoever parses it, it is requests."""
WELL_FORMED = [
    request(target="/plain?x=1", headers=("X-A: b",)),
    request("POST", "/length", body=b"0123456789"),
    request("POST", "/chunks", headers=("Transfer-Encoding: chunked",)) + chunked(b"abc", b"d" * 20),
    request("POST", "/expect", headers=("Expect: 100-continue",), body=b"xyz"),
    request("POST", "/trailers", headers=("Transfer-Encoding: chunked",)) + chunked(b"abc")[:-2] + b"X-T: 1\r\n\r\n",
    request("OPTIONS", "*"),
    request(target="http://m.test/absolute?q", headers=("Connection: keep-alive, X-Gone", "X-Gone: 1")),
    request(headers=("Connection: keep-alive",), version="1.0"),
    request("POST", "/long", body=LONG),
]
CORPUS = [*WELL_FORMED, *(raw for raw, _ in malformed.REQUESTS.values() if len(raw) < 1000)]
TOKENS = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"0", b"-", b"+", b"\x80", b"\x7f", b"#",
    b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: b\r\n", b"0\r\n\r\n", b"3\r\nabc\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"HTTP/1.0", b"chunked", b"Connection: close\r\n",
]  # fmt: skip
MUTANTS_PER_SEED = 150

Message = tuple[bytes, list[tuple[bytes, bytes]], bytes]


def mutant(rng: random.Random) -> bytes:
    """A few requests in a row, with a few bytes cut, doubled, changed or put in."""
    raw = bytearray(b"".join(rng.choice(CORPUS if rng.random() < 0.3 else WELL_FORMED) for _ in range(3)))
    for _ in range(rng.randint(0, 3)):
        at = rng.randrange(len(raw))
        match rng.randrange(4):
            case 0:
                del raw[at : at + rng.randint(1, 4)]
            case 1:
                raw[at:at] = raw[at : at + rng.randint(1, 30)]
            case 2:
                raw[at] = rng.randrange(256)
            case _:
                raw[at:at] = rng.choice(TOKENS)
    return bytes(raw)


def pieces(rng: random.Random, raw: bytes) -> list[bytes]:
    """The bytes whole, in a few pieces, or one by one unless they are many."""
    size = rng.choice((len(raw), 40, 7, 1)) * (1 + len(raw) // 2000)
    return [raw[at : at + size] for at in range(0, len(raw), size)]


class Strict:
    """One connection's requests as h11 reads them; any doubt of its own raises `RemoteProtocolError`."""

    def __init__(self) -> None:
        self.begun = 0
        self.messages: list[Message] = []
        self._connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        self._body = b""

    def feed(self, data: bytes) -> bool:
        """Take bytes; True when a request is complete, which is then taken as answered."""
        self._connection.receive_data(data)
        while True:
            event = self._connection.next_event()
            if isinstance(event, h11.Request):
                self.begun += 1
                self._request, self._body = event, b""
            elif isinstance(event, h11.Data):
                self._body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                fields = [*self._request.headers, *event.headers]
                self.messages.append((self._request.target, fields, self._body))
                self._connection.send(h11.Response(status_code=200, headers=[(b"content-length", b"0")]))
                self._connection.send(h11.EndOfMessage())
                self._connection.start_next_cycle()
                assert self._connection.trailing_data[0] == b"", "a second request came before the first was answered"
                return True
            else:
                assert event is h11.NEED_DATA, event
                return False


class Llhttp:
    """The same requests as llhttp reads them."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.parser = httptools.HttpRequestParser(self)

    def on_message_begin(self) -> None:
        self._target, self._fields, self._body = b"", [], b""

    def on_url(self, target: bytes) -> None:
        self._target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self._body += body

    def on_message_complete(self) -> None:
        self.messages.append((self._target, self._fields, self._body))


async def forwarded(parts: list[bytes]) -> tuple[int, int, int]:
    """Send the pieces and answer what is complete; returns how many requests we took, h11 saw, and the client got."""
    network = Network()
    asyncio.get_running_loop().create_connection = network.create_connection
    plane = Plane(network, Clock())
    client = plane.client()
    readers: list[tuple[Strict, Llhttp]] = []
    for part in [*parts, *[b""] * 8]:
        if part:
            client.send(part)
        await settle(4 if len(parts) < 50 or not part else 1)
        for number, backend in enumerate(network.made.get("v1.test", ())):
            if number == len(readers):
                readers.append((Strict(), Llhttp()))
            strict, llhttp = readers[number]
            if sent := backend.take():
                llhttp.parser.feed_data(sent)
                if strict.feed(sent) and not backend.transport.lost:
                    backend.answer(answer())
    for strict, llhttp in readers:
        assert strict.messages == llhttp.messages
    begun = sum(strict.begun for strict, _ in readers)
    return plane.totals().arrived, begun, client.transport.written.count(b"HTTP/1.1 200 OK")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_what_is_forwarded_can_be_read_in_one_way_only(seed: int) -> None:
    """Two readers of one connection that count differently is what request smuggling is."""
    rng = random.Random(seed)
    for _ in range(MUTANTS_PER_SEED):
        parts = pieces(rng, mutant(rng))
        taken, seen, answered = asyncio.run(forwarded(parts))
        assert taken == seen >= answered, parts
