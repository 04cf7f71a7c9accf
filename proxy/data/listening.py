"""How clients come in on one listening socket, as a worker needs it."""

from __future__ import annotations

from proxy.data.trust import Caller, Trust, TrustedCaller
from proxy.snapshot import Listener


class ListenerPlan:
    """A listener, ready for connections. One connection is bound by the plan that it began with."""

    __slots__ = ("listener", "trust")

    def __init__(self, listener: Listener) -> None:
        self.listener = listener
        self.trust = Trust(listener.trusted)

    @property
    def direct(self) -> bool:
        """Whether a connection is a client from its first byte on."""
        return not self.listener.proxy_protocol

    def stranger(self, address: str, secure: bool) -> Caller:
        """Somebody of whom nothing is believed, whoever it is."""
        return Caller(address, secure)

    def caller(self, address: str, secure: bool) -> Caller:
        """Who is at the other end of a connection."""
        if self.trust.includes(address):
            return TrustedCaller(address, secure, self.trust)
        return Caller(address, secure)


CLOSED = ListenerPlan(Listener(closed=True))
"""What holds for a socket that the snapshot does not know."""
