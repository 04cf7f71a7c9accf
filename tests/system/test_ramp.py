"""Weights that follow the evidence, over real processes: a good version takes over, a bad one costs its budget."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.load import Load
from tests.support.system import canary, models, understudy, wait_for

pytestmark = pytest.mark.system

BUDGET = 60


def ramped(v1, v2, max_bad=BUDGET):
    """A route whose answers are known within a second, so that the first weight is 10 % of 100 requests/s."""
    config = canary(v1, v2, [])
    route = config["routes"][0]
    route["strategy"] = {"canary": {"ramp": {"maxBadRequests": max_bad, "maxWeight": 50}}}
    route["timeouts"] = {"request": "1s", "connect": "500ms"}
    return config


def tried(route):
    """How many requests the candidate was given."""
    return sum(arm["requests"] for arm in route["arms"] if arm["backend"] == "v2")


async def test_a_good_version_climbs_and_is_promoted_and_a_kill_sets_nothing_back(tmp_path):
    """If this fails, a ramp does not get to its end, or a controller that dies takes its progress along."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, ramped(v1, v2)) as system:
        assert system.route()["weight"] == 0
        async with Load(system.port, rate=100, user_count=5000) as load:
            await asyncio.to_thread(wait_for, "the first weight", lambda: system.route()["weight"] > 0)
            first = system.route()
            assert 0 < first["weight"] <= 20
            await asyncio.to_thread(wait_for, "some evidence", lambda: tried(system.route()) > 40)
            before = system.route()
            killed = system.kill("controller")
            assert killed
            await asyncio.to_thread(wait_for, "the next one", lambda: system.pids("controller") not in ([], killed))
            await asyncio.to_thread(wait_for, "what it says", system.phase)
            after = system.route()
            assert after["attempt"] == 1
            if after["stage"] == before["stage"]:  # it may have climbed by now
                assert after["weight"] == before["weight"]
                assert after["ramp"]["worst"] <= before["ramp"]["worst"]
            assert (after["stage"], after["weight"]) >= (before["stage"], before["weight"])
            phase = await asyncio.to_thread(system.wait_phase, "Succeeded", "Aborted", "Failed")
        route = system.route()
        assert (phase, route["weight"]) == ("Succeeded", 100), route["reason"]
        assert load.tally.failed == 0, load.tally.problems
        taken = [entry["text"] for entry in system.get("/routes/m/history")["entries"] if entry["kind"] == "step"]
        assert any("weight 50 % instead of" in text for text in taken), taken


async def test_a_version_that_fails_everything_costs_its_budget_at_most(tmp_path):
    """If this fails, the budget is a number without meaning."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, ramped(v1, v2)) as system:
        v2.control(failEvery=1)
        async with Load(system.port, rate=100, user_count=5000) as load:
            await asyncio.to_thread(system.wait_phase, "Aborted")
            sent = load.tally.sent
            await asyncio.to_thread(wait_for, "50 answers after it", lambda: load.tally.sent > sent + 50)
        route = system.route()
        assert route["decidedBy"] in ("breaker", "budget"), route["reason"]
        assert 0 < load.tally.failed <= BUDGET
