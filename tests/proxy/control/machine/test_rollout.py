"""The rollout machine: every phase and event, and the promises of its docstring."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from analysis.readings import RampReading
from proxy.control.machine import rollout, steps
from proxy.control.machine.rollout import (
    TABLE,
    TAKEN_OVER,
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
    Record,
    Resume,
    Retry,
    Route,
    State,
    Swapped,
    Undo,
)
from proxy.control.machine.swaps import HELD
from proxy.snapshot import CIRCLE

DOCUMENT = Path(__file__).parents[4] / "docs" / "rollout.md"


@dataclass(frozen=True)
class Ratio:
    """The attributes of its ratio reading."""

    flagged: bool = False
    text: str = "comparison unreliable"


@dataclass(frozen=True)
class Verdict:
    """The attributes of `analysis.verdict.Verdict` that the machine reads."""

    stage: int = 1
    stage_stable: float = 0
    stage_candidate: float = 0
    stage_pairs: float = 0
    abort: bool = False
    proven: bool = False
    inconclusive: bool = False
    decided_by: str = "errors"
    reason: str = "errors rose by 3 pp, margin 0.2 pp"
    ratio: Ratio = Ratio()
    winner: str = ""
    contest_text: str = "errors: 1 % against 2 %"
    ramp: RampReading | None = None
    least_pass: float = 20.0


def seen(stage: int, n: float = 100, **rest: object) -> Look:
    return Look(Verdict(stage=stage, stage_stable=n, stage_candidate=n, **rest))


HARM = Look(Verdict(abort=True))
BLIND = Look(None, "the ledger cannot be read")
LADDER = (
    steps.SetMirror(CIRCLE),
    steps.Analysis(50, None),
    steps.SetWeight(50_000),
    steps.SetMirror(0),
    steps.Analysis(None, 30.0),
    steps.Pause(60.0),
    steps.Pause(None),
    steps.SetWeight(500_000),
    steps.Analysis(None, None),
)


def plan(*ladder: steps.Step, **rest: object) -> Plan:
    base = Plan(
        route="fraud",
        stable="v1",
        candidate="v2",
        candidate_digest="c2",
        digest="p1",
        steps=ladder or LADDER,
        min_samples=100,
        min_duration_s=20.0,
        max_duration_s=1000.0,
        on_inconclusive="pause",
    )
    return replace(base, **rest)


def play(p: Plan, *script: tuple[float, Event]) -> State:
    """The state after the events at these times; the rollout begins at 0."""
    state, _ = rollout.begin(p, 0.0)
    for now_s, event in script:
        state, _ = rollout.step(p, state, event, now_s)
    return state


ONE = (steps.SetWeight(100_000), steps.Analysis(None, None))


def in_phase(phase: Phase) -> tuple[Plan, State]:
    """A rollout in a phase, by the shortest way there."""
    p = plan(*ONE, on_inconclusive="abort", bake=steps.Bake(60.0, CIRCLE) if phase is Phase.BAKING else None)
    ways: dict[Phase, tuple[tuple[float, Event], ...]] = {
        Phase.WAITING: (),
        Phase.PROGRESSING: ((1, seen(1)),),
        Phase.PAUSED: ((1, seen(1)), (2, Pause("ann"))),
        Phase.PROMOTING: ((1, Promote("ann", full=True)),),
        Phase.BAKING: ((1, Promote("ann", full=True)), (2, Applied(2))),
        Phase.SUCCEEDED: ((1, Promote("ann", full=True)), (2, Applied(2))),
        Phase.ABORTED: ((1, Abort("ann")),),
        Phase.FAILED: ((1, seen(1)), (1001, BLIND)),
        Phase.SWAPPING: (),
        Phase.REVERTING: ((1, Applied(1)), (1, Swapped(1, "drain")), (2, Abort("ann"))),
    }
    if phase in HELD:
        p = replace(p, steps=(), ending=steps.Swap(5.0, 60.0))
    state = play(p, *ways[phase])
    assert state.phase is phase
    return p, state


def test_a_good_candidate_climbs_every_step() -> None:
    """If broken, the ordinary promotion: each step in its order, each change of weight a stage, and never too early."""
    p = plan()
    state, actions = rollout.begin(p, 0.0)
    assert (state.phase, state.step, state.stage, state.weight_ppm, state.mirror_ppm) == ("Waiting", 1, 1, 0, CIRCLE)
    assert actions[0] == Route()
    script: list[tuple[float, Event, str, int, int, int]] = [
        # time, event, then phase, step, stage, weight
        (1, seen(1, 0), "Waiting", 1, 1, 0),
        (2, seen(1, 49), "Progressing", 1, 1, 0),
        (3, seen(1, 49), "Progressing", 1, 1, 0),
        (4, seen(1, 50), "Progressing", 4, 2, 50_000),
        (5, seen(1, 9000), "Progressing", 4, 2, 50_000),
        (33, seen(2, 100), "Progressing", 4, 2, 50_000),
        (34, seen(2, 100), "Paused", 5, 2, 50_000),
        (93, seen(2, 200), "Paused", 5, 2, 50_000),
        (94, seen(2, 200), "Paused", 6, 2, 50_000),
        (900, seen(2, 200), "Paused", 6, 2, 50_000),
        (901, Resume("ann"), "Progressing", 8, 3, 500_000),
        (930, seen(3, 300), "Progressing", 8, 3, 500_000),
        (931, seen(3, 300, proven=True), "Promoting", 8, 4, CIRCLE),
        (932, Applied(3), "Promoting", 8, 4, CIRCLE),
        (933, Applied(4), "Succeeded", 8, 4, CIRCLE),
    ]
    for now_s, event, *expected in script:
        state, _ = rollout.step(p, state, event, now_s)
        assert [state.phase, state.step, state.stage, state.weight_ppm] == expected, now_s
    assert (state.verdict, state.decided_by, state.ended_s, state.mirror_ppm) == ("Successful", "evidence", 933, 0)


@pytest.mark.parametrize(
    ("ladder", "event", "now_s", "awaited"),
    [
        (ONE, seen(1, 99, proven=True), 50, "100 samples in stage 1 of each version"),
        (ONE, Look(Verdict(stage_stable=9, stage_candidate=900, proven=True)), 50, "100 samples"),
        (ONE, seen(0, 900, proven=True), 50, "100 samples in stage 1"),
        (ONE, seen(1, 900, proven=True), 20, "20 s that the last stage takes"),
        (ONE, seen(1, 900), 50, "proof"),
        ((steps.SetMirror(CIRCLE), steps.Analysis(None, None)), seen(1, 900, proven=True), 50, "live traffic"),
        ((steps.SetWeight(100_000), steps.Analysis(None, 40.0)), seen(1, 900, proven=True), 40, "40 s that step 2"),
        ((steps.SetWeight(100_000),), seen(1, 99, proven=True), 50, "100 samples"),
    ],
)
def test_promotion_waits_for_everything(
    ladder: tuple[steps.Step, ...], event: Event, now_s: float, awaited: str
) -> None:
    """If broken, a candidate is promoted without samples, time, proof or live traffic, or nobody learns why not."""
    state = play(plan(*ladder), (1, seen(1, 1)), (now_s, event))
    assert state.phase is Phase.PROGRESSING
    assert awaited in state.reason


@pytest.mark.parametrize(
    ("ladder", "verdict"),
    [
        (ONE, Verdict(stage_stable=100, stage_candidate=100, proven=True)),
        ((steps.SetWeight(100_000),), Verdict(stage_stable=100, stage_candidate=100, proven=True)),
        ((steps.SetWeight(CIRCLE),), Verdict(stage_candidate=100, proven=True)),
    ],
)
def test_promotion_comes_when_nothing_is_missing(ladder: tuple[steps.Step, ...], verdict: Verdict) -> None:
    """If broken, a proven candidate waits forever: with the gate implied, or with no traffic left to stable."""
    assert play(plan(*ladder), (1, seen(1, 1)), (21, Look(verdict))).phase is Phase.PROMOTING


@pytest.mark.parametrize("verdict", [Verdict(stage_pairs=100), Verdict(stage_candidate=100)])
def test_copies_alone_are_samples_of_a_mirror_stage(verdict: Verdict) -> None:
    """If broken, a mirror stage waits for live samples that it cannot get."""
    p = plan(steps.SetMirror(10_000), steps.Analysis(None, None), *ONE)
    state = play(p, (1, Look(verdict)), (2, Look(verdict)))
    assert (state.stage, state.weight_ppm, state.mirror_ppm) == (2, 100_000, 10_000)


def test_a_timed_pause_waits_for_a_sample_too() -> None:
    """If broken, time alone raises the weight of a candidate that nobody has seen answer."""
    p = plan(steps.SetWeight(10_000), steps.Pause(10.0), steps.SetWeight(500_000))
    waiting = play(p, (50, seen(1, 0)), (51, seen(0, 100)), (52, Look(None)))
    assert (waiting.phase, waiting.stage) == (Phase.PAUSED, 1)
    assert "waits for a sample in stage 1" in play(p, (50, seen(1, 0))).reason
    assert play(p, (9, seen(1, 1))).stage == 1
    assert play(p, (50, seen(1, 1))).stage == 2


def test_a_pause_before_any_traffic_needs_no_sample() -> None:
    """If broken, a rollout that begins with a pause never begins."""
    p = plan(steps.Pause(10.0), steps.SetWeight(10_000))
    state, actions = rollout.begin(p, 0.0)
    assert (state.phase, state.paused_by, state.stage) == (Phase.PAUSED, "gate", 0)
    assert Route() in actions
    assert play(p, (10, seen(0, 0))).stage == 1


@pytest.mark.parametrize("event", [Look(None), BLIND, seen(1, 0), seen(0, 900, proven=True)])
def test_without_traffic_a_rollout_waits_forever(event: Event) -> None:
    """If broken, a night without traffic ends a rollout, or promotes it."""
    state = play(plan(*ONE), (10, event), (10_000_000, event))
    assert (state.phase, state.stage, state.started_s) == (Phase.WAITING, 1, 0.0)


def test_the_clock_starts_with_the_first_sample() -> None:
    """If broken, time without traffic counts as time under test."""
    state = play(plan(*ONE), (5_000, seen(1, 1)))
    assert (state.started_s, state.stage_started_s, state.step_started_s) == (5_000, 5_000, 5_000)


def test_a_waiting_rollout_without_exposure_says_who_must_act() -> None:
    """If broken, a plan that sends the candidate nothing waits without a word."""
    state = play(plan(steps.Analysis(None, None)), (1, seen(0, 0)))
    assert (state.phase, state.reason.split(":")[0]) == (Phase.WAITING, "waits for an operator")


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase not in TERMINAL | HELD])
def test_harm_aborts_in_every_live_phase(phase: Phase) -> None:
    """If broken, a bad candidate keeps its traffic while a rollout is paused, waiting or being promoted."""
    p, state = in_phase(phase)
    after, actions = rollout.step(p, state, HARM, 5.0)
    assert (after.phase, after.verdict, after.weight_ppm, after.mirror_ppm) == (Phase.ABORTED, "Failed", 0, 0)
    assert (after.decided_by, after.reason, after.ended_s) == ("errors", "errors rose by 3 pp, margin 0.2 pp", 5.0)
    assert after.stage == state.stage + 1
    assert actions == (Route(), Record("abort", after.reason))


@pytest.mark.parametrize("paused_by", ["gate", "operator", "inconclusive"])
def test_harm_aborts_whatever_paused_the_rollout(paused_by: str) -> None:
    """If broken, waiting at a manual gate disables the guardrails."""
    ways: dict[str, State] = {
        "gate": play(plan(steps.SetWeight(10_000), steps.Pause(None))),
        "operator": play(plan(*ONE), (1, Pause("ann"))),
        "inconclusive": play(plan(*ONE), (1, seen(1)), (2, seen(1, inconclusive=True))),
    }
    state = ways[paused_by]
    assert state.paused_by == paused_by
    p = replace(plan(*ONE), steps=(steps.SetWeight(10_000), steps.Pause(None))) if paused_by == "gate" else plan(*ONE)
    assert rollout.step(p, state, HARM, 5.0)[0].phase is Phase.ABORTED


@pytest.mark.parametrize(
    ("event", "decided_by"),
    [(seen(1, 9, inconclusive=True), "evidence"), (seen(1, 9), "maxDuration"), (Look(None), "maxDuration")],
)
def test_an_undecided_rollout_pauses_or_aborts(event: Event, decided_by: str) -> None:
    """If broken, a rollout that cannot be decided goes on, or ends otherwise than its settings say."""
    now_s = 1001 if decided_by == "maxDuration" else 2
    paused = play(plan(*ONE), (1, seen(1)), (now_s, event))
    assert (paused.phase, paused.paused_by, paused.verdict) == (Phase.PAUSED, "inconclusive", "Inconclusive")
    assert (paused.decided_by, paused.stage) == (decided_by, 1)
    aborted = play(plan(*ONE, on_inconclusive="abort"), (1, seen(1)), (now_s, event))
    assert (aborted.phase, aborted.verdict, aborted.weight_ppm) == (Phase.ABORTED, "Inconclusive", 0)


def test_a_proof_is_never_too_late() -> None:
    """If broken, a candidate that is proven at the horizon is called inconclusive."""
    event = seen(1, proven=True, inconclusive=True)
    assert play(plan(*ONE), (1, seen(1)), (2000, event)).phase is Phase.PROMOTING


def test_a_resumed_inconclusive_rollout_holds_its_weight_until_proof() -> None:
    """If broken, resuming after "inconclusive" pauses again at once, or raises the weight without evidence."""
    p = plan(steps.SetWeight(10_000), steps.Analysis(None, None), *ONE)
    script: list[tuple[float, Event]] = [(1, seen(1)), (1001, seen(1)), (1002, Resume("ann")), (1003, seen(1))]
    held = play(p, *script, (1004, Look(None)), (1005, BLIND))
    assert (held.phase, held.verdict, held.stage) == (Phase.PROGRESSING, "Inconclusive", 1)
    assert play(p, *script, (1006, seen(1, proven=True))).stage == 2
    by_hand = play(p, *script, (1006, Promote("ann")), (1007, seen(2)))
    assert (by_hand.phase, by_hand.stage) == (Phase.PROGRESSING, 2)


def test_a_timed_pause_that_ends_inconclusive_does_not_go_on() -> None:
    """If broken, a pause is a way around the horizon."""
    p = plan(steps.SetWeight(10_000), steps.Pause(2000.0), steps.SetWeight(500_000))
    state = play(p, (2000, seen(1)))
    assert (state.phase, state.paused_by, state.stage) == (Phase.PAUSED, "inconclusive", 1)
    resumed = play(p, (2000, seen(1)), (2001, Resume("ann")), (2002, seen(1)))
    assert (resumed.phase, resumed.paused_by, resumed.stage) == (Phase.PAUSED, "gate", 1)


def test_errors_freeze_and_are_said_once() -> None:
    """If broken, evidence that cannot be had moves a rollout, or fills the journal tick by tick."""
    p = plan(*ONE)
    state = play(p, (1, seen(1)))
    frozen, first = rollout.step(p, state, BLIND, 100.0)
    again, second = rollout.step(p, frozen, BLIND, 101.0)
    assert (frozen.phase, frozen.verdict, frozen.stage) == (Phase.PROGRESSING, "Error", 1)
    assert [a.kind for a in first if isinstance(a, Record)] == ["error"]
    assert (again, second) == (frozen, ())
    back, third = rollout.step(p, again, seen(1), 102.0)
    assert (back.verdict, [a.kind for a in third if isinstance(a, Record)]) == ("", ["recovered"])


def test_a_paused_rollout_keeps_its_reason_through_an_error() -> None:
    """If broken, an error makes people forget who paused the rollout and why."""
    state = play(plan(*ONE), (1, seen(1)), (2, Pause("ann")), (3, BLIND), (4, seen(1)))
    assert (state.reason, state.verdict) == ("paused by ann", "")


def test_evidence_that_never_came_fails_the_rollout_where_that_is_wanted() -> None:
    """If broken, "no evidence to be had" looks like a verdict on the candidate."""
    _, state = in_phase(Phase.FAILED)
    assert (state.verdict, state.weight_ppm, state.mirror_ppm) == ("Error", 0, 0)
    assert "the ledger cannot be read" in state.reason


def test_abort_is_idempotent_and_latched() -> None:
    """If broken, an aborted version comes back by itself, or a second abort fails."""
    p, state = in_phase(Phase.ABORTED)
    for event in (Abort("bob"), HARM, seen(2, 900, proven=True), BLIND, Applied(2)):
        assert rollout.step(p, state, event, 99.0) == (state, ())
    for event in (Promote("ann"), Promote("ann", full=True), Pause("ann"), Resume("ann")):
        with pytest.raises(IllegalEvent, match="retry"):
            rollout.step(p, state, event, 99.0)


@pytest.mark.parametrize("phase", [Phase.ABORTED, Phase.FAILED])
def test_retry_begins_again_with_a_new_stage(phase: Phase) -> None:
    """If broken, the same version cannot be tried again, or its old samples fit the new attempt."""
    p, state = in_phase(phase)
    after, actions = rollout.step(p, state, Retry("ann"), 2000.0)
    assert (after.phase, after.step, after.attempt, after.weight_ppm) == (Phase.WAITING, 1, 2, 100_000)
    assert after.stage == state.stage + 1
    assert (after.verdict, after.decided_by, after.ended_s, after.started_s) == ("", "", None, 2000.0)
    assert actions[0] == Route()
    assert isinstance(actions[1], Record)
    assert actions[1].actor == "ann"


def test_operators_pause_and_resume_where_it_stood() -> None:
    """If broken, a pause by hand loses the place in the plan, or is overridden by the time of a step."""
    p = plan(steps.SetWeight(10_000), steps.Pause(10.0), steps.SetWeight(500_000))
    paused = play(p, (1, Pause("ann")), (60, seen(1)))
    assert (paused.phase, paused.paused_by, paused.stage) == (Phase.PAUSED, "operator", 1)
    assert play(p, (1, Pause("ann")), (60, Resume("ann"))).paused_by == "gate"
    assert play(p, (1, Pause("ann")), (60, Resume("ann")), (61, seen(1))).stage == 2
    assert play(p, (1, Resume("ann"))).stage == 2
    manual = plan(steps.SetWeight(10_000), steps.Pause(None), steps.SetWeight(500_000))
    assert play(manual, (1, Pause("ann"))).paused_by == "gate"
    assert play(manual, (1, Promote("ann"))).stage == 2


def test_one_step_by_hand_never_promotes() -> None:
    """If broken, "one step further" at the last step skips the proof."""
    p = plan(*ONE)
    state = play(p, (1, seen(1)))
    with pytest.raises(IllegalEvent, match="needs proof") as caught:
        rollout.step(p, state, Promote("ann"), 2.0)
    assert caught.value.state is state


def test_a_full_promotion_is_recorded_as_the_operators() -> None:
    """If broken, the journal blames the evidence for what a person did."""
    p, state = in_phase(Phase.WAITING)
    after, actions = rollout.step(p, state, Promote("ann", full=True), 2.0)
    assert (after.phase, after.decided_by, after.weight_ppm) == (Phase.PROMOTING, "operator", CIRCLE)
    assert actions == (Route(), Record("promote", "promoted in full by ann", "ann"))


DECIDED = """
            Look        Checked     Swapped     Applied     Promote     Abort       Pause       Resume      Retry       Undo
Waiting     Progressing Waiting     Waiting     Waiting     refused     Aborted     Paused      refused     refused     refused
Progressing Progressing Progressing Progressing Progressing refused     Aborted     Paused      refused     refused     refused
Paused      Paused      Paused      Paused      Paused      refused     Aborted     Paused      Progressing refused     refused
Swapping    Swapping    Swapping    Swapping    Swapping    refused     Aborted     refused     refused     refused     refused
Reverting   Reverting   Reverting   Reverting   Reverting   refused     Reverting   refused     refused     refused     Reverting
Promoting   Promoting   Promoting   Promoting   Succeeded   Promoting   Aborted     refused     refused     refused     Aborted
Baking      Baking      Baking      Baking      Baking      Succeeded   Aborted     refused     refused     refused     Aborted
Succeeded   Succeeded   Succeeded   Succeeded   Succeeded   Succeeded   refused     refused     refused     refused     Aborted
Aborted     Aborted     Aborted     Aborted     Aborted     refused     Aborted     refused     refused     Waiting     Aborted
Failed      Failed      Failed      Failed      Failed      refused     Failed      refused     refused     Waiting     Failed
"""  # noqa: E501
"""What an ordinary event of each kind leads to at the last step, where one step further would be the promotion."""


@pytest.mark.parametrize("row", DECIDED.strip().splitlines()[1:], ids=lambda row: row.split()[0])
def test_every_event_is_decided_in_every_phase(row: str) -> None:
    """If broken, some event in some phase has another answer than people were told."""
    name, *expected = row.split()
    p, state = in_phase(Phase(name))
    events: tuple[Event, ...] = (seen(1), Checked(state.stage, state.step), Swapped(state.stage, "none"),
                                 Applied(state.stage), Promote("a"),
                                 Abort("a"), Pause("a"), Resume("a"), Retry("a"), Undo("a"))  # fmt: skip
    assert [type(event).__name__ for event in events] == DECIDED.split("\n")[1].split()
    assert {type(event) for event in events} == set(TABLE[state.phase])
    for event, answer in zip(events, expected, strict=True):
        if answer == "refused":
            with pytest.raises(IllegalEvent, match=f"{type(event).__name__.lower()} is refused while {name}: .+"):
                rollout.step(p, state, event, 3.0)
        else:
            assert rollout.step(p, state, event, 3.0)[0].phase == answer, event


def test_a_state_of_another_plan_is_refused() -> None:
    """If broken, a version is judged by another version's steps."""
    p, state = in_phase(Phase.PROGRESSING)
    for other in (replace(p, candidate_digest="c3"), replace(p, digest="p2"), replace(p, route="other")):
        with pytest.raises(ValueError, match="adopt it first"):
            rollout.step(other, state, seen(1), 3.0)


@pytest.mark.parametrize("phase", Phase)
def test_the_same_plan_goes_on_untouched(phase: Phase) -> None:
    """If broken, a reload or a restart resets the progress of a rollout."""
    p, state = in_phase(phase)
    assert rollout.adopt(p, state, 9.0) == (state, ())


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase not in HELD])
def test_another_candidate_begins_anew(phase: Phase) -> None:
    """If broken, a new version inherits the verdict, the weight or the stage of the old one."""
    p, state = in_phase(phase)
    new = replace(p, candidate="v3", candidate_digest="c3")
    after, actions = rollout.adopt(new, state, 9.0)
    assert (after.phase, after.candidate, after.attempt, after.weight_ppm) == (Phase.WAITING, "v3", 1, 100_000)
    assert after.stage > state.stage
    assert Route() in actions


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase not in HELD])
def test_an_edited_plan_begins_anew_unless_it_is_decided(phase: Phase) -> None:
    """If broken, an edit of the steps takes traffic from the winner, or brings an aborted version back."""
    p, state = in_phase(phase)
    after, actions = rollout.adopt(replace(p, digest="p2"), state, 9.0)
    assert after.plan_digest == "p2"
    if phase in TERMINAL | TAKEN_OVER:
        assert replace(after, plan_digest="p1") == state
        assert actions[0] == Route()
    else:
        assert (after.phase, after.started_s) == (Phase.WAITING, 9.0)


def test_nothing_kept_begins() -> None:
    """If broken, a fresh installation has no rollout."""
    assert rollout.adopt(plan(), None, 1.0) == rollout.begin(plan(), 1.0)


def test_looks_that_change_nothing_change_nothing() -> None:
    """If broken, every tick is a transition, and the journal or the store grows with time."""
    p = plan(*ONE)
    state = play(p, (1, seen(1, 1)), (2, seen(1, 2)))
    assert rollout.step(p, state, seen(1, 3), 3.0) == (state, ())


def test_the_document_shows_the_table() -> None:
    """If broken, docs/rollout.md shows another machine than the one that runs; put `rollout.diagram()` into it."""
    shown = re.search(r"```mermaid\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    assert shown is not None
    assert shown[1] == rollout.diagram()


# --- other endings than a canary's


SWITCH = (steps.Smoke(2), steps.Pause(None))
IDLE = Look(Verdict(stage=0), idle_s=600.0)
UNSEEN = Look(Verdict(), unseen_s=600.0)


def test_a_switch_waits_for_checks_and_then_takes_over_at_once() -> None:
    """If broken, a version goes live unchecked, or its weight and its warm predecessor change in two snapshots."""
    p = plan(*SWITCH[:1], ending=steps.Promotion(proof=False), bake=steps.Bake(60.0, CIRCLE))
    waiting = play(p, (1, seen(0, 0)), (2, Checked(0, 0, "10.0.0.21:8080 answers 503")), (3, seen(0, 0)))
    assert (waiting.phase, waiting.weight_ppm, waiting.stage) == (Phase.WAITING, 0, 0)
    assert "10.0.0.21:8080 answers 503" in waiting.reason
    assert play(p, (1, Checked(0, 1)), (2, Checked(1, 0))).phase is Phase.WAITING, "checks of another step count"
    after, actions = rollout.step(p, waiting, Checked(0, 0), 4.0)
    assert (after.phase, after.weight_ppm, after.mirror_ppm, after.stage) == (Phase.PROMOTING, CIRCLE, CIRCLE, 1)
    assert sum(action == Route() for action in actions) == 1


def test_a_gate_before_the_switch_is_an_operators() -> None:
    """If broken, a switch that a person is to allow happens by itself, or cannot be allowed."""
    p = plan(*SWITCH, ending=steps.Promotion(proof=False))
    gated = play(p, (1, Checked(0, 0)), (9_999, seen(0, 0, proven=True)))
    assert (gated.phase, gated.paused_by) == (Phase.PAUSED, "gate")
    for event in (Promote("ann"), Resume("ann")):
        after, actions = rollout.step(p, gated, event, 10_000.0)
        assert (after.phase, after.weight_ppm, after.decided_by) == (Phase.PROMOTING, CIRCLE, "operator")
        assert actions[-1] == Record("promote", "v2 takes over: ann has let it go on", "ann")
    with pytest.raises(IllegalEvent, match="once all checks pass"):
        rollout.step(plan(*SWITCH[:1], ending=p.ending), play(plan(*SWITCH[:1], ending=p.ending)), Promote("ann"), 1.0)


BAKED = {"bake": steps.Bake(60.0, CIRCLE)}
TAKEN: tuple[tuple[float, Event], ...] = ((1, Promote("ann", full=True)), (2, Applied(2)))


def test_a_bake_ends_by_time_if_there_was_something_to_see() -> None:
    """If broken, a bake ends early, never, or with nobody having asked the candidate anything."""
    p = plan(*ONE, **BAKED)
    baking = play(p, *TAKEN)
    assert (baking.phase, baking.weight_ppm, baking.mirror_ppm) == (Phase.BAKING, CIRCLE, CIRCLE)
    assert play(p, *TAKEN, (61, seen(2))).phase is Phase.BAKING
    silent = play(p, *TAKEN, (62, seen(2, 0)), (63, seen(1)), (64, Look(None)), (65, BLIND))
    assert (silent.phase, silent.verdict) == (Phase.BAKING, "Error")
    ended = play(p, *TAKEN, (62, seen(2)))
    assert (ended.phase, ended.weight_ppm, ended.mirror_ppm, ended.verdict) == ("Succeeded", CIRCLE, 0, "Successful")
    assert rollout.step(p, baking, HARM, 3.0)[0].phase is Phase.ABORTED


@pytest.mark.parametrize("phase", [Phase.PROMOTING, Phase.BAKING, Phase.SUCCEEDED])
def test_a_promotion_can_be_undone(phase: Phase) -> None:
    """If broken, what was promoted can be taken back by an edit of the file alone."""
    p, state = in_phase(phase)
    after, actions = rollout.step(p, state, Undo("ann", "customers complain"), 9.0)
    assert (after.phase, after.weight_ppm, after.mirror_ppm, after.stage) == ("Aborted", 0, 0, state.stage + 1)
    assert actions == (Route(), Record("abort", "undone by ann: customers complain", "ann"))
    assert rollout.step(p, after, Undo("ann"), 10.0) == (after, ())


MIRROR = (steps.SetMirror(CIRCLE),)


def test_a_mirror_ends_with_a_verdict_and_no_traffic() -> None:
    """If broken, a rehearsal goes live, or never ends."""
    p = plan(*MIRROR, ending=steps.Report(), on_inconclusive="abort")
    assert play(p, (1, seen(1)), (21, seen(1, 99, proven=True))).phase is Phase.PROGRESSING
    proven = play(p, (1, seen(1)), (21, seen(1, proven=True)))
    assert (proven.phase, proven.weight_ppm, proven.mirror_ppm) == (Phase.SUCCEEDED, 0, 0)
    assert "v1 serves on" in proven.reason
    over = play(p, (1, seen(1)), (1001, seen(1)))
    assert (over.phase, over.verdict) == (Phase.ABORTED, "Inconclusive")
    for event in (Promote("ann", full=True), Promote("ann")):
        with pytest.raises(IllegalEvent):
            rollout.step(p, play(p, (1, seen(1))), event, 2.0)
    with pytest.raises(IllegalEvent, match="no live traffic"):
        rollout.step(p, proven, Undo("ann"), 30.0)


@pytest.mark.parametrize(
    ("verdict", "on_winner", "phase", "weight_ppm", "winner"),
    [
        ({"winner": "candidate"}, "promote", "Promoting", CIRCLE, ""),
        ({"winner": "candidate"}, "keep", "Succeeded", 500_000, "candidate"),
        ({"winner": "none"}, "promote", "Succeeded", 0, "none"),
        ({"proven": True}, "promote", "Progressing", 500_000, ""),
        ({"abort": True}, "promote", "Aborted", 0, "stable"),
    ],
)
def test_a_contest_ends_with_a_winner_or_none(
    verdict: dict[str, object], on_winner: str, phase: str, weight_ppm: int, winner: str
) -> None:
    """If broken, the winner of a test is not who was proven to be better."""
    p = plan(steps.SetWeight(500_000), ending=steps.Contest(on_winner))
    state = play(p, (1, seen(1)), (21, seen(1, **verdict)))
    assert (state.phase, state.weight_ppm) == (phase, weight_ppm)
    assert steps.winner(p, state.phase, state.verdict, state.weight_ppm) == winner


def test_a_proof_can_be_asked_for_in_the_middle() -> None:
    """If broken, a switch after a rehearsal happens without its proof."""
    p = plan(steps.SetMirror(CIRCLE), steps.Analysis(None, None, proof=True), steps.Pause(None),
             ending=steps.Promotion(proof=False))  # fmt: skip
    assert play(p, (1, seen(1)), (50, seen(1))).phase is Phase.PROGRESSING
    assert play(p, (1, seen(1)), (50, seen(1, proven=True))).phase is Phase.PAUSED


# --- what holds a rollout up


@pytest.mark.parametrize(
    ("event", "rest", "phase", "decided_by"),
    [
        (IDLE, {}, "Waiting", ""),
        (IDLE, {"on_no_traffic": "pause"}, "Paused", "noTraffic"),
        (IDLE, {"on_no_traffic": "abort"}, "Aborted", "noTraffic"),
        (UNSEEN, {}, "Paused", "progressDeadline"),
        (UNSEEN, {"on_inconclusive": "abort"}, "Failed", "progressDeadline"),
        (UNSEEN, {"progress_deadline_s": 601.0}, "Waiting", ""),
        (UNSEEN, {"progress_deadline_s": None}, "Waiting", ""),
    ],
)
def test_what_nothing_reaches_is_not_waited_for_forever(
    event: Event, rest: dict[str, object], phase: str, decided_by: str
) -> None:
    """If broken, a candidate that no request reaches stays half rolled out, and nobody is told."""
    state = play(plan(*ONE, **{"progress_deadline_s": 600.0, **rest}), (601, event))
    assert (state.phase, state.decided_by) == (phase, decided_by)


def test_checks_that_never_pass_have_a_deadline() -> None:
    """If broken, a version whose endpoints are down is asked forever."""
    p = plan(*SWITCH, ending=steps.Promotion(proof=False), progress_deadline_s=60.0, on_inconclusive="abort")
    state = play(p, (1, Checked(0, 0, "10.0.0.21:8080 answers 503")), (60, seen(0, 0)))
    assert (state.phase, state.decided_by) == (Phase.FAILED, "progressDeadline")
    assert "answers 503" in state.reason


@pytest.mark.parametrize(
    ("on_ratio", "phase"), [("pause", "Paused"), ("continue", "Progressing"), ("abort", "Aborted")]
)
def test_a_split_that_is_off_is_acted_on(on_ratio: str, phase: str) -> None:
    """If broken, a comparison that is worth nothing raises the weight."""
    p = plan(steps.SetWeight(10_000), steps.Analysis(None, None), *ONE, on_ratio=on_ratio)
    off = seen(1, ratio=Ratio(flagged=True))
    state = play(p, (1, seen(1)), (2, off))
    assert state.phase == phase
    if on_ratio == "pause":
        resumed = play(p, (1, seen(1)), (2, off), (3, Resume("ann")), (4, off))
        assert (resumed.phase, resumed.stage) == (Phase.PROGRESSING, 1)
        assert play(p, (1, seen(1)), (2, off), (3, Resume("ann")), (4, off), (5, seen(1))).stage == 2


def test_a_contest_without_live_traffic_promotes_nobody() -> None:
    """If broken, a version that has answered no client wins the traffic of all."""
    p = plan(steps.SetMirror(CIRCLE), ending=steps.Contest("promote"))
    copied = Verdict(stage=1, stage_stable=500, stage_candidate=500, stage_pairs=500, proven=True, winner="candidate")
    state = play(p, (1, Look(copied)), (60, Look(copied)))
    assert (state.phase, state.weight_ppm) == (Phase.PROGRESSING, 0)
    assert "no step gives the candidate live traffic" in state.reason


def test_a_bake_that_is_taken_out_of_the_file_is_not_said_to_be_over() -> None:
    """The journal would say that a candidate was watched for a time in which nobody has."""
    _, state = in_phase(Phase.BAKING)
    since_s = state.step_started_s
    without = plan(*ONE, digest="without")
    state = rollout.adopt(without, state, since_s + 20.0)[0]
    assert state.phase is Phase.BAKING
    ended, _ = rollout.step(without, state, seen(state.stage), since_s + 21.6)
    assert ended.phase is Phase.SUCCEEDED
    assert ended.reason == (
        "v2 serves all traffic, and nothing was found against it in 22 s: the file has no bake any more"
    )
