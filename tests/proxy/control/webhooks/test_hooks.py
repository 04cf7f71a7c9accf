"""Webhooks and a whole control plane: what a receiver is asked and told from the first step to the last."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.control_plane import STEPS, World, config
from tests.support.receiver import Receiver

pytestmark = pytest.mark.slow
QUICK = {"baseInterval": "10ms", "maxInterval": "50ms"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
async def world(tmp_path: Path, receiver: Receiver) -> AsyncIterator[World]:
    types = ("confirm-rollout", "confirm-promotion", "rollback", "post-rollout", "event")
    hooks = [
        {"name": kind, "type": kind, "url": receiver.url(f"/{kind}"), "interval": "1s", "retries": QUICK}
        for kind in types
    ]
    receiver.answers |= {"/confirm-rollout": 403, "/confirm-promotion": 403, "/rollback": 404}
    world = World(tmp_path, config(*STEPS, webhooks=hooks))
    yield world
    await world.close()


async def told(holds: Callable[[], Any]) -> None:
    end_s = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < end_s
        await asyncio.sleep(0.01)


async def seconds(world: World, holds: Callable[[dict[str, Any]], Any], limit: int = 100) -> dict[str, Any]:
    """Seconds pass, each with time for an answer to come in, until something holds of the route."""
    for _ in range(limit):
        route = await world.second()
        await asyncio.sleep(0.02)
        if holds(route):
            return route
    raise AssertionError(world.first)


async def test_from_the_first_question_to_the_last_word(world: World, receiver: Receiver) -> None:
    """Broken: the parts would do all that they should, and nobody would have put them together."""
    await world.start()
    route = await seconds(world, lambda route: "answered 403" in route["reason"])
    assert route["reason"] == "waits for confirm-rollout by webhook confirm-rollout: answered 403"
    assert (route["phase"], route["weight"]) == ("Waiting", 0.0)
    receiver.answers["/confirm-rollout"] = 200
    await seconds(world, lambda route: route["weight"] == 20.0)
    route = await seconds(world, lambda route: "confirm-promotion" in route["reason"])
    assert route["weight"] == 50.0
    assert receiver.at("/rollback")
    receiver.answers["/confirm-promotion"] = 202
    await seconds(world, lambda route: route["phase"] == "Succeeded")
    await told(lambda: receiver.at("/post-rollout"))
    await told(lambda: receiver.at("/event")[-1].json["kind"] == "succeeded")
    (end,) = receiver.at("/post-rollout")
    assert (end.json["phase"], end.json["candidate"], end.json["weight"]) == ("Succeeded", "v2", 100.0)
    kinds = [got.json["kind"] for got in receiver.at("/event")]
    assert kinds[:2] == ["begin", "confirmed"]
    assert kinds[-3:] == ["confirmed", "promote", "succeeded"] or kinds[-2:] == ["promote", "succeeded"]
    shown = {hook["name"]: hook for hook in world.first["webhooks"]}
    assert shown["confirm-promotion"]["answer"] == "answered 202"
    assert (shown["event"]["told"], shown["event"]["waiting"]) == (len(kinds), 0)
    assert "127.0.0.1" not in str(world.first["webhooks"]), "a URL may be a secret"


async def test_a_yes_to_rollback_aborts(world: World, receiver: Receiver) -> None:
    """Broken: the button for emergencies would not be wired up."""
    receiver.answers["/confirm-rollout"] = 200
    await world.start()
    await seconds(world, lambda route: route["weight"] == 20.0)
    receiver.answers["/rollback"] = 200
    route = await seconds(world, lambda route: route["phase"] == "Aborted")
    assert route["reason"] == "webhook rollback asked for a rollback"
    assert route["decidedBy"] == "webhook"


async def test_what_a_killed_controller_left_is_told_by_the_next(world: World, receiver: Receiver) -> None:
    """Broken: whoever waits for the news of a rollout would miss what happened just before a crash."""
    receiver.answers |= {"/event": 503, "/confirm-rollout": 200}
    await world.start()
    await seconds(world, lambda route: route["weight"] == 20.0)
    await told(lambda: receiver.at("/event"))
    await world.kill()
    receiver.answers["/event"] = 200
    receiver.got.clear()
    await world.start()
    await told(lambda: len(receiver.at("/event")) >= 2)
    assert [got.json["kind"] for got in receiver.at("/event")][:2] == ["begin", "confirmed"]


async def test_looks_while_a_webhook_is_silent_keep_nothing(world: World, receiver: Receiver) -> None:
    """Broken: every second of a night in which nobody answers would write a verdict into the store."""
    receiver.delays_s["/confirm-rollout"] = 30.0
    controller = await world.start()
    await seconds(world, lambda route: "no answer yet" in route["reason"])
    before = await controller.records.journal(100, None)
    for _ in range(5):
        await world.second()
    assert await controller.records.journal(100, None) == before
    assert len(receiver.at("/confirm-rollout")) == 1


async def test_a_webhook_that_comes_with_a_new_rollout_is_told_of_it(tmp_path: Path, receiver: Receiver) -> None:
    """Broken: the first news for a webhook is given up as nobody's, since its configuration is about to be live."""
    document = config(*STEPS)
    (last,) = document["routes"]
    others = [last | {"name": name, "match": [{"path": {"prefix": f"/{name}"}}]} for name in "abcdef"]
    document["routes"] = [*others, last]
    world = World(tmp_path, document)
    try:
        await world.start()
        edited = copy.deepcopy(document)
        edited["backends"][1]["version"] = "2"
        for route in edited["routes"]:
            hook = {"name": "news", "type": "event", "url": receiver.url(f"/{route['name']}"), "retries": QUICK}
            route["webhooks"] = [hook]
        world.write(edited)
        assert (await world.controller.reload("ann"))["ok"]
        await told(lambda: all(receiver.at(f"/{name}") for name in "abcdefr"))
        assert {receiver.at(f"/{name}")[0].json["kind"] for name in "abcdefr"} == {"begin"}
        entries = await world.controller.records.journal(100, None)
        assert not [entry["text"] for entry in entries if "was not told" in entry["text"]]
    finally:
        await world.close()
