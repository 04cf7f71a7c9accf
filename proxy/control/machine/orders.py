"""What operators, workers and checks say to a rollout: the firing code behind the table of `rollout`, beside `looks`.

Each function answers the next state and the actions; which of them fires in which phase is the table's to say.
"""

from __future__ import annotations

from dataclasses import replace

from proxy.control.machine import latches, moves, race, rolls, steps
from proxy.control.machine.state import (
    Abort,
    Applied,
    Checked,
    Decision,
    IllegalEvent,
    Pause,
    Phase,
    Promote,
    Record,
    Resume,
    Retry,
    State,
    Undo,
)
from proxy.control.machine.steps import Plan
from proxy.snapshot import CIRCLE


def applied(plan: Plan, state: State, event: Applied, now_s: float) -> Decision:
    """All workers route by a stage: the last one completes the promotion, or begins the bake."""
    if event.stage != state.stage:
        return state, ()
    if plan.bake is not None:
        return moves.bake(plan, state, now_s)
    state = replace(state, phase=Phase.SUCCEEDED, verdict="Successful", ended_s=now_s)
    return state, (Record("succeeded", f"{state.candidate} serves all traffic: {state.reason}"),)


def checked(plan: Plan, state: State, event: Checked, now_s: float) -> Decision:
    """The candidate's endpoints have answered, or why they have not."""
    if (event.stage, event.step) != (state.stage, state.step) or not moves.at_smoke(plan, state):
        return state, ()
    if event.failure:
        return moves.lack_checks(state, event.failure), ()
    state, actions = moves.advance(plan, state, now_s)
    return state, (Record("checked", f"every endpoint of {state.candidate} answers as it should"), *actions)


def promote(plan: Plan, state: State, event: Promote, now_s: float) -> Decision:
    """One step further by hand, or at once to the end.

    Raises:
        IllegalEvent: the next step would be the end, which needs proof, or checks, or the word "full", or one of
            several candidates would have to be named.
    """
    _refuse_half(plan, state, event)
    if event.candidate and not event.full:
        raise IllegalEvent(state, event, "a step is one of all candidates: name one only to promote it in full")
    if event.full and isinstance(plan.ending, steps.Report):
        raise IllegalEvent(state, event, "a mirror never takes over; give the route a canary or a blueGreen strategy")
    if event.full and isinstance(plan.ending, steps.Swap):
        return moves.swap(state, now_s, event.actor)
    if event.full and plan.rolling is not None:
        return rolls.hurry(plan, state, event, now_s)
    if moves.at_replace(plan, state):
        then = "resume" if state.phase is Phase.PAUSED else "wait for the end of the batch"
        raise IllegalEvent(state, event, f"endpoints are being replaced: {then}, or abort")
    if plan.rolling is not None and _is_proof(plan, state):
        raise IllegalEvent(state, event, "what is left is the last batch, which needs proof; wait, or promote in full")
    if event.full:
        state = race.lead(state, _named(state, event))
        return moves.promote(plan, state, now_s, "operator", f"promoted in full by {event.actor}", event.actor)
    if steps.is_last(plan.steps, state.step):
        end = "the promotion" if isinstance(plan.ending, steps.Promotion) else "the end"
        raise IllegalEvent(state, event, f"what is left is {end}, which needs proof; wait, or promote in full")
    if (ramp := moves.ramp_at(plan, state)) is not None and state.weight_ppm < ramp.top:
        ppm = next(rung for rung in ramp.rungs if rung > state.weight_ppm)
        after, actions = moves.climb(plan, state, ppm, now_s, f"by {event.actor}, beyond what is proven", event.actor)
        return moves.stand(plan, after), actions
    if moves.at_smoke(plan, state) and steps.is_unasked(plan, state.step + 1):
        raise IllegalEvent(state, event, "what is left is the promotion, once all checks pass; or promote in full")
    return moves.advance(plan, state, now_s, event.actor)


def _named(state: State, event: Promote) -> str:
    """The candidate that an operator means."""
    racing = state.racing
    if not event.candidate and len(racing) > 1:
        raise IllegalEvent(state, event, f"there are {len(racing)} candidates: say which, of {', '.join(racing)}")
    return event.candidate or state.candidate


def _refuse_half(plan: Plan, state: State, event: Promote | Resume) -> None:
    """No plan but that of a rolling update goes on where endpoints are half replaced: some of each version are away."""
    if state.places and plan.rolling is None:
        raise IllegalEvent(state, event, "endpoints are half replaced: put rollingUpdate back into the file, or abort")


def _is_proof(plan: Plan, state: State) -> bool:
    here = moves.here(plan, state)
    return isinstance(here, steps.Analysis) and here.proof


def end_bake(plan: Plan, state: State, event: Promote, now_s: float) -> Decision:
    """Enough was seen: the bake ends by hand."""
    return moves.succeed(state, now_s, CIRCLE, f"{state.candidate} serves all traffic: {event.actor} has ended the "
                         "bake", event.actor)  # fmt: skip


def abort(plan: Plan, state: State, event: Abort, now_s: float) -> Decision:
    """Back to stable by hand; of several candidates that are in the race the one that is named, and the others go on.

    Raises:
        IllegalEvent: another one was chosen, so that there is nothing to take from the one that is named.
    """
    reason = f"aborted by {event.actor}" + (f": {event.reason}" if event.reason else "")
    if event.candidate and state.race:
        out = race.who_left(state, event.candidate)
        if out is not None and out.verdict == "Not chosen":
            raise IllegalEvent(state, event, f"{out.name} was not chosen and has no traffic: {out.reason}")
        after = race.taken_out(state, event.candidate, reason, now_s)
        if after is state:
            return state, ()
        said = {"candidate": event.candidate, "reason": event.reason}
        if after.racing:
            return moves.noted(race.left(state, after, now_s, event.actor), aborted=said)
        ended = moves.end(after, Phase.ABORTED, "Inconclusive", "operator", reason, now_s, event.actor)
        return moves.noted(ended, aborted=said)
    return moves.end(state, Phase.ABORTED, "Inconclusive", "operator", reason, now_s, event.actor)


def undo(plan: Plan, state: State, event: Undo, now_s: float) -> Decision:
    """Back to the version that was stable before the candidate took over.

    Raises:
        IllegalEvent: the candidate has no traffic that could be taken back.
    """
    if not state.weight_ppm:
        raise IllegalEvent(state, event, f"{state.candidate} has no live traffic that could be taken back")
    reason = f"undone by {event.actor}" + (f": {event.reason}" if event.reason else "")
    return moves.end(state, Phase.ABORTED, "Inconclusive", "operator", reason, now_s, event.actor)


def pause(plan: Plan, state: State, event: Pause, now_s: float) -> Decision:
    """Stand still by hand; a pause that waits for an operator anyway stays what it is."""
    if state.phase is Phase.PAUSED and (state.paused_by != "gate" or moves.pause_s(plan, state) is None):
        return state, ()
    reason = f"paused by {event.actor}"
    return replace(state, phase=Phase.PAUSED, paused_by="operator", reason=reason), (
        Record("pause", reason, event.actor),
    )


def resume(plan: Plan, state: State, event: Resume, now_s: float) -> Decision:
    """Go on by hand: past a pause step, or with the step that was interrupted.

    Raises:
        IllegalEvent: nobody knows how to go on.
    """
    _refuse_half(plan, state, event)
    if state.paused_by == "gate":
        return moves.advance(plan, state, now_s, event.actor)
    text = f"resumed by {event.actor}" + (", though inconclusive" if state.verdict == "Inconclusive" else "")
    state = moves.stand(plan, rolls.resumed(plan, replace(state, reason=text), now_s))
    return state, (Record("resume", text, event.actor),)


def retry(plan: Plan, state: State, event: Retry, now_s: float) -> Decision:
    """Begin again by hand. The stage counts on, so that no late sample of the last attempt fits."""
    attempt = state.attempt + 1
    text = f"attempt {attempt} with {race.names(plan)}, by {event.actor}"
    latched = latches.lifted(plan, state)
    return moves.start(plan, now_s, attempt=attempt, stage=state.stage, text=text, actor=event.actor, latched=latched)
