"""What a request to switch protocols means (RFC 9110, section 7.8). Pure, but for the bytes that come too early.

Any protocol is tunnelled but those that lead back to HTTP (h2c, TLS): requests in them would be routed, judged and
counted by nobody. A server may ignore an Upgrade, so the proxy does where it does not tunnel: such a request, one with
a body, and one in HTTP/1.0 are ordinary requests. So there is one reading only of what follows a head.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import httptools

from proxy.data.requests.router import Head
from proxy.data.wire.http1 import Headers

WEBSOCKET: Final = b"websocket"
EARLY_BYTES: Final = 64 << 10
"""Above this much that was sent before the answer, the client is not read."""
_LEADS_BACK: Final = frozenset((b"h2c", b"h2", b"http", b"tls"))
_IGNORED: Final = frozenset((b"upgrade", b"http2-settings"))
_TOKEN: Final = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PROTOCOL: Final = re.compile(rb"%b(?:/%b)?" % (_TOKEN, _TOKEN))


def asked(head: Head) -> bytes:
    """The protocols of a request's Upgrade that are tunnelled, as one value; nothing where it is to be ignored."""
    if not head.modern or head.chunked or head.length:
        return b""
    return b", ".join(
        protocol
        for protocol in _protocols(head.headers)
        if _PROTOCOL.fullmatch(protocol) and protocol.partition(b"/")[0].lower() not in _LEADS_BACK
    )


def agreed(headers: Headers, wanted: bytes) -> bytes:
    """The protocols that the head of a 101 switches to; nothing unless there is one and all of them were wanted."""
    chosen = _protocols(headers)
    known = {protocol.strip() for protocol in wanted.lower().split(b",")}
    return b", ".join(chosen) if all(protocol.lower() in known for protocol in chosen) else b""


def without(head: Head, target: bytes, headers: Headers) -> bytes:
    """The head of a request as it would be if it asked for no other protocol."""
    return b"%b %b HTTP/1.%d\r\n%b\r\n" % (
        head.method,
        target,
        head.modern,
        b"".join([b"%b: %b\r\n" % field for field in headers if field[0] not in _IGNORED]),
    )


class Early:
    """In the place of a client's parser, from a head that asks for an upgrade until it is answered.

    A client must wait for the 101. What it sends before is kept for the tunnel. If there will be none, nobody can say
    what these bytes are, a request or the other protocol, so the connection is closed after the answer. `again` gives
    the parser of what comes after the answer, None while it is not out; `hold` stops the reading of the client.
    """

    __slots__ = ("_again", "_head", "_hold", "_kept")

    def __init__(
        self, head: Head, again: Callable[[], httptools.HttpRequestParser | None], hold: Callable[[bool], None]
    ) -> None:
        self._head = head
        self._again = again
        self._hold = hold
        self._kept = bytearray()

    def feed_data(self, data: bytes | memoryview) -> None:
        """Keep what came too early, or parse it if it did not."""
        if (parser := self._again()) is not None:
            parser.feed_data(data)
        elif data:
            self._head.keep_alive = False
            self._kept += data
            if len(self._kept) > EARLY_BYTES:
                self._hold(True)

    def take(self) -> bytes:
        """What came before the answer."""
        return bytes(self._kept)


def _protocols(headers: Headers) -> list[bytes]:
    """The members of all Upgrade fields."""
    values = b",".join([value for name, value in headers if name == b"upgrade"])
    return [protocol for member in values.split(b",") if (protocol := member.strip())]
