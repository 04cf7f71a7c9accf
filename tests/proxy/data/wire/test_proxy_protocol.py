"""The PROXY protocol: what a load balancer says before its client says anything."""

from __future__ import annotations

import doctest
import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.data.wire import proxy_protocol
from proxy.data.wire.proxy_protocol import MAX_BYTES, MalformedError, Source, crc32c, parse, portion

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def block(command: int = 0x21, family: int = 0x11, addresses: bytes = b"", more: bytes = b"") -> bytes:
    """A header of version 2."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(addresses + more)) + addresses + more


def addresses(source: str, target: str) -> bytes:
    return ip_address(source).packed + ip_address(target).packed + struct.pack("!HH", 4711, 443)


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


V4 = addresses("203.0.113.9", "192.0.2.1")
V6 = addresses("2001:db8::9", "2001:db8::1")
AWS = tlv(0xEA, b"\x01vpce-08d2bf15fac5001c9") + tlv(0x04, b"\0\0\0")


def summed(header: bytes) -> bytes:
    """The header with its last four bytes, which are zero, replaced by the checksum."""
    return header[:-4] + crc32c(header).to_bytes(4, "big")


SOUND = {
    b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n": "203.0.113.9",
    b"PROXY TCP6 2001:db8::9 2001:db8::1 4711 443\r\n": "2001:db8::9",
    b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n": "255.255.255.255",
    b"PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n": "0.0.0.0",
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n": None,
    block(addresses=V4): "203.0.113.9",
    block(family=0x21, addresses=V6): "2001:db8::9",
    block(family=0x21, addresses=addresses("::ffff:203.0.113.9", "::1")): "203.0.113.9",
    block(addresses=V4, more=AWS): "203.0.113.9",
    summed(block(addresses=V4, more=AWS + tlv(3, bytes(4)))): "203.0.113.9",
    block(family=0x31, addresses=bytes(216)): None,
    block(family=0x00): None,
    block(family=0x00, more=b"anything"): None,
    block(command=0x20, family=0x00): None,
    block(command=0x20, family=0x11, addresses=V4): None,
    block(command=0x20, family=0x11, more=b"x"): None,
}
MALFORMED = [
    b"GET / HTTP/1.1\r\n",
    b"PROXY\r\n",
    b"PROXY \r\n",
    b"PROXYTCP4",
    b"PROXY TCP4\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 4711\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443 1\r\n",
    b"PROXY TCP4 203.0.113.9  192.0.2.1 4711 443\r\n",
    b"PROXY TCP4 2001:db8::9 2001:db8::1 4711 443\r\n",
    b"PROXY TCP6 203.0.113.9 192.0.2.1 4711 443\r\n",
    b"PROXY TCP4 203.0.113.009 192.0.2.1 4711 443\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 65536 443\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 -1 443\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 0443 443\r\n",
    b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\n\r\n",
    b"PROXY TCP4 \xff 192.0.2.1 4711 443\r\n",
    b"PROXY UDP4 203.0.113.9 192.0.2.1 4711 443\r\n",
    b"PROXY UNKNOWN" + b" " * 107,
    b"proxy UNKNOWN\r\n",
    b"\r\n\r\n\x00\r\nQUIT\r",
    b"\x16\x03\x01",
    block(command=0x11, addresses=V4),
    block(command=0x22, addresses=V4),
    block(family=0x12, addresses=V4),
    block(family=0x41, addresses=V4),
    block(addresses=V4[:-1]),
    block(family=0x21, addresses=V4),
    block(addresses=V4, more=b"\x04"),
    block(addresses=V4, more=b"\x04\x00\x02x"),
    block(addresses=V4, more=tlv(3, b"\0\0\0\0")),
    block(addresses=V4, more=tlv(3, b"\0\0")),
    block(addresses=V4, more=bytes(MAX_BYTES)),
]


def read(stream: bytes, cuts: list[int]) -> tuple[Source, bytes]:
    """What a reader makes of a stream that comes in pieces, and what it leaves for whoever reads next."""
    taken, arrived = b"", 0
    for cut in [*sorted(min(cut, len(stream)) for cut in cuts), len(stream)]:
        arrived = max(arrived, cut)
        waiting = stream[len(taken) : arrived]
        while waiting:
            count = portion(taken, waiting)
            assert count > 0
            taken += waiting[:count]
            if (source := parse(taken)) is not None:
                return source, stream[len(taken) :]
            waiting = waiting[count:]
    raise EOFError


@given(
    st.sampled_from(list(SOUND)),
    st.sampled_from([b"", b"GET / HTTP/1.1\r\n\r\n", b"\r\n", b"\x16\x03\x01", b"PROXY UNKNOWN\r\n"]),
    st.lists(st.integers(0, 300), max_size=8),
)
def test_any_cutting_gives_the_same(header: bytes, rest: bytes, cuts: list[int]) -> None:
    """A header that a network cuts elsewhere would name another client, or swallow the start of a handshake."""
    assert read(header + rest, cuts) == (Source(SOUND[header]), rest)


@given(st.sampled_from(MALFORMED), st.lists(st.integers(0, 300), max_size=8))
def test_what_is_malformed_is_so_in_any_cutting(stream: bytes, cuts: list[int]) -> None:
    """Somebody who is no load balancer would be let in, or would choose an address."""
    with pytest.raises(MalformedError):
        read(stream, cuts)


@pytest.mark.parametrize("header", SOUND)
def test_bytes_one_by_one(header: bytes) -> None:
    """A header would be taken for whole before it is."""
    assert read(header + b"rest", list(range(len(header) + 4))) == (Source(SOUND[header]), b"rest")
    for end in range(len(header)):
        assert parse(header[:end]) is None or header[:end].endswith(b"\r\n")


@given(st.binary(min_size=1, max_size=300), st.booleans())
def test_noise_is_refused_or_awaited(noise: bytes, signed: bool) -> None:
    """Bytes from anywhere would raise something that nobody catches."""
    stream = SIGNATURE + noise if signed else noise
    try:
        read(stream, [])
    except (MalformedError, EOFError):
        return
    assert stream.startswith((SIGNATURE, b"PROXY "))


def test_examples_in_the_docstrings() -> None:
    """The checksum of load balancers that send one would be taken for wrong."""
    assert doctest.testmod(proxy_protocol).failed == 0
