"""Webhooks through the whole system: what real receivers refuse, delay and miss, and what becomes of the rollout."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.load import Load
from tests.support.receiver import Got, Receiver
from tests.support.system import Understudy, canary, free_port, models, understudy, wait_for

pytestmark = [pytest.mark.system, pytest.mark.slow]

STEPS = [{"setWeight": 20}, {"analysis": {"minSamples": 50}}, {"setWeight": 50}, {"analysis": {"minSamples": 50}}]
OLD, NEW = b"the key of last year", b"the key of today"
QUICK = {"attempts": 0, "baseInterval": "50ms", "maxInterval": "200ms"}
"""The retries of a receiver that is near."""


def asking(key: Path, receiver: Receiver, *types: str, **more: dict[str, Any]) -> list[dict[str, Any]]:
    """A signed webhook of each type, at the path of its name; `more` are other settings by type."""
    common = {"interval": "1s", "timeout": "500ms", "retries": QUICK, "secret": {"file": str(key)}}
    return [{"name": of, "type": of, "url": receiver.url(f"/{of}"), **common, **more.get(of, {})} for of in types]


async def stands(system: Understudy, what: str, timeout_s: float = 40.0) -> dict[str, Any]:
    """The route, once it gives this as its reason."""

    def found() -> dict[str, Any] | None:
        route = system.route()
        return route if what in route["reason"] else None

    try:
        route: dict[str, Any] = await asyncio.to_thread(wait_for, what, found, timeout_s, 0.1)
    except AssertionError as error:
        raise AssertionError(f"{error}, but: {system.route()['reason']}") from error
    return route


async def again(system: Understudy) -> dict[str, Any]:
    """The route, as the controller after the one that was killed tells it."""
    before = system.pids("controller")
    assert system.kill("controller") == before
    await asyncio.to_thread(wait_for, "another controller", lambda: system.pids("controller") not in ([], before))
    await asyncio.to_thread(wait_for, "its answer", lambda: system.phase())
    return await asyncio.to_thread(system.route)


def once_each(got: list[Got]) -> list[Got]:
    """What was told, without what was told twice: an id that came before."""
    seen: set[str] = set()
    return [each for each in got if not (each.json["id"] in seen or seen.add(each.json["id"]))]


async def test_from_the_first_question_to_the_last_word(tmp_path: Path) -> None:
    """If this fails, a rollout passes a gate without a yes, or is stuck at one with it; or whoever has to be told of it
    misses what happened while the receiver was down, the controller was killed, or the key was changed."""
    key = tmp_path / "key"
    key.write_bytes(OLD)
    types = (
        "confirm-rollout",
        "pre-rollout",
        "rollout",
        "confirm-traffic-increase",
        "confirm-promotion",
        "post-rollout",
    )
    news = Receiver(port=free_port())
    with models("v1", "v2") as (v1, v2), Receiver() as receiver:
        config = canary(v1, v2, STEPS)
        config["routes"][0]["webhooks"] = asking(key, receiver, *types) + asking(key, news, "event")
        receiver.answers = {f"/{of}": 403 for of in types[:-1]} | {"/post-rollout": [500, 307, 200]}
        receiver.delays_s["/pre-rollout"] = 5.0
        with understudy(tmp_path, config) as system:
            async with Load(system.port, rate=250) as load:
                route = await stands(system, "waits for confirm-rollout by webhook confirm-rollout: answered 403")
                assert (route["phase"], route["weight"], receiver.at("/pre-rollout")) == ("Waiting", 0, [])
                receiver.answers["/confirm-rollout"] = 204
                route = await stands(system, "waits for pre-rollout by webhook pre-rollout: no answer within 500ms")
                assert (route["phase"], load.tally.backends["v2"]) == ("Waiting", 0)
                receiver.delays_s.clear()
                await stands(system, "waits for pre-rollout by webhook pre-rollout: answered 403")
                receiver.answers["/pre-rollout"] = 200
                more = "confirm-traffic-increase by webhook confirm-traffic-increase: answered 403"
                assert (await stands(system, more))["weight"] == load.tally.backends["v2"] == 0
                receiver.answers["/confirm-traffic-increase"] = 200
                assert (await stands(system, "rollout by webhook rollout: answered 403"))["weight"] == 20
                receiver.answers |= {"/rollout": 200, "/confirm-traffic-increase": 403}
                assert (await stands(system, more))["weight"] == 20
                receiver.answers["/confirm-traffic-increase"] = 200
                before = await stands(system, "confirm-promotion by webhook confirm-promotion: answered 403")
                assert (before["phase"], before["weight"]) == ("Progressing", 50)
                hooks = {hook["name"]: hook for hook in before["webhooks"]}
                assert hooks["event"]["waiting"] > 3, "the receiver of news is down"

                assert all(got.is_signed(OLD, time.time()) for got in receiver.got)
                key.write_bytes(NEW)
                changed = len(receiver.got)
                after = await again(system)
                assert (after["weight"], after["startedAt"]) == (50, before["startedAt"])
                await stands(system, "confirm-promotion by webhook confirm-promotion: answered 403")
                receiver.answers["/confirm-promotion"] = 200
                await asyncio.to_thread(system.wait_phase, "Succeeded")
            assert load.tally.failed == 0, load.tally.problems
            await asyncio.to_thread(wait_for, "the end to be told", lambda: len(receiver.at("/post-rollout")) >= 3)
            with news:
                shown = lambda: {hook["name"]: hook for hook in system.route()["webhooks"]}  # noqa: E731
                await asyncio.to_thread(wait_for, "all news", lambda: not shown()["event"]["waiting"])
            entries = system.get("/routes/m/history?limit=1000")["entries"][::-1]
        ends = receiver.at("/post-rollout")
        assert [got.json["phase"] for got in ends] == ["Succeeded"] * 3, "it was told once it was taken"
        assert len({got.json["id"] for got in ends} | {got.headers["x-understudy-delivery"] for got in ends}) == 1
        assert receiver.at("/elsewhere") == [], "a redirect was followed"
        assert all(got.is_signed(NEW, time.time()) for got in (*receiver.got[changed + 1 :], *news.got))
        assert not any(got.is_signed(OLD, time.time()) for got in news.got)
        assert {got.headers["x-understudy-hook"] for got in news.got} == {"event"}
        told = [(got.json["kind"], got.json["message"]) for got in once_each(news.at("/event"))]
        assert told == [(entry["kind"], entry["text"]) for entry in entries], "the journal, in its order"


async def test_a_rollback_is_asked_for_wherever_the_rollout_stands(tmp_path: Path) -> None:
    """If this fails, the button for emergencies does nothing while a rollout waits for people, which is when they look
    at it; or the candidate goes on in spite of it."""
    key = tmp_path / "key"
    key.write_bytes(NEW)
    types = ("confirm-rollout", "confirm-promotion", "rollback", "post-rollout")
    with models("v1", "v2") as (v1, v2), Receiver() as receiver:
        config = canary(v1, v2, STEPS)
        config["routes"][0]["webhooks"] = asking(key, receiver, *types)
        receiver.answers = {"/confirm-promotion": 403, "/rollback": 404}
        with understudy(tmp_path, config) as system:
            async with Load(system.port, rate=250) as load:
                await stands(system, "confirm-promotion by webhook confirm-promotion: answered 403")
                assert len(receiver.at("/rollback")) > 1, "a no is asked again"
                receiver.answers["/rollback"] = 200
                await asyncio.to_thread(system.wait_phase, "Aborted")
                sent = load.tally.sent
                await asyncio.to_thread(wait_for, "answers", lambda: load.tally.sent > sent + 50)
                served = load.tally.backends["v2"]
                receiver.answers["/confirm-rollout"] = 403
                assert system.post("/routes/m/retry")[0] == 200
                await asyncio.to_thread(wait_for, "two ends", lambda: len(receiver.at("/post-rollout")) == 2)
            assert load.tally.backends["v2"] == served, "somebody was sent to it yet"
            route = system.route()
        assert (route["phase"], route["verdict"], route["weight"]) == ("Aborted", "Failed", 0)
        assert (route["decidedBy"], route["reason"]) == ("webhook", "webhook rollback asked for a rollback")
        first, second = (got.json for got in receiver.at("/post-rollout"))
        assert [(end["phase"], end["decidedBy"], end["attempt"]) for end in (first, second)] == [
            ("Aborted", "webhook", 1),
            ("Aborted", "webhook", 2),
        ]
        assert {got.json["phase"] for got in receiver.at("/rollback")} >= {"Waiting", "Progressing"}
        assert all(got.is_signed(NEW, time.time()) for got in receiver.got)
        assert not any(got.is_signed(OLD, time.time()) for got in receiver.got)
