"""Endpoint by endpoint: what `rollingUpdate` does to a rollout while a batch is replaced, and how it goes back.

    Progressing  ready ─▶ out ─▶ drain ─▶ stop ─▶ start ─▶ check ─▶ in ─▶ warm ─▶ the next step of the plan
    Reverting             out ─▶ drain ─▶ stop ─▶ start ─▶ check ─▶ in ─▶ the batch before ─▶ … ─▶ Aborted

Who is replaced when is for `places` to say. Each part is done by the shell (`endpoints.rolling`), may be done twice
and is told with `Swapped`; `out` and `in` are told with `Applied`, once all workers have heard. The candidate's weight
is its part of the endpoints that serve, so that each of them has as much to do as any other, and users only ever move
towards the candidate, or in a reversal back. Harm acts in every part. What cannot be done is tried on, up to the
deadline of the batch, in a reversal until it is done. Who pauses lets the part end that goes on, and no other begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from proxy.control.machine import moves, steps
from proxy.control.machine.places import (
    Place,
    Places,
    Rolling,
    Side,
    Status,
    is_done,
    next_batch,
    startable,
    turned,
    weight_ppm,
)
from proxy.control.machine.state import Applied, Decision, Look, Phase, Promote, Record, Route, State, Swapped
from proxy.control.machine.steps import Plan

PARTS: Final = ("ready", "out", "drain", "stop", "start", "check", "in", "warm")
"""What a batch is made of, in this order; a reversal has neither the first nor the last."""
TOLD: Final = frozenset({"ready", "drain", "stop", "start", "check"})
"""Parts that the shell does, and tells of; workers tell of `out` and `in`, and `warm` is a matter of time."""
ORDERS: Final = frozenset({"stop", "start", "check"})
"""Parts that have a deadline."""
WARM_PARTS: Final = 4
"""A slow start raises the weight in so many parts: each is a stage, and each stage costs rows of the ledger."""
REPLACED: Final = "endpoints"
"""Who decided where a batch was not done in time."""
CHANGED: Final = "config"
"""Who decided where the file has another candidate in the middle: it begins once stable is back."""


def going_to(state: State) -> Side:
    """The version that takes places now."""
    return "stable" if state.phase is Phase.REVERTING else "candidate"


def name_of(state: State, side: Side) -> str:
    """The backend of a side."""
    return state.stable if side == "stable" else state.candidate


def runs_at(state: State, place: Place) -> str:
    """The version that is stopped or started there: until stable is back the former candidate, if the file has another
    one by now."""
    return (state.former if place.side == "candidate" else "") or name_of(state, place.side)


def away(states: Iterable[State]) -> dict[tuple[str, str], Status]:
    """The endpoints that no request goes to, as (backend, address), and what becomes of them."""
    return {
        (name, place.address): place.status
        for state in states
        for place in state.places
        for name in (runs_at(state, place), name_of(state, place.side))
        if not place.serves
    }


def is_under_way(state: State) -> bool:
    """Whether endpoints are being replaced at this moment."""
    return bool(state.places and state.doing) and state.phase in (Phase.PROGRESSING, Phase.REVERTING)


def is_to_be_reverted(plan: Plan, state: State, after: State) -> bool:
    """Whether a rollout ends in which endpoints of stable are away: it is more than another weight to go back."""
    ends = after.phase in (Phase.ABORTED, Phase.FAILED) and state.phase not in (Phase.ABORTED, Phase.FAILED)
    return ends and plan.rolling is not None and state.phase is not Phase.REVERTING and bool(state.places)


# --- what happens


def applied(plan: Plan, state: State, event: Applied, now_s: float) -> Decision:
    """All workers know who is out, or in."""
    if event.stage != state.stage or state.doing not in ("out", "in"):
        return state, ()
    return _next(plan, state, now_s)


def told(plan: Plan, state: State, event: Swapped, now_s: float) -> Decision:
    """A part is done, or why not yet."""
    if event.doing == "watch" and state.phase is not Phase.REVERTING:
        return fallen(plan, state, event, now_s)
    if (event.stage, event.doing) != (state.stage, state.doing) or state.doing not in TOLD:
        return state, ()
    if event.failure:
        return replace(state, reason=f"{_said(plan, state)}: {event.failure}"), ()
    return _next(plan, state, now_s)


def fallen(plan: Plan, state: State, event: Swapped, now_s: float) -> Decision:
    """The candidate serves, and is not well any more: endpoints of it, or all of it after a swap."""
    if event.doing != "watch" or event.stage != state.stage or not event.failure:
        return state, ()
    return moves.end(state, Phase.ABORTED, "Failed", "healthCheck", event.failure, now_s)


def look(plan: Plan, state: State, event: Look, now_s: float) -> Decision:
    """Time goes on: a drain has an end, a batch has one, and a slow start goes up."""
    rolling, part_s = plan.rolling, now_s - state.doing_since_s
    if rolling is None:
        return state, ()
    if state.doing == "drain" and part_s >= rolling.drain_s:
        after, actions = _next(plan, state, now_s)
        text = f"requests to {_named(state, 'leaving')} are under way after {rolling.drain_s:g} s: they are cut"
        return after, (Record("replace", text), *actions)
    if state.doing == "warm":
        return _warm(plan, rolling, state, now_s)
    if state.phase is Phase.REVERTING or state.doing not in ORDERS:
        return state, ()
    if now_s - state.step_started_s < rolling.deadline_s:
        return state, ()
    why = f"the batch was not done within {rolling.deadline_s:g} s: {state.reason}"
    return moves.end(state, Phase.ABORTED, "Failed", REPLACED, why, now_s)


def hurry(plan: Plan, state: State, event: Promote, now_s: float) -> Decision:
    """An operator has the rest replaced without waiting for evidence; endpoints have to be well all the same."""
    text = f"promoted in full by {event.actor}: what is left is replaced without waiting for evidence"
    state = replace(state, decided_by="operator", verdict="", paused_by="")
    if moves.at_replace(plan, state):
        state = moves.stand(plan, _restarted(state, now_s))
        return replace(state, reason=text), (Record("promote", text, event.actor),)
    after, actions = _hurried(plan, state, now_s, event.actor)
    return after, (Record("promote", text, event.actor), *actions)


def resumed(plan: Plan, state: State, now_s: float) -> State:
    """A batch that stood still has its time before it again."""
    return _restarted(state, now_s) if moves.at_replace(plan, state) else state


def revert(plan: Plan, state: State, ended: State, now_s: float) -> Decision:
    """Put stable back, batch by batch; `ended` is how the rollout would have ended without that.

    What was told to stop may have done so, and what was told to start may run: both are told to stop (again) before
    anything is started in their place. What only was to leave comes back with the same snapshot.
    """
    assert plan.rolling is not None
    places = state.places
    begun = [place for place in places if place.side == "candidate" and place.status == "starting"]
    untouched = state.doing != "stop" and state.phase is not Phase.REVERTING
    back = [place for place in places if untouched and place.side == "stable" and place.status == "leaving"]
    warm = [place for place in places if place.status == "warming"]
    places = turned(turned(turned(places, begun, "leaving"), back, "serving"), warm, "serving")
    ended = replace(ended, places=places, doing="", doing_since_s=now_s, weight_ppm=weight_ppm(places))
    if is_done(places, "stable"):
        return replace(ended, stage=state.stage + 1, stage_started_s=now_s), (Route(),)
    ended = replace(ended, phase=Phase.REVERTING, ended_s=None, paused_by="", ended_reason=ended.reason)
    text = f"{ended.stable} is put back: {ended.reason}"
    after, actions = _out(plan, replace(ended, step_started_s=now_s, stage=state.stage), now_s, always=True)
    return after, (Record("replace", text), *actions)


# --- part by part


def _next(plan: Plan, state: State, now_s: float) -> Decision:
    match state.doing:
        case "ready":
            return _out(plan, state, now_s)
        case "out" if any(place.status == "leaving" for place in state.places):
            return _enter(plan, state, "drain", now_s)
        case "drain":
            return _enter(plan, replace(state, step_started_s=now_s), "stop", now_s)
        case "out" | "stop":
            return _start(plan, state, now_s)
        case "start":
            return _enter(plan, state, "check", now_s)
        case "check":
            return _in(plan, state, now_s)
        case "in" if any(place.status == "warming" for place in state.places):
            return _enter(plan, state, "warm", now_s)
        case _:
            return _done(plan, state, now_s)


def _out(plan: Plan, state: State, now_s: float, always: bool = False) -> Decision:
    assert plan.rolling is not None
    leaving = next_batch(plan.rolling, state.places, going_to(state)).leaving
    if not leaving and not always:
        return _start(plan, replace(state, step_started_s=now_s), now_s)
    return _rerouted(plan, state, turned(state.places, leaving, "leaving"), "out", now_s)


def _start(plan: Plan, state: State, now_s: float) -> Decision:
    assert plan.rolling is not None
    stopped = [place for place in state.places if place.status == "leaving"]
    places = turned(state.places, stopped, "stopped")
    starting = startable(plan.rolling, places, going_to(state))
    state = replace(state, places=turned(places, starting, "starting"))
    return _enter(plan, state, "start", now_s) if starting else _done(plan, state, now_s)


def _in(plan: Plan, state: State, now_s: float) -> Decision:
    rolling = plan.rolling
    assert rolling is not None
    starting = [place for place in state.places if place.status == "starting"]
    forward = going_to(state) == "candidate" and any(place.serves for place in state.places if place.side == "stable")
    places = turned(state.places, starting, "warming" if forward and rolling.warm_s else "serving")
    return _rerouted(plan, state, places, "in", now_s, rolling.warm_share)


def _warm(plan: Plan, rolling: Rolling, state: State, now_s: float) -> Decision:
    part = int(WARM_PARTS * (now_s - state.doing_since_s) / rolling.warm_s)
    if part >= WARM_PARTS:
        places = turned(state.places, [place for place in state.places if place.status == "warming"], "serving")
        state, actions = _rerouted(plan, state, places, "in", now_s)
        after, others = _done(plan, state, now_s)
        return after, (*actions, *(action for action in others if action not in actions))
    weight = weight_ppm(state.places, max(rolling.warm_share, part / WARM_PARTS))
    if weight <= state.weight_ppm:
        return state, ()
    return replace(state, weight_ppm=weight, stage=state.stage + 1, stage_started_s=now_s), (Route(),)


def _done(plan: Plan, state: State, now_s: float) -> Decision:
    to = going_to(state)
    state = replace(state, doing="", doing_since_s=now_s)
    if to == "stable":
        return _reverted(plan, state, now_s) if is_done(state.places, to) else _out(plan, state, now_s)
    here = plan.steps[state.step]
    if isinstance(here, steps.Replace) and here.batch == here.batches and not is_done(state.places, to):
        return moves.enter(plan, state, state.step, now_s), ()
    if state.decided_by == "operator":
        return _hurried(plan, state, now_s, "rollout")
    return _moved(state, moves.advance(plan, state, now_s))


def _reverted(plan: Plan, state: State, now_s: float) -> Decision:
    text = f"{state.stable} has all of its endpoints again"
    if state.decided_by == CHANGED:
        text = f"{text}: rollout of {plan.candidate} against {plan.stable} begins"
        return moves.start(plan, now_s, attempt=1, stage=state.stage, text=text, latched=state.latched)
    ended = replace(state, phase=Phase.ABORTED, ended_s=now_s, reason=state.ended_reason)
    return replace(ended, stage=state.stage + 1, stage_started_s=now_s), (Route(), Record("replace", text))


def _hurried(plan: Plan, state: State, now_s: float, actor: str) -> Decision:
    """To the next batch, whatever comes before it, or to the end."""
    later = range(state.step + 1, len(plan.steps))
    index = next((index for index in later if isinstance(plan.steps[index], steps.Replace)), None)
    if index is None:
        text = f"{state.candidate} has all places"
        return _moved(state, moves.promote(plan, state, now_s, "operator", text, actor))
    if state.phase is Phase.WAITING:
        state = replace(state, started_s=now_s)
    state = moves.enter(plan, state, index, now_s)
    return state, (Record("step", state.reason, actor),)


def _moved(before: State, decision: Decision) -> Decision:
    """A promotion is told when all workers hold its stage, also where the candidate had all traffic before."""
    after, actions = decision
    if after.phase is Phase.PROMOTING and after.stage == before.stage:
        after = replace(after, stage=after.stage + 1, stage_started_s=after.doing_since_s)
    return after, actions


def _restarted(state: State, now_s: float) -> State:
    return replace(state, step_started_s=now_s, doing_since_s=now_s)


def _enter(plan: Plan, state: State, part: str, now_s: float) -> Decision:
    state = replace(state, doing=part, doing_since_s=now_s)
    state = replace(state, reason=_said(plan, state))
    return state, (Record("replace", state.reason),)


def _rerouted(plan: Plan, state: State, places: Places, part: str, now_s: float, share: float = 1.0) -> Decision:
    """Others serve from now on. The stage counts up in any case, so that it is known when all workers have heard."""
    state = replace(state, places=places, weight_ppm=weight_ppm(places, share), doing=part, doing_since_s=now_s)
    state = replace(state, stage=state.stage + 1, stage_started_s=now_s)
    state = replace(state, reason=_said(plan, state))
    return state, (Route(), Record("replace", state.reason))


def _said(plan: Plan, state: State) -> str:
    leaving, starting = _named(state, "leaving"), _named(state, "starting")
    said = {
        "ready": "waits until every endpoint that serves is well",
        "out": f"takes {leaving} out" if leaving else f"lets {state.stable} serve again where it was not stopped",
        "drain": f"waits for the requests that {leaving} has under way",
        "stop": f"stops {leaving}",
        "start": f"starts {starting}",
        "check": f"waits until {starting} is well",
        "in": f"{steps.percent(state.weight_ppm)} of what serves is {state.candidate}'s",
        "warm": f"lets {_named(state, 'warming')} start slowly",
    }
    here = moves.here(plan, state)
    batch = f"batch {here.batch} of {here.batches}: " if isinstance(here, steps.Replace) else ""
    return ("" if state.phase is Phase.REVERTING else batch) + said[state.doing]


def _named(state: State, status: str) -> str:
    """Endpoints in words: of which version, and where."""
    found = []
    for side in ("stable", "candidate"):
        some = [place for place in state.places if (place.side, place.status) == (side, status)]
        if some:
            found.append(f"{runs_at(state, some[0])} at {', '.join(place.address for place in some)}")
    return " and ".join(found)
