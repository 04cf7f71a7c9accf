"""Every strategy that is no canary, over real processes: rehearsed, switched, baked, tested, undone."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.load import Load
from tests.support.system import canary, models, understudy, wait_for

pytestmark = pytest.mark.system

ERRORS = [{"name": "errors", "maxIncrease": "10pp"}]
PAIRS = [*ERRORS, {"name": "pair.label", "maxDisagreement": "10%"}]
ENDED = ("Succeeded", "Aborted", "Failed")
SMOKE = [
    {
        "path": "/v2/models/m/infer",
        "body": {"inputs": []},
        "expect": {"status": 200, "json": {"outputs.0.name": "label"}},
    }
]


def by(strategy, v1, v2, metrics=None, **analysis):
    config = canary(v1, v2, [{"setWeight": 5}], metrics or ERRORS, **analysis)
    config["routes"][0]["strategy"] = strategy
    return config


async def until(system, *phases, rate=250, timeout_s=60.0, before=None):
    """Load until the rollout is in one of the phases."""
    async with Load(system.port, rate=rate) as load:
        if before is not None:
            await asyncio.to_thread(before)
        phase = await asyncio.to_thread(system.wait_phase, *phases, timeout_s=timeout_s)
    return phase, load.tally


async def answers(load, count):
    """Until so many more requests are answered."""
    sent = load.tally.sent
    await asyncio.to_thread(wait_for, f"{count} answers", lambda: load.tally.sent >= sent + count)


async def left_alone(load, model):
    """Until it is sent none of a hundred requests; that it is to be is shown before the workers are told."""
    async with asyncio.timeout(10):
        met = None
        while met != (met := model.control()["seen"]):
            await answers(load, 100)


def rid_of_it(system):
    """Whether every worker has heard that the candidate is out, and has nothing under way at it."""
    return system.heard() and not any(arm["inFlight"] for arm in system.route()["arms"] if arm["backend"] == "v2")


@pytest.mark.parametrize(("flip_every", "phase", "verdict"), [(0, "Succeeded", "Successful"), (3, "Aborted", "Failed")])
async def test_a_rehearsal_ends_with_a_verdict_and_meets_no_user(tmp_path, flip_every, phase, verdict):
    """If this fails, a mirror has no verdict, or its candidate answers somebody."""
    with models("v1", "v2") as (v1, v2):
        v2.control(flipEvery=flip_every)
        with understudy(tmp_path, by({"mirror": {"percent": 100}}, v1, v2, PAIRS)) as system:
            ended, tally = await until(system, *ENDED)
            route = system.route()
            assert (ended, route["verdict"], route["strategy"]) == (phase, verdict, "mirror"), route["reason"]
            assert (route["weight"], route["mirror"]) == (0, 0)
            assert (tally.failed, tally.backends["v2"]) == (0, 0)
            assert system.post("/routes/m/undo")[0] == (409 if phase == "Succeeded" else 200)
            assert system.phase() == phase


async def test_a_rehearsal_that_nothing_can_decide_is_inconclusive(tmp_path):
    """If this fails, a rehearsal goes on for ever, or says more than it knows."""
    metrics = [{"name": "errors", "maxIncrease": "0.01pp"}]
    with models("v1", "v2") as (v1, v2):
        config = by({"mirror": {"percent": 100}}, v1, v2, metrics, maxDuration="6s")
        with understudy(tmp_path, config) as system:
            phase, _ = await until(system, *ENDED)
            assert (phase, system.route()["verdict"]) == ("Aborted", "Inconclusive")


async def test_a_switch_waits_for_its_smoke_requests(tmp_path):
    """If this fails, all traffic goes to a version that answers nothing, or never to one that does."""
    with models("v1", "v2") as (v1, v2):
        v2.control(failEvery=1)
        with understudy(tmp_path, by({"blueGreen": {"smoke": SMOKE, "bake": "4s"}}, v1, v2)) as system:
            wait_for("the refusal", lambda: "status 500, expected 200" in system.route()["reason"])
            assert system.phase() == "Waiting"
            async with Load(system.port, rate=200) as load:
                await answers(load, 200)
                assert load.tally.backends["v2"] == 0
                v2.control(failEvery=0)
                await asyncio.to_thread(system.wait_phase, "Baking")
                assert system.route()["weight"] == 100
                await asyncio.to_thread(system.wait_phase, "Succeeded")
            assert load.tally.failed == 0, load.tally.problems
            assert v1.control()["shadows"] > 0, "the old version was not kept warm"
            assert system.route()["mirror"] == 0
            assert (await Load(system.port).send(100)).backends == {"v2": 100}


async def test_a_person_may_stand_before_the_switch(tmp_path):
    """If this fails, the gate of a switch is passed by nobody's word, or by none."""
    strategy = {"blueGreen": {"mirror": {"percent": 100}, "pause": {}}}
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, by(strategy, v1, v2, PAIRS)) as system:
        phase, tally = await until(system, "Paused", *ENDED)
        assert (phase, tally.backends["v2"]) == ("Paused", 0)
        assert system.post("/routes/m/promote")[0] == 200
        assert system.wait_phase(*ENDED) == "Succeeded"
        assert system.route()["weight"] == 100
        assert system.post("/routes/m/undo", reason="customers complain")[0] == 200
        route = system.route()
        assert (route["phase"], route["weight"]) == ("Aborted", 0)
        assert route["reason"].endswith(": customers complain")
        assert (await Load(system.port).send(100)).backends == {"v1": 100}


@pytest.mark.parametrize("mirror_percent", [100, 0])
async def test_a_baking_version_that_breaks_is_taken_back(tmp_path, mirror_percent):
    """If this fails, a version that breaks after its promotion keeps all of the traffic."""
    strategy = {"blueGreen": {"smoke": SMOKE, "bake": {"duration": "5m", "mirrorPercent": mirror_percent}}}
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, by(strategy, v1, v2)) as system:
        async with Load(system.port, rate=100) as load:
            await asyncio.to_thread(system.wait_phase, "Baking")
            await answers(load, 300)
            before = load.tally.failed
            v2.control(failEvery=2)
            await asyncio.to_thread(system.wait_phase, "Aborted")
            await asyncio.to_thread(wait_for, "the last of its requests to end", lambda: rid_of_it(system))
            failed = load.tally.failed
            await left_alone(load, v2)
        route = system.route()
        assert (before, route["weight"], route["verdict"]) == (0, 0, "Failed")
        assert failed < 300, "it took more than six seconds"


@pytest.mark.parametrize(("on_winner", "weight"), [("keep", 50), ("promote", 100)])
async def test_the_faster_version_wins(tmp_path, on_winner, weight):
    """If this fails, an A/B test does not find what it was made for."""
    primary = {"name": "latency.p50", "minImprovement": "20%"}
    strategy = {"abTest": {"weight": 50, "primary": primary, "onWinner": on_winner}}
    with models("v1", "v2") as (v1, v2):
        v1.control(delayMs=30)
        v2.control(delayMs=5)
        with understudy(tmp_path, by(strategy, v1, v2)) as system:
            ended, tally = await until(system, *ENDED, timeout_s=90)
            route = system.route()
            assert (ended, route["weight"], route["winner"]) == ("Succeeded", weight, "candidate"), route["reason"]
            assert "evidence" in route["reason"]
            assert tally.failed == 0
