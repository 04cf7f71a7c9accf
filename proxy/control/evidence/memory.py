"""What is known of rollouts beyond the routes that are live: what was kept, and what of it stays known.

A route that leaves the file takes a rollout with it that was going on. What was decided stays decided if it comes back.
What has stopped a version is known as well until the file says who serves in its place, also over a restart: see
`machine.vacancies`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping

import structlog

from config import schema
from proxy.control.evidence.subject import Subject
from proxy.control.machine import vacancies
from proxy.control.machine.adopting import is_same
from proxy.control.machine.state import State
from proxy.control.machine.steps import Plan
from proxy.control.routing import cohorts
from proxy.control.routing.compile import layout
from proxy.control.storage.keeper import Keeper, left_by
from proxy.control.storage.store import Kept

_LOG = structlog.get_logger("understudy.plane")


class Memory:
    """Rollouts by route, as the store has them."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._kept: dict[str, Kept] = {}

    async def recover(self) -> None:
        """Learn what was kept.

        Raises:
            StoreError: the store cannot be read.
        """
        self._kept = await self._keeper.ask(lambda store: store.rollouts())

    @property
    def kept(self) -> Mapping[str, Kept]:
        """What the store has, by route."""
        return self._kept

    def keep(self, route: str, kept: Kept) -> None:
        """What the store has from now on."""
        self._kept[route] = kept

    def known(self, route: str, plan: Plan | None, routes: Collection[str]) -> Kept | None:
        """What a route goes on with: its own rollout, or by its plan what another one has stopped (then the state still
        has the name of that one, and there is no evidence). `routes` are the names that the file has."""
        own = self._kept.get(route)
        if plan is not None and (own is None or not (own.state.stopped or is_same(plan, own.state))):
            for kept in self._kept.values():
                if vacancies.is_taken_up(plan, kept.state, routes):
                    return Kept(kept.state, None, 0, kept.verdict)
        return own

    def standing(self, subjects: Mapping[str, Subject]) -> dict[str, State]:
        """The rollouts that a file must not do harm to: those of live routes, and of others what they have stopped."""
        live = {name: subject.state for name, subject in subjects.items() if subject.state is not None}
        kept = {name: each.state for name, each in self._kept.items() if name not in subjects}
        return {name: state for name, state in kept.items() if state.stopped} | live

    def outdated(
        self, config: schema.Config, before: schema.Config | None, live: Mapping[str, Subject], plans: Iterable[Plan]
    ) -> set[str]:
        """The rollouts of routes that a configuration does not have, and that it leaves no reason to know of.

        `before` is the configuration that was live, `live` its routes, and `plans` are those of the new one.
        """
        routes = {route.name for route in config.routes}
        given, plans = list(_said(config, before)), list(plans)

        def is_outdated(name: str, state: State) -> bool:
            was = live.get(name)
            if not state.stopped:
                return was is not None and was.active
            if was is not None and was.state is None:  # the file has said before who serves
                return True
            taken_up = any(vacancies.is_taken_up(plan, state, routes) for plan in plans)
            return taken_up or vacancies.is_settled(state, given)

        return {name for name, kept in self._kept.items() if name not in routes and is_outdated(name, kept.state)}

    async def forget(self, names: Iterable[str], now_s: float) -> None:
        """Have the store forget rollouts, but for versions that stay out; `drop` is for once all else is kept.

        Raises:
            StoreError: it cannot; nothing has changed here.
        """
        for name in names:
            await self._keeper.forget(self._kept[name].state, now_s)

    def drop(self, names: Iterable[str], now_s: float) -> None:
        """Know no more of rollouts than what the store has not forgotten."""
        for name in names:
            self._kept |= left_by(self._kept.pop(name).state, now_s)

    def left(self, name: str) -> None:
        """Say what stays known of a route that has left the file."""
        kept = self._kept.get(name)
        if kept is not None and kept.state.stopped:
            state = kept.state
            _LOG.warning("a route has left the file, and what it has stopped stays known", route=name,
                         stopped=state.stopped, live=state.candidate, phase=str(state.phase))  # fmt: skip


def _said(config: schema.Config, before: schema.Config | None) -> Iterator[tuple[str, str]]:
    """What is new in a configuration: which version a route gives clients to, and which is a candidate there. Without
    one before it nothing is."""
    known = set() if before is None else {(route.name, *each) for route in before.routes for each in _parts(route)}
    for route in config.routes if before is not None else ():
        yield from (each for each in _parts(route) if (route.name, *each) not in known)


def _parts(route: schema.Route) -> Iterator[tuple[str, str]]:
    if route.strategy is not None:
        yield from (("tried", name) for name in cohorts.candidates_of(route))
    yield from (("serves", arm.backend) for arm in layout(route, None).arms if arm.ppm)
