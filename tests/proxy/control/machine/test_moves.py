"""The laws of a rollout, under any sequence of events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from analysis.readings import RampReading
from proxy.control.machine import rollout, steps
from proxy.control.machine.rollout import (
    TERMINAL,
    Abort,
    Applied,
    Checked,
    Event,
    IllegalEvent,
    Look,
    Pause,
    Phase,
    Plan,
    Promote,
    Resume,
    Retry,
    Route,
    State,
    Undo,
)
from proxy.snapshot import CIRCLE


@dataclass(frozen=True)
class Ratio:
    """The attributes of its ratio reading."""

    flagged: bool
    text: str = "comparison unreliable"


@dataclass(frozen=True)
class Verdict:
    """The attributes of `analysis.verdict.Verdict` that the machine reads."""

    stage: int
    stage_stable: float
    stage_candidate: float
    stage_pairs: float
    abort: bool
    proven: bool
    inconclusive: bool
    winner: str = ""
    ratio: Ratio = Ratio(False)
    decided_by: str = "errors"
    reason: str = "errors rose"
    contest_text: str = "errors: 1 % against 2 %"
    ramp: RampReading | None = None


shares = st.sampled_from([0, 10_000, 250_000, 500_000, CIRCLE])
counts = st.sampled_from([0.0, 1.0, 10.0, 1000.0, 1000.0])
seconds = st.sampled_from([0.0, 1.0, 5.0, 30.0])
ladders = st.lists(
    st.one_of(
        st.builds(steps.SetMirror, shares),
        st.builds(steps.SetWeight, shares),
        st.builds(steps.Pause, st.none() | seconds),
        st.builds(steps.Analysis, st.none() | st.sampled_from([0, 5, 10]), st.none() | seconds, st.booleans()),
        st.builds(steps.Smoke, st.sampled_from([0, 2])),
        st.just(steps.Ramp((10_000, 250_000, 500_000), 50)),
    ),
    min_size=1,
    max_size=5,
).map(tuple)
endings = st.sampled_from([
    steps.Promotion(),
    steps.Promotion(),
    steps.Promotion(proof=False),
    steps.Report(),
    steps.Contest("promote"),
    steps.Contest("keep"),
])  # fmt: skip
bakes = st.none() | st.builds(steps.Bake, seconds, shares)
limits = st.fixed_dictionaries({
    "progress_deadline_s": st.none() | st.sampled_from([5.0, 300.0]),
    "on_no_traffic": st.sampled_from(["wait", "pause", "abort"]),
    "on_ratio": st.sampled_from(["pause", "continue", "abort"]),
})  # fmt: skip
ramps = st.none() | st.sampled_from([0.0, 0.01, 0.25, 0.5]).map(
    lambda allowed: RampReading(50.0, 3.0, 0.04, 31.0, allowed, 0.5, 0.03, 40.0, 100.0, 1.0, 100.0, "at 1 %")
)
sometimes = st.integers(0, 3).map(lambda drawn: drawn == 2)
rarely = st.integers(0, 19).map(lambda drawn: drawn == 7)
actors = st.just("ann")
operator_events = st.one_of(
    st.builds(Promote, actors, rarely),
    st.builds(Pause, actors),
    st.builds(Resume, actors),
    st.builds(Retry, actors),
    rarely.map(lambda rare: Undo("ann") if rare else Resume("ann")),
    rarely.map(lambda rare: Abort("ann") if rare else Promote("ann")),
)


class Laws(RuleBasedStateMachine):
    """A rollout that is thrown at, with every decision held against the promises."""

    @initialize(
        ladder=ladders,
        on_inconclusive=st.sampled_from(["pause", "abort"]),
        ending=endings,
        bake=bakes,
        limit=limits,
    )
    def begins(
        self,
        ladder: tuple[steps.Step, ...],
        on_inconclusive: str,
        ending: steps.Ending,
        bake: steps.Bake | None,
        limit: dict[str, Any],
    ) -> None:
        self.now_s = 0.0
        if not isinstance(ending, steps.Promotion):
            bake = None
        self.plan = Plan(
            "r", "v1", "v2", "c2", "p1", ladder, 10, 5.0, 1000.0, on_inconclusive, ending=ending, bake=bake, **limit
        )
        self.state, actions = rollout.begin(self.plan, self.now_s)
        assert Route() in actions
        assert self.state.phase in (Phase.WAITING, Phase.PAUSED)

    @rule(passed_s=st.sampled_from([0.0, 1.0, 5.0, 30.0, 400.0, -20.0]))
    def time_passes(self, passed_s: float) -> None:
        self.now_s += passed_s

    @rule(
        stage_stable=counts,
        stage_candidate=counts,
        stage_pairs=counts,
        lag=sometimes,
        abort=rarely,
        proven=st.booleans(),
        inconclusive=sometimes,
        winner=st.sampled_from(["", "", "candidate", "none"]),
        ratio=rarely.map(Ratio),
        ramp=ramps,
        idle_s=st.sampled_from([0.0, 0.0, 0.0, 400.0]),
        unseen_s=st.sampled_from([0.0, 0.0, 0.0, 0.0, 400.0]),
    )
    def a_verdict_comes(self, lag: bool, idle_s: float, unseen_s: float, **facts: Any) -> None:
        self.look(Verdict(stage=self.state.stage - lag, **facts), idle_s, unseen_s)

    @rule(
        looks=st.integers(1, 4),
        proven=st.booleans(),
        inconclusive=sometimes,
        winner=st.sampled_from(["", "candidate", "none"]),
        ramp=ramps,
    )
    def traffic_flows(
        self, looks: int, proven: bool, inconclusive: bool, winner: str, ramp: RampReading | None
    ) -> None:
        for _ in range(looks):
            self.now_s += 31.0
            self.look(Verdict(self.state.stage, 1000, 1000, 1000, False, proven, inconclusive, winner, ramp=ramp))

    @rule(lag=sometimes, failure=st.sampled_from(["", "", "endpoint 2 answers 503"]))
    def endpoints_are_asked(self, lag: bool, failure: str) -> None:
        step = self.state.step
        asks = self.smokes and self.state.phase in (Phase.WAITING, Phase.PROGRESSING) and not lag
        before, after = self.fire(Checked(self.state.stage - lag, step, failure))
        assert (after.step > before.step) == (asks and not failure)
        if after.phase is Phase.PROMOTING and before.phase is not Phase.PROMOTING:
            assert not self.wants_proof

    @property
    def smokes(self) -> bool:
        step = self.state.step
        return step < len(self.plan.steps) and isinstance(self.plan.steps[step], steps.Smoke)

    @property
    def wants_proof(self) -> bool:
        ending = self.plan.ending
        return not isinstance(ending, steps.Promotion) or ending.proof

    @rule(error=st.sampled_from(["", "the ledger cannot be read"]))
    def nothing_can_be_judged(self, error: str) -> None:
        before, after = self.fire(Look(None, error))
        assert after.weight_ppm <= before.weight_ppm
        assert after.step == before.step
        assert after.phase is before.phase or after.phase in (Phase.PAUSED, Phase.ABORTED, Phase.FAILED)

    @rule(lag=st.sampled_from([0, 1]))
    def workers_acknowledge(self, lag: int) -> None:
        before, after = self.fire(Applied(self.state.stage - lag))
        if before.phase is Phase.PROMOTING and not lag:
            assert after.phase is (Phase.SUCCEEDED if self.plan.bake is None else Phase.BAKING)
        else:
            assert after.phase is before.phase

    @rule(event=operator_events)
    def an_operator_speaks(self, event: Event) -> None:
        before = self.state
        try:
            _, after = self.fire(event)
        except IllegalEvent:
            assert self.state == before
            return
        if after.phase is Phase.PROMOTING and before.phase is not Phase.PROMOTING:
            if self.wants_proof:
                assert isinstance(event, Promote)
                assert event.full
            else:
                assert isinstance(event, Promote | Resume)
            assert not isinstance(self.plan.ending, steps.Report)
        if isinstance(event, Undo):
            assert (after.phase, after.weight_ppm) in ((Phase.ABORTED, 0), (Phase.FAILED, 0))
        if isinstance(event, Abort):
            assert self.fire(event) == (after, after), "a second abort has changed something"
        if before.phase in (Phase.ABORTED, Phase.FAILED) and after != before:
            assert isinstance(event, Retry)
            assert after.attempt == before.attempt + 1

    @rule(new_candidate=rarely, new_plan=sometimes)
    def the_file_is_read_again(self, new_candidate: bool, new_plan: bool) -> None:
        before = self.state
        digest = before.candidate_digest + "'" * new_candidate
        plan_digest = before.plan_digest + "'" * new_plan
        self.plan = replace(self.plan, candidate_digest=digest, digest=plan_digest)
        self.state, actions = rollout.adopt(self.plan, before, self.now_s)
        if digest != before.candidate_digest:
            assert (self.state.attempt, self.state.candidate_digest) == (1, digest)
            assert self.state.phase in (Phase.WAITING, Phase.PAUSED)
            assert Route() in actions
        elif not new_plan:
            assert (self.state, actions) == (before, ())
        elif before.phase in TERMINAL:
            assert replace(self.state, plan_digest=before.plan_digest) == before

    @invariant()
    def the_state_makes_sense(self) -> None:
        state = getattr(self, "state", None)
        if state is None:
            return
        assert (state.phase is Phase.PAUSED) == bool(state.paused_by)
        assert (state.phase in TERMINAL) == (state.ended_s is not None)
        assert not (state.phase in TERMINAL and not state.verdict)
        if state.phase in (Phase.ABORTED, Phase.FAILED):
            assert (state.weight_ppm, state.mirror_ppm) == (0, 0)
        if state.phase in (Phase.PROMOTING, Phase.BAKING):
            assert state.weight_ppm == CIRCLE
        if state.phase is Phase.SUCCEEDED:
            assert state.mirror_ppm == 0
            if isinstance(self.plan.ending, steps.Promotion):
                assert state.weight_ppm == CIRCLE
            if isinstance(self.plan.ending, steps.Report):
                assert state.weight_ppm == 0
        assert state.reason

    def look(self, verdict: Verdict, idle_s: float = 0.0, unseen_s: float = 0.0) -> None:
        before, after = self.fire(Look(verdict, "", idle_s, unseen_s))
        if verdict.abort and before.phase not in TERMINAL:
            assert (after.phase, after.verdict, after.weight_ppm) == (Phase.ABORTED, "Failed", 0)
        if after.phase is Phase.PROMOTING and before.phase is not Phase.PROMOTING and self.wants_proof:
            assert verdict.winner == "candidate" if isinstance(self.plan.ending, steps.Contest) else verdict.proven
            assert before.weight_ppm > 0
            assert verdict.stage == before.stage
            assert before.phase is Phase.PROGRESSING
        if after.phase is Phase.SUCCEEDED and before.phase is not Phase.SUCCEEDED:
            assert verdict.stage == before.stage, "silence has succeeded"
            assert verdict.stage_candidate or verdict.stage_pairs
        decided = bool(verdict.winner) if isinstance(self.plan.ending, steps.Contest) else verdict.proven
        held = verdict.ratio.flagged and self.plan.on_ratio != "continue"
        if (verdict.inconclusive and not decided) or held:
            assert after.weight_ppm <= before.weight_ppm
        step = before.step
        if step < len(self.plan.steps) and isinstance(self.plan.steps[step], steps.Ramp) and after.step == step:
            assert after.phase in TERMINAL or after.weight_ppm >= before.weight_ppm, "users were taken away"
            allowed = round(verdict.ramp.allowed * CIRCLE) if verdict.ramp else 0
            assert after.weight_ppm <= max(before.weight_ppm, allowed), "more than the evidence allows"
        exposed = before.weight_ppm or before.mirror_ppm
        if exposed and not (verdict.stage_candidate or verdict.stage_pairs):
            assert after.weight_ppm <= before.weight_ppm, "silence has raised the weight"

    def fire(self, event: Event) -> tuple[State, State]:
        before = self.state
        after, actions = rollout.step(self.plan, before, event, self.now_s)
        changed = (after.weight_ppm, after.mirror_ppm) != (before.weight_ppm, before.mirror_ppm)
        assert after.stage == before.stage + changed
        assert Route() in actions or not changed
        if before.phase in TERMINAL and not isinstance(event, Retry | Undo):
            assert (after, actions) == (before, ())
        self.state = after
        return before, after


TestLaws = Laws.TestCase
TestLaws.settings = settings(max_examples=300, stateful_step_count=50, deadline=None, derandomize=True)
