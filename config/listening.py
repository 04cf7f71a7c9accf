"""Where clients come in, and how what they say of themselves is taken."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from config.addresses import AddressAt
from config.networks import TrustedAt
from config.section import Section
from config.serving import ListenerTls


class Listen(Section):
    """Where clients come in."""

    address: AddressAt = Field(examples=["0.0.0.0:8080"])
    """Host and port; port 0 takes any free one. A change needs a restart."""

    trusted_proxies: Annotated[tuple[TrustedAt, ...], Field(max_length=256)] = ()
    """Proxies in front whose word about a client is taken: networks such as 10.0.0.0/8, single addresses, or `unix` for
    all who come in on a unix socket. What anybody else says of where a request came from (X-Forwarded-*, Forwarded,
    X-Real-IP) is replaced by what its connection shows. The client's address, for `sourceIp` and in logs, is the last
    one in X-Forwarded-For that is not in this list. See docs/listeners.md."""

    proxy_protocol: bool = False
    """Each connection begins with a header of the PROXY protocol, version 1 or 2, which says who the client is: for
    load balancers that pass on bytes. One without it is closed; with `trustedProxies` so is one from anybody else."""

    tls: ListenerTls | None = None
    """Clients speak TLS. With `proxyProtocol` the header comes before the handshake."""

    @property
    def place(self) -> str:
        """What a socket is opened by: it cannot change while it is open."""
        return str(self.address)
