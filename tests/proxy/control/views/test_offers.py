"""What an operator is offered, by the rollout machine itself."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest

from proxy.control.machine import rollout, steps
from proxy.control.machine.rollout import Abort, Applied, Pause, Phase, Plan, Promote, State
from proxy.control.machine.state import Runner
from proxy.control.machine.verbs import event_of
from proxy.control.views.offers import offers

PLAN = Plan(
    route="fraud", stable="v1", candidate="v2", candidate_digest="c2", digest="p1",
    steps=(steps.SetWeight(50_000), steps.Analysis(50, None), steps.SetWeight(500_000), steps.Analysis(None, None)),
    min_samples=100, min_duration_s=20.0, max_duration_s=1000.0, on_inconclusive="pause",
)  # fmt: skip


def after(plan: Plan, *events: rollout.Event) -> State:
    state, _ = rollout.begin(plan, 0.0)
    for now_s, event in enumerate(events, 1):
        state, _ = rollout.step(plan, state, event, float(now_s))
    return state


def offered(plan: Plan, state: State | None) -> dict[str, str]:
    found = offers(SimpleNamespace(plan=plan, state=state), 10.0)
    return {
        " ".join(filter(None, (each["verb"], "full" * each["full"], each["candidate"]))): each["text"] for each in found
    }


@pytest.mark.parametrize(
    ("events", "verbs"),
    [
        ((), {"promote", "promote full", "pause", "abort"}),
        ((Pause("ann"),), {"promote", "promote full", "resume", "abort"}),
        ((Promote("ann", True),), {"abort"}),
        ((Promote("ann", True), Applied(2)), {"undo"}),
        ((Abort("ann"),), {"retry"}),
    ],
)
def test_only_what_would_change_something_is_offered(events, verbs):
    """Broken: a button is there that is refused, or one that is needed is not."""
    state = after(PLAN, *events)
    assert set(offered(PLAN, state)) == verbs


def test_every_offer_is_taken():
    """Broken: what is offered differs from what the machine does."""
    for events in ((), (Pause("ann"),), (Promote("ann", True), Applied(2)), (Abort("ann"),)):
        state = after(PLAN, *events)
        for each in offers(SimpleNamespace(plan=PLAN, state=state), 10.0):
            event = event_of(each["verb"], "ann", each["full"], "", each["candidate"])
            assert rollout.step(PLAN, state, event, 11.0)[0] != state


def test_what_would_come_of_it_is_said():
    """Broken: whoever presses a button does not know what happens to users."""
    begun, paused = after(PLAN), after(PLAN, Pause("ann"))
    said = offered(PLAN, begun)
    assert said["promote"] == (
        "v2 gets 50 % of the traffic instead of 5 %. Next: analysis. What this step still waits for is passed over."
    )
    assert said["promote full"] == (
        "All traffic goes to v2 instead of 5 % of it. That is done now, whatever the evidence says."
    )
    assert said["abort"] == "All traffic goes to v1; v2 gets nothing until somebody retries."
    assert said["pause"] == "v2 gets 5 % of the traffic. It stays so until somebody resumes; proven harm still aborts."
    assert offered(PLAN, paused)["resume"] == "v2 keeps 5 % of the traffic. Next: analysis of 50 samples."
    assert offered(PLAN, after(PLAN, Abort("ann")))["retry"].startswith("v2 begins again from the first step")
    won = after(PLAN, Promote("ann", True), Applied(2))
    assert offered(PLAN, won)["undo"].startswith("All traffic goes to v1")


def test_of_several_candidates_each_is_named():
    """Broken: one of three cannot be taken out; or all are, where one was meant."""
    plan = replace(PLAN, rivals=(Runner("v2", "a"), Runner("v3", "b")))
    said = offered(plan, after(plan))
    assert {"promote full v2", "promote full v3", "abort", "abort v2", "abort v3"} <= set(said)
    assert "promote full" not in said
    assert said["abort v2"] == "This candidate gets nothing any more, and its users go to the others. v3 goes on."


def test_a_swap_and_a_bake_have_words_of_their_own():
    """Broken: requests are held, and whoever asked for it did not know."""
    swap = replace(PLAN, steps=(), ending=steps.Swap(5.0, 60.0))
    state = after(swap)
    assert state.phase is Phase.SWAPPING
    assert set(offered(swap, state)) == {"abort"}
    bake = replace(PLAN, bake=steps.Bake(60.0, 0))
    said = offered(bake, after(bake, Promote("ann", True), Applied(2)))
    assert said["promote"] == "v2 keeps all traffic, and is not watched any longer."
    assert offered(PLAN, None) == {}
