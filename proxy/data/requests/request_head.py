"""The head of a request, if it can be read in one way only: what llhttp takes is held to the rest of RFC 9112."""

from __future__ import annotations

import asyncio
from typing import Final

from proxy.data.requests.heads import NOTED
from proxy.data.requests.router import Head
from proxy.data.requests.trust import CLAIMS, Caller, own_host
from proxy.data.wire.http1 import Headers, number
from proxy.data.wire.paths import canonical, peculiar
from proxy.faults import Fault
from proxy.snapshot import Limits

NO_CONNECT: Final = "CONNECT is not supported"
_FRAGMENT: Final = ord("#")
_HOST: Final = b"-._~%!$&'()*+,;=:[]0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""What a host and its port are written with (RFC 3986, section 3.2)."""
_NOTED: Final = CLAIMS | NOTED | {b"content-length", b"transfer-encoding", b"host", b"expect"}


class Refused(Exception):  # noqa: N818 - it is an answer, not an error of ours
    """A request that is refused before it becomes an exchange."""

    def __init__(self, fault: Fault, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail


def read_trailer(head: Head, name: bytes, value: bytes, limits: Limits) -> None:
    """Keep a field that came after a chunked body. All of them together are held to the limits of a head.

    Raises:
        Refused: they are too large.
    """
    trailers = head.trailers = head.trailers or []
    trailers.append((name, value))
    size = sum(len(name) + len(value) for name, value in trailers)
    if size > limits.max_head_bytes or len(trailers) > limits.max_headers:
        raise too_large(limits)


def too_large(limits: Limits) -> Refused:
    """Fields over a limit."""
    detail = f"the head is over {limits.max_head_bytes} bytes or {limits.max_headers} fields"
    return Refused(Fault.HEAD_TOO_LARGE, detail)


def read_head(
    method: bytes,
    target: bytes,
    fields: Headers,
    modern: bool,
    keep_alive: bool,
    caller: Caller,
    transport: asyncio.BaseTransport,
) -> Head:
    """The head that was parsed. `modern` says that it is of HTTP/1.1, `keep_alive` that the client may send another
    one; `transport` is what it came over.

    Raises:
        Refused: it can be read in two ways, or asks for what the proxy does not do.
    """
    head = Head(method, target, fields, caller.address, None, False, modern, keep_alive)
    head.noted = False
    hosts = 0
    host = b""
    claims = False
    for name, value in fields:
        if name not in _NOTED:
            continue
        if name == b"host":
            hosts += 1
            host = value
        elif name == b"content-length":
            length = number(value)
            if head.length is not None or (length < 0 and (length := number(value.strip())) < 0):
                raise Refused(Fault.BAD_REQUEST, "content-length must be one number")
            head.length = length
        elif name == b"transfer-encoding":
            if head.chunked or value.strip().lower() != b"chunked" or not modern:
                raise Refused(Fault.BAD_REQUEST, "transfer-encoding must be chunked, once, in HTTP/1.1")
            head.chunked = True
        elif name == b"expect":
            head.expects = modern and value.strip().lower() == b"100-continue"
        elif name in CLAIMS:
            claims = True
        else:
            head.noted = True
    if head.chunked and head.length is not None:
        raise Refused(Fault.BAD_REQUEST, "content-length and transfer-encoding exclude each other")
    if hosts > 1 or (modern and hosts == 0):
        raise Refused(Fault.BAD_REQUEST, "a request has exactly one host field")
    if host != caller.host and host.translate(None, _HOST) and host.strip(b" \t").translate(None, _HOST):
        raise Refused(Fault.BAD_REQUEST, "the host field names no host")
    if hosts == 0:
        host = own_host(transport.get_extra_info("sockname"))
        fields.append((b"host", host))
    if _FRAGMENT in target:
        raise Refused(Fault.BAD_REQUEST, "the target must not have a fragment")
    if not target.startswith(b"/"):
        head.target = _origin_form(head)
        host = head.header(b"host") or host
    if head.target != caller.target:
        _settle_path(head, caller)
    caller.introduce(head, host, claims)
    return head


def _settle_path(head: Head, caller: Caller) -> None:
    """Match what is meant, and send on what was said."""
    if not peculiar(head.target):
        caller.target = head.target
        return
    try:
        matched = canonical(head.target)
    except ValueError as error:
        raise Refused(Fault.BAD_REQUEST, str(error)) from error
    if matched != head.target:
        head.sent, head.target = head.target, matched


def _origin_form(head: Head) -> bytes:
    """The target as path and query (RFC 9112, section 3.2); one with a scheme and a host loses them."""
    target = head.target
    if target == b"*" and head.method == b"OPTIONS":
        return target
    if head.method == b"CONNECT":
        raise Refused(Fault.UNSUPPORTED, NO_CONNECT)
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise Refused(Fault.BAD_REQUEST, "the target must be a path, or a URL with http or https")
    authority = rest.partition(b"?")[0].partition(b"/")[0]
    if not authority or b"@" in authority or authority.translate(None, _HOST):
        raise Refused(Fault.BAD_REQUEST, "a URL as the target must name a host, and no user")
    head.headers = [field for field in head.headers if field[0] != b"host"] + [(b"host", authority)]
    path = rest[len(authority) :]
    return path if path.startswith(b"/") else b"/" + path
