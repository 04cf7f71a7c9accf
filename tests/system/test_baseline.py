"""A rollout over real processes that compares its candidate with a baseline."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.load import Load
from tests.support.system import canary, models, understudy

pytestmark = pytest.mark.system


async def test_what_is_slow_for_being_new_is_promoted(tmp_path):
    """If this fails, whatever new instances have in common is held against the version that runs on them."""
    steps = [{"setWeight": 20}, {"analysis": {"minSamples": 100}}, {"setWeight": 40}, {"analysis": {"minSamples": 200}}]
    metrics = [{"name": "errors", "maxIncrease": "10pp"}, {"name": "latency.p50", "maxIncrease": "100%"}]
    with models("v1", "v2", "v1-fresh") as (v1, v2, fresh):
        config = canary(v1, v2, steps, metrics)
        config["backends"].append({"name": "v1-fresh", "endpoints": [f"http://127.0.0.1:{fresh.port}"]})
        config["routes"][0]["backendRefs"].append({"name": "v1-fresh", "role": "baseline"})
        for cold in (v2, fresh):
            cold.control(delayMs=40, failEvery=4)
        with understudy(tmp_path, config) as system:
            async with Load(system.port, rate=200) as load:
                phase = await asyncio.to_thread(system.wait_phase, "Succeeded", "Aborted", "Failed")
                tally = load.tally
            route = system.route()
            assert phase == "Succeeded", route["reason"]
            assert set(tally.backends) == {"v1", "v2", "v1-fresh"}
            assert 0.5 < tally.backends["v1-fresh"] / max(1, tally.backends["v2"]) < 2
            after = await Load(system.port).send(100)
            assert after.backends == {"v2": 100}, "the baseline serves users after the promotion"
