"""How many connections a worker holds, in all and of one address, which of IPv6 is the first half of it.

Near the bound in all, those that have been idle for longest are closed to make room, as nginx does. A connection over a
bound is closed before anything of it is read, as Envoy and HAProxy do: an answer would need a request to be read and
held for, and that is what is scarce then.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import nlargest
from math import ceil
from typing import Final, Protocol, TypeVar

from proxy.data.requests.trust import network_of
from proxy.data.routing.patience import QUIET_S
from proxy.snapshot import Limits

SPARE: Final = 16
"""One of so many connections, and one at least, is kept free, as far as idle ones are there to be closed. It is looked
every tenth of a second, so that a worker with the default bound makes room for 10,000 new ones a second."""


class Holder(Protocol):
    """A connection that may be idle."""

    def idle_s(self, now_s: float) -> float:
        """How long nothing has been under way; 0 where something is."""


Held = TypeVar("Held", bound=Holder)


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

    def crowding(self, held: Iterable[Held], limits: Limits, now_s: float) -> list[Held]:
        """Those that have to go for others to come, the longest idle first; none where there is room."""
        surplus = self.total - (limits.max_connections - ceil(limits.max_connections / SPARE))
        if surplus <= 0:
            return []
        idle = [(idle_s, place, each) for place, each in enumerate(held) if (idle_s := each.idle_s(now_s)) >= QUIET_S]
        return [each for _, _, each in nlargest(surplus, idle)]

    def leave(self, address: str) -> None:
        """A connection that was let in is gone."""
        self.total -= 1
        network = network_of(address)
        held = self._by_address[network] - 1
        if held:
            self._by_address[network] = held
        else:
            del self._by_address[network]
