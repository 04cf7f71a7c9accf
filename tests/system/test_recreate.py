"""One model in the place of another, on one accelerator, under load: nobody is lost who can wait."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.one_slot import OneSlot, Steady, swapping
from tests.support.receiver import Receiver
from tests.support.system import Understudy, fetch, understudy, wait_for

pytestmark = pytest.mark.system
SWAP_S = float(os.environ.get("SWAP_S", "3"))
"""How long the new model takes to load; `SWAP_S=10` is the promise of the README."""


def confirmed(config: dict[str, Any], receiver: Receiver) -> dict[str, Any]:
    """The swap begins when `/begin` says yes."""
    hook = {"name": "begin", "type": "confirm-rollout", "url": receiver.url("/begin"), "interval": "1s"}
    config["routes"][0]["webhooks"] = [hook]
    receiver.answers["/begin"] = 403
    return config


async def phase(system: Understudy, *phases: str, timeout_s: float = 60.0) -> str:
    return await asyncio.to_thread(system.wait_phase, *phases, timeout_s=timeout_s)


async def serves(steady: Steady, version: str, count: int) -> None:
    """Until a version has answered so many more requests."""
    had = steady.versions[version]
    await asyncio.to_thread(wait_for, f"{version} to serve", lambda: steady.versions[version] >= had + count)


async def test_a_swap_loses_nobody(tmp_path: Path) -> None:
    """If this fails, each new version of a model that fills its accelerator costs its users some seconds of errors."""
    with OneSlot(SWAP_S) as slot, Receiver() as receiver:
        receiver.acts["/swap"] = slot.told
        config = confirmed(swapping(slot, receiver.url("/swap")), receiver)
        with understudy(tmp_path, config) as system:
            async with Steady(system.port, 50.0) as steady:
                await phase(system, "Waiting")
                await serves(steady, "v1", 20)
                receiver.answers["/begin"] = 200
                await phase(system, "Succeeded")
                await serves(steady, "v2", 50)
            metrics = fetch(f"{system.admin}/metrics")[1]
            entries = system.get("/routes/m/history")["entries"]
            counted, report = system.route()["held"], fetch(f"{system.admin}/api/v1/routes/m/report?format=markdown")[1]
    assert (counted["waiting"], counted["total"]) == (0, counted["released"])
    assert counted["total"] > 40 * SWAP_S
    assert f"| Went on | {counted['released']:,} |" in report
    assert slot.orders == ["stop v1", "start v2"]
    assert slot.overlaps == []
    assert not steady.lost
    assert set(steady.statuses) == {200}, steady
    assert steady.versions["v2"] > 40 * SWAP_S + 50
    assert SWAP_S < steady.longest_s < slot.away_s + 5.0
    held = next(line for line in metrics.splitlines() if line.startswith('understudy_held_total{route="m"}'))
    assert float(held.split()[-1]) > 40 * SWAP_S
    assert 'understudy_held_requests{route="m"} 0.0' in metrics
    assert [entry["text"] for entry in entries if entry["kind"] == "swap"][::-1] == [
        "v2 takes the place of v1: the route is held",
        "waits for the requests that v1 has under way",
        "stops v1",
        "starts v2",
        "waits until every endpoint of v2 is well",
    ]


async def test_a_version_that_does_not_come_up_is_put_back(tmp_path: Path) -> None:
    """If this fails, a broken model takes the place of one that worked, and stays there."""
    with OneSlot(0.5, broken={"v2"}) as slot, Receiver() as receiver:
        receiver.acts["/swap"] = slot.told
        config = confirmed(swapping(slot, receiver.url("/swap"), deadline="2s", drainTimeout="1s"), receiver)
        with understudy(tmp_path, config) as system:
            async with Steady(system.port, 50.0) as steady:
                await phase(system, "Waiting")
                receiver.answers["/begin"] = 200
                await phase(system, "Aborted")
                await serves(steady, "v1", 50)
            route = system.route()
    assert slot.orders == ["stop v1", "start v2", "stop v2", "start v1"]
    assert route["reason"].startswith("the swap was not done within 3 s: waits until every endpoint of v2 is well: ")
    assert (route["verdict"], route["decidedBy"], route["weight"]) == ("Failed", "swap", 0.0)
    assert not steady.lost
    assert set(steady.statuses) == {200}
    assert set(steady.versions) == {"v1"}


SMOKE = {"path": "/v2/models/m/infer", "body": {"n": 1}, "expect": {"json": {"model_name": "v2"}}}


async def asked(tmp_path: Path, smoke: list[dict[str, Any]], end: str) -> tuple[OneSlot, Steady, dict[str, Any]]:
    """A swap with smoke requests under load, up to its end: what was ordered, what clients met, and the route."""
    with OneSlot(0.5) as slot, Receiver() as receiver:
        receiver.acts["/swap"] = slot.told
        config = confirmed(swapping(slot, receiver.url("/swap"), smoke=smoke), receiver)
        with understudy(tmp_path, config) as system:
            async with Steady(system.port, 50.0) as steady:
                await phase(system, "Waiting")
                receiver.answers["/begin"] = 200
                await phase(system, end)
                await serves(steady, "v2" if end == "Succeeded" else "v1", 50)
            route = system.route() | {"entries": system.get("/routes/m/history")["entries"]}
    assert "asks every endpoint of v2 the smoke requests" in [entry["text"] for entry in route["entries"]]
    assert not steady.lost
    assert set(steady.statuses) == {200}
    return slot, steady, route


async def test_a_version_that_answers_nonsense_is_put_back(tmp_path: Path) -> None:
    """If this fails, a model that comes up and says something else than it should gets everybody who waited for it."""
    wrong = {**SMOKE, "expect": {"json": {"model_name": "v3"}}}
    slot, steady, route = await asked(tmp_path, [SMOKE, wrong], "Aborted")
    assert slot.orders == ["stop v1", "start v2", "stop v2", "start v1"]
    assert route["reason"].startswith("smoke requests failed 3 times in a row: ")
    assert route["reason"].endswith('POST /v2/models/m/infer: model_name is "v2", expected "v3"')
    assert (route["verdict"], route["decidedBy"]) == ("Failed", "smoke")
    assert set(steady.versions) == {"v1"}, "nobody met the version that answers nonsense"


async def test_a_version_that_answers_as_it_should_takes_over(tmp_path: Path) -> None:
    """If this fails, a good model is put back, or goes live unasked."""
    slot, steady, _ = await asked(tmp_path, [SMOKE], "Succeeded")
    assert slot.orders == ["stop v1", "start v2"]
    assert steady.versions["v2"] > 10


async def test_a_version_that_dies_while_it_bakes_is_put_back(tmp_path: Path) -> None:
    """If this fails, a model that crashes a minute after its promotion stays where it is."""
    with OneSlot(0.3) as slot, Receiver() as receiver:
        receiver.acts["/swap"] = slot.told
        with understudy(tmp_path, swapping(slot, receiver.url("/swap"), bake="10m")) as system:
            async with Steady(system.port, 20.0) as steady:
                await phase(system, "Baking")
                await asyncio.to_thread(slot.stop, "v2")
                await phase(system, "Aborted")
                await serves(steady, "v1", 10)
            route = system.route()
    assert slot.orders == ["stop v1", "start v2", "stop v2", "start v1"]
    assert route["decidedBy"] == "healthCheck"
    assert route["reason"].startswith("no endpoint of v2 is well")


async def test_a_killed_controller_goes_on_with_the_swap(tmp_path: Path) -> None:
    """If this fails, a crash at the wrong moment leaves the route without any version, and its requests waiting."""
    with OneSlot(1.5) as slot, Receiver() as receiver:
        receiver.acts["/swap"] = slot.told
        config = confirmed(swapping(slot, receiver.url("/swap")), receiver)
        with understudy(tmp_path, config) as system:
            async with Steady(system.port, 30.0) as steady:
                await phase(system, "Waiting")
                receiver.answers["/begin"] = 200
                await asyncio.to_thread(wait_for, "the order to start", lambda: "start v2" in slot.orders)
                (controller,) = system.pids("controller")
                os.kill(controller, signal.SIGKILL)
                await phase(system, "Succeeded")
            assert not steady.lost
            assert set(steady.statuses) == {200}
    assert slot.overlaps == []
    assert slot.orders[0] == "stop v1"
    assert slot.orders[-1] == "start v2"


async def test_who_cannot_wait_is_told_so(tmp_path: Path) -> None:
    """If this fails, clients wait in vain, or come back at once and again."""
    with OneSlot(2.0) as slot, Receiver() as receiver:
        receiver.acts["/swap"] = slot.told
        config = swapping(slot, receiver.url("/swap"), workers=1, hold={"timeout": "500ms", "maxRequests": 5})
        with understudy(tmp_path, confirmed(config, receiver)) as system:
            async with Steady(system.port, 50.0) as steady:
                await phase(system, "Waiting")
                receiver.answers["/begin"] = 200
                await phase(system, "Succeeded")
            metrics = fetch(f"{system.admin}/metrics")[1]
            counted = system.route()["held"]
    assert not steady.lost
    assert counted["refused"] > 10
    assert counted["total"] == counted["released"] + counted["expired"] + counted["displaced"] + counted["left"]
    assert set(steady.statuses) == {200, 503}
    assert steady.longest_s < slot.away_s, "somebody has waited for all of it"
    lines = [line for line in metrics.splitlines() if line.startswith("understudy_hold")]
    values = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}
    assert values['understudy_hold_refused_total{route="m"}'] > 10
    assert values['understudy_hold_ended_total{result="expired",route="m"}'] > 1


async def test_a_worker_that_is_replaced_holds_nobody_and_loses_only_its_own(tmp_path: Path) -> None:
    """If this fails, what a killed worker held is shown as waiting for ever, or the swap does not go on."""
    with OneSlot(1.5) as slot, Receiver() as receiver:
        receiver.acts["/swap"] = slot.told
        with understudy(tmp_path, confirmed(swapping(slot, receiver.url("/swap")), receiver)) as system:
            async with Steady(system.port, 30.0) as steady:
                await phase(system, "Waiting")
                receiver.answers["/begin"] = 200
                await asyncio.to_thread(wait_for, "the order to start", lambda: "start v2" in slot.orders)
                os.kill(system.pids("worker")[0], signal.SIGKILL)
                await phase(system, "Succeeded")
                await serves(steady, "v2", 30)
            held = 'understudy_held_requests{route="m"} 0.0'
            await asyncio.to_thread(wait_for, "nobody waits", lambda: held in fetch(f"{system.admin}/metrics")[1])
    assert set(steady.statuses) == {200}
    assert sum(steady.lost.values()) < 30 * 3.0


async def test_a_drain_hears_the_end_of_the_hold(tmp_path: Path) -> None:
    """If this fails, a restart of the proxy in the middle of a swap loses all who wait, though there was time."""
    with OneSlot(1.5) as slot, Receiver() as receiver:
        receiver.acts["/swap"] = slot.told
        with understudy(tmp_path, confirmed(swapping(slot, receiver.url("/swap")), receiver)) as system:
            steady = Steady(system.port, 20.0)
            await steady.__aenter__()
            await phase(system, "Waiting")
            receiver.answers["/begin"] = 200
            await asyncio.to_thread(wait_for, "the order to start", lambda: "start v2" in slot.orders)
            await asyncio.sleep(0.3)
            steady._stop.set()
            assert await asyncio.to_thread(system.stop) == 0
            await steady.__aexit__()
    assert steady.versions["v2"] > 3
    assert set(steady.statuses) == {200}
    assert not steady.lost


async def test_what_is_under_way_ends_before_its_version_is_stopped(tmp_path: Path) -> None:
    """If this fails, whoever was being served when a swap began gets an error in place of an answer."""
    with OneSlot(0.5) as slot, Receiver() as receiver:
        receiver.acts["/swap"] = slot.told
        slot.running["v1"].control(delayMs=1200)
        with understudy(tmp_path, confirmed(swapping(slot, receiver.url("/swap")), receiver)) as system:
            async with Steady(system.port, 20.0) as steady:
                await phase(system, "Waiting")
                await serves(steady, "v1", 30)
                receiver.answers["/begin"] = 200
                await phase(system, "Succeeded")
    assert steady.versions["v1"] > 30
    assert set(steady.statuses) == {200}
    assert not steady.lost


async def test_what_is_to_be_tried_again_ends_before_its_version_is_stopped(tmp_path: Path) -> None:
    """If this fails, whoever waits for a second attempt when a swap begins is sent to a version that is gone."""
    with OneSlot(0.5) as slot, Receiver() as receiver:
        receiver.acts["/swap"] = slot.told
        slot.running["v1"].control(failEvery=2)
        config = confirmed(swapping(slot, receiver.url("/swap")), receiver)
        config["routes"][0]["retries"] = {
            "attempts": 10, "retryOn": [500], "retriableMethods": ["POST"],
            "backoff": {"baseInterval": "1s", "maxInterval": "1s"},
            "budget": {"percent": 100, "minRetryConcurrency": 1000},
        }  # fmt: skip
        with understudy(tmp_path, config) as system:
            async with Steady(system.port, 20.0) as steady:
                await phase(system, "Waiting")
                await serves(steady, "v1", 30)
                receiver.answers["/begin"] = 200
                await phase(system, "Succeeded")
            arms = {arm["backend"]: arm for arm in system.route()["arms"]}
    assert arms["v1"]["failed"] > 10
    assert (arms["v1"]["inFlight"], arms["v1"]["failedToClients"]) == (0, 0)
    assert set(steady.statuses) == {200}
    assert not steady.lost


async def test_a_bake_without_news_ends_well_and_its_old_version_gets_nobody(tmp_path: Path) -> None:
    """If this fails, a swap that went well never comes to an end, or is undone for nothing; or an edit that still calls
    the old version stable sends every client to what is stopped, at once or at the next start."""
    with OneSlot(0.3) as slot, Receiver() as receiver:
        receiver.acts["/swap"] = slot.told
        with understudy(tmp_path, swapping(slot, receiver.url("/swap"), bake="3s")) as system:
            async with Steady(system.port, 20.0) as steady:
                await phase(system, "Baking")
                await phase(system, "Succeeded", "Aborted", "Reverting")
                assert system.phase() == "Succeeded"
                route = {"name": "m", "backendRefs": [{"name": "v1", "role": "stable"}]}
                system.write({**system.config, "routes": [route]})
                refusal = await asyncio.to_thread(
                    wait_for, "the refusal", lambda: system.get("/status")["config"]["lastError"]
                )
                assert "v2 is live and has the place of v1" in refusal["problems"][0]["message"]
                system.kill("controller")
                await asyncio.to_thread(system.wait_phase, "Succeeded")
                assert "has the place of v1" in str(system.get("/status")["config"]["lastError"])
                served = steady.versions["v1"]
                await serves(steady, "v2", 20)
                assert steady.versions["v1"] == served
    assert slot.orders == ["stop v1", "start v2"]
    assert set(steady.statuses) == {200}


async def refusal(system: Understudy, said: str) -> str:
    """What the file was refused for, once it was for this."""

    def told() -> str:
        error = system.get("/status")["config"]["lastError"]
        message = str(error["problems"][0]["message"]) if error else ""
        return message if said in message else ""

    return str(await asyncio.to_thread(wait_for, f"the refusal: {said}", told))


def standing(system: Understudy) -> list[tuple[str, str]]:
    """Each route, and where its rollout stands."""
    return [(route["name"], route["phase"]) for route in system.get("/status")["routes"]]


def renamed(config: dict[str, Any], name: str, *versions: str, **route: Any) -> dict[str, Any]:
    """The file with its route under another name, with these versions of which none is a candidate."""
    refs = [{"name": version, "role": "stable"} for version in versions]
    return {**config, "routes": [{"name": name, "backendRefs": refs, **route}]}


@asynccontextmanager
async def swap(folder: Path, load_s: float) -> AsyncIterator[tuple[Understudy, OneSlot, Steady]]:
    """A swap from v1 to v2 under load, from its beginning."""
    with OneSlot(load_s) as slot, Receiver() as receiver:
        receiver.acts["/swap"] = slot.told
        with understudy(folder, swapping(slot, receiver.url("/swap"))) as system:
            async with Steady(system.port, 20.0) as steady:
                yield system, slot, steady


AWAY = {"match": [{"path": {"prefix": "/away"}}]}


async def test_a_route_is_not_renamed_to_what_is_stopped(tmp_path: Path) -> None:
    """If this fails, a rename after a swap sends every client to the version that was stopped."""
    async with swap(tmp_path, 0.3) as (system, slot, steady):
        await phase(system, "Succeeded")
        before = system.config
        system.write(renamed(before, "zz", "v1"))
        assert "v1 is stopped, and v2 has its place, by the rollout of route m" in await refusal(system, "route zz")
        await serves(steady, "v2", 20)
        system.write({**before, "routes": [{**before["routes"][0], "name": "zz"}]})
        await asyncio.to_thread(wait_for, "the new name", lambda: standing(system) == [("zz", "Succeeded")])
        system.write(renamed(before, "away", "v2", **AWAY))
        await asyncio.to_thread(wait_for, "the route to leave", lambda: steady.statuses[404] > 0)
    assert slot.orders == ["stop v1", "start v2"], "the rollout was not begun anew"
    assert set(steady.statuses) == {200, 404}


async def test_a_route_is_not_taken_away_in_the_middle_of_a_swap(tmp_path: Path) -> None:
    """If this fails, an edit at the wrong moment leaves a route with no version that runs, and nobody starts one."""
    async with swap(tmp_path, 3.0) as (system, slot, steady):
        await asyncio.to_thread(wait_for, "the order to start", lambda: "start v2" in slot.orders)
        before = system.config
        system.write(renamed(before, "away", "v2", **AWAY))
        assert "route m is gone or has another name" in await refusal(system, "in the middle of a replacement")
        system.write(renamed(before, "m", "v1"))
        await refusal(system, "endpoints of v1 are stopped")
        await phase(system, "Succeeded")
        await serves(steady, "v2", 20)
    assert slot.orders == ["stop v1", "start v2"]
    assert set(steady.statuses) == {200}
    assert not steady.lost
