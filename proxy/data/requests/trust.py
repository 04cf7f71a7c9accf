"""Who a client is: what its connection shows, and whether what it says of others is believed.

Anybody can write `X-Forwarded-For: 10.0.0.1`. So what a client says of where a request came from is replaced by what
its connection shows, unless the other end of the connection is a proxy that the listener trusts. Of what such a proxy
says the address furthest to the right that is not trusted itself is the client: all that is left of it came from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from socket import AF_INET6, inet_pton
from typing import Final

from proxy.data.requests.router import Head
from proxy.data.wire.http1 import Headers

CLAIMS: Final = frozenset(
    (
        b"forwarded",
        b"x-forwarded-client-cert",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-forwarded-server",
        b"x-real-ip",
        b"x-understudy-shadow",
    )
)
"""Fields that tell of the way a request came (RFC 7239, and those that are older than it)."""
LOCAL: Final = "local"
"""The address of a client on a unix socket, which has none."""
SHADOW_LINE: Final = b"x-understudy-shadow: true\r\n"
"""What tells a copy from a live request. Another proxy of this kind in front may have made it, and is believed like any
other in front; a client that writes it would have a model take its request for a copy, and not bill or book it."""
_REWRITTEN: Final = (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host")
_MAX_HOP_BYTES: Final = 64
"""An address with brackets, zone and port is shorter; what is longer is none, and is not kept in the cache."""
_CACHED: Final = 4096
_MAX_HOPS: Final = 32
"""Proxies in a row that are believed. Behind one that passes on what clients write, a field of 64 KiB has seven
thousand addresses, which take 70 ms to look at; a way through so many trusted proxies does not exist."""


class Trust:
    """The proxies that a listener believes. `unix` among them means all who come in on a unix socket."""

    __slots__ = ("_local", "_networks", "judge")

    def __init__(self, trusted: Sequence[str]) -> None:
        self._local = "unix" in trusted
        self._networks = tuple(ip_network(cidr) for cidr in trusted if cidr != "unix")
        self.judge = lru_cache(_CACHED)(self._judge)
        """The address that a hop names, and whether it is trusted; None where it names none."""

    def __bool__(self) -> bool:
        return self._local or bool(self._networks)

    def includes(self, address: str) -> bool:
        """Whether the other end of a connection is trusted."""
        if not self:
            return False
        if address == LOCAL:
            return self._local
        judged = self.judge(address.encode("latin-1"))
        return judged is not None and judged[1]

    def client(self, peer: str, hops: bytes) -> str:
        """The client's address: of the hops of X-Forwarded-For from the right the first that is not trusted.

        What is no address ends the search: whoever wrote it knew no better, and the last one that was believed counts.
        """
        client = peer
        for hop in reversed(hops.rsplit(b",", _MAX_HOPS)[-_MAX_HOPS:]):
            judged = self.judge(hop.strip()) if len(hop) <= _MAX_HOP_BYTES else None
            if judged is None:
                break
            client = judged[0]
            if not judged[1]:
                break
        return client

    def _judge(self, hop: bytes) -> tuple[str, bool] | None:
        address = parse_hop(hop)
        return None if address is None else (str(address), any(address in network for network in self._networks))


def parse_hop(hop: bytes) -> IPv4Address | IPv6Address | None:
    """The address of one hop, which may have a port, brackets, quotes or a zone; None if it is no address.

    >>> parse_hop(b'"[2001:db8::1]:4711"'), parse_hop(b"192.0.2.1:80"), parse_hop(b"::ffff:192.0.2.1")
    (IPv6Address('2001:db8::1'), IPv4Address('192.0.2.1'), IPv4Address('192.0.2.1'))
    """
    text = hop.decode("latin-1").strip('"')
    if text.startswith("["):
        text, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        text, _, port = text.partition(":")
    else:
        port = ""
    if port and not (port.isascii() and port.isdigit()):
        return None
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address


def plain(address: str) -> str:
    """The address of a peer as clients would write it: without a zone, and IPv4 as such on a socket for both."""
    address = address.partition("%")[0]
    return address.removeprefix("::ffff:") if "." in address else address


def peer_address(peername: object) -> str:
    """The address of the other end of a connection, of what the socket tells; a unix socket has none."""
    return plain(peername[0]) if isinstance(peername, tuple) else LOCAL


def network_of(address: str) -> bytes:
    """What stands for all addresses that one client has: of IPv6 the first half, with which it has all others."""
    if ":" not in address:
        return address.encode("latin-1")
    try:
        return inet_pton(AF_INET6, address)[:8]
    except OSError:  # with a zone, such as fe80::1%eth0
        return address.encode("latin-1")


def own_host(sockname: object) -> bytes:
    """What HTTP/1.0 leaves unsaid: the address that the client connected to; a unix socket has no other name."""
    if not isinstance(sockname, tuple):
        return b"localhost"
    host, port = sockname[:2]
    return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode("latin-1")


class Caller:
    """Who is at the other end of a connection: a client, and what it says of others is not believed."""

    __slots__ = ("_lines", "_told", "address", "host", "secure", "target")

    trusted = False

    def __init__(self, address: str, secure: bool) -> None:
        self.address = address
        self.secure = secure
        known = b"" if address == LOCAL else b"x-forwarded-for: %b\r\n" % address.encode("latin-1")
        self._lines = b"%bx-forwarded-proto: %b\r\nx-forwarded-host: %%b\r\n" % (known, self._proto)
        self.host = self._told = b""
        """The host that it named last, and what backends are told then: most clients name one and the same."""
        self.target = b""
        """The last target of which it is known that it can be read in one way only."""

    @property
    def _proto(self) -> bytes:
        return b"https" if self.secure else b"http"

    def introduce(self, head: Head, host: bytes, claims: bool) -> None:
        """Note in a head who it comes from. `claims` says that it has some of the fields `CLAIMS`."""
        if claims:
            head.headers = without_claims(head.headers)
        if host != self.host or not self._told:
            self.host, self._told = host, self._lines % host
        head.forwarded = self._told


NOBODY: Final = Caller(LOCAL, secure=False)
"""Whoever is not known yet."""


class TrustedCaller(Caller):
    """A proxy that is trusted: what it says of the client is kept, and it is added to the way the request came."""

    __slots__ = ("_trust",)

    trusted = True

    def __init__(self, address: str, secure: bool, trust: Trust) -> None:
        super().__init__(address, secure)
        self._trust = trust

    def introduce(self, head: Head, host: bytes, claims: bool) -> None:
        """Note in a head who it comes from, by what the proxy says."""
        if not claims:
            super().introduce(head, host, claims)
            return
        said = {wanted: b", ".join([value for name, value in head.headers if name == wanted]) for wanted in _REWRITTEN}
        way, proto, asked = (said[name].strip() for name in _REWRITTEN)
        if way:
            head.peer = self._trust.client(self.address, way)
        here = b"" if self.address == LOCAL else self.address.encode("latin-1")
        way = b", ".join([hop for hop in (way, here) if hop])
        head.forwarded = b"%bx-forwarded-proto: %b\r\nx-forwarded-host: %b\r\n%b" % (
            b"x-forwarded-for: %b\r\n" % way if way else b"",
            proto or self._proto,
            asked or host,
            SHADOW_LINE if head.header(b"x-understudy-shadow") == b"true" else b"",
        )


def without_claims(headers: Headers) -> Headers:
    """The fields without those that tell of the way a request came."""
    return [field for field in headers if field[0] not in CLAIMS]
