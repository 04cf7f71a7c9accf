"""The state machine of one route's candidate: pure, and all of it in one table.

`step` takes a state, an event and the time, and answers the next state and what to do about it; it touches nothing.
The caller persists the state first and acts then; every action may safely happen twice. `TABLE` decides every pair
of phase and event: it leads somewhere, changes nothing, or is refused with a remedy. `docs/rollout.md` shows it.

What holds whatever happens:
- Only evidence that proves the candidate, an operator's full promote, or the answers of the candidate's endpoints
  where the plan asks for nothing more, leads to Promoting. Silence does not.
- Harm that is proven aborts in every phase that is not terminal, pauses included.
- A look that cannot decide never raises the weight.
- Of several candidates each leaves by itself, at the look that proves its harm, in every phase before one is chosen.
- Aborted and Failed stay so, for this version of the candidate, until an operator retries; Succeeded stays so until
  an operator undoes it.
- `stage` counts up exactly when the weight or the mirror changes, one of several candidates leaves that had any, or the
  route begins or ceases to be held, and then there is a `Route` action.
- While one version takes the place of another, requests wait. They go on to a version that is known to be well, or to
  stable where nothing was stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from proxy.control import looks, moves, orders, race, steps, swaps
from proxy.control.state import (
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
    Runner,
    State,
    Swapped,
    Undo,
)
from proxy.control.steps import Plan

__all__ = [
    "TABLE", "TAKEN_OVER", "TERMINAL", "Abort", "Action", "Applied", "Arrow", "Ask", "Checked", "Decision", "Event",
    "IllegalEvent", "Look", "Pause", "Phase", "Plan", "Promote", "Record", "Resume", "Retry", "Route", "State",
    "Swapped", "Undo", "adopt", "begin", "diagram", "step",
]  # fmt: skip
"""The rollout's whole vocabulary can be had from here."""

TERMINAL: Final = frozenset({Phase.SUCCEEDED, Phase.ABORTED, Phase.FAILED})
TAKEN_OVER: Final = frozenset({Phase.PROMOTING, Phase.BAKING})
"""The candidate has all of the traffic, and harm still takes it back."""


_OUT: Final = "it was found to do harm before, and stays out until retry"


@dataclass(frozen=True, slots=True)
class Arrow:
    """What an event does in a phase: the phases it may lead to and why, or why it is refused.

    `fire` answers the decision; without it the event changes nothing.
    """

    to: Mapping[Phase, str] = field(default_factory=dict)
    fire: Callable[[Plan, State, Any, float], Decision] | None = None
    refusal: str = ""


_NOTHING: Final = Arrow()
_NOT_PAUSED: Final = Arrow(refusal="nothing is paused")
_NOT_ENDED: Final = Arrow(refusal="it has not ended; abort it first")
_ENDED: Final = Arrow(refusal="it has ended; retry it to begin again")
_WON: Final = Arrow(refusal="it has succeeded; undo it, or give the route another candidate")
_TAKING_OVER: Final = Arrow(refusal="the candidate is taking over; abort it instead")
_BAKING: Final = Arrow(refusal="the candidate has all traffic: abort takes it back, promote ends the bake")
_NOT_PROMOTED: Final = Arrow(refusal="nothing is promoted yet; abort it instead")
_UNDO: Final = Arrow({Phase.ABORTED: "by hand", Phase.REVERTING: "by hand, after a swap"}, orders.undo)
_TAKE_BACK: Final = Arrow({Phase.ABORTED: "by hand", Phase.REVERTING: "by hand, after a swap"}, orders.abort)
_ABORT: Final = Arrow({Phase.ABORTED: "by hand"}, orders.abort)
_BEGIN: Final = Arrow(
    {
        Phase.WAITING: "from the first step",
        Phase.PAUSED: "a pause comes first",
        Phase.SWAPPING: "a swap comes first",
    },
    orders.retry,
)
_SWAPPING: Final = Arrow(refusal="one version takes the place of the other: abort, or wait for the end of it")
_REVERTING: Final = Arrow(refusal="stable is being put back: wait for the end of it")
_FALLEN: Final = Arrow({Phase.REVERTING: "not well after a swap"}, swaps.fallen)
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
        Swapped: _NOTHING,
        Applied: _NOTHING,
        Promote: _PROMOTE,
        Abort: _ABORT,
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
            },
            looks.look,
        ),
        Checked: _NOTHING,
        Swapped: _NOTHING,
        Applied: _NOTHING,
        Promote: _PROMOTE,
        Abort: _ABORT,
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
        Look: Arrow({Phase.ABORTED: "harm proven", Phase.REVERTING: "harm proven, after a swap"}, looks.look_promoting),
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
                Phase.REVERTING: "harm proven, after a swap",
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
        Look: Arrow(fire=swaps.look),
        Checked: _NOTHING,
        Swapped: Arrow({Phase.ABORTED: "stable is there again"}, swaps.swapped),
        Applied: Arrow(fire=swaps.applied),
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


def begin(plan: Plan, now_s: float) -> Decision:
    """A new rollout, at the first step that waits.

    It is Waiting until the candidate's first sample, or Paused if the first such step is a pause.
    """
    text = f"rollout of {race.names(plan)} against {plan.stable} begins"
    return moves.start(plan, now_s, attempt=1, stage=0, text=text)


def adopt(plan: Plan, kept: State | None, now_s: float) -> Decision:
    """The rollout to go on with under a plan: the kept one, untouched, if it is of this candidate and this plan.

    Another candidate begins anew, and so do another plan and another stable version while nothing is decided. What is
    decided stays decided for this version of the candidate: an edit of the steps neither takes traffic from a
    candidate that succeeded nor gives any to one that was aborted.
    """
    if kept is None:
        return begin(plan, now_s)
    same_candidate = kept.candidate_digest == plan.candidate_digest
    same_candidate &= bool(kept.race) or kept.candidate == plan.candidate
    same_plan = (kept.stable, kept.plan_digest) == (plan.stable, plan.digest)
    if same_candidate and same_plan:
        return kept, ()
    if same_candidate and (kept.phase in TERMINAL | TAKEN_OVER | swaps.HELD):
        text = f"the plan has changed; {kept.candidate} stays {kept.phase}"
        after = replace(kept, stable=plan.stable, plan_digest=plan.digest, baseline=plan.baseline)
        return after, (Route(), Record("plan", text))
    why = "its steps, its analysis or stable has changed" if same_candidate else f"it takes over from {kept.candidate}"
    text = f"rollout of {race.names(plan)} against {plan.stable} begins: {why}"
    out = race.latched(kept)
    after, actions = moves.start(plan, now_s, attempt=1, stage=kept.stage, text=text, out=out)
    if (plan.rivals or kept.race) and (known := _known(plan, out)):
        after, others = moves.end(after, Phase.ABORTED, "Failed", known.decided_by, f"{_OUT}: {known.reason}", now_s)
        return after, (*actions, *others)
    if kept.phase in swaps.HELD and isinstance(plan.ending, steps.Swap) and after.phase is not Phase.SWAPPING:
        # Nobody knows what runs in the place of stable: requests go on to wait, and no gate is asked.
        after, others = moves.swap(after, now_s)
        actions = (*actions, *others)
    return after, actions


def _known(plan: Plan, out: Mapping[str, Runner]) -> Runner | None:
    """Why nobody of the plan may begin: versions that were found to do harm stay out."""
    found = [out.get(runner.digest) for runner in plan.rivals] if plan.rivals else [out.get(plan.candidate_digest)]
    return found[0] if all(found) else None


def step(plan: Plan, state: State, event: Event, now_s: float) -> Decision:
    """What an event makes of a state, and what to do then.

    Raises:
        IllegalEvent: the event makes no sense in the state.
        ValueError: the state is of another plan; `adopt` it first.
    """
    if (plan.route, plan.candidate_digest, plan.digest) != (state.route, state.candidate_digest, state.plan_digest):
        raise ValueError(f"route {plan.route}: the rollout of {state.candidate} is of another plan: adopt it first")
    arrow = TABLE[state.phase][type(event)]
    if arrow.refusal:
        raise IllegalEvent(state, event, arrow.refusal)
    if arrow.fire is None:
        return state, ()
    after, actions = arrow.fire(plan, state, event, now_s)
    if swaps.is_to_be_reverted(plan, state, after):
        after, others = swaps.revert(state, after, now_s)
        actions = (*(action for action in actions if not isinstance(action, Route)), *others)
    assert after.phase is state.phase or after.phase in arrow.to, f"{state.phase} to {after.phase} is not in the table"
    return after, actions


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> Waiting: begin", "    [*] --> Paused: begin (a pause comes first)",
             "    [*] --> Swapping: begin (a swap comes first)"]  # fmt: skip
    for phase, arrows in TABLE.items():
        for event, arrow in arrows.items():
            lines += [f"    {phase} --> {to}: {event.__name__} ({why})" for to, why in arrow.to.items()]
    lines += [f"    {phase} --> [*]" for phase in Phase if phase in TERMINAL]
    return "\n".join(lines) + "\n"
