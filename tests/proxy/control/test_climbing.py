"""A weight that rises by evidence, as the rollout machine has it: what raises it, what does not, and who may."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

import pytest

from analysis.plan import Plan as Question
from analysis.readings import RampReading
from analysis.verdict import Judge
from config.loader import loads
from proxy.control.evidence import judging
from proxy.control.evidence.lending import Lending
from proxy.control.evidence.outlook import outlook
from proxy.control.evidence.outlook import warnings as doubts
from proxy.control.evidence.subject import Subject
from proxy.control.hindsight.replay import Replay, Segment
from proxy.control.machine import rollout, steps
from proxy.control.machine.gates import Answers
from proxy.control.machine.rollout import (
    Ask,
    IllegalEvent,
    Look,
    Pause,
    Phase,
    Promote,
    Record,
    Resume,
    Retry,
    Route,
    State,
)
from proxy.control.storage.recording import Looked
from proxy.snapshot import CIRCLE
from tests.proxy.control.machine.test_rollout import HARM, Ratio, Verdict, plan, play
from tests.support.slices import errors

RUNGS = (10_000, 50_000, 100_000, 500_000)
RAMP = steps.Ramp(RUNGS, 50)
HOOKS = frozenset({"confirm-traffic-increase"})


def reading(allowed: float, **rest: object) -> RampReading:
    known = RampReading(50.0, 3.0, 0.04, 31.0, allowed, 0.05, 0.03, 40.0, 100.0, 1.0, 100.0, "at 1 %: 31 of 50")
    return replace(known, **rest)


def seen(stage: int, allowed: float, n: float = 100.0, **rest: object) -> Look:
    return Look(Verdict(stage=stage, stage_stable=n, stage_candidate=n, ramp=reading(allowed), **rest))


def climbing(*script: tuple[float, object], **rest: object) -> tuple[rollout.Plan, State]:
    """A rollout that has its first weight and its first sample."""
    p = plan(RAMP, **rest)
    return p, play(p, (1, seen(0, 0.01, 0)), (2, seen(1, 0.01)), *script)


def test_it_begins_with_nothing_and_waits_for_traffic():
    """Broken: a candidate gets requests before anybody knows how many they are."""
    state, actions = rollout.begin(plan(RAMP), 0.0)
    assert (state.phase, state.weight_ppm, state.reason) == (
        Phase.WAITING, 0, "waits for traffic: the first weight follows from how much there is",
    )  # fmt: skip
    assert actions[0] == Route()
    waiting, actions = rollout.step(plan(RAMP), state, seen(0, 0.0, 0), 5.0)
    assert (waiting.weight_ppm, actions) == (0, ())
    assert waiting.reason == "waits for evidence that allows a higher weight than 0 %"


def test_evidence_raises_the_weight_and_each_weight_is_a_stage():
    """Broken: the weight does not follow the evidence, or counts of two weights are added up."""
    p, state = climbing()
    assert (state.phase, state.weight_ppm, state.stage) == (Phase.PROGRESSING, 10_000, 1)
    after, actions = rollout.step(p, state, seen(1, 0.1), 30.0)
    assert (after.weight_ppm, after.stage, after.step) == (100_000, 2, 0)
    text = "weight 10 % instead of 1 %: 3 of 50 bad requests spent, at most 4 % may be bad"
    assert actions == (Route(), Record("step", f"stage 2: {text}"))


def test_with_the_last_weight_the_proof_is_awaited():
    """Broken: a ramp ends nowhere, or promotes without the proof."""
    p, state = climbing()
    after, _ = rollout.step(p, state, seen(1, 0.5), 30.0)
    assert (after.weight_ppm, after.step, after.phase) == (500_000, 1, Phase.PROGRESSING)
    waits, _ = rollout.step(p, after, seen(2, 0.5), 31.0)
    assert waits.reason == "waits for the 20 s that the last stage takes at least"
    proven, _ = rollout.step(p, waits, seen(2, 0.5, proven=True), 60.0)
    assert proven.phase is Phase.PROMOTING


@pytest.mark.parametrize(
    "look",
    [
        seen(1, 0.01),
        seen(1, 0.0),
        seen(0, 0.5),  # of another stage: nothing of this weight is known yet
        Look(None),
        Look(None, "the ledger cannot be read"),
        Look(seen(1, 0.5).verdict, room=False),
        Look(Verdict(stage=1, stage_candidate=9.0)),
    ],
    ids=["holds", "allows less", "another stage", "silence", "error", "no rows", "no reading"],
)
def test_what_decides_nothing_changes_no_weight(look):
    """Broken: silence, a broken reading or a full ledger raises the weight, or evidence that worsens lowers it."""
    p, state = climbing()
    after, actions = rollout.step(p, state, look, 30.0)
    assert (after.weight_ppm, after.stage) == (10_000, 1)
    assert Route() not in actions


def test_a_flagged_split_holds_the_weight():
    """Broken: the weight rises on a comparison that is not reliable."""
    p, state = climbing()
    flagged = seen(1, 0.5, ratio=Ratio(flagged=True))
    after, _ = rollout.step(replace(p, on_ratio="pause"), state, flagged, 30.0)
    assert (after.phase, after.weight_ppm) == (Phase.PAUSED, 10_000)


def test_harm_ends_it_at_any_weight():
    """Broken: a spent budget is no reason to go back."""
    for p, state in (climbing(), climbing((30, seen(1, 0.5))), climbing((3, Pause("ann")))):
        assert rollout.step(p, state, HARM, 40.0)[0].phase is Phase.ABORTED


def test_a_pause_holds_and_a_resume_goes_on():
    """Broken: the weight rises while somebody has stopped it."""
    p, state = climbing((3, Pause("ann")))
    held, _ = rollout.step(p, state, seen(1, 0.5), 30.0)
    assert (held.phase, held.weight_ppm) == (Phase.PAUSED, 10_000)
    resumed, _ = rollout.step(p, held, Resume("ann"), 31.0)
    assert rollout.step(p, resumed, seen(1, 0.05), 32.0)[0].weight_ppm == 50_000


def test_an_operator_may_go_one_weight_further():
    """Broken: `promote` jumps over the ramp, or is charged to the evidence."""
    p, state = climbing()
    after, actions = rollout.step(p, state, Promote("ann"), 9.0)
    assert (after.weight_ppm, after.step, after.phase) == (50_000, 0, Phase.PROGRESSING)
    assert isinstance(actions[1], Record)
    assert actions[1].actor == "ann"
    at_top, _ = rollout.step(p, replace(after, weight_ppm=100_000), Promote("ann"), 10.0)
    assert (at_top.weight_ppm, at_top.step) == (500_000, 1)
    with pytest.raises(IllegalEvent, match="needs proof"):
        rollout.step(p, at_top, Promote("ann"), 11.0)


def test_retry_begins_at_the_bottom():
    """Broken: a version that was aborted comes back with the weight that it had."""
    p, state = climbing((30, seen(1, 0.1)), (31, HARM))
    again, _ = rollout.step(p, state, Retry("ann"), 40.0)
    assert (again.phase, again.weight_ppm, again.attempt) == (Phase.WAITING, 0, 2)


def test_a_webhook_is_asked_before_each_weight():
    """Broken: `confirm-traffic-increase` has no say where the weight follows the evidence."""
    p = plan(RAMP, gates=HOOKS)
    state, _ = rollout.begin(p, 0.0)
    asked, actions = rollout.step(p, state, seen(0, 0.01, 0), 1.0)
    assert asked.weight_ppm == 0
    assert "confirm-traffic-increase" in asked.reason
    assert actions == (Ask(HOOKS),)
    yes = replace(seen(0, 0.01, 0), hooks=Answers(confirmed=HOOKS))
    assert rollout.step(p, asked, yes, 2.0)[0].weight_ppm == 10_000


FILE = """
listen: [{address: 0.0.0.0:8080}]
backends:
  - {name: v1, endpoints: [http://10.0.0.11:8080]}
  - {name: v2, endpoints: [http://10.0.0.21:8080]}
routes:
  - name: fraud
    backendRefs: [{name: v1}, {name: v2, role: canary}]
    timeouts: {request: 4s}
    strategy: {canary: {ramp: {maxBadRequests: 50, maxWeight: 30}}}
"""


def test_the_file_becomes_a_plan_and_a_question():
    """Broken: what is judged is not what the file says."""
    config = loads(FILE, "file").config
    route = config.routes[0]
    p = judging.plan(config, route)
    assert p is not None
    (ramp,) = p.steps
    assert isinstance(ramp, steps.Ramp)
    assert (ramp.rungs[0], ramp.top, ramp.max_bad) == (100, 300_000, 50)
    assert steps.words(p)[0] == "raise the weight by evidence to 30 %, within 50 bad requests"
    budget = judging.question(route).budget
    assert budget is not None
    assert (budget.max_bad, budget.reaction_s) == (50.0, pytest.approx(1 + 4 + 0.06 + 1 + 0.25))
    assert [round(share * 1e6) for share in budget.shares] == list(ramp.rungs)
    other = loads(FILE.replace("request: 4s", "request: 5s"), "file").config
    assert judging.plan(other, other.routes[0]).digest != p.digest


def test_the_planner_knows_ramps():
    """Broken: nobody is told that a budget is too small for the traffic, or when which weight comes."""
    route = loads(FILE, "file").config.routes[0]
    found = outlook(route, 100.0)["ramp"]
    assert found["weights"][0] == {"weight": 5.0, "seconds": 10.0}
    assert found["weights"][-1]["weight"] == 30.0
    assert found["lateOutage"] == pytest.approx({"failing": 30 * 2.31, "hanging": 30 * 6.31})
    (never,) = [text for text in doubts(route, 100_000.0) if "ramp" in text]
    assert "never begins: at 100,000 requests/s its lowest weight, 0.01 %, gets 63.1 requests in the 6.31 s" in never
    short = loads(FILE.replace("maxBadRequests: 50", "maxBadRequests: 5").replace("timeouts: {request: 4s}",
                  "timeouts: {request: 1m}\n    analysis: {maxDuration: 11m}"), "file").config.routes[0]  # fmt: skip
    (slow,) = [text for text in doubts(short, 100.0) if "ramp" in text]
    assert "gets no further than" in slow


def test_rows_are_short_before_the_last_pair_is_lent():
    """Broken: a ramp goes on to a weight of which nothing is counted."""
    lending = Lending(3, 1)
    assert lending.room
    lending.lend("fraud", "v1", "stable", 1)
    assert lending.room
    lending.lend("fraud", "v2", "canary", 1)
    assert not lending.room


def recorded(p: rollout.Plan, question: Question, seconds: int) -> tuple[list[Looked], State]:
    """A rollout of 100 requests/s without a failure: its slices as they were read, and where it is then."""
    judge, found = Judge(question), list[Looked]()
    state, _ = rollout.begin(p, 0.0)
    for second in range(seconds):
        share = state.weight_ppm / CIRCLE
        looked = Looked(errors(100 * (1 - share), 0, 100 * share, 0, share=share, stage=state.stage, at_s=second),
                        second + 1.06)  # fmt: skip
        judge.observe(looked.slice)
        found.append(looked)
        state, _ = rollout.step(p, state, Look(judge.verdict(max(0.0, second - state.started_s))), looked.read_s)
    return found, state


def test_a_recorded_ramp_goes_the_same_way_again():
    """Broken: `backtest` says of a ramp what was not so."""
    route = loads(FILE, "file").config.routes[0]
    p, question = judging.plan(loads(FILE, "file").config, route), judging.question(route)
    assert p is not None
    slices, state = recorded(p, question, 120)
    assert state.weight_ppm == 300_000
    segments = []
    for (stage, share), of_stage in groupby(slices, lambda looked: (looked.slice.stage, looked.slice.share)):
        taken = list(of_stage)
        segments.append((Segment(stage, round(share * CIRCLE), False, len(taken)), taken))
    replay = Replay(Subject(route, p, question))
    replay.run(segments)
    assert replay.state is not None
    assert (replay.state.weight_ppm, replay.skipped) == (300_000, 0)
    assert replay.stopped == "the recorded evidence ends here"
    dearer = Replay(Subject(route, p, replace(question, budget=replace(question.budget, max_bad=5.0))))
    dearer.run(segments)
    assert dearer.stopped == "the evidence that was recorded at weight 0.2 % ends before step 1 is done"
