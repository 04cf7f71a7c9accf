"""What a look at the evidence does to a rollout: the firing code behind the table of `rollout`, beside `orders`.

Harm aborts, blindness stands still, and what holds a rollout up (no traffic, a split that is off, time over) is said
and acted on as its plan wants. Only then may a step be done.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, assert_never

from analysis import panel
from analysis.wording import odds
from proxy.control.machine import gates, moves, race, rolls, steps
from proxy.control.machine.gates import ALWAYS
from proxy.control.machine.state import Ask, Decision, Look, Phase, Record, State
from proxy.control.machine.steps import Plan
from proxy.snapshot import CIRCLE

if TYPE_CHECKING:
    from analysis.verdict import Verdict


_PROMOTION: Final = "confirm-promotion"
_INCREASE: Final = "confirm-traffic-increase"
_ASKING: Final = frozenset({Phase.WAITING, Phase.PROGRESSING, Phase.PAUSED})


def look(plan: Plan, state: State, event: Look, now_s: float) -> Decision:
    """A look before the rollout is decided."""
    after, actions = _look(plan, state, event, now_s)
    asked = (plan.gates & ALWAYS) | {moves.gate_at(plan, after)} - {""}
    if _climbs(plan, after, event) and after.reason == _waits(_at_increase(plan, event)):
        asked |= {_INCREASE}
    if steps.is_last(plan.steps, after.step) and after.reason == _waits(_at_promotion(plan, event)):
        asked |= {_PROMOTION}
    return after, (*actions, Ask(frozenset(asked))) if asked and after.phase in _ASKING else actions


def _look(plan: Plan, state: State, event: Look, now_s: float) -> Decision:
    if (harm := _harm(state, event, now_s)) is not None:
        return harm
    if state.phase is Phase.PROGRESSING and moves.at_replace(plan, state):
        return rolls.look(plan, state, event, now_s)
    verdict = event.verdict
    if (stuck := _stuck(plan, state, event, now_s)) is not None:
        return stuck
    if (gate := moves.gate_at(plan, state)) and state.phase is not Phase.PAUSED:
        return _look_at_gate(plan, state, event, gate, now_s)
    if verdict is None:
        return _blind(plan, state, event, now_s)
    recovered = state.verdict == "Error"
    if recovered:
        state = replace(state, verdict="")
    if state.phase is Phase.WAITING:
        after, actions = _look_waiting(plan, state, event, verdict, now_s)
    elif state.phase is Phase.PAUSED:
        after, actions = _look_paused(plan, state, event, verdict, now_s)
    else:
        after, actions = _look_progressing(plan, state, event, verdict, now_s)
    return after, (Record("recovered", "the evidence can be judged again"), *actions) if recovered else actions


def look_promoting(plan: Plan, state: State, event: Look, now_s: float) -> Decision:
    """A look while the candidate takes over: only harm counts now."""
    harm = _harm(state, event, now_s)
    return (state, _asks(plan)) if harm is None else harm


def look_baking(plan: Plan, state: State, event: Look, now_s: float) -> Decision:
    """A look while the candidate bakes: harm takes it back, and time ends it, if there was anything to be seen."""
    after, actions = _look_baking(plan, state, event, now_s)
    return after, (*actions, *_asks(plan)) if after.phase is Phase.BAKING else actions


def _look_baking(plan: Plan, state: State, event: Look, now_s: float) -> Decision:
    if (harm := _harm(state, event, now_s)) is not None:
        return harm
    verdict = event.verdict
    if verdict is None:
        return _said(state, event.error)
    recovered = (Record("recovered", "the evidence can be judged again"),) if state.verdict == "Error" else ()
    state = replace(state, verdict="")
    watched_s = now_s - state.step_started_s
    if plan.bake is not None and watched_s < plan.bake.duration_s:
        return state, recovered
    if verdict.stage != state.stage or not verdict.stage_candidate > 0:
        reason = f"the time of the bake is over: waits for a sample in stage {state.stage}"
        return replace(state, reason=reason), recovered
    text = f"{state.candidate} serves all traffic, and nothing was found against it in "
    if plan.bake is None:
        text += f"{round(watched_s)} s: the file has no bake any more"
    else:
        text += f"{plan.bake.duration_s:g} s"
    after, actions = moves.succeed(state, now_s, CIRCLE, text)
    return after, (*recovered, *actions)


def _look_waiting(plan: Plan, state: State, event: Look, verdict: Verdict, now_s: float) -> Decision:
    if moves.ramp_at(plan, state) and not state.weight_ppm:
        return _look_at_ramp(plan, state, event, verdict, now_s)
    unseen = verdict.stage != state.stage or not (verdict.stage_candidate > 0 or verdict.stage_pairs > 0)
    if unseen or moves.at_smoke(plan, state):
        return moves.wait(plan, state), ()
    state = replace(state, phase=Phase.PROGRESSING, started_s=now_s, step_started_s=now_s, stage_started_s=now_s)
    lack = steps.lacking(plan, moves.standing(state, now_s), verdict)
    who = "every candidate" if len(state.racing) > 1 else state.candidate
    record = Record("progress", f"first sample of {who}: the clock starts")
    return replace(state, reason=f"waits for {lack}" if lack else record.text), (record,)


def _look_at_gate(plan: Plan, state: State, event: Look, gate: str, now_s: float) -> Decision:
    """A look at a step that waits for webhooks."""
    if event.verdict is not None and state.phase is Phase.PROGRESSING and (state.weight_ppm or state.mirror_ppm):
        held = _held(plan, state, event.verdict, now_s)
        if held is not None:
            return held
    if lack := gates.waiting(gate, event.hooks):
        return replace(state, reason=_waits(lack)), ()
    after, actions = moves.advance(plan, state, now_s)
    return after, (Record("confirmed", f"{gate}: every webhook has said yes"), *actions)


def _look_progressing(plan: Plan, state: State, event: Look, verdict: Verdict, now_s: float) -> Decision:
    if moves.at_smoke(plan, state):
        return state, ()
    if (held := _held(plan, state, verdict, now_s)) is not None:
        return held
    state = replace(state, verdict="")
    if (ramp := moves.ramp_at(plan, state)) is not None and state.weight_ppm < ramp.top:
        return _look_at_ramp(plan, state, event, verdict, now_s)
    last = steps.is_last(plan.steps, state.step)
    lack = steps.lacking(plan, moves.standing(state, now_s), verdict)
    if last and len(state.racing) > 1 and (ready := _ready(plan, state, verdict, now_s)):
        state, lack = race.lead(state, _best(state, ready)), ""
    lack = lack or _unchecked(plan, event) or (_at_promotion(plan, event) if last else "")
    if lack:
        return replace(state, reason=_waits(lack)), ()
    if last:
        return _conclude(plan, state, verdict, now_s)
    return moves.advance(plan, state, now_s)


def _look_at_ramp(plan: Plan, state: State, event: Look, verdict: Verdict, now_s: float) -> Decision:
    """A look while the weight follows the evidence. It rises or holds, and never by a look that tells nothing of the
    present stage."""
    reading = verdict.ramp
    if reading is None or verdict.stage != state.stage:
        lack = moves.TRAFFIC if not state.weight_ppm else f"samples in stage {state.stage}"
        return replace(state, reason=_waits(lack)), ()
    ppm = _climbs(plan, state, event)
    if not ppm:
        return replace(state, reason=moves.waits_for_weight(state)), ()
    lack = "" if event.room else "a free row of the ledger: requests of earlier weights are still under way"
    if lack := lack or _unchecked(plan, event) or _at_increase(plan, event):
        return replace(state, reason=_waits(lack)), ()
    found = (
        f"{reading.spent:.0f} of {reading.budget:g} bad requests spent, at most {100 * reading.worst:.3g} % may be bad"
    )
    return moves.climb(plan, state, ppm, now_s, found)


def _climbs(plan: Plan, state: State, event: Look) -> int:
    """The weight that the evidence allows where the step is a ramp; 0 where that is none above the present one, and
    where nothing of the candidate was seen at the present one."""
    ramp, verdict = moves.ramp_at(plan, state), event.verdict
    if ramp is None or verdict is None or verdict.ramp is None or verdict.stage != state.stage:
        return 0
    if verdict.inconclusive or (verdict.ratio.flagged and plan.on_ratio != "continue"):
        return 0
    if state.weight_ppm and not verdict.stage_candidate > 0:
        return 0
    allowed = round(verdict.ramp.allowed * CIRCLE)
    return max((rung for rung in ramp.rungs if state.weight_ppm < rung <= allowed), default=0)


def _ready(plan: Plan, state: State, verdict: Verdict, now_s: float) -> dict[str, Verdict]:
    """Those of several candidates that lack nothing at the end."""
    at = moves.standing(state, now_s)
    each = ((name, own) for name, own in verdict.candidates if name in state.racing)
    return {name: own for name, own in each if not steps.lacking(plan, at, own)}


def _best(state: State, ready: Mapping[str, Verdict]) -> str:
    """Of several that lack nothing the one with the best evidence. Whom webhooks are asked about stays in front: a yes
    is to one candidate, and would be worth nothing if another one were in front at the next look."""
    asked = state.reason.startswith((_waits(_PROMOTION), _waits("rollout")))
    return state.candidate if asked and state.candidate in ready else panel.best(ready)


def _proven(plan: Plan, state: State, verdict: Verdict, now_s: float) -> str:
    """That the candidate in front is proven, and why it is in front of others that are as well."""
    text = f"{state.candidate} is proven to be within every margin"
    ready = _ready(plan, state, verdict, now_s) if len(state.racing) > 1 else {}
    best = panel.best(ready) if ready else state.candidate
    for name, own in ready.items():
        mine = ready[state.candidate].least_pass
        if name == state.candidate:
            continue
        if best != state.candidate and own.least_pass >= mine:
            text += f"; so is {name} by now, but {state.candidate} was put forward before"
        elif own.least_pass == mine:
            text += f"; so is {name}, with as much evidence, and comes later in the file"
        else:
            less = f"{odds(own.least_pass)} against {odds(mine)}"
            text += f"; so is {name}, with less evidence for its weakest guardrail ({less})"
    return text


def _look_paused(plan: Plan, state: State, event: Look, verdict: Verdict, now_s: float) -> Decision:
    pause_s = moves.pause_s(plan, state)
    if state.paused_by != "gate" or pause_s is None or now_s - state.step_started_s < pause_s:
        return state, ()
    if not steps.candidate_was_seen(moves.standing(state, now_s), verdict):
        return replace(state, reason=f"the pause is over: waits for a sample in stage {state.stage}"), ()
    if (held := _held(plan, state, verdict, now_s)) is not None:
        return held
    if lack := _unchecked(plan, event):
        return replace(state, reason=f"the pause is over: {_waits(lack)}"), ()
    return moves.advance(plan, replace(state, verdict=""), now_s)


def _conclude(plan: Plan, state: State, verdict: Verdict, now_s: float) -> Decision:
    """All that the ending waits for is there."""
    proven = _proven(plan, state, verdict, now_s)
    match plan.ending:
        case steps.Promotion():
            return moves.promote(plan, state, now_s, "evidence", proven)
        case steps.Report():
            return moves.succeed(state, now_s, 0, f"{proven}, on copies: {state.stable} serves on")
        case steps.Contest(on_winner):
            if verdict.winner == "none":
                reason = f"no winner: {verdict.contest_text}; {state.stable} serves on"
                return moves.succeed(state, now_s, 0, reason)
            reason = f"{state.candidate} wins: {verdict.contest_text}"
            if on_winner == "promote":
                return moves.promote(plan, state, now_s, "evidence", reason)
            kept = f"{reason}; it keeps {steps.percent(state.weight_ppm)} of the traffic"
            return moves.succeed(state, now_s, state.weight_ppm, kept)
        case steps.Swap():
            return moves.advance(plan, state, now_s)
        case _:
            assert_never(plan.ending)


# --- what webhooks say


def _harm(state: State, event: Look, now_s: float) -> Decision | None:
    """What takes the candidate back at once: harm that is proven, a webhook that asks for it, or that clients are sent
    to a version that is gone. Of several candidates those leave of whom that is so."""
    verdict = event.verdict
    after = state if verdict is None else race.harmed(state, verdict, now_s)
    if verdict is not None and verdict.abort:
        return moves.end(after, Phase.ABORTED, "Failed", verdict.decided_by, verdict.reason, now_s)
    if event.hooks.harm:
        return moves.end(after, Phase.ABORTED, "Failed", "webhook", event.hooks.harm, now_s)
    if event.unwell and state.weight_ppm:
        after = race.gone(after, event.unwell, now_s)
        if not (after.race and after.racing):
            ended = moves.end(after, Phase.ABORTED, "Failed", "health", "; ".join(event.unwell.values()), now_s)
            return moves.noted(ended, unwell=dict(event.unwell))
    return None if after is state else race.left(state, after, now_s)


def _asks(plan: Plan) -> tuple[Ask, ...]:
    asked = plan.gates & {"rollback"}
    return (Ask(asked),) if asked else ()


def _unchecked(plan: Plan, event: Look) -> str:
    """What the checks of the rollout still lack; "" for nothing."""
    return gates.waiting("rollout", event.hooks) if "rollout" in plan.gates else ""


def _at_increase(plan: Plan, event: Look) -> str:
    """What a higher weight that the evidence allows still lacks; "" for nothing."""
    return gates.waiting(_INCREASE, event.hooks) if _INCREASE in plan.gates else ""


def _at_promotion(plan: Plan, event: Look) -> str:
    """What a promotion that everything else speaks for still lacks; "" for nothing, and where none would follow."""
    follows = isinstance(plan.ending, steps.Promotion)
    if isinstance(plan.ending, steps.Contest) and event.verdict is not None:
        follows = plan.ending.on_winner == "promote" and event.verdict.winner not in ("", "none")
    return gates.waiting(_PROMOTION, event.hooks) if follows and _PROMOTION in plan.gates else ""


def _waits(lack: str) -> str:
    return f"waits for {lack}"


# --- what holds a rollout up


def _stuck(plan: Plan, state: State, event: Look, now_s: float) -> Decision | None:
    """What happens to a rollout that nothing reaches, or None. Whoever goes on regardless is not asked again."""
    limit_s = plan.progress_deadline_s
    if limit_s is None or state.phase is Phase.PAUSED or state.verdict == "Inconclusive":
        return None
    if moves.gate_at(plan, state) and not (state.weight_ppm or state.mirror_ppm):
        return None  # a person may take the time that they need
    if moves.at_smoke(plan, state):
        if now_s - state.step_started_s < limit_s:
            return None
        return _late(plan, state, f"no progress within {limit_s:g} s: {state.reason}", now_s)
    if event.unseen_s >= limit_s:
        who = event.unseen or state.candidate
        why = f"no progress within {limit_s:g} s: the route has requests, and none reaches {who}"
        return _late(plan, state, why, now_s)
    if event.idle_s < limit_s or plan.on_no_traffic == "wait":
        return None
    why = f"the route has had no request for {limit_s:g} s"
    if plan.on_no_traffic == "pause":
        return moves.hold(state, "noTraffic", why)
    return moves.end(state, Phase.ABORTED, "Inconclusive", "noTraffic", why, now_s)


def _late(plan: Plan, state: State, why: str, now_s: float) -> Decision:
    if plan.on_inconclusive == "pause":
        return moves.hold(state, "progressDeadline", why)
    return moves.end(state, Phase.FAILED, "Error", "progressDeadline", why, now_s)


def _held(plan: Plan, state: State, verdict: Verdict, now_s: float) -> Decision | None:
    """What happens to a rollout that may not go on by its evidence, or None. Whoever resumed it regardless collects on
    at the same weight until what held it is gone."""
    flagged = verdict.ratio.flagged and plan.on_ratio != "continue"
    undecided = _is_undecided(plan, state, verdict, now_s)
    if not (flagged or undecided):
        return None
    if state.verdict == "Inconclusive":
        return state, ()
    if undecided:
        return _undecided(plan, state, "", now_s)
    if plan.on_ratio == "pause":
        return moves.hold(state, "ratio", verdict.ratio.text)
    return moves.end(state, Phase.ABORTED, "Inconclusive", "ratio", verdict.ratio.text, now_s)


def _blind(plan: Plan, state: State, event: Look, now_s: float) -> Decision:
    """Nothing was judged: stand still, say an error once, and mind only the end of the rollout's time."""
    if state.verdict == "Inconclusive":
        return state, ()
    if state.phase is Phase.PROGRESSING and _is_over(plan, state, now_s):
        return _undecided(plan, state, event.error, now_s)
    return _said(state, event.error)


def _said(state: State, error: str) -> Decision:
    if not error:
        return state, ()
    known = state.verdict == "Error"
    text = f"the evidence cannot be judged: {error}"
    keeps = state.phase in (Phase.PAUSED, Phase.BAKING)
    state = replace(state, verdict="Error", reason=state.reason if keeps else text)
    return state, () if known else (Record("error", text),)


def _is_over(plan: Plan, state: State, now_s: float) -> bool:
    return now_s - state.started_s >= plan.max_duration_s


def _is_undecided(plan: Plan, state: State, verdict: Verdict, now_s: float) -> bool:
    """Whether one cannot tell and will not: a proof is never too late, nothing else is in time after the horizon."""
    return (verdict.inconclusive or _is_over(plan, state, now_s)) and not steps.is_decided(plan, verdict)


def _undecided(plan: Plan, state: State, error: str, now_s: float) -> Decision:
    over = _is_over(plan, state, now_s)
    decided_by = "maxDuration" if over else "evidence"
    why = f"not decided within {plan.max_duration_s:g} s" if over else "no evidence to come in time can still decide it"
    if error:
        why += f"; the evidence cannot be judged: {error}"
    if plan.on_inconclusive == "pause":
        return moves.hold(state, decided_by, why)
    if error:
        return moves.end(state, Phase.FAILED, "Error", decided_by, why, now_s)
    return moves.end(state, Phase.ABORTED, "Inconclusive", decided_by, why, now_s)
