"""One version in the place of another: the machine of `recreate`, part by part."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from proxy.control.machine import rollout, steps, swaps
from proxy.control.machine.gates import Answers
from proxy.control.machine.rollout import (
    Abort,
    Applied,
    Ask,
    Event,
    IllegalEvent,
    Look,
    Phase,
    Promote,
    Record,
    Retry,
    Route,
    State,
    Swapped,
    Undo,
)
from proxy.snapshot import CIRCLE
from tests.proxy.control.machine.test_rollout import HARM
from tests.proxy.control.machine.test_rollout import plan as plan_of

SWAP = steps.Swap(drain_s=5.0, deadline_s=60.0)


def plan(**changes: Any) -> steps.Plan:
    return replace(plan_of(), **{"steps": (), "ending": SWAP, **changes})


class Run:
    """A swap that is told things. `acted` are the actions of the last one."""

    def __init__(self, plan_: steps.Plan | None = None) -> None:
        self.plan, self.now_s = plan_ or plan(), 100.0
        self.state: State
        self.state, self.acted = rollout.begin(self.plan, self.now_s)

    def tell(self, event: Event, after_s: float = 1.0) -> State:
        self.now_s += after_s
        self.state, self.acted = rollout.step(self.plan, self.state, event, self.now_s)
        return self.state

    def done(self, *parts: str) -> State:
        for part in parts:
            assert self.state.doing == part
            event = Applied(self.state.stage) if part == "hold" else Swapped(self.state.stage, part)
            self.tell(event)
        return self.state

    @property
    def rerouted(self) -> bool:
        return Route() in self.acted


def test_part_by_part_to_the_promotion() -> None:
    """Broken: the old version would be stopped under its requests, or requests let go to one that is not there."""
    run = Run()
    assert (run.state.phase, run.state.doing, run.rerouted) == (Phase.SWAPPING, "hold", True)
    assert swaps.subject_of(run.done("hold")) == "v1"
    assert run.state.doing == "drain"
    assert not run.rerouted
    assert swaps.subject_of(run.done("drain")) == "v1"
    assert swaps.subject_of(run.done("stop")) == "v2"
    state = run.done("start")
    assert (state.doing, state.weight_ppm) == ("check", 0)
    state = run.done("check")
    assert (state.phase, state.weight_ppm, state.doing, run.rerouted) == (Phase.PROMOTING, CIRCLE, "", True)
    assert run.tell(Applied(state.stage)).phase is Phase.SUCCEEDED


def test_the_stage_counts_up_where_the_hold_begins_and_ends() -> None:
    """Broken: nobody would know when the last worker holds, and the old version is stopped before."""
    run = Run()
    assert run.state.stage == 1
    assert run.tell(Applied(0)).doing == "hold", "an acknowledgement of something else"
    assert run.done("hold", "drain", "stop", "start").stage == 1
    assert run.done("check").stage == 2


@pytest.mark.parametrize("event", [Swapped(1, "stop"), Swapped(0, "drain"), Swapped(1, "check"), Applied(1)])
def test_news_of_another_part_change_nothing(event: Event) -> None:
    """Broken: an answer that comes late would skip a part."""
    run = Run()
    run.done("hold")
    before = run.state
    assert run.tell(event) == before


def test_what_fails_is_said_and_tried_on() -> None:
    """Broken: one answer that is no yes would end a swap, or nobody would know what it waits for."""
    run = Run()
    run.done("hold", "drain")
    state = run.tell(Swapped(1, "stop", "the hook answered 500"))
    assert (state.doing, state.reason) == ("stop", "stops v1: the hook answered 500")
    assert run.acted == ()


def test_a_drain_has_an_end() -> None:
    """Broken: one stream that never ends would hold everybody for ever."""
    run = Run()
    run.done("hold")
    assert run.tell(Look(None), 4.9).doing == "drain"
    assert run.tell(Look(None), 0.2).doing == "stop"
    assert any(isinstance(action, Record) and "they are cut" in action.text for action in run.acted)


@pytest.mark.parametrize("parts", [("hold", "drain"), ("hold", "drain", "stop"), ("hold", "drain", "stop", "start")])
def test_a_swap_that_takes_too_long_is_reverted(parts: tuple[str, ...]) -> None:
    """Broken: a model that does not come up would keep its users waiting until somebody wakes up."""
    run = Run()
    run.done(*parts)
    state = run.tell(Look(None), 65.0)
    assert (state.phase, state.doing, state.ended_s) == (Phase.REVERTING, "hold", None)
    assert (state.verdict, state.decided_by) == ("Failed", "swap")
    assert state.ended_reason.startswith("the swap was not done within 65 s: ")
    assert swaps.subject_of(run.done("hold", "drain")) == "v2"
    assert swaps.subject_of(run.done("stop")) == "v1"
    state = run.done("start", "check")
    assert (state.phase, state.weight_ppm, run.rerouted) == (Phase.ABORTED, 0, True)
    assert state.reason.startswith("the swap was not done within 65 s: ")
    assert state.ended_s == run.now_s


@pytest.mark.parametrize("parts", [(), ("hold",)])
def test_as_long_as_nothing_was_stopped_letting_go_is_enough(parts: tuple[str, ...]) -> None:
    """Broken: an abort in the first second would stop and start versions for nothing."""
    run = Run()
    run.done(*parts)
    state = run.tell(Abort("ann"))
    assert (state.phase, state.doing, run.rerouted) == (Phase.ABORTED, "", True)
    assert state.stage == 2


def test_smoke_requests_come_before_the_hold_ends() -> None:
    """Broken: requests that waited would be let go to a model that is up and answers nonsense."""
    run = Run(plan(ending=replace(SWAP, smokes=2)))
    state = run.done("hold", "drain", "stop", "start", "check")
    assert (state.phase, state.doing, run.rerouted) == (Phase.SWAPPING, "smoke", False)
    assert swaps.subject_of(state) == "v2"
    state = run.tell(Swapped(1, "smoke", "status 500, expected 200"))
    assert state.reason == "asks every endpoint of v2 the smoke requests: status 500, expected 200"
    assert (run.done("smoke").phase, run.rerouted) == (Phase.PROMOTING, True)


def test_smoke_requests_that_fail_for_good_put_stable_back() -> None:
    """Broken: everybody would wait until the deadline of a model that will not be right."""
    run = Run(plan(ending=replace(SWAP, smokes=2)))
    run.done("hold", "drain", "stop", "start", "check")
    state = run.tell(Swapped(1, "smoke", "it says dog", hopeless=True))
    assert (state.phase, state.verdict, state.decided_by) == (Phase.REVERTING, "Failed", "smoke")
    assert state.ended_reason == "it says dog"
    state = run.done("hold", "drain", "stop", "start", "check")
    assert (state.phase, state.reason) == (Phase.ABORTED, "it says dog"), "stable is asked no smoke requests"


def test_a_reversal_has_no_end_but_its_own() -> None:
    """Broken: requests would be let go to a version that is not there."""
    run = Run()
    run.done("hold", "drain", "stop")
    run.tell(Abort("ann", "wrong model"))
    run.done("hold", "drain", "stop", "start")
    assert run.tell(Look(None), 86_400.0).phase is Phase.REVERTING
    assert run.tell(Abort("ann")).phase is Phase.REVERTING
    assert run.done("check").reason == "aborted by ann: wrong model"


@pytest.mark.parametrize("event", [HARM, Look(None, hooks=Answers(harm="button")), Abort("ann"), Undo("ann")])
def test_whoever_takes_the_candidate_back_while_it_bakes_swaps(event: Event) -> None:
    """Broken: all traffic would go to a version that was stopped."""
    run = Run(plan(bake=steps.Bake(600.0, 0)))
    run.done("hold", "drain", "stop", "start", "check")
    assert run.tell(Applied(run.state.stage)).phase is Phase.BAKING
    state = run.tell(event)
    assert (state.phase, state.doing, state.weight_ppm, run.rerouted) == (Phase.REVERTING, "hold", 0, True)
    assert run.done(*swaps.PARTS).phase is Phase.ABORTED


def test_a_candidate_that_is_not_well_any_more_is_taken_back() -> None:
    """Broken: a model that crashes while it bakes would stay where it is."""
    run = Run(plan(bake=steps.Bake(600.0, 0)))
    run.done("hold", "drain", "stop", "start", "check")
    run.tell(Applied(run.state.stage))
    before = run.state
    assert run.tell(Swapped(before.stage - 1, "watch", "late news")) == before
    state = run.tell(Swapped(before.stage, "watch", "no endpoint is well"))
    assert (state.phase, state.decided_by, state.ended_reason) == (
        Phase.REVERTING,
        "healthCheck",
        "no endpoint is well",
    )


def test_an_undo_long_after_swaps_as_well() -> None:
    """Broken: the version that comes back would not be there."""
    run = Run()
    run.done("hold", "drain", "stop", "start", "check")
    run.tell(Applied(run.state.stage))
    state = run.tell(Undo("ann"), 86_400.0)
    assert (state.phase, state.ended_s) == (Phase.REVERTING, None)


def test_a_webhook_can_take_a_swap_back() -> None:
    """Broken: the button would not work for as long as requests wait."""
    run = Run(plan(gates=frozenset({"rollback"})))
    run.done("hold", "drain", "stop")
    run.tell(Look(None))
    assert run.acted == (Ask(frozenset({"rollback"})),)
    assert run.tell(Look(None, hooks=Answers(harm="button"))).phase is Phase.REVERTING


def test_retry_swaps_again() -> None:
    """Broken: after a reversal nothing but a new version would help."""
    run = Run()
    run.tell(Abort("ann"))
    state = run.tell(Retry("ann"))
    assert (state.phase, state.attempt, state.stage) == (Phase.SWAPPING, 2, 3)


def test_gates_come_before_the_hold() -> None:
    """Broken: requests would wait for a person."""
    gates = frozenset({"confirm-rollout"})
    run = Run(plan(steps=steps.gated((), gates, asks_at_end=True), gates=gates))
    assert run.state.phase is Phase.WAITING
    assert run.tell(Look(None, hooks=Answers(gates))).phase is Phase.SWAPPING
    by_hand = Run(plan(steps=steps.gated((), gates, asks_at_end=True), gates=gates))
    assert by_hand.tell(Promote("ann")).phase is Phase.SWAPPING


def test_full_promotion_is_a_swap() -> None:
    """Broken: all traffic would go to a version that was never started."""
    gates = frozenset({"confirm-rollout"})
    run = Run(plan(steps=steps.gated((), gates, asks_at_end=True), gates=gates))
    state = run.tell(Promote("ann", full=True))
    assert (state.phase, state.weight_ppm) == (Phase.SWAPPING, 0)
    with pytest.raises(IllegalEvent):
        run.tell(Promote("ann", full=True))


def test_an_edit_goes_on_with_the_swap() -> None:
    """Broken: an edit while stable is stopped would let all requests go to it."""
    run = Run()
    run.done("hold", "drain", "stop")
    edited = replace(run.plan, digest="other")
    state, _ = rollout.adopt(edited, run.state, 110.0)
    assert (state.phase, state.doing, state.plan_digest) == (Phase.SWAPPING, "start", "other")
    assert rollout.step(edited, state, Swapped(1, "start"), 111.0)[0].doing == "check"


def test_another_candidate_in_the_middle_of_a_swap_holds_on() -> None:
    """Broken: requests would be let go to a version that was stopped, since the file has another candidate."""
    run = Run()
    run.done("hold", "drain", "stop")
    state, actions = rollout.adopt(replace(run.plan, candidate="v3", candidate_digest="c3"), run.state, 110.0)
    assert (state.phase, state.doing, state.candidate) == (Phase.SWAPPING, "hold", "v3")
    assert Route() in actions
    gated = frozenset({"confirm-rollout"})
    waits = replace(run.plan, candidate="v3", candidate_digest="c3", steps=steps.gated((), gated, True), gates=gated)
    state, actions = rollout.adopt(waits, run.state, 110.0)
    assert (state.phase, state.doing) == (Phase.SWAPPING, "hold")


@pytest.mark.parametrize(("done", "phase"), [
    ((), Phase.ABORTED), (("hold",), Phase.ABORTED), (("hold", "drain"), Phase.SWAPPING),
    (("hold", "drain", "stop"), Phase.SWAPPING),
])  # fmt: skip
def test_a_file_that_swaps_no_more_lets_nobody_go_to_what_is_stopped(done: tuple[str, ...], phase: Phase) -> None:
    """Broken: a route would be held for ever without a word, or requests let go to a version that was stopped."""
    run = Run()
    run.done(*done)
    run.plan = plan(steps=plan_of().steps, ending=steps.Promotion(), digest="other")
    run.state, run.acted = rollout.adopt(run.plan, run.state, run.now_s)
    assert run.state.phase is Phase.SWAPPING
    state = run.tell(Look(None), after_s=500.0)
    assert state.phase is phase
    assert "the file has no recreate any more" in state.reason
    run.plan = plan()
    run.state, run.acted = rollout.adopt(run.plan, run.state, run.now_s)
    if phase is Phase.SWAPPING:
        assert run.done(*swaps.PARTS[len(done) :]).phase is Phase.PROMOTING, "it goes on where it stood"
