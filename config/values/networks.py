"""Networks of addresses, as the file names those that are trusted."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_interface
from typing import Annotated, Final

from config.values.problems import shown
from config.values.section import Parsed, refusal

UNIX: Final = "unix"
"""All who come in on a unix socket, who have no address."""

Trusted = IPv4Network | IPv6Network | str
"""A network, or the word `unix`."""


def _trusted(value: object) -> Trusted:
    if value == UNIX:
        return UNIX
    wanted = "write a network such as 10.0.0.0/8 or 2001:db8::/32, an address, or unix"
    if not isinstance(value, str):
        raise refusal(f"{shown(value)} is not a network", wanted)
    try:
        given = ip_interface(value)
    except ValueError:
        raise refusal(f"{shown(value)} is not a network", wanted) from None
    if given.ip != given.network.network_address:
        raise refusal(
            f"{shown(value)} is an address inside of a network", f"write {given.network}, or {given.ip} for it alone"
        )
    return given.network


TrustedAt = Annotated[
    Trusted, Parsed(_trusted, str, {"type": "string", "title": "network, address/bits, or unix", "minLength": 2})
]
