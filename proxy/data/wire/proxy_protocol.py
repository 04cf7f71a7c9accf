"""The PROXY protocol, versions 1 and 2: a line or a block before anything else, in which a load balancer says who the
client is (haproxy's proxy-protocol.txt).

Pure: bytes in, a client out. No byte that comes after the header is ever taken, for it may begin a TLS handshake.
"""

from __future__ import annotations

from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, NamedTuple

MAX_BYTES: Final = 4096
"""Of a header of version 2 with all that is added to it. The fixed part is 16 bytes and an address at most 216; what
load balancers add (names, ids, a certificate's subject) is some hundred."""
_MAX_LINE: Final = 107
"""Of a header of version 1 with its end: the longest that the specification counts, section 2.1."""
_SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_FIXED: Final = 16
_LINE: Final = b"PROXY "
_LOCAL, _PROXY = 0x20, 0x21
_ADDRESS_BYTES: Final = {0x00: 0, 0x11: 12, 0x21: 36, 0x31: 216}
"""By family and transport: none known, TCP over IPv4, TCP over IPv6, a unix stream. Nothing else is a stream."""
_TLV_CRC32C: Final = 0x03


class MalformedError(Exception):
    """What came is no header of the PROXY protocol."""


class Source(NamedTuple):
    """Who the load balancer speaks for. `address` is None where it speaks for itself or does not know."""

    address: str | None


def portion(taken: bytes, waiting: bytes) -> int:
    """How many of the bytes that wait belong to the header of which `taken` was read; 0 only if none waits.

    Raises:
        MalformedError: no header begins like this.
    """
    seen = taken + waiting
    if seen[0] == _LINE[0]:
        _require(_alike(seen, _LINE), "it does not begin with PROXY")
        end = seen.find(b"\r\n", 0, _MAX_LINE)
        _require(end >= 0 or len(seen) < _MAX_LINE, f"its line is longer than {_MAX_LINE} bytes")
        return (len(seen) if end < 0 else end + 2) - len(taken)
    _require(_alike(seen, _SIGNATURE), "it does not begin with a signature")
    whole = _FIXED
    if len(seen) >= _FIXED:
        whole += int.from_bytes(seen[14:16], "big")
        _require(whole <= MAX_BYTES, f"it is longer than {MAX_BYTES} bytes")
    return min(len(seen), whole) - len(taken)


def parse(taken: bytes) -> Source | None:
    """The client of a header; None while it is not whole.

    Raises:
        MalformedError: it cannot be read.
    """
    if taken[:1] == _LINE[:1]:
        return _line(taken[:-2]) if taken.endswith(b"\r\n") else None
    if len(taken) < _FIXED or len(taken) < _FIXED + int.from_bytes(taken[14:16], "big"):
        return None
    return _block(taken)


def _alike(seen: bytes, wanted: bytes) -> bool:
    length = min(len(seen), len(wanted))
    return seen[:length] == wanted[:length]


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise MalformedError(message)


def _line(line: bytes) -> Source:
    words = line.split(b" ")
    if words[1:2] == [b"UNKNOWN"]:
        return Source(None)
    _require(len(words) == 6 and words[1] in (b"TCP4", b"TCP6"), "its line has not the six words of TCP4 or TCP6")
    kind = IPv4Address if words[1] == b"TCP4" else IPv6Address
    try:
        source, _ = kind(words[2].decode("ascii")), kind(words[3].decode("ascii"))
    except (AddressValueError, UnicodeDecodeError):
        raise MalformedError("its line has an address that is none of its family") from None
    for port in words[4:]:
        sound = port.isdigit() and int(port) <= 0xFFFF and (port == b"0" or not port.startswith(b"0"))
        _require(sound and len(port) <= 5, "its line has a port that is none")
    return Source(str(source))


def _block(block: bytes) -> Source:
    command, family = block[12], block[13]
    _require(command >> 4 == 2, "it is of another version than 2")
    _require(command in (_LOCAL, _PROXY), "its command is neither LOCAL nor PROXY")
    if command == _LOCAL:
        return Source(None)
    _require(family in _ADDRESS_BYTES, "its family is no stream of this world")
    end = _FIXED + _ADDRESS_BYTES[family]
    _require(len(block) >= end, "it is too short for its addresses")
    if family:
        _check_additions(block, end)
    match family:
        case 0x11:
            return Source(str(IPv4Address(block[16:20])))
        case 0x21:
            address = IPv6Address(block[16:32])
            return Source(str(address.ipv4_mapped or address))
        case _:
            return Source(None)


def _check_additions(block: bytes, place: int) -> None:
    """What follows the addresses (TLVs) is not needed, but must be whole, and a checksum among it must be right."""
    while place < len(block):
        _require(place + 3 <= len(block), "what it adds is cut off")
        kind, end = block[place], place + 3 + int.from_bytes(block[place + 1 : place + 3], "big")
        _require(end <= len(block), "what it adds is cut off")
        if kind == _TLV_CRC32C:
            blank = block[: place + 3] + bytes(end - place - 3) + block[end:]
            _require(
                end - place == 7 and block[place + 3 : end] == crc32c(blank).to_bytes(4, "big"), "its checksum is wrong"
            )
        place = end


def _crc_table() -> tuple[int, ...]:
    table = []
    for crc in range(256):
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_CRC: Final = _crc_table()


def crc32c(data: bytes) -> int:
    """The checksum of RFC 9260, appendix A.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF
