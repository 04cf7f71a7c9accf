"""The state machine of one route's candidate: pure, and all of it in one table.

`step` takes a state, an event and the time, and answers the next state and what to do about it; it touches nothing.
The caller persists the state first and acts then; every action may safely happen twice. `TABLE` decides every pair
of phase and event: it leads somewhere, changes nothing, or is refused with a remedy. `docs/rollout.md` shows it.

What holds whatever happens:
- Only evidence that proves the candidate, an operator's full promote, or the answers of the candidate's endpoints
  where the plan asks for nothing more, leads to Promoting. Silence does not.
- Harm that is proven aborts in every phase that is not terminal, pauses included.
- A look that cannot decide never raises the weight.
- Of several candidates each leaves by itself, at the look that proves its harm or when an operator takes it out, in
  every phase before one is chosen.
- Aborted and Failed stay so, for this version of the candidate, until an operator retries; Succeeded stays so until
  an operator undoes it.
- `stage` counts up exactly when the weight or the mirror changes, one of several candidates leaves that had any, or the
  route begins or ceases to be held, and then there is a `Route` action.
- While one version takes the place of another, requests wait. They go on to a version that is known to be well, or to
  stable where nothing was stopped.
- While endpoints are replaced one by one, as many serve as the plan says; those of the candidate only once they are
  well. What is taken back then is put back in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from proxy.control.machine import looks, orders, race, rolls, swaps
from proxy.control.machine.adopting import adopt, begin
from proxy.control.machine.state import (
    TAKEN_OVER,
    TERMINAL,
    Abort,
    Action,
    Applied,
    Ask,
    Checked,
    Decision,
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
from proxy.control.machine.steps import Plan

__all__ = [
    "TABLE", "TAKEN_OVER", "TERMINAL", "Abort", "Action", "Applied", "Arrow", "Ask", "Checked", "Decision", "Event",
    "IllegalEvent", "Look", "Pause", "Phase", "Plan", "Promote", "Record", "Resume", "Retry", "Route", "State",
    "Swapped", "Undo", "adopt", "begin", "diagram", "step",
]  # fmt: skip
"""The rollout's whole vocabulary can be had from here."""

Fire = Callable[[Plan, State, Any, float], Decision]


@dataclass(frozen=True, slots=True)
class Arrow:
    """What an event does in a phase: the phases it may lead to and why, or why it is refused.

    `fire` answers the decision; without it the event changes nothing.
    """

    to: Mapping[Phase, str] = field(default_factory=dict)
    fire: Fire | None = None
    refusal: str = ""


def _of(rolling: Fire, swapping: Fire) -> Fire:
    """Two ways to go back: endpoint by endpoint, or all at once while requests wait."""
    return lambda plan, state, event, now_s: (rolling if state.places else swapping)(plan, state, event, now_s)


_NOTHING: Final = Arrow()
_NOT_PAUSED: Final = Arrow(refusal="nothing is paused")
_NOT_ENDED: Final = Arrow(refusal="it has not ended; abort it first")
_ENDED: Final = Arrow(refusal="it has ended; retry it to begin again")
_WON: Final = Arrow(refusal="it has succeeded; undo it, or give the route another candidate")
_TAKING_OVER: Final = Arrow(refusal="the candidate is taking over; abort it instead")
_BAKING: Final = Arrow(refusal="the candidate has all traffic: abort takes it back, promote ends the bake")
_NOT_PROMOTED: Final = Arrow(refusal="nothing is promoted yet; abort it instead")
_UNDO: Final = Arrow({Phase.ABORTED: "by hand", Phase.REVERTING: "by hand, where stable was stopped"}, orders.undo)
_TAKE_BACK: Final = Arrow(
    {Phase.ABORTED: "by hand", Phase.REVERTING: "by hand, where stable was stopped"}, orders.abort
)
_ABORT: Final = Arrow({Phase.ABORTED: "by hand"}, orders.abort)
_ABORT_BEGUN: Final = Arrow(
    {Phase.ABORTED: "by hand", Phase.REVERTING: "by hand, where endpoints were replaced"}, orders.abort
)
_BEGIN: Final = Arrow(
    {
        Phase.WAITING: "from the first step",
        Phase.PAUSED: "a pause comes first",
        Phase.PROGRESSING: "endpoints are replaced first",
        Phase.SWAPPING: "a swap comes first",
    },
    orders.retry,
)
_BACK: Final = {
    Phase.ABORTED: "stable is there again",
    Phase.WAITING: "stable is there again, and the file has another candidate",
    Phase.PROGRESSING: "the same, and its endpoints are replaced first",
}
_SWAPPING: Final = Arrow(refusal="one version takes the place of the other: abort, or wait for the end of it")
_REVERTING: Final = Arrow(refusal="stable is being put back: wait for the end of it")
_FALLEN: Final = Arrow({Phase.REVERTING: "not well where stable was stopped"}, rolls.fallen)
_PROMOTE: Final = Arrow(
    {
        Phase.PROGRESSING: "one step",
        Phase.PAUSED: "one step, to a pause",
        Phase.PROMOTING: "full",
        Phase.SWAPPING: "full, or the last step, where versions are swapped",
    },
    orders.promote,
)

TABLE: Final[Mapping[Phase, Mapping[type[Event], Arrow]]] = {
    Phase.WAITING: {
        Look: Arrow(
            {
                Phase.PROGRESSING: "first sample",
                Phase.PAUSED: "no traffic, or deadline over, or confirmed and a pause is next",
                Phase.PROMOTING: "confirmed, and nothing else is asked",
                Phase.SWAPPING: "confirmed, and versions are swapped",
                Phase.ABORTED: "harm proven, or no traffic",
                Phase.FAILED: "deadline over",
            },
            looks.look,
        ),
        Checked: Arrow(
            {
                Phase.WAITING: "all well",
                Phase.PAUSED: "all well, a pause is next",
                Phase.PROMOTING: "all well, and nothing else is asked",
                Phase.SWAPPING: "all well, and versions are swapped",
            },
            orders.checked,
        ),
        Swapped: _NOTHING,
        Applied: _NOTHING,
        Promote: _PROMOTE,
        Abort: _ABORT,
        Pause: Arrow({Phase.PAUSED: "by hand"}, orders.pause),
        Resume: _NOT_PAUSED,
        Retry: _NOT_ENDED,
        Undo: _NOT_PROMOTED,
    },
    Phase.PROGRESSING: {
        Look: Arrow(
            {
                Phase.PAUSED: "step done, a pause is next, or inconclusive",
                Phase.PROMOTING: "last step done and proven",
                Phase.SWAPPING: "last step done, and versions are swapped",
                Phase.SUCCEEDED: "last step done, and nothing takes over",
                Phase.ABORTED: "harm proven, or inconclusive",
                Phase.REVERTING: "the same, where endpoints were replaced",
                Phase.FAILED: "time or deadline over",
            },
            looks.look,
        ),
        Checked: Arrow(
            {
                Phase.PAUSED: "all well, a pause is next",
                Phase.PROMOTING: "all well, and nothing else is asked",
                Phase.SWAPPING: "all well, and versions are swapped",
            },
            orders.checked,
        ),
        Swapped: Arrow(
            {
                Phase.PROMOTING: "the last endpoint is replaced",
                Phase.ABORTED: "endpoints are not well, none replaced",
                Phase.REVERTING: "endpoints are not well",
            },
            rolls.told,
        ),
        Applied: Arrow({Phase.PROMOTING: "the last endpoint is replaced"}, rolls.applied),
        Promote: _PROMOTE,
        Abort: _ABORT_BEGUN,
        Pause: Arrow({Phase.PAUSED: "by hand"}, orders.pause),
        Resume: _NOT_PAUSED,
        Retry: _NOT_ENDED,
        Undo: _NOT_PROMOTED,
    },
    Phase.PAUSED: {
        Look: Arrow(
            {
                Phase.PROGRESSING: "time of the pause over",
                Phase.PROMOTING: "time of the last pause over",
                Phase.SWAPPING: "time of the last pause over, and versions are swapped",
                Phase.ABORTED: "harm proven, or inconclusive",
                Phase.REVERTING: "harm proven, where endpoints were replaced",
            },
            looks.look,
        ),
        Checked: _NOTHING,
        Swapped: Arrow(
            {Phase.ABORTED: "endpoints are not well, none replaced", Phase.REVERTING: "endpoints are not well"},
            rolls.fallen,
        ),
        Applied: _NOTHING,
        Promote: _PROMOTE,
        Abort: _ABORT_BEGUN,
        Pause: Arrow(fire=orders.pause),
        Resume: Arrow(
            {
                Phase.PROGRESSING: "by hand",
                Phase.PROMOTING: "by hand, at the last step that asks for nothing more",
                Phase.SWAPPING: "by hand, at the last step, where versions are swapped",
            },
            orders.resume,
        ),
        Retry: _NOT_ENDED,
        Undo: _NOT_PROMOTED,
    },
    Phase.PROMOTING: {
        Look: Arrow(
            {Phase.ABORTED: "harm proven", Phase.REVERTING: "harm proven, where stable was stopped"},
            looks.look_promoting,
        ),
        Checked: _NOTHING,
        Swapped: _FALLEN,
        Applied: Arrow(
            {
                Phase.SUCCEEDED: "all workers route to the candidate",
                Phase.BAKING: "all workers route to the candidate, and it is to bake",
            },
            orders.applied,
        ),
        Promote: _NOTHING,
        Abort: _TAKE_BACK,
        Pause: _TAKING_OVER,
        Resume: _NOT_PAUSED,
        Retry: _NOT_ENDED,
        Undo: _UNDO,
    },
    Phase.BAKING: {
        Look: Arrow(
            {
                Phase.SUCCEEDED: "time of the bake over",
                Phase.ABORTED: "harm proven",
                Phase.REVERTING: "harm proven, where stable was stopped",
            },
            looks.look_baking,
        ),
        Checked: _NOTHING,
        Swapped: _FALLEN,
        Applied: _NOTHING,
        Promote: Arrow({Phase.SUCCEEDED: "by hand"}, orders.end_bake),
        Abort: _TAKE_BACK,
        Pause: _BAKING,
        Resume: _NOT_PAUSED,
        Retry: _NOT_ENDED,
        Undo: _UNDO,
    },
    Phase.SWAPPING: {
        Look: Arrow({Phase.ABORTED: "time over, nothing stopped yet", Phase.REVERTING: "time over"}, swaps.look),
        Checked: _NOTHING,
        Swapped: Arrow(
            {Phase.PROMOTING: "the candidate is there", Phase.REVERTING: "smoke requests fail"}, swaps.swapped
        ),
        Applied: Arrow(fire=swaps.applied),
        Promote: _SWAPPING,
        Abort: Arrow({Phase.ABORTED: "by hand, nothing stopped yet", Phase.REVERTING: "by hand"}, swaps.abort),
        Pause: _SWAPPING,
        Resume: _NOT_PAUSED,
        Retry: _NOT_ENDED,
        Undo: _NOT_PROMOTED,
    },
    Phase.REVERTING: {
        Look: Arrow(fire=_of(rolls.look, swaps.look)),
        Checked: _NOTHING,
        Swapped: Arrow(_BACK, _of(rolls.told, swaps.swapped)),
        Applied: Arrow(_BACK, _of(rolls.applied, swaps.applied)),
        Promote: _REVERTING,
        Abort: _NOTHING,
        Pause: _REVERTING,
        Resume: _NOT_PAUSED,
        Retry: _NOT_ENDED,
        Undo: _NOTHING,
    },
    Phase.SUCCEEDED: {
        Look: _NOTHING,
        Checked: _NOTHING,
        Swapped: _NOTHING,
        Applied: _NOTHING,
        Promote: _NOTHING,
        Abort: _WON,
        Pause: _WON,
        Resume: _WON,
        Retry: _WON,
        Undo: _UNDO,
    },
    Phase.ABORTED: {
        Look: _NOTHING,
        Checked: _NOTHING,
        Swapped: _NOTHING,
        Applied: _NOTHING,
        Promote: _ENDED,
        Abort: _NOTHING,
        Pause: _ENDED,
        Resume: _ENDED,
        Retry: _BEGIN,
        Undo: _NOTHING,
    },
    Phase.FAILED: {
        Look: _NOTHING,
        Checked: _NOTHING,
        Swapped: _NOTHING,
        Applied: _NOTHING,
        Promote: _ENDED,
        Abort: _NOTHING,
        Pause: _ENDED,
        Resume: _ENDED,
        Retry: _BEGIN,
        Undo: _NOTHING,
    },
}


def step(plan: Plan, state: State, event: Event, now_s: float) -> Decision:
    """What an event makes of a state, and what to do then.

    Raises:
        IllegalEvent: the event makes no sense in the state.
        ValueError: the state is of another plan; `adopt` it first.
    """
    if (plan.route, plan.candidate_digest, plan.digest) != (state.route, state.candidate_digest, state.plan_digest):
        raise ValueError(f"route {plan.route}: the rollout of {state.candidate} is of another plan: adopt it first")
    if isinstance(event, Abort | Promote):
        race.check(state, event)
    arrow = TABLE[state.phase][type(event)]
    if arrow.refusal:
        raise IllegalEvent(state, event, arrow.refusal)
    if arrow.fire is None:
        return state, ()
    after, actions = arrow.fire(plan, state, event, now_s)
    if swaps.is_to_be_reverted(plan, state, after):
        after, others = swaps.revert(state, after, now_s)
        actions = (*(action for action in actions if not isinstance(action, Route)), *others)
    elif rolls.is_to_be_reverted(plan, state, after):
        after, others = rolls.revert(plan, state, after, now_s)
        actions = (*(action for action in actions if not isinstance(action, Route)), *others)
    elif isinstance(event, Abort | Undo) and state.stopped and state.phase in (*TAKEN_OVER, Phase.SUCCEEDED):
        remedy = f"{state.stable} is stopped, and the file says no longer who starts it: put its strategy back first"
        raise IllegalEvent(state, event, remedy)
    if after.former and not after.race and after.phase in TERMINAL:
        # What waited for endpoints ends by each of its names.
        after = replace(after, race=race.entered(plan, after.latched))
    assert after.phase is state.phase or after.phase in arrow.to, f"{state.phase} to {after.phase} is not in the table"
    return after, actions


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> Waiting: begin", "    [*] --> Paused: begin (a pause comes first)",
             "    [*] --> Progressing: begin (endpoints are replaced first)",
             "    [*] --> Swapping: begin (a swap comes first)"]  # fmt: skip
    for phase, arrows in TABLE.items():
        for event, arrow in arrows.items():
            lines += [f"    {phase} --> {to}: {event.__name__} ({why})" for to, why in arrow.to.items()]
    lines += [f"    {phase} --> [*]" for phase in Phase if phase in TERMINAL]
    return "\n".join(lines) + "\n"
