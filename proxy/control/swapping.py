"""The hands of a swap (`proxy.control.swaps`): who is told to stop and to start, and how it is seen that it is done.

What it does may be done twice: a controller that starts anew goes on with the part at which the rollout stands.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from config.recreate import Recreate, SwapHook
from config.takeover import SmokeRequest
from proxy.control import messages, swaps
from proxy.control.fleet import Fleet
from proxy.control.health import Checks
from proxy.control.rollout import Applied, Phase, State, Swapped
from proxy.control.smoke import Smokes
from proxy.control.subject import Subject
from proxy.control.webhooks import Answer, Sender
from proxy.ledger.reader import Reader
from proxy.snapshot import Backend

LOOK_S: Final = 0.1
"""How often it is looked whether requests have ended and endpoints are well: a swap is waited for."""
AGAIN_S: Final = 2.0
"""From an answer that was no yes to the next order."""
ROUNDS: Final = 3
"""Rounds of smoke requests in a row that fail before a candidate is given up: a model that has just come up may have a
bad moment, and more than a few seconds of it are not worth the wait of everybody."""
_LOG = structlog.get_logger("understudy.swap")


@dataclass(slots=True)
class _Order:
    """An order to the hook; `told` is the failure that was told last."""

    key: tuple[int, str]
    task: asyncio.Task[Answer]
    told: str = ""


class Swapper:
    """The orders of all routes. `clock` is the wall's."""

    def __init__(
        self,
        checks: Checks,
        fleet: Fleet,
        reader: Reader,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._checks, self._fleet, self._reader, self._clock = checks, fleet, reader, clock
        self._sender, self._smokes = Sender(clock), Smokes(monotonic)
        self._orders: dict[str, _Order] = {}

    def event(self, subject: Subject) -> Applied | Swapped | None:
        """What is to be told of the part at which a swap stands; None while there is nothing new."""
        state, snapshot = subject.state, self._fleet.snapshot
        if subject.swap is None or state is None or snapshot is None:
            return None
        if state.doing == "hold":
            if subject.applied_stage == state.stage or not self._fleet.holds(subject.generation):
                self.look_again()
                return None
            subject.applied_stage = state.stage
            return Applied(state.stage)
        version, tallies = swaps.subject_of(state), subject.tallies(self._reader).items()
        under_way = sum(arm.totals.in_flight for (name, role), arm in tallies if name == version and role != "shadow")
        return self._done(state, subject.swap, snapshot.backends, under_way)

    def fallen(self, subject: Subject) -> Swapped | None:
        """Why the candidate, which has all traffic in the place of stable, is to be taken back; None while it is well,
        and where nothing was swapped."""
        state = subject.state
        if subject.swap is None or state is None or state.phase is not Phase.BAKING:
            return None
        why = self._checks.down(state.candidate)
        return Swapped(state.stage, "watch", why) if why else None

    def look_again(self) -> None:
        """Have somebody look soon."""
        asyncio.get_running_loop().call_later(LOOK_S, self._checks.news)

    def forget(self, route: str) -> None:
        """Order and ask nothing for this route any more."""
        self._smokes.forget(route)
        order = self._orders.pop(route, None)
        if order is not None:
            order.task.cancel()

    async def close(self) -> None:
        """Order nothing any more."""
        tasks = [order.task for order in self._orders.values()]
        self._orders.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._smokes.close()
        await self._sender.close()

    def _done(self, state: State, given: Recreate, backends: Sequence[Backend], in_flight: int) -> Swapped | None:
        if state.doing != swaps.SMOKE:
            self._smokes.forget(state.route)  # of a swap that was given up
        match state.doing:
            case "drain":
                done, failure = not in_flight, ""
            case "stop" | "start":
                done, failure = self._ordered(state, given.hook)
            case swaps.SMOKE:
                done, failure = self._asked(state, given.smoke, _backend(state, backends))
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

    def _ordered(self, state: State, hook: SwapHook) -> tuple[bool, str]:
        """Whether the hook has said yes, or else what it has said."""
        key, order = (state.stage, state.doing), self._orders.get(state.route)
        if order is not None and order.key != key:
            order.task.cancel()
            order = None
        if order is None:
            order = self._orders[state.route] = _Order(key, asyncio.create_task(self._order(state, hook, 0.0)))
        if not order.task.done():
            return False, order.told
        answer = order.task.result()
        if answer.yes:
            return True, ""
        order.told = f"the hook {answer.said}"
        order.task = asyncio.create_task(self._order(state, hook, AGAIN_S))
        return False, order.told

    async def _order(self, state: State, hook: SwapHook, wait_s: float) -> Answer:
        await asyncio.sleep(wait_s)
        version = swaps.subject_of(state)
        text = f"{state.doing} {version}"
        known = messages.facts(state, self._clock(), kind=state.doing, text=text) | {"backend": version}
        id_ = hashlib.sha256(f"{state.route} {state.attempt} {state.stage} {text}".encode()).hexdigest()[:32]
        answer = await self._sender.ask(hook, known, id_)
        log = _LOG.info if answer.yes else _LOG.warning
        log("swap hook answered", route=state.route, kind=state.doing, backend=version, said=answer.said)
        return answer

    def _asked(self, state: State, requests: Sequence[SmokeRequest], backend: Backend) -> tuple[bool, str]:
        """Whether the last round of smoke requests passed, or else why not; neither while the first is under way."""
        known = [self._checks.condition(backend.name, endpoint) for endpoint in backend.endpoints]
        found = self._smokes.ask((state.route, state.stage, 0), backend, requests, known)
        return found == "", found or ""

    def _unwell(self, state: State, backend: Backend) -> str:
        """Why the first endpoint of a version is not known to be well since it was started; "" if all are."""
        for endpoint in backend.endpoints:
            known = self._checks.condition(backend.name, endpoint)
            if known is None or known.asked_s < state.doing_since_s:
                return f"{endpoint} was not asked yet"
            if known.healthy is not True or known.reason:
                return f"{endpoint}: {known.reason or 'its health check has not passed yet'}"
        return ""


def _backend(state: State, backends: Sequence[Backend]) -> Backend:
    """The version that the present part is about."""
    return next(backend for backend in backends if backend.name == swaps.subject_of(state))
