"""How one endpoint stands in one worker: what its checks say, what became of its requests, since when it is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from proxy.faults import FACTS, Fault, Side
from proxy.snapshot import Outliers

_OURS: Final = frozenset({Fault.OVERFLOW, Fault.NO_ENDPOINT})
"""Faults that count against the version and say nothing of an endpoint: the bound was ours."""
ENDPOINT_FAULTS: Final = frozenset(fault for fault in Fault if FACTS[fault].side is Side.UPSTREAM) - _OURS
_GATEWAY_STATUSES: Final = frozenset({502, 503, 504})


@dataclass(slots=True, eq=False)
class Standing:
    """How an endpoint stands. It lives with its pool, and is handed on to the pool that follows after a reload.

    `healthy` is the word of the controller's checks, and `out` its word that no request goes here, whatever they say.
    Times are of the monotonic clock, and 0 is never: an endpoint is
    ejected until `ejected_until_s`, and came (back) at `since_s`. `ejections` is how often it was ejected of late,
    `ejected` how often ever. `share` is its part of what it would get if it were there for long.
    """

    healthy: bool = True
    out: bool = False
    ejected_until_s: float = 0.0
    ejections: int = 0
    ejected: int = 0
    server_errors: int = 0
    gateway_errors: int = 0
    since_s: float = 0.0
    share: float = 1.0
    fit: bool = True
    """`healthy` and neither out nor ejected, when it was last assessed."""

    def forgive(self) -> None:
        """No failures in a row any more."""
        self.server_errors = self.gateway_errors = 0


class Watch:
    """Counts the failures in a row of one endpoint, and has it ejected. Only there where it is asked for."""

    __slots__ = ("_eject", "_gateway_errors", "_server_errors", "standing")

    def __init__(self, standing: Standing, settings: Outliers, eject: Callable[[Standing], None]) -> None:
        self.standing = standing
        self._server_errors, self._gateway_errors = settings.server_errors, settings.gateway_errors
        self._eject = eject

    def answered(self, status: int) -> None:
        """An answer is complete."""
        standing = self.standing
        if status < 500:
            if standing.server_errors:
                standing.forgive()
            return
        self._failed(status in _GATEWAY_STATUSES)

    def failed(self, fault: Fault) -> None:
        """A connection could not be made or was lost, or nothing came in time."""
        if fault in ENDPOINT_FAULTS:
            self._failed(True)

    def _failed(self, gateway: bool) -> None:
        standing = self.standing
        if standing.ejected_until_s:
            return  # what was under way, or used in a panic: it is judged anew when it is back
        standing.server_errors += 1
        standing.gateway_errors = standing.gateway_errors + 1 if gateway else 0
        if (0 < self._server_errors <= standing.server_errors) or (0 < self._gateway_errors <= standing.gateway_errors):
            self._eject(standing)
