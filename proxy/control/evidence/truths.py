"""What a route was told of its answers: which it knows, what waits to be judged, and what it adds up to.

    answer id ─▶ place (stage, arm) ─▶ pending, by time of the answer and by stage ─▶ `take`, once for each slice

Truths may come one by one or a whole night's at once, and one block of evidence counts 4 : 1 at most, whatever is in
it. So what is told is not put into the slice in which it happens to arrive: slices take it in the order of the answers,
one span of time each. A span is a block of the rollout, or a SPANS-th of the window if that is more: all that was told
is judged within SPANS slices, and with blocks of 30 s a truth that took an hour waits for two minutes. Both versions
wait alike.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

import msgspec
import numpy as np

from analysis.summaries import GROUPS, ArmTruths, Moments, TruthCounts
from proxy.answer_id import AnswerId
from proxy.control.evidence.lending import Loan
from proxy.control.storage.seen import Chunk, Seen

SPANS: Final = 1024
"""Spans of time that a window has at most: all that was told is judged within as many slices, 17 minutes."""
_CELLS: Final = 4 * GROUPS
"""By group: n, wrong, losses, their sum."""


class Refusal(StrEnum):
    """Why a truth does not count."""

    INVALID = "invalid"
    """What is said cannot be used."""
    FORGED = "forged"
    """No worker has written the id."""
    STALE = "stale"
    """Of a rollout or a route that is over, or of one that takes no feedback."""
    LATE = "late"
    """Of an answer before the window, or before what is remembered."""
    DUPLICATE = "duplicate"
    """The answer was told of already."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is said of an answer: whether it was wrong, the log-loss of it, or both; None is not known."""

    wrong: bool | None = None
    loss: float | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer came from."""

    stage: int
    backend: str
    role: str


class Heard(msgspec.Struct):
    """Sums of truths, to which single ones are added. `groups` are _CELLS numbers, empty where users are not known."""

    n: float = 0.0
    wrong: float = 0.0
    losses: float = 0.0
    loss: float = 0.0
    squares: float = 0.0
    groups: bytes = b""

    @property
    def told(self) -> float:
        """Answers of which something is known."""
        return max(self.n, self.losses)

    def add(self, told: Told, group: int = -1) -> None:
        """Add one."""
        if told.wrong is not None:
            self.n += 1
            self.wrong += told.wrong
        if told.loss is not None:
            self.losses += 1
            self.loss += told.loss
            self.squares += told.loss * told.loss
        if 0 <= group < GROUPS:
            cells = array("d", self.groups or bytes(8 * _CELLS))
            cells[group] += told.wrong is not None
            cells[GROUPS + group] += bool(told.wrong)
            cells[2 * GROUPS + group] += told.loss is not None
            cells[3 * GROUPS + group] += told.loss or 0.0
            self.groups = cells.tobytes()

    def counts(self) -> ArmTruths:
        """The same as the judge takes it."""
        cells = np.frombuffer(self.groups).reshape(4, GROUPS) if self.groups else np.zeros((4, GROUPS))
        loss = Moments(self.losses, self.loss, self.squares)
        return ArmTruths(self.n, self.wrong, loss, cells[0], cells[1], cells[2:])


class KeptPlace(msgspec.Struct, frozen=True):
    """A place with the tenant of its row."""

    tenant: int
    stage: int
    backend: str
    role: str


class KeptSpan(msgspec.Struct, frozen=True):
    """What waits of one span of time and one stage, by role."""

    begin: int
    stage: int
    roles: dict[str, Heard]
    rival: str = ""


class KeptTruths(msgspec.Struct, frozen=True):
    """All of it as it is kept, but for which answers were heard of."""

    places: tuple[KeptPlace, ...] = ()
    spans: tuple[KeptSpan, ...] = ()
    sums: tuple[tuple[str, str, Heard], ...] = ()
    next_begin: int = 0
    floor: int = 0
    next_begins: dict[str, int] = {}
    """By candidate, where there are several."""


@dataclass(slots=True)
class Waiting:
    """What no slice has taken yet, of one candidate and of what it is compared with: by begin of the span, by stage, by
    role."""

    spans: dict[int, dict[int, dict[str, Heard]]] = field(default_factory=dict)
    next_begin: int = 0

    @property
    def told(self) -> float:
        """How many truths."""
        heard = (one for stages in self.spans.values() for roles in stages.values() for one in roles.values())
        return sum(one.told for one in heard)

    def add(self, begin: int, place: Place, told: Told, group: int) -> None:
        """Let one wait."""
        stages = self.spans.setdefault(begin, {})
        stages.setdefault(place.stage, {}).setdefault(place.role, Heard()).add(told, group)

    def take(self, stage: int, control: str) -> tuple[TruthCounts, ...]:
        """What the next slice of a stage is told: of one span, of that stage and those before it.

        Of later stages, whose slices come when this one's are judged, it waits.
        """
        ready = [begin for begin, stages in self.spans.items() if min(stages) <= stage]
        if not ready:
            return ()
        begin = min((each for each in ready if each >= self.next_begin), default=min(ready))
        self.next_begin = begin + 1
        stages = self.spans[begin]
        taken = {each: stages.pop(each) for each in sorted(stages) if each <= stage}
        if not stages:
            del self.spans[begin]
        nothing = Heard()
        return tuple(
            TruthCounts(each, roles.get(control, nothing).counts(), roles.get("canary", nothing).counts())
            for each, roles in taken.items()
        )


@dataclass(slots=True)
class Truths:
    """The truths of one rollout, or of a route without one."""

    places: dict[int, Place] = field(default_factory=dict)
    """By the tenant of the row, of this rollout alone."""
    seen: Seen = field(default_factory=Seen)
    sums: dict[tuple[str, str], Heard] = field(default_factory=dict)
    """By (backend, role), over all stages: for people."""
    _waiting: dict[str, Waiting] = field(default_factory=lambda: {"": Waiting()})
    """By candidate, where there are several."""

    def know(self, loans: Iterable[Loan], rivals: Sequence[str] = ("",)) -> None:
        """Take truths about answers of these rows from now on, for these candidates."""
        self._waiting = {rival: self._waiting.get(rival, Waiting()) for rival in rivals}
        for loan in loans:
            if loan.index >= 0 and loan.role != "shadow":
                self.places.setdefault(loan.tenant, Place(loan.stage, loan.backend, loan.role))

    def tell(self, answer: AnswerId, told: Told, now_s: float, window_s: float, span_s: float) -> Refusal | None:
        """Take one truth; why it does not count, or None.

        Args:
            span_s: the least length of a span, a block of the rollout; 0 where nobody judges.
        """
        place = self.places.get(answer.tenant)
        if place is None:
            return Refusal.STALE
        if answer.second < max(self.seen.floor, now_s - window_s):
            return Refusal.LATE
        if not self.seen.add(answer.run, answer.serial, answer.second):
            return Refusal.DUPLICATE
        self.sums.setdefault((place.backend, place.role), Heard()).add(told)
        if span_s > 0:
            length = max(1, round(max(span_s, window_s / SPANS)))
            for rival, waiting in self._waiting.items():
                if place.role != "canary" or rival in ("", place.backend):
                    waiting.add(answer.second // length * length, place, told, answer.group)
        return None

    @property
    def waiting(self) -> int:
        """Truths that no slice has taken yet; what several candidates wait for counts for each."""
        return round(sum(waiting.told for waiting in self._waiting.values()))

    def take(self, stage: int, control: str = "stable", rival: str = "") -> tuple[TruthCounts, ...]:
        """What the next slice of a stage is told, for a candidate and the role that it is compared with."""
        return self._waiting[rival].take(stage, control) if rival in self._waiting else ()

    def dump(self) -> KeptTruths:
        """All of it, to be kept."""
        return KeptTruths(
            tuple(KeptPlace(tenant, at.stage, at.backend, at.role) for tenant, at in self.places.items()),
            tuple(
                KeptSpan(at, stage, roles, rival)
                for rival, waiting in self._waiting.items()
                for at, stages in waiting.spans.items()
                for stage, roles in stages.items()
            ),
            tuple((backend, role, heard) for (backend, role), heard in self.sums.items()),
            self._waiting[""].next_begin if "" in self._waiting else 0,
            self.seen.floor,
            {rival: waiting.next_begin for rival, waiting in self._waiting.items() if rival},
        )

    @classmethod
    def load(cls, kept: KeptTruths, seen: Iterable[Chunk]) -> Truths:
        """As they were, with the answers that were heard of."""
        begins = kept.next_begins or {"": kept.next_begin}
        waiting = {rival: Waiting(next_begin=begin) for rival, begin in begins.items()}
        for span in kept.spans:
            waiting[span.rival].spans.setdefault(span.begin, {})[span.stage] = span.roles
        places = {one.tenant: Place(one.stage, one.backend, one.role) for one in kept.places}
        sums = {(backend, role): heard for backend, role, heard in kept.sums}
        return cls(places, Seen(seen, kept.floor), sums, waiting)
