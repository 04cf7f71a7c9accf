"""HTTP/1.1 on the wire: heads written from parsed values, never pasted (RFC 9112).

Names of header fields are lower case everywhere in the data plane. What belongs to one connection only (RFC 9110,
section 7.6.1) is taken out here and nowhere else.
"""

from __future__ import annotations

import http
import json
from typing import Final

from proxy.data.wire.bodies import Piece
from proxy.faults import FACTS, Fault

Headers = list[tuple[bytes, bytes]]
"""Field names in lower case and values, in the order they came."""

HOP_BY_HOP: Final = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
REQUEST_OWN: Final = HOP_BY_HOP | {
    b"content-length",
    b"expect",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
    b"x-understudy-backend",
    b"x-understudy-shadow",
}
"""Fields of a request that are written anew or not at all."""
RESPONSE_OWN: Final = HOP_BY_HOP | {
    b"content-length",
    b"x-understudy-attempts",
    b"x-understudy-backend",
    b"x-understudy-fault",
    b"x-understudy-id",
}
"""The same of an answer: what a backend says of the way to it is not said by us."""

STATUS_LINES: Final = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode("ascii")) for status in http.HTTPStatus
}
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_SPACE: Final = 0x20
_ZERO: Final = ord("0")
LAST_CHUNK: Final = b"0\r\n\r\n"


class ResponseHead:
    """The head of an answer. `length` is None where the body is chunked or lasts until the connection ends."""

    __slots__ = ("bodyless", "chunked", "headers", "length", "status")

    def __init__(self, status: int, headers: Headers, length: int | None, chunked: bool, bodyless: bool) -> None:
        self.status = status
        self.headers = headers
        self.length = length
        self.chunked = chunked
        self.bodyless = bodyless


def status_line(status: int) -> bytes:
    """The first line of an answer."""
    return STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status


def trimmed(value: bytes) -> bytes:
    """A field's value without the white space that llhttp leaves at its end (RFC 9110, section 5.5): a user whose key
    had a space behind it was another user, and matched no route.

    >>> trimmed(b"a b \\t"), trimmed(b"")
    (b'a b', b'')
    """
    return value.rstrip(b" \t") if value and value[-1] <= _SPACE else value


def connection_fields(headers: Headers) -> frozenset[bytes]:
    """The field names that `Connection` names, which belong to this connection only; `Host` can never be one."""
    named = b",".join([value for name, value in headers if name == b"connection"])
    return frozenset(token.strip().lower() for token in named.split(b",")) - {b"", b"host"}


def fields(headers: Headers, own: frozenset[bytes]) -> bytes:
    """The fields that are passed on, as lines."""
    lines: list[bytes] = []
    for name, value in headers:
        if name not in own:
            lines.append(b"%b: %b\r\n" % (name, value))  # compiled, this costs less than to join its four pieces
    return b"".join(lines)


def number(value: bytes) -> int:
    """The number that digits are; -1 for anything else. Compiled it costs a quarter of `isdigit` and `int`."""
    found = 0 if value else -1
    for at in range(len(value)):
        digit = value[at] - _ZERO
        if not 0 <= digit <= 9:
            return -1
        found = found * 10 + digit
    return found


def length_field(length: int | None, chunked: bool) -> bytes:
    """The field that says how long a body is; nothing where there is none to speak of."""
    if chunked:
        return b"transfer-encoding: chunked\r\n"
    return b"" if length is None else b"content-length: %d\r\n" % length


def switch_fields(protocols: bytes) -> bytes:
    """The fields that ask for another protocol, or say that it is spoken from here on (RFC 9110, section 7.8)."""
    return b"connection: upgrade\r\nupgrade: %b\r\n" % protocols


def chunk(data: Piece) -> bytes:
    """A piece of a body as one chunk."""
    return b"".join((b"%x\r\n" % len(data), data, b"\r\n"))


def refusal(
    fault: Fault, detail: str, close: bool, with_body: bool = True, retry_after_s: int = 0, status: int = 0
) -> bytes:
    """The proxy's own answer to a request that failed: a problem document (RFC 9457); `status` 0 is the fault's own."""
    facts = FACTS[fault]
    status = status or facts.status
    if fault is Fault.OVERFLOW:
        retry_after_s = retry_after_s or 1
    problem = {"type": "about:blank", "title": facts.text, "status": status, "fault": facts.flag}
    if detail:
        problem["detail"] = detail
    body = json.dumps(problem).encode() + b"\n"
    head = b"%bcontent-type: application/problem+json\r\ncontent-length: %d\r\nx-understudy-fault: %b\r\n%b\r\n" % (
        status_line(status),
        len(body),
        facts.flag.encode(),
        (b"retry-after: %d\r\n" % retry_after_s if retry_after_s else b"")
        + (b"connection: close\r\n" if close else b""),
    )
    return head + body if with_body else head
