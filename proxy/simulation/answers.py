"""What was predicted for which request, for the truth that comes later.

A truth names its request. What was predicted for it, in which row and when, is remembered until then, for MOST_ANSWERS
requests at most: beyond, the oldest are forgotten, and truths about them are counted as unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from msgspec import UNSET

from analysis.feedback import log_loss
from config import schema
from proxy.answer_id import AnswerId
from proxy.control.evidence.lending import Loan
from proxy.control.evidence.truths import Told
from proxy.data.answers.predictions import label_of
from proxy.simulation.records import Record

MOST_ANSWERS: Final = 500_000
"""About 150 MB where all of them wait."""
_FORGOTTEN: Final = 16
"""Beyond, a 16th of them is forgotten at once: to look for the oldest in a dictionary from whose front much was taken
away costs 40 µs, which for each request is eight times what reading it costs."""
PROBABILITY: Final = "p1"
"""The output that is the probability of the predicted label, for the log-loss."""


class Answers:
    """The answers of a route that truths may be told of."""

    def __init__(self, route: schema.Route) -> None:
        outputs = route.predictions.outputs if route.predictions else ()
        numbers = {output.name: number for number, output in enumerate(outputs)}
        label = next((output.name for output in outputs if output.kind == "category"), "")
        self._label = f"o{numbers[label]}" if label else ""
        self._probability = f"o{numbers[PROBABILITY]}" if PROBABILITY in numbers else ""
        self._waiting: dict[str, tuple[AnswerId, Any]] = {}
        self._serial = 0

    @property
    def has_label(self) -> bool:
        """Whether there is a prediction that a truth can be held against: the route's first category."""
        return bool(self._label)

    def remember(self, loan: Loan, records: Sequence[Record[Any]], groups: Sequence[int]) -> None:
        """Take in requests that were counted in a row."""
        for record, group in zip(records, groups, strict=True):
            if record.request is None or record.outputs is None or record.error:
                continue
            if len(self._waiting) >= MOST_ANSWERS:
                for oldest in [*islice(self._waiting, max(1, MOST_ANSWERS // _FORGOTTEN))]:
                    del self._waiting[oldest]
            self._serial += 1
            answer = AnswerId(loan.tenant, int(record.t // 1), group, 1, self._serial)
            self._waiting[str(record.request)] = answer, record.outputs

    def told(self, request: str | int, truth: Any) -> tuple[AnswerId, Told] | None:
        """Whose answer it was, and what the truth says of it; None where that is not known, or is no label."""
        found = self._waiting.pop(str(request), None)
        true = label_of(truth)
        if found is None or true is None:
            return None
        answer, outputs = found
        predicted = label_of(getattr(outputs, self._label))
        if predicted is None:
            return None
        right = predicted == true
        share: Any = getattr(outputs, self._probability) if self._probability else UNSET
        if type(share) not in (float, int) or not 0 <= share <= 1:
            return answer, Told(wrong=not right)
        return answer, Told(wrong=not right, loss=log_loss(share if right else 1 - share))
