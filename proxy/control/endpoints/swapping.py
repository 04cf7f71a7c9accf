"""The hands of a swap (`machine.swaps`): who is told to stop and to start, and how it is seen that it is done.

What it does may be done twice: a controller that starts anew goes on with the part at which the rollout stands.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from config.rollouts.recreate import SwapHook
from config.rollouts.takeover import SmokeRequest
from proxy.control.endpoints.health import Checks, doubt
from proxy.control.endpoints.ordering import Order, Orders
from proxy.control.endpoints.rolling import Roller
from proxy.control.endpoints.smoke import Smokes
from proxy.control.evidence.subject import Subject
from proxy.control.machine import swaps
from proxy.control.machine.rollout import Applied, Phase, State, Swapped
from proxy.control.routing.fleet import Fleet
from proxy.ledger.reader import Reader
from proxy.snapshot import Backend

LOOK_S: Final = 0.1
"""How often it is looked whether requests have ended and endpoints are well: a swap is waited for."""
ROUNDS: Final = 3
"""Rounds of smoke requests in a row that fail before a candidate is given up: a model that has just come up may have a
bad moment, and more than a few seconds of it are not worth the wait of everybody."""


class Swapper:
    """The orders of all routes. `clock` is steady."""

    def __init__(
        self,
        checks: Checks,
        fleet: Fleet,
        reader: Reader,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._checks, self._fleet, self._reader = checks, fleet, reader
        self._timer: asyncio.TimerHandle | None = None
        self._orders, self._smokes = Orders(clock), Smokes(monotonic)
        self._roller = Roller(checks, fleet, reader, self._orders, self._smokes, clock)

    def event(self, subject: Subject) -> Applied | Swapped | None:
        """What is to be told of the part at which a swap or a replacement stands; None while there is nothing new."""
        state, snapshot = subject.state, self._fleet.snapshot
        if subject.hook is None or state is None or snapshot is None:
            return None
        if state.places:
            if (event := self._roller.event(subject, subject.hook, subject.smokes)) is None:
                self.look_again()
            return event
        if state.doing == "hold":
            if self._fleet.holds(subject.generation):
                return Applied(state.stage)
            self.look_again()
            return None
        version, tallies = swaps.subject_of(state), subject.tallies(self._reader).items()
        under_way = sum(arm.totals.in_flight for (name, role), arm in tallies if name == version and role != "shadow")
        return self._done(state, subject.hook, subject.smokes, snapshot.backends, under_way)

    def fallen(self, subject: Subject) -> Swapped | None:
        """Why the candidate, which has all traffic in the place of stable, is to be taken back; None while it is well,
        and where nothing was swapped."""
        state = subject.state
        if state is not None and state.places and subject.plan is not None and subject.plan.rolling is not None:
            return self._roller.fallen(subject, subject.plan.rolling)
        if subject.hook is None or state is None or state.phase is not Phase.BAKING:
            return None
        why = self._checks.down(state.candidate)
        return Swapped(state.stage, "watch", why) if why else None

    def look_again(self) -> None:
        """Have somebody look soon."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._again)

    def _again(self) -> None:
        self._timer = None
        self._checks.news()

    def forget(self, route: str) -> None:
        """Order and ask nothing for this route any more."""
        self._smokes.forget(route)
        self._orders.forget(route)

    async def close(self) -> None:
        """Order nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        await self._smokes.close()
        await self._orders.close()

    def _done(
        self, state: State, hook: SwapHook, smoke: Sequence[SmokeRequest], backends: Sequence[Backend], in_flight: int
    ) -> Swapped | None:
        if state.doing != swaps.SMOKE:
            self._smokes.forget(state.route)  # of a swap that was given up
        match state.doing:
            case "drain":
                done, failure = not in_flight, ""
            case "stop" | "start":
                order = Order("stop" if state.doing == "stop" else "start", swaps.subject_of(state))
                done, failure = self._orders.done(state, hook, order)
            case swaps.SMOKE:
                done, failure = self._asked(state, smoke, _backend(state, backends))
            case _:
                failure = self._unwell(state, _backend(state, backends))
                done = not failure
        hopeless = state.doing == swaps.SMOKE and self._smokes.failed(state.route) >= ROUNDS
        if done or hopeless:
            self.forget(state.route)
            said = f"smoke requests failed {ROUNDS} times in a row: {failure}" if hopeless else ""
            return Swapped(state.stage, state.doing, said, hopeless)
        self.look_again()
        return Swapped(state.stage, state.doing, failure) if failure and failure not in state.reason else None

    def _asked(self, state: State, requests: Sequence[SmokeRequest], backend: Backend) -> tuple[bool, str]:
        """Whether the last round of smoke requests passed, or else why not; neither while the first is under way."""
        known = [self._checks.condition(backend.name, endpoint) for endpoint in backend.endpoints]
        found = self._smokes.ask((state.route, state.stage, 0), backend, requests, known)
        return found == "", found or ""

    def _unwell(self, state: State, backend: Backend) -> str:
        """Why the first endpoint of a version is not known to be well since it was started; "" if all are."""
        known = ((each, self._checks.condition(backend.name, each)) for each in backend.endpoints)
        doubts = (doubt(endpoint, condition, state.doing_since_s) for endpoint, condition in known)
        return next(filter(None, doubts), "")


def _backend(state: State, backends: Sequence[Backend]) -> Backend:
    """The version that the present part is about."""
    return next(backend for backend in backends if backend.name == swaps.subject_of(state))
