"""Answers that are malformed, in any cutting: nothing ambiguous reaches a client, and nothing of another's answer."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.data.backends.connection import MAX_HEAD_BYTES, READ_BYTES
from proxy.faults import Fault
from tests.support import malformed
from tests.support.plane import Clock, Network, Plane, answer, request, split
from tests.support.transports import settle

LONG = 2000
"""Longer ones are not cut at every byte."""
WITH_ITS_HEAD = {name: raw for name, raw in malformed.ANSWER_BODIES.items() if len(raw) < READ_BYTES}


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    """Bytes cut at places taken modulo their length, and where a read ends; at every byte where there are no places."""
    if not places and len(raw) < LONG:
        return [raw[at : at + 1] for at in range(len(raw))]
    at = sorted({place % (len(raw) + 1) for place in places} | {len(raw)} | set(range(0, len(raw), READ_BYTES)))
    return [raw[a:b] for a, b in itertools.pairwise(at)]


async def answered(parts: list[bytes], method: str = "GET") -> tuple[Plane, bytes, bool, bytes]:
    """Answer a request in pieces, then send another one, which is answered well, on whatever connection it uses.

    Returns the plane, what the first client got, whether it was cut, and what the second one got.
    """
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
    await settle()
    other.send(request(target="/other"))
    await settle()
    if not other.transport.writes:
        plane.backend().answer(answer(b"mine"))
        await settle()
    return plane, one.take(), one.transport.aborted, other.take()


@pytest.mark.parametrize("raw", malformed.ANSWERS.values(), ids=malformed.ANSWERS.keys())
@pytest.mark.parametrize("places", [[0], []], ids=["whole", "in pieces"])
async def test_malformed_head_is_502(raw: bytes, places: list[int]) -> None:
    """What a client gets of such an answer depends on who reads it: two readers disagree."""
    plane, got, was_cut, second = await answered(cut(raw, places))
    first, fields, body = split(got)
    assert first == "HTTP/1.1 502 Bad Gateway"
    assert fields["x-understudy-fault"] == "bad-response"
    assert b"backend v1: " in body, "the operator is not told what is wrong"
    assert not was_cut
    assert plane.totals().faults == {Fault.BAD_RESPONSE: 1}
    assert plane.backend(number=0).transport.aborted
    assert split(second)[2] == b"mine"


@pytest.mark.parametrize("raw", WITH_ITS_HEAD.values(), ids=WITH_ITS_HEAD.keys())
async def test_malformed_body_that_comes_with_its_head_is_502(raw: bytes) -> None:
    """A cut connection tells nobody what is wrong: as long as nothing was written, it can be said."""
    plane, got, was_cut, second = await answered([raw])
    first, fields, _ = split(got)
    assert (first, fields["x-understudy-fault"]) == ("HTTP/1.1 502 Bad Gateway", "bad-response")
    assert not was_cut
    assert plane.totals().faults == {Fault.BAD_RESPONSE: 1}
    assert plane.totals().statuses == {502: 1, 200: 1}
    assert split(second)[2] == b"mine"


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(malformed.ANSWER_BODIES)), st.lists(st.integers(0, 5000), max_size=6))
def test_malformed_body_never_ends(name: str, places: list[int]) -> None:
    """Half an answer that looks whole is worse than none, wherever the network cuts it."""
    plane, got, was_cut, second = asyncio.run(answered(cut(malformed.ANSWER_BODIES[name], places)))
    assert plane.totals().faults == {Fault.BAD_RESPONSE: 1}
    if was_cut:
        assert got.startswith(b"HTTP/1.1 200 OK\r\n")
        assert not got.endswith(b"0\r\n\r\n")
    else:
        assert got.startswith(b"HTTP/1.1 502 ")
    assert split(second)[2] == b"mine"


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(malformed.ANSWERS)), st.lists(st.integers(0, 5000), min_size=1, max_size=6))
def test_malformed_head_is_502_in_any_cutting(name: str, places: list[int]) -> None:
    """A check that looks at whole reads only would be as good as none."""
    _, got, was_cut, second = asyncio.run(answered(cut(malformed.ANSWERS[name], places)))
    assert got.startswith(b"HTTP/1.1 502 ")
    assert not was_cut
    assert split(second)[2] == b"mine"


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(malformed.AFTER_ANSWERS)), st.lists(st.integers(0, 5000), max_size=6))
def test_nothing_lands_in_another_answer(name: str, places: list[int]) -> None:
    """Bytes after an answer would be another user's answer."""
    _, got, _, second = asyncio.run(answered(cut(malformed.AFTER_ANSWERS[name], places)))
    first, _, body = split(got)
    assert first.split()[1] in ("200", "204", "304")
    if "chunks" in name and " 200 " in first:
        assert body.endswith(b"\r\n0\r\n\r\n")
        body = b"".join(body[:-5].split(b"\r\n")[1::2])
    assert body == (b"abc" if " 200 " in first else b"")
    assert split(second)[2] == b"mine"


@pytest.mark.parametrize(
    "raw", [malformed.ANSWERED, malformed.CHUNKS + b"3\r\nabc\r\n0\r\n\r\n", malformed.OK + b"\r\n"]
)
@pytest.mark.parametrize("places", [[0], [60], []], ids=["whole", "in two", "in pieces"])
async def test_body_after_head_is_nobody_s(raw: bytes, places: list[int]) -> None:
    """Servers that answer HEAD with a body exist."""
    _, got, _, second = await answered(cut(raw, places), "HEAD")
    assert split(got)[2] == b""
    assert split(second)[2] == b"mine"


async def test_trickle_of_information_does_not_keep_a_request_alive(plane: Plane) -> None:
    """A backend could hold a client for ever without one word of an answer."""
    client = plane.client()
    client.send(request())
    await settle()
    for _ in range(4):
        plane.backend().answer(b"HTTP/1.1 102 Processing\r\n\r\n")
        plane.sweep(2.6)
    assert split(client.take())[1]["x-understudy-fault"] == "request-timeout"


async def test_stream_without_end_is_no_endless_field(plane: Plane) -> None:
    """The bound on fields must not count the body."""
    client = plane.client()
    client.send(request())
    await settle()
    plane.backend().answer(malformed.CHUNKS)
    piece = b"4000\r\n" + b"a" * 0x4000 + b"\r\n"
    for _ in range((MAX_HEAD_BYTES + READ_BYTES) // 0x4000 + 2):
        plane.backend().answer(piece)
    plane.backend().answer(b"0\r\n\r\n")
    assert client.transport.written.endswith(b"0\r\n\r\n")
