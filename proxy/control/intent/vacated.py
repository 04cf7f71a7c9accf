"""Whom a configuration may not call stable: a version that was stopped so that another could have its place. Pure.

After `recreate` or `rollingUpdate` the promoted version is the only one that runs. A file that goes on to call the old
one stable and names another candidate, or drops the strategy, would give clients to endpoints that are stopped, and
take the live version down without a word. It is refused, and what runs goes on: the file says who is stable, not we.

What is stopped is so under every name of the route, so that any route counts that a file gives such a version to, and
rollouts whose route is not in the file any more count as well (`machine.vacancies`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from config import schema
from config.values.problems import Finding
from proxy.control.evidence import judging
from proxy.control.machine import steps, vacancies
from proxy.control.machine.adopting import is_same
from proxy.control.machine.rollout import TAKEN_OVER, TERMINAL, State
from proxy.control.routing.compile import layout


def live(states: Mapping[str, State], before: schema.Config) -> dict[str, State]:
    """Of rollouts that were kept those that a configuration is about, and what routes have stopped that it has not:
    others are history."""
    routes = {route.name: route for route in before.routes}
    return {
        name: state
        for name, state in states.items()
        if (state.stopped if name not in routes else _is_about(routes[name], state))
    }


def _is_about(route: schema.Route, state: State) -> bool:
    return route.strategy is not None and {state.stable, state.candidate} <= {ref.name for ref in route.backend_refs}


def findings(
    config: schema.Config, states: Mapping[str, State], before: schema.Config | None = None
) -> Iterator[Finding]:
    """What speaks against a configuration while rollouts stand like this. `before` is the one that is live."""
    for state in states.values():
        if state.stopped:
            yield from _Edit(config, before, state).findings()


@dataclass(frozen=True, slots=True)
class _Edit:
    """A configuration in place of another, and one rollout that has stopped a version."""

    config: schema.Config
    before: schema.Config | None
    state: State

    def findings(self) -> Iterator[Finding]:
        state, names = self.state, self._names
        is_there = state.route in {route.name for route in self.config.routes}
        if self._was_live and not is_there and vacancies.is_in_the_middle(state):
            yield Finding(("routes",), *_taken_away(state))
        for number, route in enumerate(self.config.routes):
            index = _served(route, names)
            plan = judging.plan(self.config, route)
            if index is None or self._goes_on(route, plan, is_there):
                continue
            if route.name == state.route:
                message, remedy = _said(state, plan is not None and is_same(plan, state))
            else:
                message, remedy = _said_of_another(route.name, state, is_there)
            name = route.backend_refs[index].name
            also = "" if name == state.stopped else f"; {name} has its endpoints"
            yield Finding(("routes", number, "backendRefs", index), message + also, remedy)

    @property
    def _was_live(self) -> bool:
        return self.before is not None and self.state.route in {route.name for route in self.before.routes}

    @property
    def _names(self) -> set[str]:
        """What the stopped version is called: its name, or where the file has that no more, another one that was given
        to its endpoints. Another `version` is another one, and endpoints that the live version has as well tell nothing
        where the two have no `version` that does."""
        old, new = _backend(self.before, self.state.stopped), _backend(self.before, self.state.candidate)
        if old is None or _backend(self.config, old.name) is not None:
            return {self.state.stopped}
        shared = set() if new is None or new.version != old.version else set(new.endpoints)
        own = set(old.endpoints) - shared
        given = (each for each in self.config.backends if _backend(self.before, each.name) is None)
        return {old.name} | {each.name for each in given if own & set(each.endpoints) and each.version == old.version}

    def _goes_on(self, route: schema.Route, plan: steps.Plan | None, is_there: bool) -> bool:
        """Whether a route leaves what runs where it is, knows how to put the other version back first, or has met what
        is stopped since it was, so that nothing is made worse."""
        if route.name != self.state.route:
            if self._is_as_before(route) and (is_there or not self._was_live):
                return True
            names = {route.name for route in self.config.routes}
            if plan is None or not vacancies.is_taken_up(plan, self.state, names):
                return False
        return _leaves_alone(plan, self.state)

    def _is_as_before(self, route: schema.Route) -> bool:
        def facts(one: schema.Route) -> tuple[object, ...]:
            return one.name, one.match, one.backend_refs, one.strategy

        return self.before is not None and facts(route) in map(facts, self.before.routes)


def _served(route: schema.Route, names: set[str]) -> int | None:
    """The place among a route's versions of one with such a name that is stable, or has a weight for good."""
    weighted = {arm.backend for arm in layout(route, None).arms if arm.ppm} if route.strategy is None else set()
    refs = enumerate(route.backend_refs)
    return next((at for at, ref in refs if ref.name in names and (ref.role == "stable" or ref.name in weighted)), None)


def _backend(config: schema.Config | None, name: str) -> schema.Backend | None:
    return next((each for each in config.backends if each.name == name), None) if config is not None else None


def _leaves_alone(plan: steps.Plan | None, state: State) -> bool:
    """Whether a plan leaves the promoted version where it is, or knows how to put the other one back first."""
    if plan is None:
        return False
    if is_same(plan, state):
        return state.phase not in TAKEN_OVER or steps.puts_back(plan)
    if vacancies.has_taken_over(state):
        return False
    return bool(state.places) or steps.puts_back(plan)


def _since(state: State) -> str:
    """The phase, and since when: what has ended since its end, all else since its stage. No more of how it stands: a
    refusal that is worded anew is told anew."""
    at_s = state.stage_started_s if state.ended_s is None else state.ended_s
    return f"{state.phase} since {datetime.fromtimestamp(at_s, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _said(state: State, same: bool) -> tuple[str, str]:
    route, new, old = state.route, state.candidate, state.stopped
    if not vacancies.has_taken_over(state):
        return (
            f"route {route}: endpoints of {old} are stopped, while the rollout of {new} is {_since(state)}",
            f"leave its strategy in the file until {old} serves again; {_puts_back(state)}",
        )
    if same:
        return (
            f"route {route}: {new} is {_since(state)} in the place of {old}, and without its strategy nobody could put "
            f"{old} back",
            f"leave the strategy until that has ended; understudy promote {route} ends it",
        )
    return (
        f"route {route}: {new} is live and has the place of {old}, which is stopped ({_since(state)})",
        f"give {new} the role stable in place of {old} (understudy promote {route} --write does so in a file that has "
        f"both), or put {old} back first: understudy undo {route}",
    )


def _said_of_another(route: str, state: State, is_there: bool) -> tuple[str, str]:
    """Of a route with another name than the one whose rollout it was."""
    new, old, was = state.candidate, state.stopped, state.route
    if not vacancies.has_taken_over(state):
        return (
            f"route {route}: endpoints of {old} are stopped, by the rollout of {new} in route {was}, {_since(state)}",
            f"leave route {was} in the file with its strategy, under its name, until {old} serves again; "
            f"{_puts_back(state)}",
        )
    back = "" if is_there else f"leave route {was} in the file as it was, or put it back into it, then "
    return (
        f"route {route}: {old} is stopped, and {new} has its place, by the rollout of route {was}, {_since(state)}",
        f"give {new} the role stable in place of {old}; or have {old} started again first: {back}understudy undo {was}",
    )


def _puts_back(state: State) -> str:
    """What has the stopped version started again before the other one has its place. What was aborted while the file
    did not say by whom is put back as soon as it does."""
    if state.phase in TERMINAL:
        return f"if it has lost its strategy, give it back: that has {state.stopped} put back"
    return f"understudy abort {state.route} has it put back"


def _taken_away(state: State) -> tuple[str, str]:
    new, old, was = state.candidate, state.stopped, state.route
    return (
        f"route {was} is gone or has another name in the middle of a replacement: endpoints of {old} are stopped, "
        f"{new} does not have their place yet, and nobody would start either ({_since(state)})",
        f"leave it in the file under its name until that has ended; understudy abort {was} has {old} put back. If "
        "neither is wanted, first make a version stable that runs, without strategy",
    )
