"""The rollout of the records, second by second: what `proxy.control.plane` does each tick, without workers and store.

    second ─▶ count its records ─▶ glance, where an outage may be ─▶ tick: read what has closed ─▶ look, if one is due

A tick comes TICK_AFTER_S after the end of each second, also of those without records, as a live controller's does, and
glances come between the ticks. A decision to go on is live from the next second: there are no workers to wait for.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from math import floor, nan
from typing import Any, Final

import numpy as np
from msgspec import UNSET

from config import schema
from proxy.control.evidence import glance, holdings, tally
from proxy.control.evidence.lending import QUARANTINE_S, Lending, Loan
from proxy.control.evidence.subject import Subject
from proxy.control.evidence.tracks import TICK_AFTER_S, Track
from proxy.control.evidence.truths import SPANS
from proxy.control.hindsight.drive import Drive, Moment
from proxy.control.machine import steps
from proxy.control.machine.rollout import Action, Route, State
from proxy.control.machine.rollout import Record as Entry
from proxy.control.routing import compile as compiler
from proxy.data.answers.disguise import KEY_BYTES
from proxy.ledger import layout as at
from proxy.ledger.reader import Reader
from proxy.simulation import glances, stages
from proxy.simulation.counting import Counting
from proxy.simulation.glances import Glances
from proxy.simulation.order import Second
from proxy.simulation.records import Record, RefusedError
from proxy.simulation.spot import Spot
from proxy.simulation.stages import Stage, Stages, follow, followed, key_of, share_of
from proxy.simulation.versions import Versions
from proxy.simulation.worker import Worker

_START: Final = 1000
"""The ledger's clock at the first record: lanes tell an empty ledger by the slice 0."""
_STAGES: Final = 32
"""For so many at least there are rows, which rest for QUARANTINE_S: stages may follow each other second by second."""
_SETTLE_TICKS: Final = 13
"""After the last record the clock runs on until all of them have ended, or their grace has."""


class Simulation:
    """One route's rollout on records. `ended` says that it is decided, and no further record changes it."""

    def __init__(self, config: schema.Config, route: schema.Route, last_stage: int | None = None) -> None:
        self.subject = Subject.of(config, route)
        self._file_plan = _recorded(self.subject)
        self._drive = Drive(self.subject, self._file_plan, self._install)
        self._versions = Versions.of(route, self._file_plan)
        rows = _STAGES * self._versions.arms
        self._fd = at.create(workers=1, rows=rows, tables=at.OUTPUTS)
        self.reader = Reader(self._fd)
        self._lending = Lending(rows, at.OUTPUTS)
        tables = self._lending.tables(route.name, holdings.output_kinds(route))
        predictions = compiler.predictions_of(route, tables)
        outputs = predictions.outputs if predictions else ()
        # The key of the store is not here: hashes are those of this simulation alone.
        self._worker = Worker(self._fd, compiler.seed(route.cohort_seed), outputs, secrets.token_bytes(KEY_BYTES))
        self._counting = Counting(self.subject, self._versions, self._worker)
        self._glances = Glances(self._versions.candidates, self.subject.question.breaker_above)
        self._stages = Stages(self._file_plan.steps, last_stage)
        self._here = self._before = Spot(None, {})
        self._stage: Stage | None = None
        """The stage of the records that goes on; None while the file's steps decide."""
        self._switched = 0
        self._usual: set[tuple[int | None, float | None]] = set()
        self._offset_s = 0
        self._second = 0
        self._last_slice = 0
        """The last one that may have requests of the stage which goes on now."""
        self.first_s: float | None = None
        """When the first record arrived; 0 where there is none at all, None as long as nothing was read."""
        self.records = 0

    def close(self) -> None:
        """Let go of the ledger."""
        os.close(self._fd)

    @property
    def state(self) -> State | None:
        """Where the rollout is; None before the first record."""
        return self._drive.state

    @property
    def took_s(self) -> float:
        """From the first record to the look that decided, or to the last one."""
        until_s = self._drive.decided_s if self.state is not None and self.state.verdict else self._drive.now_s
        return until_s - (self.first_s or 0.0)

    @property
    def stage(self) -> int:
        """The stage that was judged last, by the number that the records have for it."""
        judged = self.subject.verdict.stage if self.subject.verdict else -1
        return judged if judged >= 0 or self.state is None else self.state.stage

    @property
    def ended(self) -> bool:
        """Whether it is decided for good."""
        return self._drive.decided

    @property
    def looks(self) -> int:
        """How often the judge was asked."""
        return self._drive.looks

    @property
    def moments(self) -> Sequence[Moment]:
        """What happened, for the report."""
        return self._drive.moments

    @property
    def ignored(self) -> int:
        """Records that count for nothing."""
        return self._counting.ignored

    @property
    def unknown(self) -> int:
        """Requests without a user, where routing is sticky."""
        return self._worker.unknown

    @property
    def truths(self) -> int:
        """Truths that count."""
        return self._counting.truths

    # --- the clock
    def feed(self, second: Second) -> None:
        """Take in the records of a second, after what came before it.

        Raises:
            RefusedError: a record that cannot be of this route.
        """
        if self.first_s is None:
            self._begin(second.records[0].t)
        while self._offset_s + self._second < second.second and not self.ended:
            self._pass(None)
        if not self.ended:
            self._check(second)
            self._pass(second)

    def finish(self) -> None:
        """Let the clock run until all records have ended, and look once more."""
        if self.first_s is None:
            self._begin(0.0)
        last = self._second
        for _ in range(_SETTLE_TICKS + SPANS):
            if self.ended or not self._is_open(last):
                break
            self._pass(None)
        if not self.ended and self.subject.looked_s < self._drive.now_s:
            self._drive.look()

    def _is_open(self, last: int) -> bool:
        """Whether slices of the records, or truths, are still to be judged."""
        if any(track.judged and not track.done and track.next_slice < last for track in self.subject.tracks):
            return True
        return self.subject.collected.truths.waiting > 0

    def _begin(self, first_s: float) -> None:
        self.first_s = first_s
        self._second, self._offset_s = _START, floor(first_s) - _START
        self._counting.offset_s = self.subject.clock_offset_s = self._offset_s
        self._last_slice = _START - 1
        self._drive.move_to(first_s)
        self._drive.begin()

    def _pass(self, second: Second | None) -> None:
        """A second with its records, to its end and the tick."""
        self._counting.second = self._second
        number = self._offset_s + self._second
        if self._glances.find_something(number, second):
            found = glances.parts(second or Second(number, (), np.zeros(0, dtype=np.int64)))
            for after_s, part in zip((*glances.MOMENTS_S, None), found, strict=True):
                self._count(part)
                if after_s is not None:
                    self._glance(self._second + after_s)
                if self.ended:
                    return
        elif second is not None:
            self._count(second)
        self._tick()

    def _glance(self, now_s: float) -> None:
        """Between two ticks. The second goes on: what is decided now still has requests of it behind it."""
        self._worker.advance(now_s, exact=True)
        self._last_slice = self._second
        self._drive.move_to(self._offset_s + now_s)
        if glance.trips(self.subject, self.reader, now_s, 0.0):
            self._drive.tick()

    def _tick(self) -> None:
        """The end of a second."""
        self._last_slice = self._second
        self._second += 1
        now_s = self._second + TICK_AFTER_S
        self._drive.move_to(self._offset_s + now_s)
        self._worker.advance(now_s)
        self.subject.read(self.reader, now_s)
        for loan in self._lending.sweep(now_s, lambda loan: tally.row_totals(self.reader, loan).in_flight > 0):
            self.subject.forget_row(loan, tally.read(self.reader, loan))
        self._drive.tick()

    # --- what is decided
    def _install(self, state: State, actions: Sequence[Action]) -> None:
        subject = self.subject
        collected, before = subject.collected, subject.tracks
        routed = any(isinstance(action, Route) for action in actions)
        if routed:
            collected = subject.settled(state, self.state is None, self._lending, self._second)
        for loan in subject.install(state, collected):
            self._lending.give_back(loan, float(self._second))
        if routed:
            loans = collected.holdings.loans
            straggles = self._stage is not None and self._last_slice >= _START
            last = self._second + stages.STRAGGLE_S if straggles else self._last_slice
            holdings.cut(subject.tracks, loans, last)
            _follow_on(before, subject.tracks, last)
            self._place(loans)

    def _place(self, loans: Mapping[holdings.Arm, Loan]) -> None:
        of_rollout = holdings.of_rollout(self.state)
        self._before, self._switched = self._here, self._second
        self._here = Spot(self._stage, {arm: loan for arm, loan in loans.items() if arm[0] in of_rollout})
        racing = len(self.state.racing) if self.state is not None else 1
        self._set_share(share_of(self._stage, racing, len(self._versions.candidates)))

    def _set_share(self, share: float) -> None:
        """What part of the traffic the candidate had is told by the records, and by nothing else."""
        loans = [*self._here.loans.values()]
        for track in self.subject.tracks:
            if track.control != "stable":
                continue  # a baseline has as much as the candidate, whatever that is
            if track.judged and track.share and any(loan in track.loans for loan in loans):
                track.share = share

    # --- the records of a second
    def _check(self, second: Second) -> None:
        """See to it that all of them can be of this route.

        Raises:
            RefusedError: one of them cannot.
        """
        self._versions.refuse_strangers(second, {record.backend for record in second.records})
        if self.subject.question.budget is not None:
            stages.refuse_unweighted(self.subject.name, second)

    def _count(self, second: Second) -> None:
        if not second.records:
            return
        self.records += len(second.records)
        told = [] if second.plain else [at for at, one in enumerate(second.records) if one.truth is not UNSET]
        rest = second
        if told:
            kept = [record for record in second.records if record.truth is UNSET]
            rest = Second(second.second, kept, np.delete(second.lines, told))
        for place, records in self._by_place(rest):
            self._counting.count(place, records, rest.plain)
        for at_ in told:
            self._counting.tell(int(second.lines[at_]), second.records[at_])

    def _by_place(self, second: Second) -> Iterator[tuple[Spot, Sequence[Record[Any]]]]:
        """The records by stage, in the order of stages; what was assigned is told in between."""
        records = second.records
        usual = {*product({record.stage for record in records}, {record.weight for record in records})}
        if not usual <= self._usual:  # sooner found than the pairs that there are, which are fewer
            usual = {(record.stage, record.weight) for record in records}
        if usual <= self._usual and (second.plain or not any(record.assigned is not None for record in records)):
            yield self._here, records
            return
        here: list[Record[Any]] = []
        for line, record in zip(second.lines, records, strict=True):
            if record.assigned is not None:
                yield self._here, here
                here = []
                self._counting.lose(self._here, int(line), record.assigned)
                continue
            key = key_of(record)
            stage = self._here.stage
            if key is not None and (stage is None or key != stage.key):
                if self._is_straggler(key):
                    yield self._before, [record]
                    continue
                yield self._here, here
                here = []
                self._go_on(int(line), record)
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

    def _go_on(self, line: int, record: Record[Any]) -> None:
        """A record begins another stage than the one that goes on."""
        assert self.state is not None
        taken = self.state.stage if self._stage is None and self._second > _START else None
        stage = self._stages.begin(record, taken)
        self._make_room(line, stage)
        self._drive.plan = followed(self._file_plan, stage.is_last)
        self._drive.move_to(record.t)
        self._stage = stage
        entry = Entry("step", f"stage {stage.number} of the records begins{', the last one' if stage.is_last else ''}")
        self._drive.take((follow(self.state, stage, self._stages.mirror_ppm, record.t), (Route(), entry)))

    def _make_room(self, line: int, stage: Stage) -> None:
        """See to it that there are rows for another stage."""
        if self._lending.spare < self._versions.arms:
            message = f"stage {stage.number} begins, after more than {_STAGES - 2} others within {QUARANTINE_S:g} s"
            remedy = "a stage is a time of constant weights: say in each record which it is of, or leave it away in all"
            raise RefusedError(line, message, remedy)


def _follow_on(before: Sequence[Track], after: Sequence[Track], last: int) -> None:
    """Close what others take the place of, though its rows go on: records may give their first stage the number that
    the rollout has begun with, and another weight."""
    replaced = {track.rival for track in after if track.judged and track not in before}
    for track in before:
        if track.judged and track.until is None and track.rival in replaced:
            track.until = last


def _recorded(subject: Subject) -> steps.Plan:
    """The plan of a rollout on records. Nobody can ask a recorded endpoint whether it is well, nor a webhook what it
    says of a rollout that there is not, and after the promotion there is nothing to compare.

    Raises:
        ValueError: nothing would be compared.
    """
    plan, name = subject.plan, subject.name
    if plan is None:
        raise ValueError(f"route {name} has no strategy, so that no candidate is judged")
    if isinstance(plan.ending, steps.Swap):
        raise ValueError(f"route {name} swaps its versions (recreate): none is judged beside the other")
    plan = steps.ungated(plan)
    kept = tuple(step for step in plan.steps if not isinstance(step, steps.Smoke))
    if not kept and isinstance(plan.ending, steps.Promotion) and not plan.ending.proof:
        remedy = "add blueGreen.mirror to have the candidate judged by copies first"
        raise ValueError(f"route {name} switches on its smoke requests alone: nothing is compared before; {remedy}")
    return replace(plan, steps=kept, bake=None)
