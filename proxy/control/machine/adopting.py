"""Which rollout goes on under a plan: what a reload or a start makes of the state that was kept. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from proxy.control.machine import latches, moves, race, rolls, steps, swaps
from proxy.control.machine.places import Places, Rolling, batches, is_done, known, turned, weight_ppm
from proxy.control.machine.state import NOT_AWAY, TAKEN_OVER, TERMINAL, Away, Decision, Phase, Record, Route, State
from proxy.control.machine.steps import Plan

AWAY_S: Final = 15.0
"""So long nobody may watch before a bake lasts longer. The ledger has the slices of a shorter time still, and they are
judged once somebody is back."""
SET_S: Final = 5.0
"""What the clock is set by before anybody hears of it."""


def begin(plan: Plan, now_s: float) -> Decision:
    """A new rollout, at the first step that waits.

    It is Waiting until the candidate's first sample, or Paused if the first such step is a pause.
    """
    text = f"rollout of {race.names(plan)} against {plan.stable} begins"
    return moves.start(plan, now_s, attempt=1, stage=0, text=text)


def adopt(plan: Plan, kept: State | None, now_s: float, away: Away = NOT_AWAY) -> Decision:
    """The rollout to go on with under a plan: the kept one, untouched, if it is of this candidate and this plan.

    Another candidate begins anew, and so do another plan and another stable version while nothing is decided. What is
    decided stays decided for this version of the candidate: an edit of the steps neither takes traffic from a
    candidate that succeeded nor gives any to one that was aborted, nor does it if other candidates were in the file
    in between (`latches`).

    Args:
        away: a bake lasts as much longer as nobody has watched, for it promises to watch. A pause does not: time has
            passed, and what it waits for is time. That the clock was set is no time that has passed.
    """
    if kept is None:
        return begin(plan, now_s)
    kept, told = _watched(kept, away)
    after, actions = _adopted(plan, kept, now_s)
    return after, (*told, *actions) if is_same(plan, kept) else actions


def _adopted(plan: Plan, kept: State, now_s: float) -> Decision:
    same_candidate = is_same(plan, kept)
    same_plan = (kept.stable, kept.plan_digest) == (plan.stable, plan.digest)
    if same_candidate and same_plan:
        return kept, ()
    if not same_candidate or kept.former:
        kept = replace(kept, latched=latches.of(kept))
    if (in_the_middle := _in_the_middle(plan, kept, now_s)) is not None:
        return in_the_middle
    if same_candidate and (kept.phase in TERMINAL | TAKEN_OVER | swaps.HELD):
        text = f"the plan has changed; {kept.candidate} stays {kept.phase}"
        places = _standing(plan, kept)
        after = replace(kept, stable=plan.stable, plan_digest=plan.digest, baseline=plan.baseline, places=places)
        return after, (Route(), Record("plan", text))
    why = "its steps, its analysis or stable has changed" if same_candidate else _takes_over(kept)
    text = f"rollout of {race.names(plan)} against {plan.stable} begins: {why}"
    after, actions = moves.start(plan, now_s, attempt=1, stage=kept.stage, text=text, latched=latches.of(kept))
    if not (kept.phase in swaps.HELD and isinstance(plan.ending, steps.Swap)) or after.phase is Phase.SWAPPING:
        return after, actions
    # Nobody knows what runs in the place of stable: requests go on to wait, and no gate is asked.
    if after.phase is not Phase.ABORTED:
        after, others = moves.swap(after, now_s)
    elif kept.stopped:
        after, others = swaps.revert(after, after, now_s)
    else:
        return after, actions
    return after, (*actions, *others)


def _watched(kept: State, away: Away) -> Decision:
    """The state by the clock that is read now, in which the time that nobody watched is none of a bake's."""
    told: tuple[Record, ...] = ()
    if kept.phase not in TERMINAL and abs(away.stepped_s) >= SET_S:
        text = f"the clock was set by {away.stepped_s:+.0f} s, or the machine suspended"
        text += ": what goes on lasts as long as before"
        kept, told = _moved(kept, away.stepped_s), (Record("clock", text),)
    kept, others = _baked(kept, away.seconds)
    return kept, (*told, *others)


def _moved(kept: State, by_s: float) -> State:
    """The state with all moments from which something is measured so much later."""
    kept = replace(kept, started_s=kept.started_s + by_s, step_started_s=kept.step_started_s + by_s)
    since_s = kept.doing_since_s + by_s if kept.doing_since_s else 0.0
    return replace(kept, stage_started_s=kept.stage_started_s + by_s, doing_since_s=since_s)


def _baked(kept: State, away_s: float) -> Decision:
    if kept.phase is not Phase.BAKING or abs(away_s) < AWAY_S:
        return kept, ()
    text = f"nobody watched for {away_s:.0f} s: the bake lasts as much longer"
    if away_s < 0:
        text = f"the clock was set back by {-away_s:.0f} s while nobody watched: the bake lasts as long as before"
    return replace(kept, step_started_s=kept.step_started_s + away_s), (Record("bake", text),)


def is_same(plan: Plan, kept: State) -> bool:
    """Whether a plan is of the same candidate, or of the same several."""
    return kept.candidate_digest == plan.candidate_digest and (bool(kept.race) or kept.candidate == plan.candidate)


def _takes_over(kept: State) -> str:
    return f"it takes over from {kept.candidate}" if kept.candidate else "the route is there again"


def _in_the_middle(plan: Plan, kept: State, now_s: float) -> Decision | None:
    """How endpoints that are half replaced are gone on with under another plan; None where that needs no care."""
    live = kept.phase in (Phase.WAITING, Phase.PROGRESSING, Phase.PAUSED)
    if not kept.places or is_done(kept.places, "stable") or kept.stable != plan.stable:
        return None
    if plan.rolling is None:
        return _left(plan, kept, now_s) if live or kept.phase is Phase.REVERTING else None
    state = replace(kept, candidate=plan.candidate, candidate_digest=plan.candidate_digest, plan_digest=plan.digest,
                    places=known(plan.rolling, kept.places))  # fmt: skip
    if kept.former or not is_same(plan, kept):
        state = replace(state, former=kept.former or kept.candidate)
        text = f"the file has another candidate, {plan.candidate}, while {state.former} was half there"
        ended, _ = moves.end(state, Phase.ABORTED, "Inconclusive", rolls.CHANGED, text, now_s)
        return rolls.revert(plan, state, ended, now_s)
    if kept.phase in (Phase.ABORTED, Phase.FAILED):  # while nobody knew how to put stable back
        return rolls.revert(plan, state, state, now_s)
    if not live:
        return None
    text = f"the plan has changed: {plan.candidate} goes on with the endpoints that it has, on fresh evidence"
    warm = [place for place in state.places if place.status == "warming"]
    places = turned(state.places, warm, "serving")  # a slow start that is cut short is none
    state = replace(state, places=places, weight_ppm=weight_ppm(places))
    state = replace(state, stage=kept.stage + 1, stage_started_s=now_s, started_s=now_s, verdict="", decided_by="")
    state = moves.enter(plan, state, _step_of(plan, plan.rolling, state.places), now_s)
    if kept.paused_by == "operator":
        state = replace(state, phase=Phase.PAUSED, paused_by="operator")
    return state, (Route(), Record("begin", text))


def _left(plan: Plan, kept: State, now_s: float) -> Decision:
    """The file has no `rollingUpdate` any more: nobody knows how to go on, and nothing is made worse meanwhile. Another
    candidate gets nothing of what the former one had."""
    text = "endpoints are half replaced, and the file has no rollingUpdate any more: put it back, or abort"
    state = replace(kept, candidate=plan.candidate, candidate_digest=plan.candidate_digest, plan_digest=plan.digest)
    state = replace(state, phase=Phase.PAUSED, paused_by="operator", step=0, doing="", reason=text)
    if kept.former or not is_same(plan, kept):
        state = replace(state, former=kept.former or kept.candidate, weight_ppm=0)
        state = replace(state, stage=kept.stage + 1, stage_started_s=now_s)
    return state, (Route(), Record("plan", text))


def _standing(plan: Plan, kept: State) -> Places:
    """The endpoints of a rollout that is decided, as a plan has them. What was not put back stays known, also to a plan
    that replaces none: no request may go there."""
    if plan.rolling is not None:
        return known(plan.rolling, kept.places) if kept.places else ()
    half = not is_done(kept.places, "candidate") and not is_done(kept.places, "stable")
    return kept.places if half and kept.stable == plan.stable else ()


def _step_of(plan: Plan, rolling: Rolling, places: Places) -> int:
    """The step of a plan at which endpoints stand: the batch that they are in, or what comes after the last one."""
    replacing = [index for index, step in enumerate(plan.steps) if isinstance(step, steps.Replace)]
    done = max(0, len(replacing) - len(batches(rolling, places)))
    begun = any(place.status in ("leaving", "starting", "warming") for place in places)
    return replacing[min(done, len(replacing) - 1)] if begun or not done else replacing[done - 1] + 1
