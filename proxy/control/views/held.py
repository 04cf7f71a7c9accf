"""Requests that wait while their route is held: how many there are, and what became of the others."""

from __future__ import annotations

from typing import Any, Final

from config import schema
from proxy.ledger.reader import Reader

_MEMBERS: Final = {
    "waiting": "waiting", "total": "held", "released": "released", "expired": "expired", "displaced": "displaced",
    "left": "left", "refused": "hold_refused",
}  # fmt: skip
"""What the admin API calls what the ledger counts."""


def view(route: schema.Route, reader: Reader) -> dict[str, Any] | None:
    """The counts of a route in all workers, since the ledger was made; None where nothing holds it, or ever has."""
    counted = [reader.guards(worker, route.name) for worker in reader.workers()]
    found = {name: sum(getattr(each, member) for each in counted) for name, member in _MEMBERS.items()}
    holds = route.strategy is not None and route.strategy.recreate is not None
    return found if holds or any(found.values()) else None
