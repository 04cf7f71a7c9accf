"""Endpoint by endpoint under load: nobody notices, and a bad version does not get beyond its first endpoint."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.one_slot import Steady
from tests.support.rank import Rank, rolling
from tests.support.receiver import Receiver
from tests.support.system import Understudy, understudy, wait_for

pytestmark = pytest.mark.system
RATE = 60.0


async def phase(system: Understudy, *phases: str, timeout_s: float = 90.0) -> str:
    return await asyncio.to_thread(system.wait_phase, *phases, timeout_s=timeout_s)


def replaced(system: Understudy) -> list[str]:
    """What the journal says of the endpoints, in order."""
    entries = system.get("/routes/m/history?limit=200")["entries"]
    return [entry["text"] for entry in entries if entry["kind"] == "replace"][::-1]


async def test_three_endpoints_are_replaced_and_nobody_notices(tmp_path: Path) -> None:
    """If this fails, each new version costs its users some requests, or capacity that they need."""
    with Rank(3) as rank, Receiver() as receiver:
        receiver.acts["/hook"] = rank.told
        with understudy(tmp_path, rolling(rank, receiver.url("/hook"))) as system:
            async with Steady(system.port, RATE) as steady:
                await phase(system, "Succeeded")
                served = steady.versions["v2"]
                await asyncio.to_thread(wait_for, "v2 to serve", lambda: steady.versions["v2"] > served + 60)
            route, texts = system.route(), replaced(system)
    assert rank.orders == [
        "stop v1 0", "start v2 0", "stop v1 1", "start v2 1", "stop v1 2", "start v2 2",
    ]  # fmt: skip
    assert rank.versions() == []
    assert (rank.least, rank.clashes) == (2, [])
    assert not steady.lost
    assert set(steady.statuses) == {200}, steady
    assert min(steady.versions["v1"], steady.versions["v2"]) > 60
    assert [endpoint["status"] for endpoint in route["endpoints"]] == ["stopped"] * 3 + ["serving"] * 3
    assert texts[:7] == [
        f"batch 1 of 3: takes v1 at {rank.places[0]} out",
        f"batch 1 of 3: waits for the requests that v1 at {rank.places[0]} has under way",
        f"batch 1 of 3: stops v1 at {rank.places[0]}",
        f"batch 1 of 3: starts v2 at {rank.places[0]}",
        f"batch 1 of 3: waits until v2 at {rank.places[0]} is well",
        "batch 1 of 3: 33.3333 % of what serves is v2's",
        f"batch 2 of 3: takes v1 at {rank.places[1]} out",
    ]


async def test_a_spare_place_keeps_all_of_them_serving(tmp_path: Path) -> None:
    """If this fails, whoever pays for a spare endpoint loses capacity all the same."""
    with Rank(2, spare=1) as rank, Receiver() as receiver:
        receiver.acts["/hook"] = rank.told
        config = rolling(rank, receiver.url("/hook"), maxUnavailable=0, maxSurge=1)
        config["backends"][1]["loadBalancer"] = {"slowStart": {"window": "4s"}}
        with understudy(tmp_path, config) as system:
            async with Steady(system.port, RATE) as steady:
                await phase(system, "Succeeded")
            texts = replaced(system)
    assert sum("start slowly" in text for text in texts) == 2
    assert rank.orders[0].startswith("start v2")
    assert rank.least >= 2
    assert rank.clashes == []
    assert not steady.lost
    assert set(steady.statuses) == {200}, steady


async def test_a_bad_version_is_stopped_after_its_first_endpoint(tmp_path: Path) -> None:
    """If this fails, a version that fails its requests is rolled out to all endpoints."""
    with Rank(3, behaviour={"v2": {"failEvery": 1}}) as rank, Receiver() as receiver:
        receiver.acts["/hook"] = rank.told
        with understudy(tmp_path, rolling(rank, receiver.url("/hook"))) as system:
            async with Steady(system.port, RATE) as steady:
                await phase(system, "Aborted")
                assert rank.versions() == ["v1"] * 3
                served = steady.versions["v1"]
                await asyncio.to_thread(wait_for, "v1 to serve", lambda: steady.versions["v1"] > served + 60)
            route = system.route()
    assert rank.orders == ["stop v1 0", "start v2 0", "stop v2 0", "start v1 0"]
    assert rank.least >= 2
    assert not steady.lost
    assert (route["verdict"], route["weight"], route["attempt"]) == ("Failed", 0.0, 1)
    assert steady.statuses[500] <= 60, "a second of a third of the requests would be 20"


async def test_a_version_that_does_not_come_up_never_meets_a_client(tmp_path: Path) -> None:
    """If this fails, clients are sent to an endpoint that is not there."""
    with Rank(3, broken={"v2"}) as rank, Receiver() as receiver:
        receiver.acts["/hook"] = rank.told
        with understudy(tmp_path, rolling(rank, receiver.url("/hook"), deadline="2s")) as system:
            async with Steady(system.port, RATE) as steady:
                await phase(system, "Aborted")
            route = system.route()
    assert rank.orders == ["stop v1 0", "start v2 0", "stop v2 0", "start v1 0"]
    assert not steady.lost
    assert (set(steady.statuses), set(steady.versions)) == ({200}, {"v1"})
    assert route["reason"].startswith("the batch was not done within 2 s: batch 1 of 3: waits until v2 at ")


@pytest.mark.parametrize("order", ["stop v1 1", "start v2 1"])
async def test_a_killed_controller_goes_on_with_the_batch(tmp_path: Path, order: str) -> None:
    """If this fails, a crash at the wrong moment leaves an endpoint half replaced, or two at once."""
    with Rank(3, load_s=1.0) as rank, Receiver() as receiver:
        receiver.acts["/hook"] = rank.told
        with understudy(tmp_path, rolling(rank, receiver.url("/hook"))) as system:
            async with Steady(system.port, RATE) as steady:
                await asyncio.to_thread(wait_for, f"the order {order}", lambda: order in rank.orders)
                (controller,) = system.pids("controller")
                os.kill(controller, signal.SIGKILL)
                await phase(system, "Succeeded")
    told = [each for at, each in enumerate(rank.orders) if each not in rank.orders[:at]]
    assert told == ["stop v1 0", "start v2 0", "stop v1 1", "start v2 1", "stop v1 2", "start v2 2"]
    assert (rank.least, rank.clashes) == (2, [])
    assert not steady.lost
    assert set(steady.statuses) == {200}


async def test_undo_puts_the_old_version_back_endpoint_by_endpoint(tmp_path: Path) -> None:
    """If this fails, who takes a promotion back sends all traffic to endpoints that were stopped."""
    with Rank(2) as rank, Receiver() as receiver:
        receiver.acts["/hook"] = rank.told
        with understudy(tmp_path, rolling(rank, receiver.url("/hook"), bake="10m")) as system:
            async with Steady(system.port, RATE) as steady:
                await phase(system, "Progressing")
                assert system.post("/routes/m/promote", full=True)[0] == 200
                await phase(system, "Baking")
                assert rank.versions() == ["v2"] * 2
                assert system.post("/routes/m/undo")[0] == 200
                await phase(system, "Aborted")
                assert rank.versions() == ["v1"] * 2
                states = [line["out"] for backend in system.get("/status")["backends"] for line in backend["endpoints"]]
                assert states == ["", "", "stopped", "stopped"]
            assert (await retried(system))["attempt"] == 2
    assert rank.least >= 1
    assert not steady.lost
    assert set(steady.statuses) == {200}


async def retried(system: Understudy) -> dict[str, Any]:
    status, route = await asyncio.to_thread(lambda: system.post("/routes/m/retry"))
    assert status == 200
    return route
