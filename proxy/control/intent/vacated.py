"""Whom a configuration may not call stable: a version that was stopped so that another could have its place. Pure.

After `recreate` or `rollingUpdate` the promoted version is the only one that runs. A file that goes on to call the old
one stable and names another candidate, or drops the strategy, would give clients to endpoints that are stopped, and
take the live version down without a word. It is refused, and what runs goes on: the file says who is stable, not we.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from config import schema
from config.values.problems import Finding
from proxy.control.evidence import judging
from proxy.control.machine import steps
from proxy.control.machine.adopting import is_same
from proxy.control.machine.rollout import TAKEN_OVER, Phase, State


def live(states: Mapping[str, State], before: schema.Config) -> dict[str, State]:
    """Of rollouts that were kept those that a configuration is about: others are history."""
    routes = {route.name: route for route in before.routes}
    return {
        name: state
        for name, state in states.items()
        if name in routes and {state.stable, state.candidate} <= {ref.name for ref in routes[name].backend_refs}
        and routes[name].strategy is not None
    }  # fmt: skip


def findings(config: schema.Config, states: Mapping[str, State]) -> Iterator[Finding]:
    """What speaks against a configuration while rollouts stand like this, by route."""
    for number, route in enumerate(config.routes):
        state = states.get(route.name)
        if state is None or not state.stopped:
            continue
        refs = [(ref.name, ref.role) for ref in route.backend_refs]
        served, plan = (state.stopped, "stable"), judging.plan(config, route)
        if served in refs and not _goes_on(plan, state):
            said = _said(route.name, state, plan is not None and is_same(plan, state))
            yield Finding(("routes", number, "backendRefs", refs.index(served)), *said)


def _goes_on(plan: steps.Plan | None, state: State) -> bool:
    """Whether a plan leaves the promoted version where it is, or knows how to put the other one back first."""
    if plan is None:
        return False
    if is_same(plan, state):
        return state.phase not in TAKEN_OVER or steps.puts_back(plan)
    if _is_there(state):
        return False
    return bool(state.places) or steps.puts_back(plan)


def _is_there(state: State) -> bool:
    return state.phase in TAKEN_OVER or state.phase is Phase.SUCCEEDED


def _said(route: str, state: State, same: bool) -> tuple[str, str]:
    new, old = state.candidate, state.stopped
    if same:
        return (
            f"route {route}: {new} is {state.phase} in the place of {old}, and without its strategy nobody could put "
            f"{old} back",
            f"leave the strategy until that has ended; understudy promote {route} ends it",
        )
    if not _is_there(state):
        return (
            f"route {route}: endpoints of {old} are stopped, while the rollout of {new} is {state.phase}",
            f"leave its strategy in the file until {old} serves again; understudy abort {route} has it put back",
        )
    return (
        f"route {route}: {new} is live and has the place of {old}, which is stopped",
        f"give {new} the role stable in place of {old} (understudy promote {route} --write does so in a file that has "
        f"both), or put {old} back first: understudy undo {route}",
    )
