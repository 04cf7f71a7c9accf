"""One version in the place of another: what `recreate` does to a rollout while its route is held.

    Swapping   hold ─▶ drain ─▶ stop stable ─▶ start candidate ─▶ check it (─▶ smoke) ─▶ Promoting (the hold ends)
    Reverting  hold ─▶ drain ─▶ stop candidate ─▶ start stable ─▶ check it ─▶ Aborted (the hold ends)

Each part is done by the shell (`endpoints.swapping`), may be done twice, and is told with `Swapped`. What cannot be
done is tried on: a swap for as long as its plan says, a reversal until it is done, since to let requests go to nobody
is the one thing that is worse than to let them wait. A candidate that is well and does not answer smoke requests as
expected is given up before that time: it will not answer users either, and they wait.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

from proxy.control.machine import moves, rolls, steps
from proxy.control.machine.state import Abort, Applied, Ask, Decision, Look, Phase, Record, Route, State, Swapped
from proxy.control.machine.steps import Plan
from proxy.snapshot import CIRCLE

PARTS: Final = ("hold", "drain", "stop", "start", "check")
"""What a swap and a reversal are made of, in their order."""
SMOKE: Final = "smoke"
"""The last part of a swap whose plan has smoke requests. A reversal has none: stable answered before."""
HELD: Final = frozenset({Phase.SWAPPING, Phase.REVERTING})
"""Phases in which the route is held, but where endpoints are put back one by one."""
_UNTOUCHED: Final = frozenset({"hold", "drain"})
"""Until here nothing has been stopped: to let the requests go is enough."""


def is_held(state: State) -> bool:
    """Whether requests of the route wait."""
    return state.phase in HELD and not state.places


def is_under_way(state: State) -> bool:
    """Whether versions or endpoints are stopped and started at this moment."""
    return state.phase in HELD or rolls.is_under_way(state)


def subject_of(state: State) -> str:
    """The version that the present part is about."""
    swapping = state.phase is Phase.SWAPPING
    first, second = (state.stable, state.candidate) if swapping else (state.candidate, state.stable)
    return first if state.doing in ("hold", "drain", "stop") else second


def is_to_be_reverted(plan: Plan, state: State, after: State) -> bool:
    """Whether a rollout ends in which stable is stopped: it is more than another weight to go back."""
    had_all = state.weight_ppm == CIRCLE and state.phase in (Phase.PROMOTING, Phase.BAKING, Phase.SUCCEEDED)
    return isinstance(plan.ending, steps.Swap) and had_all and after.phase is Phase.ABORTED


def revert(state: State, ended: State, now_s: float) -> Decision:
    """Hold the route, to put stable back; `ended` is how the rollout would have ended without that."""
    why = f"{state.stable} is put back: {ended.reason}"
    state = replace(
        ended, phase=Phase.REVERTING, step_started_s=now_s, ended_s=None, paused_by="", ended_reason=ended.reason
    )
    return moves.hold_route(state, now_s, why, "rollout")


def applied(plan: Plan, state: State, event: Applied, now_s: float) -> Decision:
    """All workers hold the route."""
    if event.stage != state.stage or state.doing != "hold":
        return state, ()
    return _next(plan, state, now_s)


def swapped(plan: Plan, state: State, event: Swapped, now_s: float) -> Decision:
    """A part is done, or why not yet."""
    if (event.stage, event.doing) != (state.stage, state.doing):
        return state, ()
    if event.hopeless:
        return _give_up(state, "Failed", SMOKE, event.failure, now_s)
    if event.failure:
        return replace(state, reason=f"{_said(state)}: {event.failure}"), ()
    return _next(plan, state, now_s)


def look(plan: Plan, state: State, event: Look, now_s: float) -> Decision:
    """Time goes on: a drain has an end, and so has a swap."""
    if not isinstance(plan.ending, steps.Swap):
        return _without_hook(state, now_s)
    harm = event.hooks.harm or ("" if event.verdict is None or not event.verdict.abort else event.verdict.reason)
    if harm and state.phase is Phase.SWAPPING:
        return _give_up(state, "Failed", "webhook" if event.hooks.harm else "evidence", harm, now_s)
    swap = plan.ending
    if state.doing == "drain" and now_s - state.doing_since_s >= swap.drain_s:
        after, actions = _next(plan, state, now_s)
        text = f"requests to {subject_of(state)} are under way after {swap.drain_s:g} s: they are cut"
        return after, (Record("swap", text), *actions)
    if state.phase is not Phase.SWAPPING or now_s - state.step_started_s < swap.drain_s + swap.deadline_s:
        asked = plan.gates & {"rollback"} if state.phase is Phase.SWAPPING else frozenset()
        return state, (Ask(asked),) if asked else ()
    why = f"the swap was not done within {swap.drain_s + swap.deadline_s:g} s: {state.reason}"
    return _give_up(state, "Failed", "swap", why, now_s)


def _without_hook(state: State, now_s: float) -> Decision:
    """The file has another strategy now, and so nobody who stops and starts versions."""
    if state.phase is Phase.SWAPPING and state.doing in _UNTOUCHED:
        why = "the file has no recreate any more, and nothing was stopped yet"
        return _give_up(state, "Inconclusive", rolls.CHANGED, why, now_s)
    why = "the file has no recreate any more, so nobody stops or starts versions; put it back, requests wait for it"
    return replace(state, reason=f"{_said(state)}: {why}"), ()


def abort(plan: Plan, state: State, event: Abort, now_s: float) -> Decision:
    """Back to stable by hand."""
    reason = f"aborted by {event.actor}" + (f": {event.reason}" if event.reason else "")
    return _give_up(state, "Inconclusive", "operator", reason, now_s, event.actor)


def _give_up(
    state: State,
    verdict: Literal["Failed", "Inconclusive"],
    decided_by: str,
    why: str,
    now_s: float,
    actor: str = "rollout",
) -> Decision:
    ended, actions = moves.end(state, Phase.ABORTED, verdict, decided_by, why, now_s, actor)
    if state.doing in _UNTOUCHED:
        return replace(ended, doing="", stage=state.stage + 1, stage_started_s=now_s), actions
    after, others = revert(state, ended, now_s)
    return after, (*(action for action in actions if isinstance(action, Record)), *others)


def _next(plan: Plan, state: State, now_s: float) -> Decision:
    parts = (*PARTS, SMOKE) if state.phase is Phase.SWAPPING and _smokes(plan) else PARTS
    if state.doing in parts[:-1]:
        state = replace(state, doing=parts[parts.index(state.doing) + 1], doing_since_s=now_s)
        state = replace(state, reason=_said(state))
        return state, (Record("swap", state.reason),)
    if state.phase is Phase.SWAPPING:
        state = replace(state, doing="", doing_since_s=now_s)
        return moves.promote(plan, state, now_s, "steps", f"{state.candidate} is there, and {state.stable} is stopped")
    text = f"{state.stable} is back: the requests that waited go on"
    ended = replace(state, phase=Phase.ABORTED, doing="", doing_since_s=now_s, ended_s=now_s, reason=state.ended_reason)
    ended = replace(ended, stage=state.stage + 1, stage_started_s=now_s)
    return ended, (Route(), Record("swap", text))


def _smokes(plan: Plan) -> int:
    return plan.ending.smokes if isinstance(plan.ending, steps.Swap) else 0


def _said(state: State) -> str:
    version = subject_of(state)
    said = {
        "hold": "waits until all workers hold the route",
        "drain": f"waits for the requests that {version} has under way",
        "stop": f"stops {version}",
        "start": f"starts {version}",
        "check": f"waits until every endpoint of {version} is well",
        SMOKE: f"asks every endpoint of {version} the smoke requests",
    }
    return said[state.doing]
