"""Orders to the hook that stops and starts: each is given until it says yes, and what it answers else is told once."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import structlog

from config.rollouts.recreate import SwapHook
from proxy.control.machine.rollout import State
from proxy.control.webhooks import messages
from proxy.control.webhooks.sending import Answer, Sender

AGAIN_S: Final = 2.0
"""From an answer that was no yes to the next order."""
_LOG = structlog.get_logger("understudy.swap")


@dataclass(frozen=True, slots=True)
class Order:
    """What is wanted of a version, or of one `endpoint` of it."""

    kind: Literal["stop", "start"]
    backend: str
    endpoint: str = ""

    def __str__(self) -> str:
        return f"{self.kind} {self.backend}" + (f" at {self.endpoint}" if self.endpoint else "")


@dataclass(slots=True)
class _Given:
    """An order that is given; `told` is the failure that was told last."""

    key: tuple[int, Order]
    task: asyncio.Task[Answer]
    told: str = ""


class Orders:
    """The orders of all routes: of each one at a time, or one for each of its endpoints. `clock` is steady."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._sender = Sender()
        self._given: dict[tuple[str, str], _Given] = {}

    def done(self, state: State, hook: SwapHook, order: Order) -> tuple[bool, str]:
        """Whether the hook has said yes, or else what it has said. An order for the same endpoint that is under way is
        waited for: a receiver that was told to start must not read before it to stop."""
        place, key = (state.route, order.endpoint), (state.stage, order)
        given = self._given.get(place)
        if given is not None and given.key != key:
            if order.endpoint and not given.task.done():
                return False, f"the hook has yet to answer: {given.key[1]}"
            given.task.cancel()
            given = None
        if given is None:
            given = self._given[place] = _Given(key, asyncio.create_task(self._order(state, hook, order, 0.0)))
        if not given.task.done():
            return False, given.told
        answer = given.task.result()
        if answer.yes:
            return True, ""
        given.told = f"the hook {answer.said}"
        given.task = asyncio.create_task(self._order(state, hook, order, AGAIN_S))
        return False, given.told

    def forget(self, route: str) -> None:
        """Order nothing for this route any more."""
        for place in [place for place in self._given if place[0] == route]:
            self._given.pop(place).task.cancel()

    async def close(self) -> None:
        """Order nothing any more."""
        tasks = [given.task for given in self._given.values()]
        self._given.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._sender.close()

    async def _order(self, state: State, hook: SwapHook, order: Order, wait_s: float) -> Answer:
        await asyncio.sleep(wait_s)
        known = messages.facts(state, self._clock(), kind=order.kind, text=str(order)) | {"backend": order.backend}
        if order.endpoint:
            known["endpoint"] = order.endpoint
        id_ = hashlib.sha256(f"{state.route} {state.attempt} {state.stage} {order}".encode()).hexdigest()[:32]
        answer = await self._sender.ask(hook, known, id_)
        log = _LOG.info if answer.yes else _LOG.warning
        log("swap hook answered", route=state.route, kind=order.kind, backend=order.backend, said=answer.said,
            **({"endpoint": order.endpoint} if order.endpoint else {}))  # fmt: skip
        return answer
