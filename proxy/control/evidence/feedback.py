"""Where truths are told: whose answer each is about, and whether it counts.

An id that no worker sealed is nobody's. The rest is for the route whose row the answer was counted in (`truths`); what
is told is judged with the next slices, and kept with their evidence. Everything is counted here, once: accepted truths
by version, refused ones by reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from config.routes.feedback import Feedback
from proxy import answer_id
from proxy.control.evidence.subject import Subject
from proxy.control.evidence.truths import Refusal, Told
from proxy.control.storage.errors import StoreError

OUTCOMES: Final = ("right", "wrong", "loss")
"""What an accepted truth said; loss: nothing but a log-loss."""


class Desk:
    """Takes truths for all routes. `key` is empty as long as nobody knows which rollouts there are."""

    def __init__(
        self, subjects: Callable[[], Iterable[Subject]], key: Callable[[], bytes], clock: Callable[[], float]
    ) -> None:
        self._subjects, self._key, self._clock = subjects, key, clock
        self.accepted: Counter[tuple[str, str, str, str]] = Counter()
        """By route, backend, role and outcome, since the start."""
        self.refused: Counter[tuple[str, Refusal]] = Counter()
        """By route, empty where it is not known, and reason."""

    def tell(self, told: Sequence[tuple[str, Told]]) -> list[Refusal | None]:
        """Take truths by the id of their answer; why each does not count, or None.

        Raises:
            StoreError: the store is away, so that nobody knows what is judged; nothing was taken.
        """
        key, now_s = self._key(), self._clock()
        if not key:
            raise StoreError("the store cannot be read, so that nobody knows which rollouts go on; tell it again later")
        owners: dict[int, tuple[Subject, Feedback]] = {}
        for subject in self._subjects():
            rules = subject.route.takes_feedback
            if rules is not None:
                subject.collected.truths.seen.forget(int(now_s - rules.window))
                owners.update(dict.fromkeys(subject.collected.truths.places, (subject, rules)))
        return [self._one(owners, answer_id.read(text, key), each, now_s) for text, each in told]

    def _one(
        self,
        owners: dict[int, tuple[Subject, Feedback]],
        answer: answer_id.AnswerId | None,
        told: Told,
        now_s: float,
    ) -> Refusal | None:
        if answer is None:
            return self.refuse(Refusal.FORGED)
        owner = owners.get(answer.tenant)
        if owner is None:
            return self.refuse(Refusal.STALE)
        subject, rules = owner
        span_s = subject.route.analysis.block if subject.active else 0.0
        truths = subject.collected.truths
        refusal = truths.tell(answer, told, now_s, rules.window, span_s)
        if refusal is not None:
            return self.refuse(refusal, subject.name)
        place = truths.places[answer.tenant]
        outcome = "loss" if told.wrong is None else "wrong" if told.wrong else "right"
        self.accepted[subject.name, place.backend, place.role, outcome] += 1
        return None

    def refuse(self, reason: Refusal, route: str = "") -> Refusal:
        """Count a truth that does not count."""
        self.refused[route, reason] += 1
        return reason
