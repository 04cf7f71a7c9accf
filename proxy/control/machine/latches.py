"""Versions of a route that stay out until an operator retries, whatever the file has had meanwhile. Pure.

A rollout that has ended latches the version that it was of, and a race each of its candidates that left it or ended
with it. The next rollout of the route carries that on, so that a file that goes from v2 to v3 and back to v2 does not
give v2 another chance to do the same to clients. A retry of a version forgets what was latched of it, and nothing else
does but `MOST`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal

from proxy.control.machine.state import Phase, Runner, State
from proxy.control.machine.steps import Plan

MOST: Final = 32
"""So many versions of a route are remembered, the newest: they are in every state that is kept, 200 bytes each."""
_ENDED: Final = frozenset({Phase.ABORTED, Phase.FAILED, Phase.REVERTING})
_OUT: Final = {"Failed": "found to do harm", "Inconclusive": "taken out"}
"""What became of a version before, by the verdict on it."""

Latched = tuple[Runner, ...]


def of(state: State) -> Latched:
    """The versions of a route that are out as it stands, those that were latched last at the end.

    One that was out already keeps what was said of it then: that it was not let in again is no news of it.
    """
    found = {runner.digest: runner for runner in state.latched}
    for runner in _out(state):
        found.setdefault(runner.digest, runner)
    return tuple(found.values())[-MOST:]


def lifted(plan: Plan, state: State) -> Latched:
    """What is left of them once the version of a plan, of several each, has got another chance."""
    again = _digests(plan)
    return tuple(runner for runner in of(state) if runner.digest not in again)


def keeps_out(plan: Plan, latched: Latched) -> Runner | None:
    """Why nobody of a plan may begin; None where somebody may."""
    out = {runner.digest: runner for runner in latched}
    found = [out.get(digest) for digest in _digests(plan)]
    return found[0] if all(found) else None


def verdict_of(runner: Runner) -> Literal["Failed", "Inconclusive"]:
    """The verdict on a version that is out."""
    return "Failed" if runner.verdict == "Failed" else "Inconclusive"


def said(runner: Runner) -> str:
    """Why a version is not let in."""
    return f"it was {_OUT[verdict_of(runner)]} before, and stays out until retry: {runner.reason}"


def rest(state: State, now_s: float) -> State | None:
    """What is kept of a rollout whose route is gone while it went on: of nobody, with the versions that stay out if the
    route comes back. None where there are none."""
    if not (latched := of(state)):
        return None
    nobody = replace(state, candidate="", candidate_digest="", plan_digest="", race=(), places=(), latched=latched)
    nobody = replace(nobody, phase=Phase.ABORTED, verdict="Inconclusive", decided_by="config", ended_s=now_s)
    nobody = replace(nobody, weight_ppm=0, mirror_ppm=0, paused_by="", doing="", doing_since_s=0.0)
    return replace(nobody, reason="the route is gone", ended_reason="", baseline="", former="")


def _digests(plan: Plan) -> tuple[str, ...]:
    return tuple(runner.digest for runner in plan.rivals) or (plan.candidate_digest,)


def _out(state: State) -> Latched:
    """Those who are out by this rollout itself. Where the file has another candidate while endpoints are put back, it
    is about that one already, which has not begun."""
    ended = state.phase in _ENDED and not (state.phase is Phase.REVERTING and state.former) and bool(state.candidate)
    if not state.race:
        return (_ended(state, Runner(state.candidate, state.candidate_digest)),) if ended else ()
    found = []
    for runner in state.race:
        if runner.verdict in ("Failed", "Inconclusive"):
            found.append(runner)
        elif ended and not runner.verdict:
            found.append(_ended(state, runner))
    return tuple(found)


def _ended(state: State, runner: Runner) -> Runner:
    """A candidate with what has ended the rollout as a whole. That it could not be judged in time is no harm."""
    verdict: Literal["Failed", "Inconclusive"] = "Failed" if state.verdict == "Failed" else "Inconclusive"
    ended_s = state.stage_started_s if state.ended_s is None else state.ended_s
    reason = state.ended_reason if state.phase is Phase.REVERTING else state.reason
    return replace(runner, verdict=verdict, decided_by=state.decided_by, reason=reason, left_s=ended_s)
