"""When the breaker is to glance at a second that goes on, and at which of its records.

A live controller glances GLANCES times a second. Here that is done only where a glance could find something, since to
count a second in parts takes several times as long as to count it at once. Where in no part of it more of a candidate's
requests fail than the breaker allows above stable, what a glance could see is inside the margin as well, and that is
never evidence of an outage (a bet has a mean of at most 1 there, so its logarithm is at most 0). What fails may end
later than its second: glances go on until it has, and what fails after the grace is glanced at in that second.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from math import ceil, inf
from operator import attrgetter
from typing import Any, Final

from proxy.control.evidence.glance import GLANCES
from proxy.control.evidence.tracks import TICK_AFTER_S
from proxy.ledger.layout import GRACE_S
from proxy.simulation.order import Second
from proxy.simulation.records import Record

MOMENTS_S: Final = tuple(TICK_AFTER_S + number / GLANCES for number in range(1, GLANCES))
"""When in a second there is a glance. What comes after the last one, the tick looks at."""


class Glances:
    """Watches the seconds of a route. `above` is the breaker's margin, None where there is no breaker."""

    def __init__(self, candidates: Sequence[str], above: float | None) -> None:
        self._candidates, self._above = frozenset(candidates), above
        self._until_s = -inf
        self._late: list[float] = []
        """When requests fail that take longer than the grace: those count for the second of their end."""

    def find_something(self, number: int, second: Second | None) -> bool:
        """Whether glances in a second may find an outage; `second` has its records, None where there are none."""
        if self._above is None:
            return False
        late = 0
        while self._late and self._late[0] < number + 1:
            heapq.heappop(self._late)
            late += 1
        if second is not None:
            self._take_in(second, late, self._above)
        elif late:
            self._until_s = max(self._until_s, number)
        return number <= self._until_s

    def _take_in(self, second: Second, late: int, above: float) -> None:
        """Watch until the last request fails, if in some part of the second too many of them do."""
        found = [*parts(second)]
        own = self._candidates
        failed = [[one for one in part.records if one.error and one.backend in own] for part in found]
        if late or any(_too_many(each, part.records, above) for each, part in zip(failed, found, strict=True)):
            self._until_s = max(self._until_s, second.second)
            for end_s in (end_s for each in failed for record in each if (end_s := _end_s(record)) is not None):
                self._until_s = max(self._until_s, end_s)
        for record in (record for each in failed for record in each if _end_s(record) is None):
            heapq.heappush(self._late, record.t + (record.latency_ms or 0.0) / 1000)


def _end_s(record: Record[Any]) -> float | None:
    """When a request ends; None where that is after the grace."""
    took_s = (record.latency_ms or 0.0) / 1000
    return None if took_s > GRACE_S else record.t + took_s


def _too_many(failed: Sequence[Record[Any]], records: Sequence[Record[Any]], above: float) -> bool:
    """Whether a candidate has fewer requests than it should have for so many of them to fail."""
    for name in {record.backend for record in failed}:
        needed = ceil(sum(record.backend == name for record in failed) / above)
        own = islice((record for record in records if record.backend == name), needed)
        if sum(1 for _ in own) < needed:
            return True
    return False


def parts(second: Second) -> Iterator[Second]:
    """The records up to each glance, and those after the last one."""
    ends = [bisect_left(second.records, second.second + each, key=attrgetter("t")) for each in MOMENTS_S]
    for begin, end in pairwise([0, *ends, len(second.records)]):
        yield Second(second.second, second.records[begin:end], second.lines[begin:end], second.plain)
