"""Endpoint by endpoint: the machine of `rollingUpdate`, part by part, and its promises under any events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import Phase as HypothesisPhase
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.control.machine import rollout, rolls, state_codec, steps
from proxy.control.machine.gates import Answers
from proxy.control.machine.places import Rolling, batches, is_done, weight_ppm
from proxy.control.machine.rollout import (
    TERMINAL,
    Abort,
    Applied,
    Event,
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
    Swapped,
    Undo,
)
from proxy.control.machine.state import Runner
from proxy.snapshot import CIRCLE
from tests.proxy.control.machine import test_swaps as swapped
from tests.proxy.control.machine.test_places import rolling
from tests.proxy.control.machine.test_rollout import HARM, seen
from tests.proxy.control.machine.test_rollout import plan as plan_of


def plan(of: Rolling | None = None, gates: frozenset[str] = frozenset(), **changes: Any) -> steps.Plan:
    """Replace, watch, replace, prove, replace."""
    of = of or rolling()
    found = batches(of)
    given: list[steps.Step] = []
    for number, places in enumerate(found, 1):
        given.append(steps.Replace(weight_ppm(places), number, len(found)))
        if number < len(found):
            given.append(steps.Analysis(100, None, proof=number == len(found) - 1))
    all_steps = steps.gated(given, gates, asks_at_end=False)
    made = {"steps": all_steps, "ending": steps.Promotion(proof=False), "rolling": of, "gates": gates, **changes}
    return replace(plan_of(), **made)


class Run(swapped.Run):
    """A rolling update that is told things."""

    def __init__(self, plan_: steps.Plan | None = None) -> None:
        super().__init__(plan_ or plan())

    def done(self, *parts: str) -> State:
        for part in parts:
            assert self.state.doing == part, self.state
            self.tell(Applied(self.state.stage) if part in ("out", "in") else Swapped(self.state.stage, part))
        return self.state

    def batch(self) -> State:
        return self.done("ready", "out", "drain", "stop", "start", "check", "in")

    def back(self) -> State:
        """All of a reversal."""
        for _ in range(60):
            if self.state.phase is not Phase.REVERTING:
                return self.state
            self.done(self.state.doing)
        raise AssertionError(self.state)

    def watched(self, **verdict: Any) -> State:
        return self.tell(seen(self.state.stage, 200, **verdict), 30.0)

    def shown(self) -> str:
        """Who serves, stable's in lower case."""
        served = [place for place in self.state.places if place.serves]
        return "".join(p.address if p.side == "stable" else p.address.upper() for p in served)


def test_batch_by_batch_to_the_promotion() -> None:
    """Broken: endpoints would be stopped under their requests, let in before they are well, or replaced unproven."""
    run = Run()
    assert (run.state.phase, run.state.doing, run.shown(), run.state.weight_ppm) == ("Progressing", "ready", "abc", 0)
    assert (run.done("ready").doing, run.shown(), run.rerouted) == ("out", "bc", True)
    assert (run.done("out", "drain").doing, run.rerouted) == ("stop", False)
    run.done("stop", "start", "check")
    assert (run.state.doing, run.shown(), run.state.weight_ppm, run.rerouted) == ("in", "bcA", 333_333, True)
    assert (run.done("in").doing, run.state.step) == ("", 1)
    assert run.watched().step == 2
    assert (run.done("ready").weight_ppm, run.shown()) == (500_000, "cA")
    run.done("out", "drain", "stop", "start", "check", "in")
    assert (run.shown(), run.state.weight_ppm) == ("cAB", 666_667)
    assert run.watched().step == 3, "no last batch without proof"
    assert run.watched(proven=True).step == 4
    assert (run.done("ready").weight_ppm, run.shown()) == (CIRCLE, "AB")
    state = run.done("out", "drain", "stop", "start", "check", "in")
    assert (state.phase, state.weight_ppm, run.shown(), run.rerouted) == (Phase.PROMOTING, CIRCLE, "ABC", True)
    assert run.tell(Applied(state.stage)).phase is Phase.SUCCEEDED


def test_each_change_of_who_serves_is_a_stage() -> None:
    """Broken: nobody would know when the last worker has heard, and endpoints are stopped before."""
    run = Run()
    stages = [run.state.stage]
    stages += [run.done(part).stage for part in ("ready", "out", "drain", "stop", "start", "check", "in")]
    assert stages == [0, 1, 1, 1, 1, 1, 2, 2]
    run.watched()
    before = run.done("ready", "out", "drain", "stop", "start", "check")
    assert run.tell(Applied(before.stage - 1)) == before, "an acknowledgement of something else"


@pytest.mark.parametrize("event", [Swapped(0, "ready"), Swapped(1, "drain"), Swapped(1, "check"), Applied(0)])
def test_news_of_another_part_change_nothing(event: Event) -> None:
    """Broken: an answer that comes late would skip a part."""
    run = Run()
    before = run.done("ready")
    assert run.tell(event) == before


def test_what_fails_is_said_and_tried_on() -> None:
    """Broken: one answer that is no yes would end a batch, or nobody would know what it waits for."""
    run = Run()
    run.done("ready", "out", "drain")
    state = run.tell(Swapped(1, "stop", "the hook answered 500"))
    assert (state.doing, run.acted) == ("stop", ())
    assert state.reason == "batch 1 of 3: stops v1 at a: the hook answered 500"


def test_a_drain_has_an_end() -> None:
    """Broken: one stream that never ends would hold the rollout for ever."""
    run = Run()
    run.done("ready", "out")
    assert run.tell(Look(None), 4.9).doing == "drain"
    assert run.tell(Look(None), 0.2).doing == "stop"
    assert any(isinstance(action, Record) and "they are cut" in action.text for action in run.acted)


@pytest.mark.parametrize("part", ["out", "in", "warm"])
def test_what_workers_and_time_do_is_not_for_others_to_tell(part: str) -> None:
    """Broken: an endpoint would be stopped before the last worker has heard, or be left warming for ever."""
    run = Run(plan(rolling(warm_s=40.0)))
    while run.state.doing != part:
        run.done(run.state.doing)
    assert run.tell(Swapped(run.state.stage, part)).doing == part


def test_slow_start_raises_the_weight_in_parts() -> None:
    """Broken: a model that was just loaded would get its full share at once, or its neighbours the rest."""
    run = Run(plan(rolling(warm_s=40.0, warm_share=0.1)))
    state = run.batch()
    assert (state.doing, state.weight_ppm) == ("warm", round(CIRCLE * 0.1 / 2.1))
    weights = [run.tell(Look(None), 5.0).weight_ppm for _ in range(8)]
    assert sorted(weights) == weights
    assert (weights[-1], run.state.doing, run.state.step) == (333_333, "", 1)
    assert run.state.stage < 10, "each weight is a stage"


def test_what_does_not_come_up_in_time_is_put_back() -> None:
    """Broken: a version that does not start would keep its place until somebody wakes up."""
    run = Run()
    run.done("ready", "out", "drain", "stop", "start")
    run.tell(Swapped(1, "check", "http://a: connection refused"))
    state = run.tell(Look(None), 60.0)
    assert (state.phase, state.verdict, state.decided_by, state.ended_s) == (
        "Reverting", "Failed", "endpoints", None,
    )  # fmt: skip
    assert state.ended_reason.startswith("the batch was not done within 60 s: ")
    assert state.ended_reason.endswith("connection refused")
    state = run.back()
    assert (state.phase, run.shown(), state.weight_ppm, state.ended_s) == (Phase.ABORTED, "abc", 0, run.now_s)
    assert state.reason.startswith("the batch was not done within 60 s: ")


def test_the_time_of_a_batch_begins_with_its_orders() -> None:
    """Broken: a stable endpoint that is unwell, or a long drain, would be held against the candidate."""
    run = Run(plan(rolling(drain_s=600.0)))
    assert run.tell(Look(None), 500.0).phase is Phase.PROGRESSING
    run.done("ready", "out")
    assert run.tell(Look(None), 500.0).doing == "drain"
    assert run.done("drain", "stop").doing == "start"
    assert run.tell(Look(None), 50.0).phase is Phase.PROGRESSING
    assert run.tell(Look(None), 60.0).phase is Phase.REVERTING


@pytest.mark.parametrize("event", [HARM, Look(None, hooks=Answers(harm="button")), Abort("ann"),
                                   Swapped(2, "watch", "no endpoint is well")])  # fmt: skip
def test_harm_goes_back_at_once_as_far_as_capacity_allows(event: Event) -> None:
    """Broken: a bad version would keep its traffic, or the old one be overrun by what it takes back."""
    run = Run()
    run.batch()
    state = run.tell(event)
    assert (state.phase, state.doing, run.shown(), state.weight_ppm) == (Phase.REVERTING, "out", "bc", 0)
    assert run.rerouted
    assert run.back().phase is Phase.ABORTED
    assert run.shown() == "abc"


def test_it_goes_back_batch_by_batch() -> None:
    """Broken: a reversal would take more endpoints away at once than the file allows."""
    run = Run()
    run.batch()
    run.watched()
    run.batch()
    run.tell(HARM)
    assert (run.shown(), run.state.weight_ppm) == ("cB", 500_000)
    run.done("out", "drain", "stop", "start", "check", "in")
    assert (run.state.phase, run.state.doing, run.shown()) == (Phase.REVERTING, "out", "ac")
    assert run.back().phase is Phase.ABORTED


def test_before_anything_was_stopped_letting_it_serve_is_enough() -> None:
    """Broken: an abort in the first second would stop and start endpoints for nothing."""
    for parts in ((), ("ready",), ("ready", "out")):
        run = Run()
        run.done(*parts)
        stage = run.state.stage
        state = run.tell(Abort("ann"))
        assert (state.phase, state.doing, run.shown(), run.rerouted) == (Phase.ABORTED, "", "abc", True)
        assert state.stage == stage + 1


def test_what_may_be_stopped_or_started_is_told_to_stop_first() -> None:
    """Broken: an order that was under way would stop what was just started in its place."""
    run = Run()
    run.done("ready", "out", "drain")
    run.tell(Abort("ann"))
    run.done("out", "drain")
    assert [place.address for place in run.state.places if place.status == "leaving"] == ["a"]
    run.done("stop")
    assert [(p.side, p.status) for p in run.state.places if p.address == "a"] == [
        ("stable", "starting"), ("candidate", "stopped"),
    ]  # fmt: skip
    run = Run()
    run.done("ready", "out", "drain", "stop", "start")
    run.tell(Abort("ann"))
    run.done("out", "drain")
    assert [p.side for p in run.state.places if p.status == "leaving"] == ["candidate"]


def test_a_reversal_has_no_end_but_its_own() -> None:
    """Broken: stable would be left half away."""
    run = Run()
    run.batch()
    run.tell(Abort("ann", "wrong model"))
    run.done("out", "drain", "stop", "start")
    assert run.tell(Look(None), 86_400.0).phase is Phase.REVERTING
    assert run.tell(HARM).phase is Phase.REVERTING
    assert run.tell(Swapped(run.state.stage, "watch", "no endpoint is well")).phase is Phase.REVERTING
    assert run.tell(Abort("ann")).phase is Phase.REVERTING
    assert run.back().reason == "aborted by ann: wrong model"
    state = run.tell(Retry("ann"))
    assert (state.phase, state.attempt, state.doing) == (Phase.PROGRESSING, 2, "ready")


def test_a_pause_lets_no_other_part_begin() -> None:
    """Broken: endpoints would be stopped while somebody looks why the last one is slow."""
    run = Run()
    run.done("ready", "out", "drain", "stop", "start")
    assert run.tell(Pause("ann")).phase is Phase.PAUSED
    before = run.state
    assert run.tell(Swapped(1, "check"), 500.0) == before
    assert run.tell(Look(None)).phase is Phase.PAUSED
    state = run.tell(Resume("ann"))
    assert (state.phase, state.doing) == (Phase.PROGRESSING, "check")
    assert run.tell(Look(None)).phase is Phase.PROGRESSING, "its time begins again"
    assert run.done("check", "in").step == 1


def test_by_hand_one_batch_further_but_not_the_last() -> None:
    """Broken: one step by hand would replace the last endpoint of stable without proof."""
    run = Run()
    with pytest.raises(IllegalEvent, match="being replaced"):
        run.tell(Promote("ann"))
    run.batch()
    assert run.tell(Promote("ann")).doing == "ready"
    run.batch()
    with pytest.raises(IllegalEvent, match="needs proof"):
        run.tell(Promote("ann"))


def test_full_promotion_replaces_the_rest_without_evidence() -> None:
    """Broken: all traffic would go to endpoints that were never started."""
    run = Run()
    run.batch()
    state = run.tell(Promote("ann", full=True))
    assert (state.phase, state.doing, state.weight_ppm) == (Phase.PROGRESSING, "ready", 333_333)
    run.batch()
    assert (run.state.step, run.state.doing) == (4, "ready")
    state = run.batch()
    assert (state.phase, state.decided_by) == (Phase.PROMOTING, "operator")
    early = Run()
    early.tell(Promote("ann", full=True))
    early.batch()
    assert (early.state.step, early.state.doing) == (2, "ready")
    early.done("ready", "out", "drain", "stop", "start")
    assert early.tell(Look(None), 61.0).phase is Phase.REVERTING, "what is not well is not let in"


def test_undo_long_after_goes_back_batch_by_batch() -> None:
    """Broken: all traffic would go to endpoints that were stopped."""
    run = Run()
    run.tell(Promote("ann", full=True))
    for _ in range(3):
        run.batch()
    run.tell(Applied(run.state.stage))
    state = run.tell(Undo("ann"), 86_400.0)
    assert (state.phase, state.ended_s, run.shown()) == (Phase.REVERTING, None, "BC")
    assert run.back().phase is Phase.ABORTED


def test_gates_stand_before_batches() -> None:
    """Broken: a webhook would be asked once everything is replaced."""
    gates = frozenset({"confirm-rollout", "confirm-traffic-increase", "confirm-promotion"})
    run = Run(plan(gates=gates))
    assert run.state.phase is Phase.WAITING
    state = run.tell(Look(None, hooks=Answers(frozenset({"confirm-rollout"}))), 5000.0)
    assert (state.phase, state.doing) == (Phase.WAITING, "")
    state = run.tell(Look(None, hooks=Answers(frozenset({"confirm-traffic-increase"}))))
    assert (state.phase, state.doing, state.started_s) == (Phase.PROGRESSING, "ready", run.now_s)
    kinds = [step.gate if isinstance(step, steps.Confirm) else type(step).__name__ for step in run.plan.steps]
    assert kinds == ["confirm-rollout", "confirm-traffic-increase", "Replace", "Analysis", "confirm-traffic-increase",
                     "Replace", "Analysis", "confirm-promotion", "Replace"]  # fmt: skip


# --- an edit in the middle


@pytest.mark.parametrize("parts", [("ready", "out", "drain", "stop"), ("ready", "out", "drain", "stop", "start")])
def test_an_edit_goes_on_with_the_batch(parts: tuple[str, ...]) -> None:
    """Broken: an edit of a margin would forget which endpoints are stopped."""
    run = Run()
    run.batch()
    run.watched()
    run.done(*parts)
    edited = replace(run.plan, digest="other")
    state, actions = rollout.adopt(edited, run.state, 500.0)
    assert (state.phase, state.step, state.doing, state.places) == ("Progressing", 2, "ready", run.state.places)
    assert state.stage == run.state.stage + 1
    assert [action.kind for action in actions if isinstance(action, Record)] == ["begin"], "fresh evidence"
    run.plan, run.state = edited, state
    run.done("ready")
    while run.state.doing:
        run.done(run.state.doing)
    assert (run.state.step, run.shown()) == (3, "cAB")


def test_a_restart_changes_nothing() -> None:
    """Broken: each start of the controller would throw the evidence away."""
    run = Run()
    for part in ("ready", "out", "drain", "stop", "start", "check", "in"):
        assert rollout.adopt(run.plan, run.state, 500.0) == (run.state, ())
        run.done(part)


def test_an_edit_between_batches_watches_anew() -> None:
    """Broken: the next batch would begin on evidence of another question."""
    run = Run()
    run.batch()
    state, _ = rollout.adopt(replace(run.plan, digest="other"), run.state, 500.0)
    assert (state.step, state.doing, state.weight_ppm) == (1, "", 333_333)
    run.tell(Pause("ann"))
    assert rollout.adopt(replace(run.plan, digest="other"), run.state, 500.0)[0].phase is Phase.PAUSED


def test_an_edit_cuts_a_slow_start_short() -> None:
    """Broken: an endpoint would be starting slowly for ever."""
    run = Run(plan(rolling(warm_s=40.0)))
    run.batch()
    assert run.state.doing == "warm"
    state, _ = rollout.adopt(replace(run.plan, digest="other"), run.state, 500.0)
    assert (state.step, state.weight_ppm, {place.status for place in state.places}) == (
        1, 333_333, {"serving", "stopped"},
    )  # fmt: skip


def test_other_limits_go_on_where_they_are() -> None:
    """Broken: two at a time would begin with endpoints that are replaced already."""
    run = Run()
    run.batch()
    wider = plan(rolling(max_unavailable=2), digest="other")
    state, _ = rollout.adopt(wider, run.state, 500.0)
    assert (state.step, state.doing) == (1, "")


def test_another_candidate_in_the_middle_puts_stable_back_first() -> None:
    """Broken: the new version would be judged against a stable that is half another version."""
    run = Run()
    run.batch()
    other = replace(run.plan, candidate="v3", candidate_digest="c3")
    state, actions = rollout.adopt(other, run.state, 500.0)
    assert (state.phase, state.candidate, state.decided_by) == (Phase.REVERTING, "v3", "config")
    assert Route() in actions
    run.plan, run.state = other, state
    state = run.back()
    assert (state.phase, state.doing, state.attempt, run.shown()) == (Phase.PROGRESSING, "ready", 1, "abc")
    assert [action.kind for action in run.acted if isinstance(action, Record)] == ["begin"]


def test_another_candidate_does_not_leave_the_former_one_running() -> None:
    """Broken: the hook would be told to stop the new version where the former one runs, or nothing at all where only
    that one had endpoints, and two models would be on one machine."""
    run = Run(plan(rolling(("a", "x", "y"), max_unavailable=2)))
    run.batch()
    assert run.shown() == "cAX"
    other = plan(rolling(("a", "b", "z"), max_unavailable=2), candidate="v3", candidate_digest="c3")
    state, _ = rollout.adopt(other, run.state, 500.0)
    running = [(place.address, place.status) for place in state.places if place.side == "candidate"]
    assert running == [("a", "leaving"), ("b", "stopped"), ("z", "stopped"), ("x", "leaving")]
    assert {rolls.runs_at(state, place) for place in state.places if place.side == "candidate"} == {"v2"}
    assert "takes v2 at a, x out" in state.reason
    assert {("v2", "a"), ("v3", "a"), ("v2", "x")} <= rolls.away([state]).keys(), "under either name"
    again, _ = rollout.adopt(run.plan, state, 600.0)
    assert (again.phase, again.former, again.decided_by) == (Phase.REVERTING, "v2", "config"), (
        "nor if it is the old one"
    )
    run.plan, run.state = other, state
    state = run.back()
    assert (state.former, run.shown(), len(state.places)) == ("", "abc", 6)
    assert {rolls.runs_at(state, place) for place in state.places if place.side == "candidate"} == {"v3"}


def test_a_file_without_it_in_the_middle_stands_still() -> None:
    """Broken: requests would go to endpoints that were stopped, as nobody says any more how they come back."""
    run = Run()
    run.batch()
    canary = replace(plan_of(), digest="other")
    state, _ = rollout.adopt(canary, run.state, 500.0)
    assert (state.phase, state.places, state.weight_ppm) == (Phase.PAUSED, run.state.places, 333_333)
    assert "put it back" in state.reason
    back, _ = rollout.adopt(run.plan, state, 600.0)
    assert (back.phase, back.step) == (Phase.PAUSED, 1)
    aborted, _ = rollout.step(canary, state, Abort("ann"), 600.0)
    assert (aborted.phase, aborted.weight_ppm, aborted.places) == (Phase.ABORTED, 0, run.state.places)
    edited, _ = rollout.adopt(replace(canary, digest="more"), aborted, 650.0)
    assert edited.places == run.state.places, "nor does another edit make what was stopped run"
    run.state, _ = rollout.adopt(run.plan, edited, 700.0)
    assert run.state.phase is Phase.REVERTING
    assert run.back().reason == "aborted by ann"


@pytest.mark.parametrize("event", [Resume("ann"), Promote("ann"), Promote("ann", full=True)], ids=repr)
@pytest.mark.parametrize("ending", [steps.Promotion(), steps.Promotion(proof=False), steps.Swap(5.0, 60.0)], ids=repr)
def test_no_other_plan_goes_on_with_half_of_the_endpoints(event: Event, ending: steps.Ending) -> None:
    """Broken: a candidate with a third of its endpoints would get all traffic, or a swap begin that never ends."""
    run = Run()
    run.batch()
    given = () if isinstance(ending, steps.Swap) else plan_of().steps
    other = replace(plan_of(), digest="other", ending=ending, steps=given)
    state, _ = rollout.adopt(other, run.state, 500.0)
    with pytest.raises(IllegalEvent, match="half replaced: put rollingUpdate back into the file, or abort"):
        rollout.step(other, state, event, 600.0)


def test_by_hand_nothing_goes_on_while_it_is_paused_in_a_batch() -> None:
    """Broken: whoever has paused would be told to wait for the end of a batch that waits for them."""
    run = Run()
    run.done("ready")
    run.tell(Pause("ann"))
    with pytest.raises(IllegalEvent, match="endpoints are being replaced: resume, or abort"):
        run.tell(Promote("ann"))


def test_several_candidates_and_endpoints_do_not_mix() -> None:
    """Broken: endpoints would be replaced by a version that left a race for its harm, or a race go on among them."""
    rivals = tuple(Runner(name, f"digest of {name}") for name in ("v2", "v3"))
    race = replace(plan_of(), rivals=rivals, candidate_digest="both", baseline="v1-fresh")
    state, _ = rollout.begin(race, 0.0)
    assert (state.racing, state.places, state.baseline) == (("v2", "v3"), (), "v1-fresh")
    alone = plan(candidate_digest="digest of v2")
    after, actions = rollout.adopt(alone, state, 500.0)
    assert (after.phase, after.doing, after.race, after.baseline) == (Phase.PROGRESSING, "ready", (), "")
    assert is_done(after.places, "stable")
    assert [action.kind for action in actions if isinstance(action, Record)] == ["begin"]
    left = replace(state, race=(replace(rivals[0], verdict="Failed", decided_by="errors"), rivals[1]), candidate="v3")
    after, _ = rollout.adopt(alone, left, 500.0)
    assert (after.phase, after.verdict, is_done(after.places, "stable")) == (Phase.ABORTED, "Failed", True)
    run = Run(alone)
    run.batch()
    standing, _ = rollout.adopt(race, run.state, 500.0)
    assert (standing.phase, standing.places, standing.race) == (Phase.PAUSED, run.state.places, ())
    assert (standing.weight_ppm, standing.stage) == (0, run.state.stage + 1), "a weight of one is none of three"


def test_what_is_decided_stays_decided() -> None:
    """Broken: an edit would take endpoints from a version that has won, or give some to one that was aborted."""
    run = Run()
    run.tell(Promote("ann", full=True))
    for _ in range(3):
        run.batch()
    run.tell(Applied(run.state.stage))
    state, _ = rollout.adopt(replace(run.plan, digest="other"), run.state, 500.0)
    assert (state.phase, state.places) == (Phase.SUCCEEDED, run.state.places)
    promoted = replace(plan(), stable="v2", candidate="v3", candidate_digest="c3")
    state, _ = rollout.adopt(promoted, run.state, 500.0)
    assert (state.phase, [p.status for p in state.places if p.side == "stable"]) == ("Progressing", ["serving"] * 3)


# --- under any events

ADDRESSES = "abcdef"


@st.composite
def rollings(draw: st.DrawFn) -> Rolling:
    """As many endpoints of both versions, some of them in the same places, under limits that a file may have."""
    n = draw(st.integers(1, 4))
    stable = tuple(ADDRESSES[:n])
    candidate = tuple(draw(st.permutations(ADDRESSES[: n + draw(st.integers(0, 2))])))[:n]
    away = draw(st.integers(0, n - 1))
    surge = draw(st.integers(0 if away else 1, 3))
    if not away and set(candidate) <= set(stable):
        candidate = (*candidate[:-1], "z")
    return Rolling(stable, candidate, away, surge, 5.0, 60.0, draw(st.sampled_from([0.0, 20.0])))


EVENTS: tuple[Callable[[State], Event], ...] = (
    lambda state: Swapped(state.stage, state.doing),
    lambda state: Applied(state.stage),
    lambda state: seen(state.stage, 200, proven=True),
    lambda state: seen(state.stage, 200),
    lambda _: Look(None),
    lambda _: HARM,
    lambda state: Swapped(state.stage, "watch", "not well"),
    lambda state: Swapped(state.stage, state.doing, "not yet"),
    lambda _: Abort("ann"),
    lambda _: Pause("ann"),
    lambda _: Resume("ann"),
    lambda _: Promote("ann"),
    lambda _: Promote("ann", full=True),
    lambda _: Retry("ann"),
    lambda _: Undo("ann"),
)
GOES_ON = EVENTS[:3]
PHASES = tuple(phase for phase in HypothesisPhase if phase is not HypothesisPhase.shrink)


class World:
    """What really runs: endpoints that were told to start do, and those told to stop are gone, maybe at once."""

    def __init__(self, of: Rolling) -> None:
        self.of = of
        self.running = {("stable", address) for address in of.stable}

    def hear(self, state: State) -> None:
        if state.phase not in (Phase.PROGRESSING, Phase.REVERTING):
            return
        if state.doing == "stop":
            self.running -= {(p.side, p.address) for p in state.places if p.status == "leaving"}
        if state.doing == "start":
            self.running |= {(p.side, p.address) for p in state.places if p.status == "starting"}

    def check(self, state: State) -> None:
        of, serving = self.of, [p for p in state.places if p.serves]
        assert len(serving) >= len(of.stable) - of.max_unavailable, "capacity"
        assert {(p.side, p.address) for p in serving} <= self.running, "requests to an endpoint that is not there"
        assert len(self.running) <= len(of.stable) + of.max_surge, "more run than there is room for"
        addresses = [address for _, address in self.running]
        assert len(set(addresses)) == len(addresses), "two versions in one place"
        new = [p for p in serving if p.side == "candidate"]
        assert (state.weight_ppm > 0) == bool(new)
        assert (state.weight_ppm < CIRCLE) == (len(new) < len(serving))


@settings(max_examples=150, deadline=None, phases=PHASES)
@given(rollings(), st.lists(st.integers(0, len(EVENTS) * 3), max_size=80))
def test_capacity_holds_whatever_happens(of: Rolling, chosen: list[int]) -> None:
    """Broken: some order of events, with kills between them, would leave too few to serve, or ask one that is gone."""
    p, world = plan(of), World(of)
    state, _ = rollout.begin(p, 0.0)
    now_s = 0.0
    for number in chosen:
        event = EVENTS[number](state) if number < len(EVENTS) else GOES_ON[number % len(GOES_ON)](state)
        now_s += 7.0
        before = state
        try:
            state, actions = rollout.step(p, state, event, now_s)
        except IllegalEvent:
            assert state == before
            continue
        changed = [p_ for p_, q in zip(before.places, state.places, strict=True) if p_.serves != q.serves]
        assert not changed or (state.stage > before.stage and Route() in actions), "workers would not hear of it"
        assert state.phase is not Phase.PROMOTING or is_done(state.places, "candidate")
        assert state.phase is not Phase.ABORTED or is_done(state.places, "stable")
        # A controller that is killed here begins with what was kept, and the hook may have been told already.
        state = state_codec.decode(state_codec.encode(state))
        world.hear(state)
        world.check(state)


@settings(max_examples=60, deadline=None, phases=PHASES)
@given(rollings(), st.integers(0, 60), st.sampled_from([HARM, Abort("ann"), None]))
def test_it_always_comes_to_an_end(of: Rolling, after: int, ends_it: Event | None) -> None:
    """Broken: there would be a state in which nothing that can happen leads on."""
    p, now_s = plan(of), 0.0
    state, _ = rollout.begin(p, 0.0)
    for turn in range(600):
        if state.phase in TERMINAL:
            break
        if turn == after and ends_it is not None and state.phase is Phase.PROGRESSING:
            state, _ = rollout.step(p, state, ends_it, now_s)
        for event in GOES_ON:
            now_s += 7.0
            if state.phase not in TERMINAL:
                state, _ = rollout.step(p, state, event(state), now_s)
    assert state.phase in TERMINAL, state
    assert is_done(state.places, "candidate" if state.phase is Phase.SUCCEEDED else "stable")


@settings(max_examples=60, deadline=None, phases=PHASES)
@given(rollings(), rollings(), st.integers(0, 60), st.booleans())
def test_an_edit_is_never_a_dead_end(of: Rolling, edited: Rolling, after: int, same: bool) -> None:
    """Broken: an edit of endpoints or limits in the middle would leave a rollout that nothing leads on."""
    p, now_s = plan(of), 0.0
    state, _ = rollout.begin(p, 0.0)
    for turn in range(900):
        if turn == after:
            away = min(max(1, edited.max_unavailable), len(of.stable) - 1)
            limits = replace(of, max_unavailable=away, max_surge=max(of.max_surge, edited.max_surge))
            p = plan(limits if same else edited, digest="p2", candidate_digest="c2" if same else "c3")
            state, _ = rollout.adopt(p, state, now_s)
        if state.phase in TERMINAL and turn >= after:
            break
        for event in GOES_ON:
            now_s += 7.0
            if state.phase not in TERMINAL:
                state, _ = rollout.step(p, state, event(state), now_s)
    assert state.phase in TERMINAL, state
