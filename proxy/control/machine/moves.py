"""The moves that a rollout is made of: begin, go on, wait, stand still, take over, end.

`looks` makes them by evidence, `orders` by what operators and workers say. Each answers the next state and the
actions; a move to another weight or mirror is a new stage.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, Literal

from proxy.control.machine import latches, places, race, steps
from proxy.control.machine.state import Decision, Phase, Record, Route, State
from proxy.control.machine.steps import Plan
from proxy.snapshot import CIRCLE

_FIRST_SAMPLE: Final = "waits for the first sample of the candidate"
_NO_SAMPLES: Final = "waits for an operator: the steps so far send the candidate neither traffic nor copies"
TRAFFIC: Final = "traffic: the first weight follows from how much there is"
_CHECKS: Final = "waits for the checks of the candidate"


def start(
    plan: Plan,
    now_s: float,
    *,
    attempt: int,
    stage: int,
    text: str,
    actor: str = "rollout",
    latched: latches.Latched = (),
) -> Decision:
    """A rollout at the first step that waits; stages count on from `stage`. Those who are `latched` are not let in, and
    where that is everybody it ends before it has given anybody anything."""
    entered = race.entered(plan, latched)
    state = State(
        route=plan.route,
        stable=plan.stable,
        candidate=race.first_in(entered, plan.candidate),
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
        baseline=plan.baseline,
        race=entered,
        places=() if plan.rolling is None else places.initial(plan.rolling),
        latched=latched,
    )
    if (out := latches.keeps_out(plan, latched)) is not None:
        verdict, why = latches.verdict_of(out), latches.said(out)
        ended = end(replace(state, stage=stage + 1), Phase.ABORTED, verdict, out.decided_by, why, now_s)
        state, (route, *others) = noted(ended, latched={"candidate": out.name, "reason": out.reason})
        return state, (route, Record("begin", text, actor), *others)
    state = enter(plan, state, 0, now_s)
    if isinstance(plan.ending, steps.Swap) and steps.is_unasked(plan, state.step):
        state, actions = swap(state, now_s, actor)
        return state, (actions[0], Record("begin", text, actor), *actions[1:])
    if state.phase is Phase.PROGRESSING and not at_replace(plan, state):
        state = wait(plan, state)
    return state, (Route(), Record("begin", f"{text}; {_place(plan, state)}", actor))


def advance(plan: Plan, state: State, now_s: float, actor: str = "rollout") -> Decision:
    """To the next step that waits; to the promotion where the plan asks nothing more."""
    after = enter(plan, state, state.step + 1, now_s)
    if steps.is_unasked(plan, after.step):
        if isinstance(plan.ending, steps.Swap):
            return swap(after, now_s, actor)
        by = "steps" if actor == "rollout" else "operator"
        text = "all checks have passed" if actor == "rollout" else f"{actor} has let it go on"
        return promote(plan, after, now_s, by, f"{state.candidate} takes over: {text}", actor)
    if state.phase is Phase.WAITING and at_replace(plan, after):
        after = replace(after, started_s=now_s)
    elif state.phase is Phase.WAITING and after.phase is Phase.PROGRESSING and actor == "rollout":
        after = wait(plan, after)
    record = Record("step", _place(plan, after), actor)
    return after, (record,) if after.stage == state.stage else (Route(), record)


def climb(plan: Plan, state: State, ppm: int, now_s: float, why: str, actor: str = "rollout") -> Decision:
    """To another weight of the ramp that the step is; with the last one the step is done."""
    ramp = ramp_at(plan, state)
    assert ramp is not None
    after = _reroute(state, ppm, state.mirror_ppm, now_s)
    if ppm >= ramp.top:
        after = replace(after, step=state.step + 1, step_started_s=now_s)
    after = replace(after, reason=f"weight {steps.percent(ppm)} instead of {steps.percent(state.weight_ppm)}: {why}")
    return after, (Route(), Record("step", f"stage {after.stage}: {after.reason}", actor))


def stand(plan: Plan, state: State) -> State:
    """The state in the phase that its step makes: Paused at a pause, else Progressing."""
    if isinstance(here(plan, state), steps.Pause):
        return replace(state, phase=Phase.PAUSED, paused_by="gate")
    return replace(state, phase=Phase.PROGRESSING, paused_by="")


def wait(plan: Plan, state: State) -> State:
    """The state before its first sample, or before its first checks."""
    if gate := gate_at(plan, state):
        reason = f"waits for {gate}"
    elif ramp_at(plan, state) and not state.weight_ppm:
        reason = f"waits for {TRAFFIC}"
    elif at_smoke(plan, state):
        reason = state.reason if state.reason.startswith(_CHECKS) else _CHECKS
    else:
        reason = _FIRST_SAMPLE if state.weight_ppm or state.mirror_ppm else _NO_SAMPLES
    return replace(state, phase=Phase.WAITING, reason=reason)


def lack_checks(state: State, failure: str) -> State:
    """The state with what the last checks have found."""
    return replace(state, reason=f"{_CHECKS}: {failure}")


def promote(plan: Plan, state: State, now_s: float, decided_by: str, reason: str, actor: str = "rollout") -> Decision:
    """All live traffic to the candidate, and where it is to bake, copies of it to stable: one change."""
    state = race.chosen(state, now_s)
    state = _reroute(state, CIRCLE, plan.bake.mirror_ppm if plan.bake else 0, now_s)
    state = replace(state, phase=Phase.PROMOTING, verdict="", paused_by="", decided_by=decided_by, reason=reason)
    return state, (Route(), Record("promote", reason, actor))


def swap(state: State, now_s: float, actor: str = "rollout") -> Decision:
    """Hold the route, to put the candidate in the place of stable (`proxy.control.machine.swaps`)."""
    state = replace(state, phase=Phase.SWAPPING, step_started_s=now_s, started_s=now_s, paused_by="", verdict="")
    return hold_route(state, now_s, f"{state.candidate} takes the place of {state.stable}: the route is held", actor)


def hold_route(state: State, now_s: float, text: str, actor: str) -> Decision:
    """Requests wait from now on. The stage counts up, so that it is known when all workers hold."""
    state = replace(state, doing="hold", doing_since_s=now_s, stage=state.stage + 1, stage_started_s=now_s, reason=text)
    return state, (Route(), Record("swap", text, actor))


def bake(plan: Plan, state: State, now_s: float) -> Decision:
    """Watch the candidate with all of the traffic, with stable kept warm."""
    reason = f"{state.candidate} has all traffic, {state.stable} stays warm: {steps.after(plan)}"
    state = replace(state, phase=Phase.BAKING, step_started_s=now_s, reason=reason)
    return state, (Record("bake", reason),)


def succeed(state: State, now_s: float, weight_ppm: int, reason: str, actor: str = "rollout") -> Decision:
    """The end that was wanted, with this share of the traffic from now on and no copies."""
    rerouted = _reroute(state, weight_ppm, 0, now_s)
    after = replace(rerouted, phase=Phase.SUCCEEDED, verdict="Successful", reason=reason, paused_by="", ended_s=now_s)
    if not after.decided_by:
        after = replace(after, decided_by="evidence")
    record = Record("succeeded", reason, actor)
    return after, (record,) if after.stage == state.stage else (Route(), record)


def end(
    state: State,
    phase: Literal[Phase.ABORTED, Phase.FAILED],
    verdict: Literal["Failed", "Inconclusive", "Error"],
    decided_by: str,
    reason: str,
    now_s: float,
    actor: str = "rollout",
) -> Decision:
    """All traffic to stable, and no copies."""
    state = _reroute(state, 0, 0, now_s)
    state = replace(
        state, phase=phase, verdict=verdict, decided_by=decided_by, reason=reason, paused_by="", ended_s=now_s
    )
    return state, (Route(), Record("abort" if phase is Phase.ABORTED else "failed", reason, actor))


def noted(decision: Decision, **facts: Any) -> Decision:
    """The decision, with what it was made on beside the evidence in what the journal says of it."""
    state, actions = decision
    return state, tuple(
        replace(action, facts={**action.facts, **facts}) if isinstance(action, Record) else action for action in actions
    )


def hold(state: State, decided_by: str, why: str) -> Decision:
    """Stand still where it is, until an operator says how to go on."""
    state = replace(
        state,
        phase=Phase.PAUSED,
        paused_by="inconclusive",
        verdict="Inconclusive",
        decided_by=decided_by,
        reason=f"{why}: resume to go on collecting, promote or abort",
    )
    return state, (Record("inconclusive", state.reason),)


def here(plan: Plan, state: State) -> steps.Step | None:
    """The step at which it stands; None after the last one."""
    return plan.steps[state.step] if state.step < len(plan.steps) else None


def at_smoke(plan: Plan, state: State) -> bool:
    """Whether the step is one that asks the candidate's endpoints."""
    return isinstance(here(plan, state), steps.Smoke)


def at_replace(plan: Plan, state: State) -> bool:
    """Whether the step is one that replaces endpoints (`proxy.control.machine.rolls`)."""
    return isinstance(here(plan, state), steps.Replace)


def gate_at(plan: Plan, state: State) -> str:
    """The gate of the step; empty where it is none."""
    step = here(plan, state)
    return step.gate if isinstance(step, steps.Confirm) else ""


def waits_for_weight(state: State) -> str:
    """What is said while the weight of a ramp holds, the same from look to look: the numbers are the reading's."""
    return f"waits for evidence that allows a higher weight than {steps.percent(state.weight_ppm)}"


def ramp_at(plan: Plan, state: State) -> steps.Ramp | None:
    """The ramp that the step is; None where it is none."""
    step = here(plan, state)
    return step if isinstance(step, steps.Ramp) else None


def pause_s(plan: Plan, state: State) -> float | None:
    """How long the pause of the step takes; None where it has no end, or is none."""
    step = here(plan, state)
    return step.duration_s if isinstance(step, steps.Pause) else None


def standing(state: State, now_s: float) -> steps.Standing:
    """Where a state stands in its plan."""
    return steps.Standing(
        step=state.step,
        step_s=now_s - state.step_started_s,
        stage=state.stage,
        stage_s=now_s - state.stage_started_s,
        weight_ppm=state.weight_ppm,
        mirror_ppm=state.mirror_ppm,
    )


def enter(plan: Plan, state: State, index: int, now_s: float) -> State:
    """The state at the first step from `index` on that waits, with the weight that the steps before it set."""
    index, weight_ppm, mirror_ppm = steps.settle(plan.steps, index, state.weight_ppm, state.mirror_ppm)
    if not steps.is_unasked(plan, index):  # else the promotion follows at once, and both are one change
        state = _reroute(state, weight_ppm, mirror_ppm, now_s)
    state = replace(state, step=index, step_started_s=now_s)
    if at_replace(plan, state):
        state = replace(state, doing="ready", doing_since_s=now_s)
    return stand(plan, replace(state, reason=_place(plan, state)))


def _reroute(state: State, weight_ppm: int, mirror_ppm: int, now_s: float) -> State:
    if (weight_ppm, mirror_ppm) == (state.weight_ppm, state.mirror_ppm):
        return state
    return replace(state, weight_ppm=weight_ppm, mirror_ppm=mirror_ppm, stage=state.stage + 1, stage_started_s=now_s)


def _place(plan: Plan, state: State) -> str:
    step = here(plan, state)
    text = "last analysis" if step is None else steps.describe(step)
    each = " each" if len(state.racing) > 1 else ""
    weights = f"weight {steps.percent(state.weight_ppm)}{each}, mirror {steps.percent(state.mirror_ppm)}"
    return f"stage {state.stage} ({weights}), step {state.step + 1}: {text}"
