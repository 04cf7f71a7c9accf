"""Faults that are injected on purpose: which requests meet one, and which.

Each request is drawn by itself, and not by the hash of its user: a fault of ten percent meets every user now and then,
and not one user in ten always. A request that is drawn costs a timer, every other one costs a random number.
"""

from __future__ import annotations

from random import random
from typing import Final, NamedTuple

from proxy.data.requests.router import Head, any_of
from proxy.ledger.guards import ABORTED, DELAYED, RouteCounts
from proxy.snapshot import CIRCLE, Injection

DELAYED_LINE: Final = b"x-understudy-fault: injected-delay\r\n"
"""What a client is told whose request had to wait; one that was aborted is told the fault as any other."""


class Strike(NamedTuple):
    """What a request meets: a wait, then an answer with a status; 0 is none."""

    delay_s: float
    status: int


class Injector:
    """The faults of a route, or of a version in it."""

    __slots__ = ("_counts", "_injection", "_matches")

    def __init__(self, injection: Injection, counts: RouteCounts) -> None:
        self._injection = injection
        self._matches = any_of(injection.matches)
        self._counts = counts

    def draw(self, head: Head) -> Strike | None:
        """What a request meets, which is counted; None where it meets nothing."""
        injection = self._injection
        delayed = random() * CIRCLE < injection.delay_share  # noqa: S311 - a share of traffic, not a secret
        aborted = random() * CIRCLE < injection.abort_share  # noqa: S311
        if not (delayed or aborted) or (self._matches is not None and not self._matches(head)):
            return None
        if delayed:
            self._counts.add(DELAYED)
        if aborted:
            self._counts.add(ABORTED)
        return Strike(injection.delay_s if delayed else 0.0, injection.abort_status if aborted else 0)
