"""Several candidates of one rollout: who is in the race, who leaves it, and who is chosen. Pure.

A candidate that is proven to do harm leaves at once, and so does one that an operator takes out; the others go on. The
first that lacks nothing at the end of the plan is chosen, of several at the same look the one with the best evidence
(`analysis.panel.best`); the others are `Not chosen`: nothing was found against them. Who has left stays out for this
version, also in a new rollout, until an operator retries (`latches`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from proxy.control.machine.state import Abort, Decision, IllegalEvent, Promote, Record, Route, Runner, State
from proxy.control.machine.steps import Plan

if TYPE_CHECKING:
    from analysis.verdict import Verdict


def names(plan: Plan) -> str:
    """The candidates of a plan in words.

    >>> from types import SimpleNamespace as N
    >>> names(N(rivals=(N(name="a"), N(name="b"), N(name="c")))), names(N(rivals=(), candidate="a"))
    ('a, b and c', 'a')
    """
    first = [runner.name for runner in plan.rivals[:-1]]
    return f"{', '.join(first)} and {plan.rivals[-1].name}" if first else plan.candidate


def harmed(state: State, verdict: Verdict, now_s: float) -> State:
    """The state in which everybody has left whose harm is proven."""
    if not state.race:
        return state
    found = {name: (own.decided_by, own.reason) for name, own in verdict.candidates if own.abort}
    return _left_for(state, found, now_s)


def gone(state: State, unwell: Mapping[str, str], now_s: float) -> State:
    """The state in which everybody has left who cannot be reached any more; `unwell` says why, by name."""
    return _left_for(state, {name: ("health", why) for name, why in unwell.items()}, now_s)


def taken_out(state: State, name: str, reason: str, now_s: float) -> State:
    """The state in which an operator has taken this candidate out; the same one if it was out already."""
    return _left_for(state, {name: ("operator", reason)}, now_s, "Inconclusive")


def check(state: State, event: Abort | Promote) -> None:
    """Whether the candidate that an operator names is one of this rollout, and to be promoted is still in the race. No
    name is none too many.

    Raises:
        IllegalEvent: it is not.
    """
    known = [runner.name for runner in state.race] or [state.candidate]
    if event.candidate and event.candidate not in known:
        there = f"the candidates are {', '.join(known)}" if len(known) > 1 else f"the candidate is {known[0]}"
        raise IllegalEvent(state, event, f"{event.candidate} is no candidate of this rollout: {there}")
    if isinstance(event, Promote) and (out := who_left(state, event.candidate)) is not None:
        rest = f"; choose of {', '.join(state.racing)}" if state.racing else ""
        raise IllegalEvent(state, event, f"{out.name} is out of the race ({out.reason}){rest}")


def who_left(state: State, name: str) -> Runner | None:
    """A candidate that is out of the race; None as long as it is in."""
    return next((runner for runner in state.race if runner.name == name and runner.verdict), None)


def left(state: State, after: State, now_s: float, actor: str = "rollout") -> Decision:
    """What follows from others being in the race: their shares are stable's again, in a new stage."""
    gone = [runner for runner in after.race if runner.verdict and runner.name in state.racing]
    records = tuple(
        Record("drop", f"{runner.name} leaves the race, {', '.join(after.racing)} go{'es' * (len(after.racing) == 1)} "
               f"on: {runner.reason}", actor, _facts(runner)) for runner in gone
    )  # fmt: skip
    if not (after.weight_ppm or after.mirror_ppm):
        return after, records
    return replace(after, stage=state.stage + 1, stage_started_s=now_s), (Route(), *records)


def lead(state: State, name: str) -> State:
    """The state with this candidate in front: what is said of the candidate is of it."""
    return state if name == state.candidate else replace(state, candidate=name)


def chosen(state: State, now_s: float) -> State:
    """The candidate takes over: nobody else is in the race any more."""
    race = tuple(
        replace(runner, verdict="Not chosen", reason=f"{state.candidate} takes over", left_s=now_s)
        if not runner.verdict and runner.name != state.candidate else runner
        for runner in state.race
    )  # fmt: skip
    return state if race == state.race else replace(state, race=race)


def entered(plan: Plan, latched: Iterable[Runner]) -> tuple[Runner, ...]:
    """The race of a plan as it begins, without those that are out already."""
    out = {runner.digest: runner for runner in latched}
    return tuple(out.get(runner.digest, runner) for runner in plan.rivals)


def first_in(race: Iterable[Runner], otherwise: str) -> str:
    """The candidate that is in front before anything is known."""
    return next((runner.name for runner in race if not runner.verdict), otherwise)


def _facts(runner: Runner) -> dict[str, dict[str, str]]:
    """What the journal keeps of a candidate that did not leave by the evidence."""
    return {"unwell": {runner.name: runner.reason}} if runner.decided_by == "health" else {}


def _left_for(
    state: State,
    why: Mapping[str, tuple[str, str]],
    now_s: float,
    verdict: Literal["Failed", "Inconclusive"] = "Failed",
) -> State:
    """The state in which these are out of the race, if they were in it: by name, what decided so, and the reason."""
    race = tuple(
        replace(runner, verdict=verdict, decided_by=why[runner.name][0], reason=why[runner.name][1], left_s=now_s)
        if not runner.verdict and runner.name in why else runner
        for runner in state.race
    )  # fmt: skip
    return state if race == state.race else _led(replace(state, race=race))


def _led(state: State) -> State:
    """A candidate that has left is in front no more, unless nobody is left."""
    return lead(state, state.racing[0]) if state.racing and state.candidate not in state.racing else state
