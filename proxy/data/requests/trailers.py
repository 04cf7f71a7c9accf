"""Fields that follow a chunked body: which of them are passed on, and how (RFC 9110, section 6.5).

They go on where the next message is chunked as well, whether or not the receiver said `TE: trailers`: every HTTP/1.1
receiver can read over them. Where it is not (an HTTP/1.0 client, a copy for a shadow) they are dropped. What a sender
must not put there is dropped too: whoever reads a message for its framing, its way, its rights or its meaning has read
the head, and may take a trailer for a part of it.
"""

from __future__ import annotations

from typing import Final

from proxy.data.requests.trust import CLAIMS
from proxy.data.wire.http1 import HOP_BY_HOP, LAST_CHUNK, Headers, connection_fields, fields

FORBIDDEN: Final = (
    HOP_BY_HOP
    | CLAIMS
    | frozenset(
        b"content-length host expect max-forwards range cache-control pragma authorization www-authenticate "
        b"authentication-info cookie set-cookie content-encoding content-type content-range content-location age date "
        b"expires location retry-after vary warning if-match if-none-match if-modified-since if-unmodified-since "
        b"if-range traceparent tracestate x-request-id x-user-id x-understudy-backend x-understudy-id "
        b"x-understudy-shadow x-understudy-fault inference-header-content-length".split()
    )
)
"""Fields that are no trailers: framing, routing, authentication, conditions, what the content is, and what we add."""
_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"


def last_chunk(trailers: Headers | None, headers: Headers) -> bytes:
    """The end of a chunked body, with the trailers that are passed on. `headers` are those of the head."""
    if not trailers:
        return LAST_CHUNK
    return b"0\r\n%b\r\n" % fields(trailers, FORBIDDEN | connection_fields(headers))


def announced(headers: Headers) -> bytes:
    """The line that announces trailers, of names that are passed on; nothing where there is none."""
    named = b",".join([value for name, value in headers if name == b"trailer"])
    own = FORBIDDEN | connection_fields(headers)
    names = [name for part in named.split(b",") if (name := part.strip().lower()) and not name.translate(None, _TOKEN)]
    passed = [name for name in names if name not in own]
    return b"trailer: %b\r\n" % b", ".join(passed) if passed else b""


def welcome(headers: Headers) -> bytes:
    """The lines that pass on a client's word that it reads trailers (RFC 9110, section 10.1.4), which binds us too.

    Other codings that `TE` may name are not passed on, for we do not know them; nor is one that `Connection` does not
    name, for it may come from an old proxy that let it through.
    """
    if b"te" not in connection_fields(headers):
        return b""
    named = b",".join([value for name, value in headers if name == b"te"])
    known = b"trailers" in [part.strip().lower() for part in named.split(b",")]
    return b"te: trailers\r\nconnection: te\r\n" if known else b""
