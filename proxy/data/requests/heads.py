"""The heads that the proxy writes: of a request to a backend, of a copy to a shadow, of an answer to a client.

Each is written from parsed values, with framing of our own (RFC 9112, section 6).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from proxy.data.requests.router import Head
from proxy.data.requests.trailers import announced, welcome
from proxy.data.requests.trust import SHADOW_LINE
from proxy.data.wire.http1 import (
    REQUEST_OWN,
    RESPONSE_OWN,
    Headers,
    ResponseHead,
    connection_fields,
    fields,
    length_field,
    status_line,
    switch_fields,
)

MAX_ID_BYTES: Final = 128
"""A request id is written to logs everywhere: a longer one is replaced, and one with other than visible characters."""
_VISIBLE: Final = bytes(range(0x21, 0x7F))
NOTED: Final = frozenset((b"x-request-id", b"connection", b"traceparent", b"tracestate", b"te", b"trailer"))
"""Fields that are looked at before they are passed on."""
_ANSWER_NOTED: Final = frozenset((b"connection", b"trailer"))
_PLAIN_CONNECTION: Final = frozenset((b"keep-alive", b"close"))
_ADDED: Final = frozenset((b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-request-id"))
_TRACE: Final = frozenset((b"traceparent", b"tracestate"))
_HEX: Final = b"0123456789abcdef"


def to_backend(head: Head, new_id: Callable[[], bytes]) -> bytes:
    """The head of a request on its way to a backend; `new_id` names a request without a name."""
    if head.own is None:
        _settle(head, new_id)
    return b"%b %b HTTP/1.1\r\n%b%b%b%b\r\n" % (
        head.method,
        head.sent or head.target,
        fields(head.headers, head.own or REQUEST_OWN),
        length_field(head.length, head.chunked),
        head.hop,
        head.forwarded,
    )


def to_shadow(
    head: Head, body_bytes: int, changed: frozenset[bytes], lines: bytes, new_id: Callable[[], bytes]
) -> bytes:
    """The head of a copy, whose body is known whole. It tells of the client what the request told; fields named in
    `changed` are left out, and `lines` are added."""
    if head.own is None:
        _settle(head, new_id)
    own, forwarded = head.own or REQUEST_OWN, head.forwarded
    if changed:
        own = own | changed
        if not _ADDED.isdisjoint(changed):
            told = [line for line in forwarded.splitlines(keepends=True) if line.partition(b":")[0] not in changed]
            forwarded = b"".join(told)
    has_body = head.chunked or head.length is not None
    return b"%b %b HTTP/1.1\r\n%b%b%b%b%b\r\n" % (
        head.method,
        head.sent or head.target,
        fields(head.headers, own),
        length_field(body_bytes if has_body else None, chunked=False),
        forwarded,
        b"" if SHADOW_LINE in forwarded else SHADOW_LINE,
        lines,
    )


def _settle(head: Head, new_id: Callable[[], bytes]) -> None:
    """Find out what is not passed on, once for all attempts and copies, and name the request."""
    if not head.noted:
        head.own = REQUEST_OWN
        head.forwarded += b"x-request-id: %b\r\n" % new_id()
        return
    own = REQUEST_OWN
    ids = traced = 0
    sound = trace = announces = welcomes = False
    for name, value in head.headers:
        if name not in NOTED:
            continue
        if name == b"x-request-id":
            ids += 1
            sound = 0 < len(value) <= MAX_ID_BYTES and not value.translate(None, _VISIBLE)
        elif name == b"connection":
            if value.lower() not in _PLAIN_CONNECTION:
                own = own | connection_fields(head.headers) - {b"x-request-id"}
        elif name == b"te":
            welcomes = head.modern
        elif name == b"trailer":
            announces = head.chunked
        elif name == b"traceparent":
            traced += 1
            trace = is_traceparent(value)
        else:
            traced = traced or -1
    if ids != 1 or not sound:
        own = own | {b"x-request-id"} if ids else own
        head.forwarded += b"x-request-id: %b\r\n" % new_id()
    if announces:
        head.hop += announced(head.headers)
    if welcomes:
        head.hop += welcome(head.headers)
    if head.upgrade:
        head.hop += switch_fields(head.upgrade)
    if traced and not (trace and traced == 1):
        own = own | _TRACE
    head.own = own


def is_traceparent(value: bytes) -> bool:
    """Whether the value is one of W3C Trace Context, section 3.2; a later version may have more after its flags."""
    if len(value) < 55 or not value[2] == value[35] == value[52] == 0x2D:
        return False
    version, trace, parent, flags = value[:2], value[3:35], value[36:52], value[53:55]
    if (version + trace + parent + flags).translate(None, _HEX) or version == b"ff":
        return False
    if len(value) > 55 and (version == b"00" or value[55] != 0x2D):
        return False
    return bool(trace.strip(b"0")) and bool(parent.strip(b"0"))


class ToClient:
    """The head of an answer, how its body is framed, and whether the connection may be used again."""

    __slots__ = ("chunked", "data", "keep_alive")

    def __init__(self, data: bytes, chunked: bool, keep_alive: bool) -> None:
        self.data = data
        self.chunked = chunked
        self.keep_alive = keep_alive


class AnswerHeads:
    """The heads of a version's answers on their way to clients. Most begin as the one before them, but for what follows
    from the request: what was written of that one is kept, at a third of what it costs to write it anew."""

    __slots__ = ("_fields", "_length", "_start", "_status")

    def __init__(self) -> None:
        self._fields: Headers = []
        self._length = self._status = -1
        self._start = b""

    def write(self, head: ResponseHead, request: Head, own_fields: bytes, last: bool) -> ToClient:
        """The head of an answer, with fields of our own behind those of the version. `last` says that the connection
        takes no other request."""
        length = head.length
        if length is None or head.bodyless or last or not (request.keep_alive and request.modern):
            return to_client(head, request, own_fields, last)
        if length != self._length or head.status != self._status or head.headers != self._fields:
            self._start = to_client(head, request, b"", last).data[:-2]
            self._fields, self._length, self._status = head.headers, length, head.status
        return ToClient(b"%b%b\r\n" % (self._start, own_fields), False, True)


def to_client(head: ResponseHead, request: Head, own_fields: bytes, last: bool) -> ToClient:
    """The head of an answer, written whole. Bodies without a length are chunked, or end with it."""
    own = RESPONSE_OWN
    announces = False
    for name, _ in head.headers:
        if name not in _ANSWER_NOTED:
            continue
        if name == b"connection":
            own = own | connection_fields(head.headers)
        else:
            announces = head.chunked
    framing = b""
    chunked = False
    keep_alive = request.keep_alive and not last
    if head.bodyless or head.length is not None:
        framing = length_field(None if head.status == 204 else head.length, chunked=False)
    elif request.modern:
        chunked = True
        framing = length_field(None, chunked=True) + (announced(head.headers) if announces else b"")
    else:
        keep_alive = False
    if not keep_alive:
        framing += b"connection: close\r\n"
    elif not request.modern:
        framing += b"connection: keep-alive\r\n"
    data = b"%b%b%b%b\r\n" % (status_line(head.status), fields(head.headers, own), framing, own_fields)
    return ToClient(data, chunked, keep_alive)


def timing(arrived_s: float, sent_s: float, answered_s: float) -> bytes:
    """The line that tells a client how long its answer took, and where (W3C Server Timing), in milliseconds.

    >>> timing(1.0, 1.0004, 1.0123)
    b'server-timing: understudy;dur=0.400, backend;dur=11.900\\r\\n'
    """
    spans = (1000 * (sent_s - arrived_s), 1000 * (answered_s - sent_s))
    return b"server-timing: understudy;dur=%.3f, backend;dur=%.3f\r\n" % spans


def to_switched(headers: Headers, protocol: bytes, backend_field: bytes) -> bytes:
    """The head of a 101. It has no body (RFC 9112, section 6.3)."""
    own = RESPONSE_OWN | connection_fields(headers)
    return b"%b%b%b%b\r\n" % (status_line(101), fields(headers, own), switch_fields(protocol), backend_field)
