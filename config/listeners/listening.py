"""Where clients come in, and how what they say of themselves is taken."""

from __future__ import annotations

import re
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from config.listeners.serving import ListenerTls
from config.values.addresses import ListenAt, SocketPath
from config.values.networks import TrustedAt
from config.values.problems import Finding, shown
from config.values.section import Parsed, Section, refusal, refusals

DEFAULT_MODE: Final = 0o660


def _mode(value: object) -> int:
    if isinstance(value, str) and re.fullmatch("0?[0-7]{3}", value) and int(value, 8):
        return int(value, 8)
    example = f'"{value:04}"' if isinstance(value, int) and re.fullmatch("[0-7]{3}", str(value)) else '"0660"'
    raise refusal(f"{shown(value)} is not a mode", f"write three octal digits as text, such as {example}")


Mode = Annotated[
    int, Parsed(_mode, "{:04o}".format, {"type": "string", "title": 'mode, "0660"', "pattern": "^0?[0-7]{3}$"})
]


class Listen(Section):
    """Where clients come in."""

    address: ListenAt = Field(examples=["0.0.0.0:8080"])
    """Host and port, where port 0 takes any free one, or `unix:/PATH` of a Unix-domain socket. A change needs a
    restart."""

    mode: Mode | None = None
    """Who may connect to a Unix-domain socket, as `chmod` writes it. By default 0660: the user and the group that
    Understudy runs as. A change needs a restart."""

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

    @model_validator(mode="after")
    def _mode_of_a_path(self) -> Self:
        if self.mode is not None and not isinstance(self.address, SocketPath):
            remedy = "take it away, or listen at unix:/PATH"
            raise refusals(Finding(("mode",), "is for Unix-domain sockets, and this is a host and a port", remedy))
        return self

    @property
    def opened_by(self) -> tuple[str, int]:
        """What a socket is opened by: host and port, or `unix:/PATH` and mode."""
        if isinstance(self.address, SocketPath):
            return str(self.address), DEFAULT_MODE if self.mode is None else self.mode
        return self.address.host, self.address.port

    @property
    def place(self) -> str:
        """The address as the file writes it, by which sockets are told apart."""
        return str(self.address)
