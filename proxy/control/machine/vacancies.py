"""Rollouts whose stable version was stopped, when their route leaves the file or has another name in it. Pure.

What is stopped is a fact of a version, and no file changes it by calling a route otherwise. So such a rollout is known
for as long as nobody has said who serves in its place: it is gone on with by a route of any name that has the same two
versions, and `intent.vacated` holds files against it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from proxy.control.machine.adopting import adopt, is_same
from proxy.control.machine.state import NOT_AWAY, TAKEN_OVER, TERMINAL, Away, Decision, Phase, Record, Route, State
from proxy.control.machine.steps import Plan


def has_taken_over(state: State) -> bool:
    """Whether the candidate has all traffic, for now or for good."""
    return state.phase in TAKEN_OVER or state.phase is Phase.SUCCEEDED


def is_in_the_middle(state: State) -> bool:
    """Whether neither version can be relied on to be there: one is stopped, and the other not yet in its place."""
    return bool(state.stopped) and state.phase not in TERMINAL | TAKEN_OVER


def is_taken_up(plan: Plan, state: State, routes: Collection[str]) -> bool:
    """Whether a plan goes on with a rollout of another route. `routes` are the names that the file has.

    A route with the same two versions has that rollout's place once its own route is gone, or once there is nothing
    left to decide in it: to begin anew would order a version to be stopped where the other one runs.
    """
    if not state.stopped or is_in_the_middle(state) or not is_same(plan, state) or plan.stable != state.stable:
        return False
    return state.route not in routes or state.phase is Phase.SUCCEEDED


def take_up(plan: Plan, kept: State | None, now_s: float, away: Away = NOT_AWAY) -> Decision:
    """The rollout to go on with under a plan (`adopt`), as of the plan's route if it was another one's."""
    if kept is None or kept.route == plan.route:
        return adopt(plan, kept, now_s, away)
    after, actions = adopt(plan, replace(kept, route=plan.route), now_s, away)
    said = Record("plan", f"{after.candidate} stays {after.phase}, as in route {kept.route}")
    return after, actions or (Route(), said)


def is_settled(state: State, said: Collection[tuple[str, str]]) -> bool:
    """Whether a file says who serves in the place of what a rollout has stopped, whose route is not in the file.

    `said` is what is new in it: `("serves", NAME)` that clients are given to a version, `("tried", NAME)` that one is a
    candidate, of which something else is known from then on.
    """
    return ("serves", state.candidate) in said or ("tried", state.stopped) in said
