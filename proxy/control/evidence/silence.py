"""How long a route, or its candidate alone, has had nothing to do: silence that nobody may take for good news.

It is counted in slices, from the last start of the controller on: what was before is not held against anybody.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from analysis.summaries import Slice

EXPECTED: Final = 10.0
"""Requests that the candidate should have met by its share before it counts as unreachable. With none of so many the
reason is chance once in 22,000 times."""


@dataclass(slots=True)
class Silences:
    """That of a rollout with one candidate or with several: by candidate, as slices tell of them."""

    _by_rival: dict[str, Silence] = field(default_factory=dict)

    @property
    def idle_s(self) -> float:
        """Since the route's last request."""
        return min((each.idle_s for each in self._by_rival.values()), default=0.0)

    @property
    def unseen(self) -> tuple[float, str]:
        """Since when the candidate that waits the longest has met nobody, and which of several it is."""
        found = ((each.unseen_s, rival) for rival, each in self._by_rival.items())
        return max(found, key=lambda one: one[0], default=(0.0, ""))

    def observe(self, slice_: Slice, mirrored: float) -> None:
        """Add one slice; `mirrored` is the share of stable's requests that the candidate gets copies of."""
        self._by_rival.setdefault(slice_.rival, Silence()).observe(slice_, mirrored)

    def keep(self, rivals: Collection[str]) -> None:
        """Wait for nobody else any more."""
        self._by_rival = {rival: each for rival, each in self._by_rival.items() if not rival or rival in rivals}

    def end(self) -> None:
        """The route has requests, though none of those that are compared may be among them."""
        for each in self._by_rival.values():
            each.idle_s = 0.0


@dataclass(slots=True)
class Silence:
    """`idle_s` is since the route's last request, `unseen_s` since the candidate's."""

    idle_s: float = 0.0
    _missed_s: float = 0.0
    _expected: float = 0.0

    @property
    def unseen_s(self) -> float:
        """0 until EXPECTED requests have passed it by: before that it may be chance."""
        return self._missed_s if self._expected >= EXPECTED else 0.0

    def observe(self, slice_: Slice, mirrored: float) -> None:
        """Add one slice; `mirrored` is the share of stable's requests that the candidate gets copies of."""
        stable, candidate = slice_.stable.assigned, slice_.candidate.assigned
        self.idle_s = 0.0 if stable + candidate > 0 else self.idle_s + slice_.duration_s
        if candidate > 0:
            self._missed_s = self._expected = 0.0
            return
        self._missed_s += slice_.duration_s
        live = slice_.share / (1 - slice_.share) if slice_.share < 1 else 0.0
        self._expected += stable * max(live, mirrored)
