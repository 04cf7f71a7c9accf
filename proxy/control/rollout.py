"""The state machine of one route's candidate: pure, and all of it in one table.

`step` takes a state, an event and the time, and answers the next state and what to do about it; it touches nothing.
The caller persists the state first and acts then; every action may safely happen twice. `TABLE` decides every pair
of phase and event: it leads somewhere, changes nothing, or is refused with a remedy. `docs/rollout.md` shows it.

What holds whatever happens:
- Only evidence that proves the candidate, or an operator's full promote, leads to Promoting. Silence does not.
- Harm that is proven aborts in every phase that is not terminal, pauses included.
- A look that cannot decide never raises the weight.
- Aborted and Failed stay so, for this version of the candidate, until an operator retries.
- `stage` counts up exactly when the weight or the mirror changes, and then there is a `Route` action.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from proxy.control import moves
from proxy.control.state import (
    Abort,
    Action,
    Applied,
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
)
from proxy.control.steps import Plan

__all__ = [
    "TABLE", "TERMINAL", "Abort", "Action", "Applied", "Arrow", "Decision", "Event", "IllegalEvent", "Look", "Pause",
    "Phase", "Plan", "Promote", "Record", "Resume", "Retry", "Route", "State", "adopt", "begin", "diagram", "step",
]  # fmt: skip
"""The rollout's whole vocabulary can be had from here."""

TERMINAL: Final = frozenset({Phase.SUCCEEDED, Phase.ABORTED, Phase.FAILED})


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
_WON: Final = Arrow(refusal="it has succeeded; give the route another candidate")
_TAKING_OVER: Final = Arrow(refusal="the candidate is taking over; abort it instead")
_ABORT: Final = Arrow({Phase.ABORTED: "by hand"}, moves.abort)
_BEGIN: Final = Arrow({Phase.WAITING: "from the first step", Phase.PAUSED: "a pause comes first"}, moves.retry)
_PROMOTE: Final = Arrow(
    {Phase.PROGRESSING: "one step", Phase.PAUSED: "one step, to a pause", Phase.PROMOTING: "full"}, moves.promote
)

TABLE: Final[Mapping[Phase, Mapping[type[Event], Arrow]]] = {
    Phase.WAITING: {
        Look: Arrow({Phase.PROGRESSING: "first sample", Phase.ABORTED: "harm proven"}, moves.look),
        Applied: _NOTHING,
        Promote: _PROMOTE,
        Abort: _ABORT,
        Pause: Arrow({Phase.PAUSED: "by hand"}, moves.pause),
        Resume: _NOT_PAUSED,
        Retry: _NOT_ENDED,
    },
    Phase.PROGRESSING: {
        Look: Arrow(
            {
                Phase.PAUSED: "step done, a pause is next, or inconclusive",
                Phase.PROMOTING: "last step done and proven",
                Phase.ABORTED: "harm proven, or inconclusive",
                Phase.FAILED: "time over and no evidence to be had",
            },
            moves.look,
        ),
        Applied: _NOTHING,
        Promote: _PROMOTE,
        Abort: _ABORT,
        Pause: Arrow({Phase.PAUSED: "by hand"}, moves.pause),
        Resume: _NOT_PAUSED,
        Retry: _NOT_ENDED,
    },
    Phase.PAUSED: {
        Look: Arrow(
            {Phase.PROGRESSING: "time of the pause over", Phase.ABORTED: "harm proven, or inconclusive"}, moves.look
        ),
        Applied: _NOTHING,
        Promote: _PROMOTE,
        Abort: _ABORT,
        Pause: Arrow(fire=moves.pause),
        Resume: Arrow({Phase.PROGRESSING: "by hand"}, moves.resume),
        Retry: _NOT_ENDED,
    },
    Phase.PROMOTING: {
        Look: Arrow({Phase.ABORTED: "harm proven"}, moves.look_promoting),
        Applied: Arrow({Phase.SUCCEEDED: "all workers route to the candidate"}, moves.applied),
        Promote: _NOTHING,
        Abort: _ABORT,
        Pause: _TAKING_OVER,
        Resume: _NOT_PAUSED,
        Retry: _NOT_ENDED,
    },
    Phase.SUCCEEDED: {
        Look: _NOTHING,
        Applied: _NOTHING,
        Promote: _NOTHING,
        Abort: _WON,
        Pause: _WON,
        Resume: _WON,
        Retry: _WON,
    },
    Phase.ABORTED: {
        Look: _NOTHING,
        Applied: _NOTHING,
        Promote: _ENDED,
        Abort: _NOTHING,
        Pause: _ENDED,
        Resume: _ENDED,
        Retry: _BEGIN,
    },
    Phase.FAILED: {
        Look: _NOTHING,
        Applied: _NOTHING,
        Promote: _ENDED,
        Abort: _NOTHING,
        Pause: _ENDED,
        Resume: _ENDED,
        Retry: _BEGIN,
    },
}


def begin(plan: Plan, now_s: float) -> Decision:
    """A new rollout, at the first step that waits.

    It is Waiting until the candidate's first sample, or Paused if the first such step is a pause.
    """
    text = f"rollout of {plan.candidate} against {plan.stable} begins"
    return moves.start(plan, now_s, attempt=1, stage=0, text=text)


def adopt(plan: Plan, kept: State | None, now_s: float) -> Decision:
    """The rollout to go on with under a plan: the kept one, untouched, if it is of this candidate and this plan.

    Another candidate begins anew, and so do another plan and another stable version while nothing is decided. What is
    decided stays decided for this version of the candidate: an edit of the steps neither takes traffic from a
    candidate that succeeded nor gives any to one that was aborted.
    """
    if kept is None:
        return begin(plan, now_s)
    same_candidate = (kept.candidate, kept.candidate_digest) == (plan.candidate, plan.candidate_digest)
    same_plan = (kept.stable, kept.plan_digest) == (plan.stable, plan.digest)
    if same_candidate and same_plan:
        return kept, ()
    if same_candidate and (kept.phase in TERMINAL or kept.phase is Phase.PROMOTING):
        text = f"the plan has changed; {plan.candidate} stays {kept.phase}"
        return replace(kept, stable=plan.stable, plan_digest=plan.digest), (Route(), Record("plan", text))
    why = "its steps, its analysis or stable has changed" if same_candidate else f"it takes over from {kept.candidate}"
    text = f"rollout of {plan.candidate} against {plan.stable} begins: {why}"
    return moves.start(plan, now_s, attempt=1, stage=kept.stage, text=text)


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
    assert after.phase is state.phase or after.phase in arrow.to, f"{state.phase} to {after.phase} is not in the table"
    return after, actions


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", "    [*] --> Waiting: begin", "    [*] --> Paused: begin (a pause comes first)"]
    for phase, arrows in TABLE.items():
        for event, arrow in arrows.items():
            lines += [f"    {phase} --> {to}: {event.__name__} ({why})" for to, why in arrow.to.items()]
    lines += [f"    {phase} --> [*]" for phase in Phase if phase in TERMINAL]
    return "\n".join(lines) + "\n"
