"""How clients come in on one listening socket, as a worker needs it."""

from __future__ import annotations

from dataclasses import dataclass

from proxy.snapshot import Listener


@dataclass(frozen=True, slots=True)
class ListenerPlan:
    """A listener, ready for connections. One connection is bound by the plan that it began with."""

    listener: Listener


CLOSED: ListenerPlan = ListenerPlan(Listener(closed=True))
"""What holds for a socket that the snapshot does not know."""
