"""All that is alive of one route: its rollout's state and judge, its rows and tracks, and what was counted before.

The controller owns the time, the store and the workers; a subject knows what to read, what to ask of its judge, and
what of it must be kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import structlog

from analysis import contest
from analysis.contest import Bench
from analysis.panel import Panel
from analysis.plan import Plan as Question
from analysis.summaries import Repeats, Slice
from analysis.verdict import Verdict
from config import schema
from config.rollouts.recreate import SwapHook
from config.rollouts.takeover import SmokeRequest
from proxy.control.evidence import dossier, holdings, judging, tally
from proxy.control.evidence.holdings import Arm, Holdings
from proxy.control.evidence.lending import Lending, Loan
from proxy.control.evidence.silence import Silences
from proxy.control.evidence.tally import ArmTally
from proxy.control.evidence.tracks import Track, add_pairs, add_repeats
from proxy.control.evidence.truths import Truths
from proxy.control.machine import moves, steps
from proxy.control.machine.rollout import TERMINAL, Look, Phase, State
from proxy.control.machine.state import NOT_AWAY, Away
from proxy.control.routing.compile import Layout, layout
from proxy.control.storage.recording import Recorder
from proxy.control.storage.seen import Chunk
from proxy.ledger.reader import Reader
from proxy.snapshot import CIRCLE

Where = tuple[int, Lending, float, float]
"""The boot of the ledger, who lends its rows, its clock and the wall's."""
_LOG = structlog.get_logger("understudy.subject")
_INTERVAL_SLACK_S: Final = 0.5
"""Ticks are never quite a whole interval apart."""


@dataclass(frozen=True, slots=True)
class Collected:
    """The evidence of one rollout as it stood at a moment that one can go back to."""

    judge: Bench | None = None
    holdings: Holdings = field(default_factory=Holdings)
    past: Mapping[Arm, ArmTally] = field(default_factory=dict)
    compared: float = 0.0
    pairs: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    truths: Truths = field(default_factory=Truths)
    repeated: Mapping[str, Repeats] = field(default_factory=dict)
    rivals: Mapping[str, dossier.KeptPairs] = field(default_factory=dict)
    """What `compared`, `pairs` and `repeated` are of one candidate, for each of several."""

    def paired(self, tracks: Iterable[Track], rival: str = "") -> dossier.KeptPairs:
        """What was compared of a candidate (of the only one: empty), with what these tracks of it have."""
        nothing = dossier.KeptPairs(0.0, {}, {})
        alone = dossier.KeptPairs(self.compared, dict(self.pairs), dict(self.repeated))
        found = self.rivals.get(rival, nothing) if rival else alone
        for track in tracks:
            if track.rival == rival:
                found = dossier.KeptPairs(
                    found.compared + track.compared,
                    add_pairs(found.disagreed, track.disagreed),
                    add_repeats(found.repeated, track.repeated),
                )
        return found


@dataclass(slots=True)
class Subject:
    """One route. `state` is None for a route without a rollout, and while the store cannot be read."""

    route: schema.Route
    plan: steps.Plan | None
    question: Question
    state: State | None = None
    collected: Collected = field(default_factory=Collected)
    verdict: Verdict | None = None
    judged: tuple[Verdict, float] | None = None
    """What the judge said last, and after how many seconds of the rollout."""
    kept_verdict: Mapping[str, object] | None = None
    clock_offset_s: int = 0
    generation: int = 0
    """The first generation whose snapshot has the present stage."""
    routed_stage: int = -1
    applied_stage: int = -1
    looked_s: float = 0.0
    silence: Silences = field(default_factory=Silences)
    error: str = ""
    stumbled: str = ""
    """What a tick of it ended in last that nobody had foreseen (`isolation`)."""
    recorder: Recorder = field(default_factory=Recorder)
    read_s: float = 0.0
    """When it was read last, by the clock of its states."""
    ahead_s: float = 0.0
    """What that clock is ahead of the ledger's."""
    away: Away = NOT_AWAY
    """Of what was kept: how long nobody has read it until it was taken up."""

    @classmethod
    def of(cls, config: schema.Config, route: schema.Route) -> Subject:
        """A route as its configuration has it, with nothing counted yet."""
        return cls(route, judging.plan(config, route), judging.question(route))

    @property
    def name(self) -> str:
        """The route's name."""
        return self.route.name

    @property
    def active(self) -> bool:
        """Whether a rollout is going on."""
        return self.state is not None and self.state.phase not in TERMINAL

    @property
    def layout(self) -> Layout:
        """Who gets what at present."""
        return layout(self.route, self.state)

    @property
    def tracks(self) -> tuple[Track, ...]:
        """What is read of it."""
        return self.collected.holdings.tracks

    @property
    def hook(self) -> SwapHook | None:
        """Who stops and starts what takes the place of another; None where nothing does."""
        return self.route.strategy.hook if self.route.strategy else None

    @property
    def smokes(self) -> Sequence[SmokeRequest]:
        """What an endpoint that is started is asked before it serves."""
        given = self.route.strategy
        replaces = None if given is None else given.recreate or given.rolling_update
        return () if replaces is None else replaces.smoke

    @property
    def smoke(self) -> Sequence[SmokeRequest] | None:
        """What the candidate's endpoints are to be asked now; None where the step does not ask them."""
        if self.state is None or self.state.phase not in (Phase.WAITING, Phase.PROGRESSING) or self.plan is None:
            return None
        switch = self.route.strategy.blue_green if self.route.strategy else None
        return switch.smoke if switch is not None and moves.at_smoke(self.plan, self.state) else None

    # --- every tick
    def read(self, reader: Reader, now_s: float, wall_s: float = 0.0) -> None:
        """Take in the slices that have closed. `now_s` is the ledger's clock, `wall_s` what recordings are dated by."""
        self.read_s, self.ahead_s = wall_s, wall_s - now_s
        waiting: set[str] = set()
        for track in self.tracks:
            if track.judged and track.rival in waiting:
                continue  # stages are judged one after the other
            skipped, arrived = track.skipped, track.arrived
            for slice_ in track.read(reader, now_s, self.clock_offset_s):
                self.observe(slice_, wall_s, track.weight_ppm)
            if not track.judged and track.arrived > arrived:
                self.silence.end()
            if track.skipped > skipped:
                _LOG.warning("slices were overwritten before they were read: the evidence has a gap",
                             route=self.name, seconds=track.skipped - skipped)  # fmt: skip
            if track.judged and not track.done:
                waiting.add(track.rival)
        self._drop_ended()

    def observe(self, slice_: Slice, wall_s: float = 0.0, weight_ppm: int | None = None) -> None:
        """Show a slice to the judge; one that cannot be judged is an error until the next that can. What is dated is
        recorded, as of a weight; None: the candidate's share."""
        judge = self.collected.judge
        if judge is None:
            return
        control = "baseline" if self.state is not None and self.state.baseline else "stable"
        if told := self.collected.truths.take(slice_.stage, control, slice_.rival):
            slice_ = replace(slice_, truths=told)
        try:
            judge.observe(slice_)
            self.silence.observe(slice_, self.state.mirror_ppm / CIRCLE if self.state is not None else 0.0)
            self.error = ""
            if self.active and wall_s:
                self.recorder.add(slice_, wall_s, weight_ppm)
        except ValueError as error:
            self.error = str(error)
            _LOG.error("a slice cannot be judged", route=self.name, reason=self.error)

    def _drop_ended(self) -> None:
        tracks = self.tracks
        wanted = {id(track) for track in holdings.shown(tracks).values()}
        ended = [track for track in tracks if track.done and id(track) not in wanted]
        if not ended:
            return
        it = self.collected
        left = replace(it.holdings, tracks=tuple(track for track in tracks if track not in ended))
        sums = {rival: it.paired(ended, rival) for rival in {track.rival for track in ended if track.rival}}
        alone = it.paired([track for track in ended if not track.rival])
        self.collected = replace(it, holdings=left, compared=alone.compared, pairs=alone.disagreed,
                                 repeated=alone.repeated, rivals={**it.rivals, **sums})  # fmt: skip

    def is_due(self, now_s: float) -> bool:
        """Whether it is time for the next look, which an outage does not wait for. `now_s` is the ledger's clock."""
        judge = self.collected.judge
        tripped = judge is not None and judge.tripped
        return tripped or now_s - self.looked_s >= self.route.analysis.interval - _INTERVAL_SLACK_S

    def look(self, now_s: float) -> Look:
        """What the judge says now (wall clock)."""
        judge, state = self.collected.judge, self.state
        if self.error:
            return Look(None, self.error)
        if judge is None or state is None:
            return Look(None)
        elapsed_s = 0.0 if state.phase is Phase.WAITING else max(0.0, now_s - state.started_s)
        verdict = judge.verdict(elapsed_s)
        self.judged = verdict, elapsed_s
        if state.phase is not Phase.PROMOTING or verdict.abort or self.verdict is None:
            self.verdict = verdict  # while the candidate takes over, what decided for it stays what is shown
        self.silence.keep(state.racing)
        unseen_s, unseen = self.silence.unseen
        return Look(verdict, "", self.silence.idle_s, unseen_s, unseen=unseen)

    def forget_row(self, loan: Loan, counted: ArmTally) -> None:
        """A row of this rollout is free from now on; what it counted stays."""
        rows = self.collected.holdings.rows
        if loan not in rows:
            return
        arm, counted = (loan.backend, loan.role), replace(counted, totals=counted.totals.over)
        past = dict(self.collected.past)
        past[arm] = past[arm] + counted if arm in past else counted
        left = tuple(row for row in rows if row != loan)
        self.collected = replace(self.collected, holdings=replace(self.collected.holdings, rows=left), past=past)

    def tallies(self, reader: Reader) -> dict[Arm, ArmTally]:
        """All that each arm did in this rollout (a route without one: since the start)."""
        return _tallies(self.collected, reader)

    # --- changes
    def settled(self, state: State | None, fresh: bool, lending: Lending, slice_: int) -> Collected:
        """What would be collected in a state, with rows for it; `fresh` begins without evidence."""
        before = Collected(judge=contest.begin(self.question)) if fresh else self.collected
        plan = layout(self.route, state)
        settled = holdings.settle(self.route, plan, state, before.holdings, lending, slice_)
        before.truths.know(settled.loans.values(), state.racing if state is not None and state.race else ("",))
        judge = None if before.judge is None else judging.bench(before.judge, state)
        return replace(before, holdings=settled, judge=judge)

    def install(self, state: State | None, collected: Collected) -> list[Loan]:
        """Go over to a state and what was settled for it; returns the rows that are in use no longer."""
        returned = self.collected.holdings.returned(collected.holdings)
        if not _same_evidence(collected.judge, self.collected.judge):
            self.verdict, self.judged, self.kept_verdict, self.error = None, None, None, ""
            self.silence, self.recorder = Silences(), Recorder()
        self.state, self.collected, self.away = state, collected, NOT_AWAY
        return returned

    def routed(self, generation: int) -> None:
        """A snapshot of this generation has the present state; the first one with its stage is remembered."""
        stage = -1 if self.state is None else self.state.stage
        if stage != self.routed_stage:
            self.routed_stage, self.generation = stage, generation

    def begin_clock(self, now_s: float, wall_s: float) -> None:
        """Set the clock of slices to the wall's, once: it may not go back while a judge listens."""
        if not self.clock_offset_s:
            self.clock_offset_s = math.ceil(wall_s - now_s)

    # --- memory
    def dump(self, reader: Reader, state: State | None = None, collected: Collected | None = None) -> bytes:
        """The blob for the store, of a state and what is collected in it; by default of what is installed."""
        it = self.collected if collected is None else collected
        judge = it.judge
        kept = dossier.Dossier(
            boot=reader.shape.boot,
            clock_offset_s=self.clock_offset_s,
            judge=None if judge is None else judge.dump(),
            loans=tuple(it.holdings.loans.values()),
            rows=it.holdings.rows,
            tracks=tuple(dossier.keep_track(track) for track in it.holdings.tracks),
            past=tuple(dossier.keep_arm(*arm, counted) for arm, counted in it.past.items()),
            sums=tuple(dossier.keep_arm(*arm, counted) for arm, counted in _tallies(it, reader).items()),
            compared=it.compared,
            pairs=dict(it.pairs),
            truths=it.truths.dump(),
            repeated=dict(it.repeated),
            of=_name_of(self.state if state is None else state),
            rivals=dict(it.rivals),
            read_s=self.read_s,
            ahead_s=self.ahead_s,
        )
        return dossier.encode(kept)

    def take_up(self, blob: bytes | None, seen: Iterable[Chunk], where: Where) -> None:
        """Go on with what was kept, or with fresh evidence where that cannot be used: it is valid evidence as well."""
        try:
            self.revive(blob, seen, *where)
        except ValueError as error:
            _LOG.error("kept evidence is lost: the rollout goes on with fresh evidence",
                       route=self.name, reason=str(error))  # fmt: skip
            self.revive(None, (), *where)

    def revive(
        self,
        blob: bytes | None,
        seen: Iterable[Chunk],
        boot: int,
        lending: Lending,
        now_s: float,
        wall_s: float,
    ) -> None:
        """Go on with what was kept. In another boot the rows are gone, and the clock of slices is set anew.

        Raises:
            ValueError: the blob cannot be read, or is of another rollout.
        """
        kept = None if blob is None else dossier.decode(blob)
        if kept is not None and kept.of not in ("", _name_of(self.state)):
            # A reload of several routes that the store took in part: the rollout that went on kept its evidence.
            raise ValueError(
                f"it is of another rollout than that of {self.state.candidate if self.state else 'nobody'}"
            )
        if kept is None:
            self.begin_clock(now_s, wall_s)
            self.collected = Collected(judge=contest.begin(self.question))
            return
        stepped_s = wall_s - now_s - kept.ahead_s if kept.ahead_s and kept.boot == boot else 0.0
        self.away = Away(wall_s - kept.read_s - stepped_s, stepped_s) if kept.read_s else NOT_AWAY
        self.read_s, self.ahead_s = wall_s, wall_s - now_s
        judge = contest.begin(self.question) if kept.judge is None else contest.resume(self.question, kept.judge)
        past = kept.past if kept.boot == boot else kept.sums
        self.collected = Collected(
            judge=judge,
            past={(arm.backend, arm.role): dossier.revive_arm(arm) for arm in past},
            compared=kept.compared,
            pairs=kept.pairs,
            truths=Truths.load(kept.truths, seen),
            repeated=kept.repeated,
            rivals=kept.rivals,
        )
        if kept.boot == boot:
            self.clock_offset_s = kept.clock_offset_s
            self._revive_rows(kept, lending, now_s)
        else:
            self._revive_sums(kept)
            last = max((track.next_slice for track in kept.tracks), default=0) + kept.clock_offset_s
            self.clock_offset_s = max(math.ceil(wall_s - now_s), last + 1 - int(now_s))

    def _revive_rows(self, kept: dossier.Dossier, lending: Lending, now_s: float) -> None:
        in_use = [loan for loan in kept.loans if loan.index >= 0 and lending.claim(loan)]
        resting = [loan for loan in kept.rows if loan.index >= 0 and loan not in in_use and lending.claim(loan, now_s)]
        loans = {(loan.backend, loan.role): loan for loan in in_use}
        tracks = tuple(dossier.revive_track(track) for track in kept.tracks)
        self.collected = replace(self.collected, holdings=Holdings(loans, (*in_use, *resting), tracks))

    def _revive_sums(self, kept: dossier.Dossier) -> None:
        """Tracks of another boot are read no further; what they read is still shown."""
        tracks = tuple(dossier.revive_track(track) for track in kept.tracks)
        for track in tracks:
            track.until = track.next_slice - 1
        self.collected = replace(self.collected, holdings=Holdings(tracks=tracks))


def _name_of(state: State | None) -> str:
    """What tells a rollout from those before it in the same route."""
    return "" if state is None else f"{state.candidate_digest} {state.plan_digest} {state.attempt}"


def _same_evidence(one: Bench | None, other: Bench | None) -> bool:
    return one is other or (isinstance(one, Panel) and one.shares(other))


def _tallies(collected: Collected, reader: Reader) -> dict[Arm, ArmTally]:
    sums = dict(collected.past)
    for loan in collected.holdings.rows:
        arm = (loan.backend, loan.role)
        sums[arm] = sums.get(arm, ArmTally.empty()) + tally.read(reader, loan)
    return sums
