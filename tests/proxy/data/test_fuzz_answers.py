"""Mutated answers at the border: what a client gets reads the same to a strict parser that shares no code with ours."""

from __future__ import annotations

import asyncio
import random
import re

import h11
import pytest

from tests.proxy.data.test_fuzz import LONG, TOKENS, pieces
from tests.support import malformed
from tests.support.plane import Clock, Network, Plane, answer, chunked, request
from tests.support.transports import settle

WELL_FORMED = [
    answer(b"hello", headers=("X-C: d",)),
    malformed.CHUNKS + chunked(b"12", b"3456789"),
    malformed.CHUNKED + b"Trailer: X-T\r\n\r\n3;a=b\r\nabc\r\n0\r\nX-T: 1\r\n\r\n",
    b"HTTP/1.1 103 Early\r\nLink: </a>\r\n\r\n" + answer(b"body", status=404),
    b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"", status=201),
    b"HTTP/1.1 204 No\r\n\r\n",
    b"HTTP/1.1 304 Not\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
    answer(b"last", headers=("Connection: close, X-Gone", "X-Gone: 1")),
    answer(b"", status=500),
    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(LONG) + LONG,
]
CORPUS = [
    *WELL_FORMED,
    *malformed.AFTER_ANSWERS.values(),
    *(raw for table in (malformed.ANSWERS, malformed.ANSWER_BODIES) for raw in table.values() if len(raw) < 1000),
]
ANSWER_TOKENS = [*TOKENS, b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 C\r\n\r\n", answer(b"x"), b"204", b"\r\n0\r\n\r\n"]
MUTANTS_PER_SEED = 200
EMPTY_LINES = re.compile(rb"\r\n\r\n[\r\n]+HTTP/1\.")
"""What llhttp takes between an informational answer and the one after it, and h11 does not."""
REFUSED = b"x-understudy-fault: "

Answer = tuple[int, bytes]


def mutant(rng: random.Random) -> bytes:
    """An answer, and sometimes a second one, with a few bytes cut, doubled, changed or put in."""
    raw = bytearray(rng.choice(CORPUS if rng.random() < 0.3 else WELL_FORMED))
    if rng.random() < 0.2:
        raw += rng.choice(CORPUS)
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
                raw[at:at] = rng.choice(ANSWER_TOKENS)
        raw = raw or bytearray(b" ")
    return bytes(raw)


def read(raw: bytes, requests: int, method: str = "GET") -> tuple[list[Answer], bool]:
    """The whole answers that h11 finds, and whether what follows them is none. The bytes end with the connection."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.receive_data(raw)
    connection.receive_data(b"")
    found: list[Answer] = []
    try:
        while len(found) < requests:
            connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
            connection.send(h11.EndOfMessage())
            status, body = 0, b""
            while not isinstance(event := connection.next_event(), h11.EndOfMessage):
                if isinstance(event, h11.Response):
                    status = event.status_code
                elif isinstance(event, h11.Data):
                    body += bytes(event.data)
                elif not isinstance(event, h11.InformationalResponse):
                    return found, False
            found.append((status, body))
            connection.start_next_cycle()
    except h11.ProtocolError:
        return found, False
    return found, connection.trailing_data[0] == b""


async def passed_on(parts: list[bytes], method: str) -> tuple[bytes, bool, bytes]:
    """Answer a request in pieces and close; then another client's request, well. Returns what both got."""
    network = Network()
    asyncio.get_running_loop().create_connection = network.create_connection
    plane = Plane(network, Clock())
    one, other = plane.client(), plane.client()
    one.send(request(method))
    await settle()
    first = plane.backend()
    for part in parts:
        if not first.transport.closed:
            first.answer(part)
    if plane.context.live and not first.transport.lost:
        first.close()
    await settle()
    other.send(request(target="/other"))
    await settle()
    plane.backend().answer(answer(b"mine"))
    await settle()
    return one.take(), one.transport.aborted, other.take()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_what_a_client_gets_can_be_read_in_one_way_only(seed: int) -> None:
    """An answer that two readers end at different places hands one user what is another's."""
    rng = random.Random(seed)
    whole = 0
    for _ in range(MUTANTS_PER_SEED):
        raw, method = mutant(rng), rng.choice(("GET", "GET", "GET", "HEAD"))
        parts = pieces(rng, raw)
        got, was_cut, second = asyncio.run(passed_on(parts, method))
        answers, clean = read(got, 1, method)
        assert (len(answers) == 0) if was_cut and b"chunked" in got else True, (parts, got)
        assert read(second, 1) == ([(200, b"mine")], True), (parts, second)
        if was_cut:
            continue
        assert len(answers) == 1, (parts, got)
        assert clean, (parts, got)
        if REFUSED in got:
            assert answers[0][0] == 502, (parts, got)
        else:
            whole += 1
            strictly = EMPTY_LINES.sub(b"\r\n\r\nHTTP/1.", raw)
            assert read(strictly, 1, method)[0] == answers, (parts, got, "is not what the backend said")
    assert whole > MUTANTS_PER_SEED / 4, "hardly anything was passed on: this test tests nothing"
