"""Stable asked twice: the same request once more, so that a model's own noise is known beside what a candidate does.

    mirror ─▶ Shadow ─ outputs that differ from stable's first answer ─▶ Triple ─▶ ledger, when both are there
          └─▶ Second ─ outputs that differ from stable's first answer ─┘

The second request is the copy byte by byte, so that nothing but the version is another. It is no live traffic, no
failure of anybody, and has no place where live requests might need it; what is not asked, or not compared, is counted
by reason.
"""

from __future__ import annotations

from collections.abc import Sequence

from proxy.data.backends.pool import Pool
from proxy.data.backends.upstream import Upstream
from proxy.data.copies.copying import Copy
from proxy.data.routing.routing import Context, MirrorPlan, RoutePlan
from proxy.faults import Fault, Repeat, Skip
from proxy.ledger.reading import Reading
from proxy.ledger.repeats import Repeats
from proxy.ledger.row import Row

Compared = Sequence[tuple[int, bool, Sequence[tuple[int, int]]]]
"""What `PredictionReader.compare` found: (output, whether it differs, label pairs)."""


class Triple:
    """Three answers to one request: stable's first is there, its second and the shadow's are awaited, in any order."""

    __slots__ = ("_arrived_s", "_repeats", "_result", "_row", "_shadow", "_stable", "_waiting")

    def __init__(self, repeats: Repeats, row: Row) -> None:
        self._repeats = repeats
        self._row = row
        self._arrived_s = 0.0
        self._shadow: Compared = ()
        self._stable: Compared = ()
        self._result = Repeat.AGREED
        self._waiting = 2

    def begin(self, arrived_s: float) -> None:
        """Both are under way; `arrived_s` is the time of the copy's `arrive`."""
        self._arrived_s = arrived_s
        self._repeats.ask(self._row, arrived_s)

    @property
    def pointless(self) -> bool:
        """Whether the shadow has ended at once, with nothing to compare."""
        return self._waiting == 1 and not self._shadow

    def shadow(self, outputs: Compared, now_s: float) -> None:
        """The shadow's answer is compared; no outputs where it cannot be."""
        self._shadow = outputs
        self._one_more(now_s)

    def stable(self, result: Repeat, outputs: Compared, now_s: float) -> None:
        """Stable's second answer is compared, or there is a reason why not."""
        self._result, self._stable = result, outputs
        self._one_more(now_s)

    def _one_more(self, now_s: float) -> None:
        self._waiting -= 1
        if self._waiting:
            return
        result = self._result
        found: list[tuple[int, bool, bool]] = []
        if self._stable and not self._shadow:
            result = Repeat.UNPAIRED
        elif self._stable:
            for output, again, _ in self._stable:
                if again:
                    result = Repeat.DISAGREED
                for number, differs, _ in self._shadow:
                    if number == output:
                        found.append((output, differs, again))
        self._repeats.end(self._row, self._arrived_s, now_s, result, found)


class SecondRequest(Copy):
    """The second request to stable under way."""

    __slots__ = ("_readings", "_triple")

    def __init__(
        self,
        context: Context,
        plan: RoutePlan,
        upstream: Upstream,
        pool: Pool,
        readings: Sequence[Reading],
        triple: Triple,
    ) -> None:
        super().__init__(context, plan, upstream, pool)
        self._readings = readings
        self._triple = triple

    def _impatience(self) -> Fault:
        """A timeout of copies is no word on an endpoint that serves clients."""
        return Fault.CLIENT_GONE

    def _finish(self, fault: Fault, skip: Skip | None, now_s: float) -> None:
        reader = self._plan.reader
        result = Repeat.AGREED
        outputs: Compared = ()
        if skip is Skip.NO_CONNECTION:
            result = Repeat.NO_CONNECTION
        elif skip is not None:
            result = Repeat.TIMEOUT
        elif fault is not Fault.NONE or self._status != 200:
            result = Repeat.FAILED
        else:
            found = self._read()
            if reader is not None and found:
                outputs = reader.compare(self._readings, found)
            if not outputs:
                result = Repeat.UNREADABLE
        self._triple.stable(result, outputs, now_s)


def room(copy: MirrorPlan, upstream: Upstream) -> Pool | None:
    """A pool that a second request may go through: not in the way of live ones, and within the mirror's bound."""
    if upstream.copies >= copy.mirror.max_concurrency:
        return None
    pool = upstream.pool()
    return pool if pool.roomy else None
