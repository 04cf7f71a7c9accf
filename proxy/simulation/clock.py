"""The rollout of the records, second by second: what `proxy.control.plane` does each tick, without workers and store.

    second ─▶ count its records ─▶ tick: read what has closed ─▶ look, once per interval ─▶ rollout.step

A tick comes TICK_AFTER_S after the end of each second, also of those without records, as a live controller's does. A
decision to go on is live from the next second: there are no workers to wait for.
"""

from __future__ import annotations

import os
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor, nan
from typing import Any, Final

import numpy as np
from msgspec import UNSET

from config import schema
from proxy.control import compile as compiler
from proxy.control import holdings, rollout, steps, tally
from proxy.control.evidence import TICK_AFTER_S
from proxy.control.lending import Lending, Loan
from proxy.control.rollout import TERMINAL, Action, Applied, Event, Phase, Route, State
from proxy.control.rollout import Record as Entry
from proxy.control.subject import Subject
from proxy.control.truths import SPANS
from proxy.data.disguise import KEY_BYTES
from proxy.ledger import layout as at
from proxy.ledger.reader import Reader
from proxy.simulation import stages
from proxy.simulation.answers import Answers
from proxy.simulation.order import Second
from proxy.simulation.records import Record, RefusedError, Side
from proxy.simulation.spot import Spot
from proxy.simulation.stages import Stage, Stages, follow, followed, key_of, share_of
from proxy.simulation.worker import Worker

_START: Final = 1000
"""The ledger's clock at the first record: lanes tell an empty ledger by the slice 0."""
_ROWS: Final = 96
"""Three for each stage, and rows rest for 20 s: stages may follow each other second by second."""
_NOT_ASKED: Final[Side[Any]] = Side(error=True)
_SETTLE_TICKS: Final = 13
"""After the last record the clock runs on until all of them have ended, or their grace has."""


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened, for the report."""

    at_s: float
    what: Entry


class Simulation:
    """One route's rollout on records. `ended` says that it is decided, and no further record changes it."""

    def __init__(self, config: schema.Config, route: schema.Route, last_stage: int | None = None) -> None:
        self.subject = Subject.of(config, route)
        plan = self.subject.plan
        if plan is None:
            raise ValueError(f"route {route.name} has no strategy, so that no candidate is judged")
        if isinstance(plan.ending, steps.Swap):
            raise ValueError(f"route {route.name} swaps its versions (recreate): none is judged beside the other")
        # Nobody can ask a recorded endpoint whether it is well, nor a webhook what it says of a rollout that there is
        # not, and after the promotion there is nothing to compare.
        plan = steps.ungated(plan)
        plan = replace(plan, steps=tuple(step for step in plan.steps if not isinstance(step, steps.Smoke)), bake=None)
        self.plan = self._file_plan = plan
        self._fd = at.create(workers=1, rows=_ROWS, tables=at.OUTPUTS)
        self.reader = Reader(self._fd)
        self._lending = Lending(_ROWS, at.OUTPUTS)
        tables = self._lending.tables(route.name, holdings.output_kinds(route))
        predictions = compiler.predictions_of(route, tables)
        outputs = predictions.outputs if predictions else ()
        # The key of the store is not here: hashes are those of this simulation alone.
        self._worker = Worker(self._fd, compiler.seed(route.cohort_seed), outputs, secrets.token_bytes(KEY_BYTES))
        self._feedback = route.takes_feedback
        self._answers = Answers(route)
        self._known: frozenset[str | None] = frozenset({None, *(ref.name for ref in route.backend_refs)})
        self._candidates = tuple(runner.name for runner in plan.rivals) or (plan.candidate,)
        self._versions = tuple(filter(None, (plan.stable, *self._candidates, plan.baseline)))
        self._stages = Stages(plan.steps, last_stage)
        self._here = self._before = Spot(None, {})
        self._switched = 0
        self._usual: set[tuple[int | None, float | None]] = set()
        self._seen: Counter[str] = Counter()
        self._applied = -1
        self._offset_s = 0
        self._second = 0
        self.first_s: float | None = None
        """When the first record arrived; 0 where there is none at all, None as long as nothing was read."""
        self.now_s = 0.0
        self._decided = ("", "")
        self.decided_s = 0.0
        """When the verdict became what it is."""
        self.looks = 0
        self.records = 0
        self.ignored = 0
        self.truths = 0
        self.moments: list[Moment] = []

    def close(self) -> None:
        """Let go of the ledger."""
        os.close(self._fd)

    @property
    def state(self) -> State | None:
        """Where the rollout is; None before the first record."""
        return self.subject.state

    @property
    def took_s(self) -> float:
        """From the first record to the look that decided, or to the last one."""
        until_s = self.decided_s if self.state is not None and self.state.verdict else self.now_s
        return until_s - (self.first_s or 0.0)

    @property
    def stage(self) -> int:
        """The stage that was judged last, by the number that the records have for it."""
        judged = self.subject.verdict.stage if self.subject.verdict else -1
        return judged if judged >= 0 or self.state is None else self.state.stage

    @property
    def ended(self) -> bool:
        """Whether it is decided for good."""
        return self.state is not None and self.state.phase in TERMINAL

    # --- the clock
    def feed(self, second: Second) -> None:
        """Take in the records of a second, after what came before it.

        Raises:
            RefusedError: a record that cannot be of this route.
        """
        if self.first_s is None:
            self._begin(second.records[0].t)
        while self._offset_s + self._second < second.second and not self.ended:
            self._tick()
        if not self.ended:
            self._count(second)
            self._tick()

    def finish(self) -> None:
        """Let the clock run until all records have ended, and look once more."""
        if self.first_s is None:
            self._begin(0.0)
        last = self._second
        for _ in range(_SETTLE_TICKS + SPANS):
            if self.ended or not self._is_open(last):
                break
            self._tick()
        if not self.ended and self.subject.looked_s < self._second:
            self._look()

    def _is_open(self, last: int) -> bool:
        """Whether slices of the records, or truths, are still to be judged."""
        if any(track.judged and not track.done and track.next_slice < last for track in self.subject.tracks):
            return True
        return self.subject.collected.truths.waiting > 0

    def _begin(self, first_s: float) -> None:
        self.first_s = first_s
        self._second, self._offset_s = _START, floor(first_s) - _START
        self.subject.clock_offset_s = self._offset_s
        self.now_s = first_s
        self._install(*rollout.begin(self.plan, self.now_s), fresh=True)

    def _tick(self) -> None:
        """The end of a second."""
        self._second += 1
        now_s = self._second + TICK_AFTER_S
        self.now_s = self._offset_s + now_s
        self._worker.advance(now_s)
        self.subject.read(self.reader, now_s)
        self._sweep(now_s)
        state = self.state
        if state is not None and self._applied != state.stage:
            self._applied = state.stage
            self._step(Applied(state.stage))
        if self.subject.is_due(now_s):
            self.subject.looked_s = now_s
            self._look()

    def _look(self) -> None:
        self.looks += 1
        self._step(self.subject.look(self.now_s))
        state = self.state
        if state is not None and state.phase is Phase.PROMOTING:
            self._step(Applied(state.stage))

    def _step(self, event: Event) -> None:
        if self.state is not None and not self.ended:
            self._install(*rollout.step(self.plan, self.state, event, self.now_s))

    def _install(
        self, state: State, actions: Sequence[Action], fresh: bool = False, stage: Stage | None = None
    ) -> None:
        subject = self.subject
        collected = subject.collected
        routed = any(isinstance(action, Route) for action in actions)
        if stage is None and any(isinstance(action, Entry) and action.kind == "drop" for action in actions):
            stage = self._here.stage  # the records go on in theirs
        if routed:
            collected = subject.settled(state, fresh, self._lending, self._second)
        for loan in subject.install(state, collected):
            self._lending.give_back(loan, float(self._second))
        if routed:
            loans = collected.holdings.loans
            until = self._second + stages.STRAGGLE_S if stage and self._second > _START else self._second - 1
            holdings.cut(subject.tracks, loans, until)
            self._place(stage, loans)
        if (state.verdict, state.decided_by) != self._decided:
            self._decided, self.decided_s = (state.verdict, state.decided_by), self.now_s
        self.moments += [Moment(self.now_s, action) for action in actions if isinstance(action, Entry)]

    def _place(self, stage: Stage | None, loans: Mapping[holdings.Arm, Loan]) -> None:
        of_rollout = holdings.of_rollout(self.state)
        self._before, self._switched = self._here, self._second
        self._here = Spot(stage, {arm: loan for arm, loan in loans.items() if arm[0] in of_rollout})
        racing = len(self.state.racing) if self.state is not None else 1
        self._set_share(share_of(stage, racing, len(self._candidates)))

    def _set_share(self, share: float) -> None:
        """What part of the traffic the candidate had is told by the records, and by nothing else."""
        loans = [*self._here.loans.values()]
        for track in self.subject.tracks:
            if track.control != "stable":
                continue  # a baseline has as much as the candidate, whatever that is
            if track.judged and track.share and any(loan in track.loans for loan in loans):
                track.share = share

    def _sweep(self, now_s: float) -> None:
        for loan in self._lending.sweep(now_s, lambda loan: tally.row_totals(self.reader, loan).in_flight > 0):
            self.subject.forget_row(loan, tally.read(self.reader, loan))

    # --- the records of a second
    def _count(self, second: Second) -> None:
        backends = {record.backend for record in second.records}
        if backends - self._known:
            self._refuse_stranger(second, backends - self._known)
        if self.subject.question.budget is not None:
            stages.refuse_unweighted(self.subject.name, second)
        self.records += len(second.records)
        told = [at for at, record in enumerate(second.records) if record.truth is not UNSET]
        if told:
            rest = [record for record in second.records if record.truth is UNSET]
            self._count_all(Second(second.second, rest, np.delete(second.lines, told)), backends)
            for at in told:
                self._tell(int(second.lines[at]), second.records[at])
        else:
            self._count_all(second, backends)

    def _count_all(self, second: Second, backends: set[str | None]) -> None:
        for place, records in self._by_place(second, plain=None not in backends):
            self._count_in(place, records, plain=None not in backends)

    def _refuse_stranger(self, second: Second, strangers: set[str | None]) -> None:
        place = next(i for i, record in enumerate(second.records) if record.backend in strangers)
        raise self._stranger(int(second.lines[place]), "backend", str(second.records[place].backend))

    def _stranger(self, line: int, key: str, name: str) -> RefusedError:
        names = ", ".join(sorted(name for name in self._known if name))
        message = f"{key}: {name} is no backend of route {self.subject.name}"
        return RefusedError(line, message, f"its backends are {names}; take other records away")

    def _by_place(self, second: Second, plain: bool) -> Iterator[tuple[Spot, Sequence[Record[Any]]]]:
        """The records by stage, in the order of stages; what was assigned is told in between."""
        records = second.records
        usual = {(record.stage, record.weight) for record in records}
        if usual <= self._usual and (plain or not any(record.assigned is not None for record in records)):
            yield self._here, records
            return
        here: list[Record[Any]] = []
        for line, record in zip(second.lines, records, strict=True):
            if record.assigned is not None:
                yield self._here, here
                here = []
                self._lose(int(line), record.assigned)
                continue
            key = key_of(record)
            stage = self._here.stage
            if key is not None and (stage is None or key != stage.key):
                if self._is_straggler(key):
                    yield self._before, [record]
                    continue
                yield self._here, here
                here = []
                self._go_on(record)
            elif stage is not None and record.weight not in (None, stage.weight):
                self._set_share(nan)  # the weight rose within the stage
            here.append(record)
        yield self._here, here
        stage = self._here.stage
        self._usual = {pair for pair in usual if pair == (None, None) or self._fits(pair, stage)}

    def _fits(self, pair: tuple[int | None, float | None], stage: Stage | None) -> bool:
        number, weight = pair
        if stage is None:
            return False
        return (number, None) == stage.key if number is not None else (None, weight) == stage.key

    def _is_straggler(self, key: tuple[int | None, float | None]) -> bool:
        stage = self._before.stage
        return stage is not None and key == stage.key and self._second <= self._switched + stages.STRAGGLE_S

    def _go_on(self, record: Record[Any]) -> None:
        """A record begins another stage than the one that goes on."""
        assert self.state is not None
        taken = self.state.stage if self._here.stage is None and self._second > _START else None
        stage = self._stages.begin(record, taken)
        self.plan = followed(self._file_plan, stage.is_last)
        self.now_s = record.t
        entry = Entry("step", f"stage {stage.number} of the records begins{', the last one' if stage.is_last else ''}")
        after = follow(self.state, stage, self._stages.mirror_ppm, self.now_s)
        self._install(after, (Route(), entry), stage=stage)

    def _count_in(self, place: Spot, records: Sequence[Record[Any]], plain: bool) -> None:
        """Count records of one stage. `plain` says that all of them are requests."""
        if not records:
            return
        paired = [] if plain else [record for record in records if record.pair is not None]
        if paired and self.plan.rivals:
            remedy = "simulate with one canary in the file"
            raise RefusedError(0, "a `pair` does not say which of several candidates has answered", remedy)
        self._seen[self.plan.stable] += len(paired)
        counted = len(paired)
        for name in self._versions:
            own = [record for record in records if record.backend == name]
            self._seen[name] += len(own)
            counted += len(own)
            if own:
                copies = place.copies(name) if name in self._candidates else None
                self._requests(place.live(name) or copies, own)
        self.ignored += len(records) - counted
        if paired:
            self._pairs(place, paired)

    def _requests(self, loan: Loan | None, records: Sequence[Record[Any]]) -> None:
        if loan is None:
            self.ignored += len(records)
            return
        users = self._users(records)
        self._worker.requests(loan, self._second, self._times(records), self._worker.columns(records), users)
        if self._feedback is not None and loan.role != "shadow":
            self._answers.remember(loan, records, self._worker.groups(users, len(records)))

    def _pairs(self, place: Spot, records: Sequence[Record[Any]]) -> None:
        pairs = [record.pair for record in records if record.pair is not None]
        times = self._times(records)
        stable = self._worker.columns([pair.stable for pair in pairs])
        shadow = self._worker.columns([pair.shadow for pair in pairs])
        if (loan := place.live(self.plan.stable)) is not None:
            self._worker.requests(loan, self._second, times, stable, self._users(records))
        if (loan := place.copies(self.plan.candidate)) is None:
            self.ignored += len(records)
            return
        self._worker.pairs(loan, self._second, stable, shadow)
        if any(pair.repeat is not None for pair in pairs):
            # Where stable was not asked twice, its second answer is one that nobody reads.
            again = self._worker.columns([pair.repeat or _NOT_ASKED for pair in pairs])
            self._worker.repeats(loan, self._second, stable, shadow, again)
        self._worker.requests(loan, self._second, times, shadow, None)

    def _times(self, records: Sequence[Record[Any]]) -> np.ndarray:
        """Arrivals by the clock of the ledger."""
        return np.array([record.t for record in records]) - self._offset_s

    def _users(self, records: Sequence[Record[Any]]) -> list[str | int | None] | None:
        return None if self.subject.route.session_affinity is None else [record.user for record in records]

    def _tell(self, line: int, record: Record[Any]) -> None:
        """A truth: judged with the slices to come, as one that a client tells."""
        assert record.request is not None
        if self._feedback is None or not self._answers.has_label:
            remedy = "add a metric such as feedback.accuracy, and a category to its predictions"
            raise RefusedError(line, f"truth: route {self.subject.name} holds truths against nothing", remedy)
        found = self._answers.told(record.request, record.truth)
        span_s = self.subject.route.analysis.block
        truths = self.subject.collected.truths
        if found is None or truths.tell(*found, record.t, self._feedback.window, span_s) is not None:
            self.ignored += 1
        else:
            self.truths += 1

    def _lose(self, line: int, assigned: Mapping[str, int]) -> None:
        """Requests that were assigned since the last such line and have no record."""
        for name, count in assigned.items():
            if name not in self._known:
                raise self._stranger(line, "assigned", name)
            loan = self._here.live(name) if name in self._versions else None
            missing = count - self._seen[name]
            self._seen[name] = max(0, -missing)  # what was recorded already of the next count
            if loan is not None and missing > 0:
                self._worker.lose(loan, self._second, missing)
