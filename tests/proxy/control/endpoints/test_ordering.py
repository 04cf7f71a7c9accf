"""Orders to the hook that stops and starts: given until it says yes, one after the other for each endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from config.rollouts.recreate import SwapHook
from proxy.control.endpoints import ordering
from proxy.control.endpoints.ordering import Order, Orders
from proxy.control.webhooks.sending import Answer
from tests.proxy.control.machine.test_state_codec import STATE

HOOK = SwapHook.model_validate({"url": "http://h/hook"})
STOP, START = Order("stop", "v1", "http://a:1"), Order("start", "v2", "http://a:1")


class Played:
    """A receiver that answers when it is let, and notes what it was asked and under which name."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str]] = []
        self.ids: list[str] = []
        self.answers: asyncio.Queue[Answer] = asyncio.Queue()

    async def ask(self, hook: SwapHook, facts: Mapping[str, Any], id_: str) -> Answer:
        self.asked.append((facts["kind"], facts["backend"], facts.get("endpoint", "")))
        self.ids.append(id_)
        return await self.answers.get()

    async def close(self) -> None:
        self.asked.append(("closed", "", ""))


@pytest.fixture
def played() -> Played:
    return Played()


@pytest.fixture
def orders(played: Played, monkeypatch: pytest.MonkeyPatch) -> Orders:
    monkeypatch.setattr(ordering, "AGAIN_S", 0.0)
    found = Orders(lambda: 0.0)
    found._sender = played  # type: ignore[assignment]
    return found


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_order_is_given_until_the_hook_says_yes(orders: Orders, played: Played) -> None:
    """Broken: one failure would end it, or a yes be overheard."""
    assert orders.done(STATE, HOOK, STOP) == (False, "")
    await settle()
    played.answers.put_nowait(Answer(False, "answered 503"))
    await settle()
    assert orders.done(STATE, HOOK, STOP) == (False, "the hook answered 503")
    await settle()
    assert orders.done(STATE, HOOK, STOP) == (False, "the hook answered 503"), "until it has answered again"
    played.answers.put_nowait(Answer(True, "answered 200"))
    await settle()
    assert orders.done(STATE, HOOK, STOP) == (True, "")
    assert played.asked == [("stop", "v1", "http://a:1")] * 2
    assert len(set(played.ids)) == 1, "the same order has the same name"
    await orders.close()


async def test_each_endpoint_is_told_by_itself(orders: Orders, played: Played) -> None:
    """Broken: the endpoints of a batch would wait for each other."""
    other = replace(STOP, endpoint="http://b:1")
    assert not orders.done(STATE, HOOK, STOP)[0]
    assert not orders.done(STATE, HOOK, other)[0]
    await settle()
    assert [endpoint for _, _, endpoint in played.asked] == ["http://a:1", "http://b:1"]
    assert len(set(played.ids)) == 2
    await orders.close()


async def test_an_endpoint_is_told_nothing_before_it_has_answered(orders: Orders, played: Played) -> None:
    """Broken: a receiver would read "start" before the "stop" that was given first, and stop what was just started."""
    orders.done(STATE, HOOK, STOP)
    await settle()
    later = replace(STATE, stage=STATE.stage + 1)
    assert orders.done(later, HOOK, START) == (False, "the hook has yet to answer: stop v1 at http://a:1")
    played.answers.put_nowait(Answer(False, "answered 500"))
    await settle()
    orders.done(later, HOOK, START)
    await settle()
    assert [kind for kind, _, _ in played.asked] == ["stop", "start"]
    await orders.close()


async def test_a_version_as_a_whole_is_told_at_once(orders: Orders, played: Played) -> None:
    """Broken: who aborts a swap would wait for a hook that hangs, and so would all clients."""
    orders.done(STATE, HOOK, Order("stop", "v1"))
    await settle()
    assert orders.done(replace(STATE, stage=9), HOOK, Order("start", "v1")) == (False, "")
    await settle()
    assert played.asked == [("stop", "v1", ""), ("start", "v1", "")]
    await orders.close()


async def test_a_route_that_is_gone_is_told_nothing_more(orders: Orders, played: Played) -> None:
    """Broken: a hook would go on to be told of a route that the file does not have any more."""
    orders.done(STATE, HOOK, STOP)
    orders.forget("fraud")
    await settle()
    assert played.asked == []
    await orders.close()
    assert played.asked == [("closed", "", "")]
