"""What the events of a rollout do: the firing code behind the table of `rollout`.

Each function answers the next state and the actions; which of them fires in which phase is the table's to say.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

from proxy.control import steps
from proxy.control.state import (
    Abort,
    Applied,
    Decision,
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
from proxy.snapshot import CIRCLE

if TYPE_CHECKING:
    from analysis.verdict import Verdict

_FIRST_SAMPLE: Final = "waits for the first sample of the candidate"
_NO_SAMPLES: Final = "waits for an operator: the steps so far send the candidate neither traffic nor copies"


# --- looks


def look(plan: Plan, state: State, event: Look, now_s: float) -> Decision:
    """A look at the evidence before the rollout is decided: harm aborts, blindness stands still, the rest is judged."""
    verdict = event.verdict
    if verdict is None:
        return _blind(plan, state, event, now_s)
    if verdict.abort:
        return _end(state, Phase.ABORTED, "Failed", verdict.decided_by, verdict.reason, now_s)
    recovered = state.verdict == "Error"
    if recovered:
        state = replace(state, verdict="")
    if state.phase is Phase.WAITING:
        after, actions = _look_waiting(plan, state, verdict, now_s)
    elif state.phase is Phase.PAUSED:
        after, actions = _look_paused(plan, state, verdict, now_s)
    else:
        after, actions = _look_progressing(plan, state, verdict, now_s)
    return after, (Record("recovered", "the evidence can be judged again"), *actions) if recovered else actions


def look_promoting(plan: Plan, state: State, event: Look, now_s: float) -> Decision:
    """A look while the candidate takes over: only harm counts now."""
    verdict = event.verdict
    if verdict is None or not verdict.abort:
        return state, ()
    return _end(state, Phase.ABORTED, "Failed", verdict.decided_by, verdict.reason, now_s)


def _look_waiting(plan: Plan, state: State, verdict: Verdict, now_s: float) -> Decision:
    if verdict.stage != state.stage or not (verdict.stage_candidate > 0 or verdict.stage_pairs > 0):
        return _wait(state), ()
    state = replace(state, phase=Phase.PROGRESSING, started_s=now_s, step_started_s=now_s, stage_started_s=now_s)
    lack = steps.lacking(plan, _standing(state, now_s), verdict)
    record = Record("progress", f"first sample of {state.candidate}: the clock starts")
    return replace(state, reason=f"waits for {lack}" if lack else record.text), (record,)


def _look_progressing(plan: Plan, state: State, verdict: Verdict, now_s: float) -> Decision:
    if _is_undecided(plan, state, verdict, now_s):
        return (state, ()) if state.verdict == "Inconclusive" else _undecided(plan, state, "", now_s)
    state = replace(state, verdict="")
    lack = steps.lacking(plan, _standing(state, now_s), verdict)
    if lack:
        return replace(state, reason=f"waits for {lack}"), ()
    if steps.is_promotion_gate(plan.steps, state.step):
        return _promote(state, now_s, "evidence", f"{state.candidate} is proven to be within every margin")
    return _advance(plan, state, now_s)


def _look_paused(plan: Plan, state: State, verdict: Verdict, now_s: float) -> Decision:
    pause_s = _pause_s(plan, state)
    if state.paused_by != "gate" or pause_s is None or now_s - state.step_started_s < pause_s:
        return state, ()
    if not steps.candidate_was_seen(_standing(state, now_s), verdict):
        return replace(state, reason=f"the pause is over: waits for a sample in stage {state.stage}"), ()
    if _is_undecided(plan, state, verdict, now_s):
        return (state, ()) if state.verdict == "Inconclusive" else _undecided(plan, state, "", now_s)
    return _advance(plan, replace(state, verdict=""), now_s)


def _blind(plan: Plan, state: State, event: Look, now_s: float) -> Decision:
    """Nothing was judged: stand still, say an error once, and mind only the end of the rollout's time."""
    if state.verdict == "Inconclusive":
        return state, ()
    if state.phase is Phase.PROGRESSING and _is_over(plan, state, now_s):
        return _undecided(plan, state, event.error, now_s)
    if not event.error:
        return state, ()
    known = state.verdict == "Error"
    text = f"the evidence cannot be judged: {event.error}"
    state = replace(state, verdict="Error", reason=state.reason if state.phase is Phase.PAUSED else text)
    return state, () if known else (Record("error", text),)


def _is_over(plan: Plan, state: State, now_s: float) -> bool:
    return now_s - state.started_s >= plan.max_duration_s


def _is_undecided(plan: Plan, state: State, verdict: Verdict, now_s: float) -> bool:
    """Whether one cannot tell and will not: a proof is never too late, nothing else is in time after the horizon."""
    return (verdict.inconclusive or _is_over(plan, state, now_s)) and not verdict.proven


def _undecided(plan: Plan, state: State, error: str, now_s: float) -> Decision:
    over = _is_over(plan, state, now_s)
    decided_by = "maxDuration" if over else "evidence"
    why = f"not decided within {plan.max_duration_s:g} s" if over else "no evidence to come in time can still decide it"
    if error:
        why += f"; the evidence cannot be judged: {error}"
    if plan.on_inconclusive == "abort" and error:
        return _end(state, Phase.FAILED, "Error", decided_by, why, now_s)
    if plan.on_inconclusive == "abort":
        return _end(state, Phase.ABORTED, "Inconclusive", decided_by, why, now_s)
    state = replace(
        state,
        phase=Phase.PAUSED,
        paused_by="inconclusive",
        verdict="Inconclusive",
        decided_by=decided_by,
        reason=f"{why}: resume to go on collecting, promote or abort",
    )
    return state, (Record("inconclusive", state.reason),)


# --- what operators and workers say


def applied(plan: Plan, state: State, event: Applied, now_s: float) -> Decision:
    """All workers route by a stage: the last one completes the promotion."""
    if event.stage != state.stage:
        return state, ()
    state = replace(state, phase=Phase.SUCCEEDED, verdict="Successful", ended_s=now_s)
    return state, (Record("succeeded", f"{state.candidate} serves all traffic: {state.reason}"),)


def promote(plan: Plan, state: State, event: Promote, now_s: float) -> Decision:
    """One step further by hand, or at once to the end.

    Raises:
        IllegalEvent: the next step would be the promotion, which needs proof or the word "full".
    """
    if event.full:
        return _promote(state, now_s, "operator", f"promoted in full by {event.actor}", event.actor)
    if steps.is_promotion_gate(plan.steps, state.step):
        raise IllegalEvent(state, event, "what is left is the promotion, which needs proof; wait, or promote in full")
    return _advance(plan, state, now_s, event.actor)


def abort(plan: Plan, state: State, event: Abort, now_s: float) -> Decision:
    """Back to stable by hand."""
    reason = f"aborted by {event.actor}" + (f": {event.reason}" if event.reason else "")
    return _end(state, Phase.ABORTED, "Inconclusive", "operator", reason, now_s, event.actor)


def pause(plan: Plan, state: State, event: Pause, now_s: float) -> Decision:
    """Stand still by hand; a pause that waits for an operator anyway stays what it is."""
    if state.phase is Phase.PAUSED and (state.paused_by != "gate" or _pause_s(plan, state) is None):
        return state, ()
    reason = f"paused by {event.actor}"
    return replace(state, phase=Phase.PAUSED, paused_by="operator", reason=reason), (
        Record("pause", reason, event.actor),
    )


def resume(plan: Plan, state: State, event: Resume, now_s: float) -> Decision:
    """Go on by hand: past a pause step, or with the step that was interrupted."""
    if state.paused_by == "gate":
        return _advance(plan, state, now_s, event.actor)
    text = f"resumed by {event.actor}" + (", though inconclusive" if state.verdict == "Inconclusive" else "")
    return _stand(plan, replace(state, reason=text)), (Record("resume", text, event.actor),)


def retry(plan: Plan, state: State, event: Retry, now_s: float) -> Decision:
    """Begin again by hand. The stage counts on, so that no late sample of the last attempt fits."""
    attempt = state.attempt + 1
    text = f"attempt {attempt} with {plan.candidate}, by {event.actor}"
    return start(plan, now_s, attempt=attempt, stage=state.stage, text=text, actor=event.actor)


# --- moves


def start(plan: Plan, now_s: float, *, attempt: int, stage: int, text: str, actor: str = "rollout") -> Decision:
    """A rollout at the first step that waits; stages count on from `stage`."""
    state = State(
        route=plan.route,
        stable=plan.stable,
        candidate=plan.candidate,
        candidate_digest=plan.candidate_digest,
        plan_digest=plan.digest,
        phase=Phase.WAITING,
        verdict="",
        reason="",
        decided_by="",
        step=0,
        step_started_s=now_s,
        started_s=now_s,
        ended_s=None,
        weight_ppm=0,
        mirror_ppm=0,
        stage=stage,
        stage_started_s=now_s,
        paused_by="",
        attempt=attempt,
    )
    state = _enter(plan, state, 0, now_s)
    if state.phase is Phase.PROGRESSING:
        state = _wait(state)
    return state, (Route(), Record("begin", f"{text}; {_place(plan, state)}", actor))


def _advance(plan: Plan, state: State, now_s: float, actor: str = "rollout") -> Decision:
    after = _enter(plan, state, state.step + 1, now_s)
    record = Record("step", _place(plan, after), actor)
    return after, (record,) if after.stage == state.stage else (Route(), record)


def _enter(plan: Plan, state: State, index: int, now_s: float) -> State:
    index, weight_ppm, mirror_ppm = steps.settle(plan.steps, index, state.weight_ppm, state.mirror_ppm)
    state = _reroute(state, weight_ppm, mirror_ppm, now_s)
    state = replace(state, step=index, step_started_s=now_s)
    return _stand(plan, replace(state, reason=_place(plan, state)))


def _stand(plan: Plan, state: State) -> State:
    """The state in the phase that its step makes: Paused at a pause, else Progressing."""
    if state.step < len(plan.steps) and isinstance(plan.steps[state.step], steps.Pause):
        return replace(state, phase=Phase.PAUSED, paused_by="gate")
    return replace(state, phase=Phase.PROGRESSING, paused_by="")


def _wait(state: State) -> State:
    reason = _FIRST_SAMPLE if state.weight_ppm or state.mirror_ppm else _NO_SAMPLES
    return replace(state, phase=Phase.WAITING, reason=reason)


def _promote(state: State, now_s: float, decided_by: str, reason: str, actor: str = "rollout") -> Decision:
    state = _reroute(state, CIRCLE, 0, now_s)
    state = replace(state, phase=Phase.PROMOTING, verdict="", paused_by="", decided_by=decided_by, reason=reason)
    return state, (Route(), Record("promote", reason, actor))


def _end(
    state: State,
    phase: Phase,
    verdict: Literal["Failed", "Inconclusive", "Error"],
    decided_by: str,
    reason: str,
    now_s: float,
    actor: str = "rollout",
) -> Decision:
    state = _reroute(state, 0, 0, now_s)
    state = replace(
        state, phase=phase, verdict=verdict, decided_by=decided_by, reason=reason, paused_by="", ended_s=now_s
    )
    return state, (Route(), Record("abort" if phase is Phase.ABORTED else "failed", reason, actor))


def _reroute(state: State, weight_ppm: int, mirror_ppm: int, now_s: float) -> State:
    if (weight_ppm, mirror_ppm) == (state.weight_ppm, state.mirror_ppm):
        return state
    return replace(state, weight_ppm=weight_ppm, mirror_ppm=mirror_ppm, stage=state.stage + 1, stage_started_s=now_s)


def _pause_s(plan: Plan, state: State) -> float | None:
    here = plan.steps[state.step] if state.step < len(plan.steps) else None
    return here.duration_s if isinstance(here, steps.Pause) else None


def _standing(state: State, now_s: float) -> steps.Standing:
    return steps.Standing(
        step=state.step,
        step_s=now_s - state.step_started_s,
        stage=state.stage,
        stage_s=now_s - state.stage_started_s,
        weight_ppm=state.weight_ppm,
        mirror_ppm=state.mirror_ppm,
    )


def _place(plan: Plan, state: State) -> str:
    step = steps.describe(plan.steps[state.step]) if state.step < len(plan.steps) else "last analysis"
    weights = f"weight {steps.percent(state.weight_ppm)}, mirror {steps.percent(state.mirror_ppm)}"
    return f"stage {state.stage} ({weights}), step {state.step + 1}: {step}"
