"""The heads that the proxy writes: of a request to a backend, of a copy to a shadow, of an answer to a client.

Each is written from parsed values, with framing of our own (RFC 9112, section 6).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from proxy.data.connection import ResponseHead
from proxy.data.http1 import REQUEST_OWN, RESPONSE_OWN, connection_fields, fields, length_field, status_line
from proxy.data.router import Head

MAX_ID_BYTES: Final = 128
"""A request id is written to logs everywhere: a longer one is replaced."""
_NOTED: Final = frozenset((b"x-request-id", b"x-forwarded-for", b"connection"))
_PLAIN_CONNECTION: Final = frozenset((b"keep-alive", b"close"))
_SHADOW_FIELD: Final = b"x-understudy-shadow: true\r\n"


def to_backend(head: Head, forwarded: bytes, new_id: Callable[[], bytes]) -> bytes:
    """The head of a request on its way to a backend.

    `forwarded` has the fields that tell of the client, X-Forwarded-For first; `new_id` names a request without a name.
    """
    own = REQUEST_OWN
    hops: list[bytes] = []
    known = False
    for name, value in head.headers:
        if name not in _NOTED:
            continue
        if name == b"x-request-id":
            known = len(value) <= MAX_ID_BYTES
            own = own if known else own | {name}
        elif name == b"x-forwarded-for":
            hops.append(value)
        elif value.lower() not in _PLAIN_CONNECTION:
            own = own | connection_fields(head.headers)
    if hops:
        forwarded = forwarded.replace(b": ", b": %b, " % b", ".join(hops), 1)
    if not known:
        forwarded += b"x-request-id: %b\r\n" % new_id()
    return b"%b %b HTTP/1.1\r\n%b%b%b\r\n" % (
        head.method,
        head.target,
        fields(head.headers, own),
        length_field(head.length, head.chunked),
        forwarded,
    )


def to_shadow(head: Head, body_bytes: int, own: frozenset[bytes], lines: bytes) -> bytes:
    """The head of a copy, whose body is known whole. Fields named in `own` are left out, and `lines` are added."""
    if head.header(b"connection"):
        own = own | connection_fields(head.headers)
    has_body = head.chunked or head.length is not None
    return b"%b %b HTTP/1.1\r\n%b%b%b\r\n" % (
        head.method,
        head.target,
        fields(head.headers, own),
        length_field(body_bytes if has_body else None, chunked=False),
        _SHADOW_FIELD + lines,
    )


class ToClient(NamedTuple):
    """The head of an answer, how its body is framed, and whether the connection may be used again."""

    data: bytes
    chunked: bool
    keep_alive: bool


def to_client(head: ResponseHead, request: Head, backend_field: bytes, draining: bool) -> ToClient:
    """The head of an answer on its way to the client. Bodies without a length are chunked, or end with it."""
    own = RESPONSE_OWN
    for name, _ in head.headers:
        if name == b"connection":
            own = own | connection_fields(head.headers)
    framing = b""
    chunked = False
    keep_alive = request.keep_alive and not draining
    if head.bodyless or head.length is not None:
        framing = length_field(None if head.status == 204 else head.length, chunked=False)
    elif request.modern:
        chunked = True
        framing = length_field(None, chunked=True)
    else:
        keep_alive = False
    if not keep_alive:
        framing += b"connection: close\r\n"
    elif not request.modern:
        framing += b"connection: keep-alive\r\n"
    data = b"%b%b%b%b\r\n" % (status_line(head.status), fields(head.headers, own), framing, backend_field)
    return ToClient(data, chunked, keep_alive)
