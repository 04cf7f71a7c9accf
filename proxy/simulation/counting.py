"""The records of one stage, counted: requests, copies and truths, each into the rows of its versions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from analysis.summaries import FloatArray
from proxy.control.evidence.lending import Loan
from proxy.control.evidence.subject import Subject
from proxy.simulation.answers import Answers
from proxy.simulation.columns import Columns
from proxy.simulation.records import Pair, Record, RefusedError, Side
from proxy.simulation.spot import Spot
from proxy.simulation.versions import REPEAT, STABLE, Versions
from proxy.simulation.worker import Worker

_NONE: Final[Side[Any]] = Side(error=True)
"""An answer that there is not, in the place of one that nobody reads."""


class Counting:
    """Counts for one route. `second` is the ledger's clock, `offset_s` what the records' clock is ahead of it."""

    def __init__(self, subject: Subject, versions: Versions, worker: Worker) -> None:
        self._subject, self._versions, self._worker = subject, versions, worker
        self._answers = Answers(subject.route)
        self._seen: Counter[str] = Counter()
        self.second = self.offset_s = 0
        self.ignored = self.truths = 0
        """Records of backends or in stages that are not compared, with truths that nobody knows; truths that count."""

    def count(self, place: Spot, records: Sequence[Record[Any]], plain: bool) -> None:
        """Count records of one stage. `plain` says that all of them are requests."""
        if not records:
            return
        paired = [] if plain else [record for record in records if record.pair is not None]
        self._seen[self._versions.stable] += len(paired)
        counted = len(paired)
        for name in self._versions.compared:
            own = [record for record in records if record.backend == name]
            self._seen[name] += len(own)
            counted += len(own)
            if own:
                copies = place.copies(name) if name in self._versions.candidates else None
                self._requests(place.live(name) or copies, own)
        self.ignored += len(records) - counted
        if paired:
            self._pairs(place, paired)

    def tell(self, line: int, record: Record[Any]) -> None:
        """A truth: judged with the slices to come, as one that a client tells.

        Raises:
            RefusedError: the route holds truths against nothing.
        """
        assert record.request is not None
        route = self._subject.route
        if route.takes_feedback is None or not self._answers.has_label:
            remedy = "add a metric such as feedback.accuracy, and a category to its predictions"
            raise RefusedError(line, f"truth: route {route.name} holds truths against nothing", remedy)
        found = self._answers.told(record.request, record.truth)
        truths = self._subject.collected.truths
        window_s, span_s = route.takes_feedback.window, route.analysis.block
        if found is None or truths.tell(*found, record.t, window_s, span_s) is not None:
            self.ignored += 1
        else:
            self.truths += 1

    def lose(self, place: Spot, line: int, assigned: Mapping[str, int]) -> None:
        """Requests that were assigned since the last such line and have no record.

        Raises:
            RefusedError: the route does not have such a backend.
        """
        for name, count in assigned.items():
            if name not in self._versions.known:
                raise self._versions.stranger(line, "assigned", name)
            loan = place.live(name) if name in self._versions.compared else None
            missing = count - self._seen[name]
            self._seen[name] = max(0, -missing)  # what was recorded already of the next count
            if loan is not None and missing > 0:
                self._worker.lose(loan, self.second, missing)

    def _requests(self, loan: Loan | None, records: Sequence[Record[Any]]) -> None:
        if loan is None:
            self.ignored += len(records)
            return
        users = self._users(records)
        self._worker.requests(loan, self.second, self._times(records), self._worker.columns(records), users)
        if self._subject.route.takes_feedback is not None and loan.role != "shadow":
            self._answers.remember(loan, records, self._worker.groups(users, len(records)))

    def _pairs(self, place: Spot, records: Sequence[Record[Any]]) -> None:
        """Mirrored requests: one of stable, and a copy for each candidate that has answered."""
        pairs = [record.pair for record in records if record.pair is not None]
        times, stable = self._times(records), self._worker.columns([pair[STABLE] or _NONE for pair in pairs])
        if (loan := place.live(self._versions.stable)) is not None:
            self._worker.requests(loan, self.second, times, stable, self._users(records))
        copied = [self._versions.copies(pair) for pair in pairs]
        compared = np.zeros(len(pairs), dtype=np.bool_)
        for name in self._versions.candidates:
            places = np.flatnonzero([name in keys for keys in copied])
            loan = place.copies(name)
            if loan is None or not places.size:
                continue
            compared[places] = True
            answers = [pairs[at][copied[at][name]] or _NONE for at in places]
            shadow, before = self._worker.columns(answers), stable.part(places)
            again = self._second_answers([pairs[at] for at in places])
            self._worker.pairs(loan, self.second, times[places], before, shadow, again)
            self._worker.requests(loan, self.second, times[places], shadow, None)
        self.ignored += int(np.count_nonzero(~compared))

    def _second_answers(self, pairs: Sequence[Pair[Any]]) -> Columns | None:
        """What stable said when it was asked again; None where it was not. Of some alone, nobody reads the others'."""
        if not any(pair.get(REPEAT) for pair in pairs):
            return None
        return self._worker.columns([pair.get(REPEAT) or _NONE for pair in pairs])

    def _times(self, records: Sequence[Record[Any]]) -> FloatArray:
        """Arrivals by the clock of the ledger."""
        return np.fromiter([record.t for record in records], np.float64, len(records)) - self.offset_s

    def _users(self, records: Sequence[Record[Any]]) -> list[str | int | None] | None:
        return None if self._subject.route.session_affinity is None else [record.user for record in records]
