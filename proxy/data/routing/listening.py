"""How clients come in on one listening socket, as a worker needs it."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.data.requests.trust import Caller, Trust, TrustedCaller
from proxy.data.routing.serving import Serving
from proxy.snapshot import Listener


class ListenerPlan:
    """A listener, ready for connections. One connection is bound by the plan that it began with."""

    __slots__ = ("listener", "serving", "trust")

    def __init__(self, listener: Listener, before: ListenerPlan | None = None) -> None:
        self.listener = listener
        self.trust = Trust(listener.trusted)
        self.serving: Serving | None = None
        """TLS, if it is spoken."""
        if listener.tls is not None:
            was = None if before is None else before.serving
            self.serving = was if was is not None and was.tls == listener.tls else Serving(listener.tls, was)

    @property
    def direct(self) -> bool:
        """Whether a connection is a client from its first byte on."""
        return not self.listener.proxy_protocol and self.serving is None

    def stranger(self, address: str) -> Caller:
        """Somebody of whom nothing is believed, whoever it is."""
        return Caller(address, self.serving is not None)

    def caller(self, address: str) -> Caller:
        """Who is at the other end of a connection."""
        if self.trust.includes(address):
            return TrustedCaller(address, self.serving is not None, self.trust)
        return self.stranger(address)


CLOSED = ListenerPlan(Listener(closed=True))
"""What holds for a socket that the snapshot does not know."""


def listener_plans(listeners: Sequence[Listener], before: Sequence[ListenerPlan]) -> tuple[ListenerPlan, ...]:
    """The plans of a snapshot; `before` are those of the snapshot before it. What did not change is kept."""
    plans = []
    for index, listener in enumerate(listeners):
        was = before[index] if index < len(before) else None
        plans.append(was if was is not None and was.listener == listener else ListenerPlan(listener, was))
    return tuple(plans)
