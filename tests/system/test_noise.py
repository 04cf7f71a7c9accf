"""A model that differs from itself: stable is asked twice, and a candidate answers for what is beyond that alone."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.load import Load
from tests.support.system import canary, fetch, models, understudy

pytestmark = pytest.mark.system

STEPS = [{"setMirror": {"percent": 100}}, {"pause": {}}, {"setWeight": 50}, {"analysis": {}}]
METRICS = [{"name": "pair.label", "maxDisagreement": "1%"}]
FLIPS = 0.0257
"""Of its answers: a version differs from another such one, and from itself, in 5 % of the requests."""


def noisy(v1, v2):
    """Half of the copies are asked of stable again, which is what a proof in minutes takes."""
    config = canary(v1, v2, STEPS, METRICS, breaker=None, alphaPromote=0.2)
    config["routes"][0]["mirrors"] = [{"backend": "v2", "repeat": {"percent": 50}, "maxConcurrency": 1000}]
    return config


async def rehearse(system, *phases, until=lambda route: False, timeout_s=240.0):
    """Load until a phase or a condition holds; the route then, and what clients saw."""
    async with Load(system.port, rate=600, connections=32) as load:
        end = asyncio.get_running_loop().time() + timeout_s
        while True:
            await asyncio.sleep(0.5)
            route = await asyncio.to_thread(system.route)
            if route["phase"] in phases or until(route) or asyncio.get_running_loop().time() > end:
                break
    return route, load.tally


def pairs(route):
    """What is read of the pairs, beside the watch on labels that are lacking."""
    return next((metric for metric in route["metrics"] if metric["kind"] == "pair"), {"passed": False})


async def test_an_equally_noisy_candidate_keeps_to_one_percent(tmp_path):
    """If this fails, a model that samples its answers can never be followed by another one."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, noisy(v1, v2)) as system:
        v1.control(flipShare=FLIPS)
        v2.control(flipShare=FLIPS)
        route, tally = await rehearse(
            system, "Aborted", "Failed", "Succeeded", until=lambda route: pairs(route)["passed"]
        )
        assert route["phase"] not in ("Aborted", "Failed"), route["reason"]
        metric = pairs(route)
        assert metric["passed"], metric["text"]
        assert metric["stable"] == pytest.approx(0.05, abs=0.02)
        assert metric["candidate"] == pytest.approx(0.05, abs=0.02)
        assert "stable from itself in" in metric["text"]
        assert tally.failed == 0, tally.problems
        assert tally.backends["v2"] == 0
        pair = route["pairs"]["outputs"]["label"]
        assert pair["stableDisagreed"] > 0
        arms = {(arm["backend"], arm["role"]): arm for arm in route["arms"]}
        repeats = arms["v2", "shadow"]["repeats"]
        assert repeats["disagreed"] == pytest.approx(0.05 * sum(repeats.values()), rel=0.5)
        answered = tally.statuses[200]
        assert arms["v1", "stable"]["requests"] == pytest.approx(answered, rel=0.05), "repeats count as live traffic"
        assert v1.control()["shadows"] >= pair["repeated"]
        _, metrics = await asyncio.to_thread(fetch, f"{system.admin}/metrics")
        assert 'understudy_mirror_repeats_total{backend="v2",result="agreed",route="m"}' in metrics
        report = (await asyncio.to_thread(fetch, f"{system.admin}/api/v1/routes/m/report?format=markdown"))[1]
        assert "requests that stable was asked twice it differs from itself in" in report


async def test_what_is_beyond_the_noise_is_aborted(tmp_path):
    """If this fails, a noisy model hides that its successor answers otherwise."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, noisy(v1, v2)) as system:
        v1.control(flipShare=FLIPS)
        v2.control(flipShare=0.12)
        route, tally = await rehearse(system, "Aborted", "Failed", "Succeeded")
        assert (route["phase"], route["decidedBy"]) == ("Aborted", "pair.label"), route["reason"]
        assert "stable from itself in" in route["reason"]
        assert tally.backends["v2"] == 0
        assert tally.failed == 0, tally.problems
