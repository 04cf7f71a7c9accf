"""How many connections a worker holds, in all and of one address, which of IPv6 is the first half of it.

A connection over a bound is closed before anything of it is read, as Envoy and HAProxy do: an answer would need a
request to be read and held for, and that is what is scarce then.
"""

from __future__ import annotations

from proxy.data.trust import network_of
from proxy.snapshot import Limits


class Admission:
    """The connections of one worker, counted by address. An address without connections takes no memory."""

    __slots__ = ("_by_address", "total")

    def __init__(self) -> None:
        self._by_address: dict[bytes, int] = {}
        self.total = 0

    def enter(self, address: str, limits: Limits, bounded: bool = True) -> bool:
        """Whether one more connection of this address is let in; if it is, `leave` must follow.

        The bound of an address is not for those that speak for many clients: `bounded` says if it holds for this one.
        """
        network = network_of(address)
        held = self._by_address.get(network, 0)
        if self.total >= limits.max_connections:
            return False
        if bounded and limits.max_connections_per_address and held >= limits.max_connections_per_address:
            return False
        self._by_address[network] = held + 1
        self.total += 1
        return True

    def leave(self, address: str) -> None:
        """A connection that was let in is gone."""
        self.total -= 1
        network = network_of(address)
        held = self._by_address[network] - 1
        if held:
            self._by_address[network] = held
        else:
            del self._by_address[network]
