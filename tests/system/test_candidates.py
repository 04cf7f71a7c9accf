"""Several candidates in one rollout, over real processes."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from tests.support.load import Load
from tests.support.system import Understudy, canary, models, understudy, wait_for

pytestmark = pytest.mark.system
NAMES = ("v2", "v3", "v4")


def typed(system: Understudy, *words: str) -> subprocess.CompletedProcess[str]:
    """A command, as a person types it."""
    command = [sys.executable, "-m", "proxy", *words, "--admin", system.admin]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


async def test_the_broken_leaves_first_then_the_bad_and_the_good_is_promoted(tmp_path):
    """If this fails, one bad candidate keeps the others from being compared, or a bad one is promoted."""
    steps = [{"setWeight": 20}, {"analysis": {"minSamples": 1500}}]
    metrics = [{"name": "errors", "maxIncrease": "10pp"}, {"name": "prediction.label", "maxShift": "15pp"}]
    with models("v1", *NAMES) as (v1, broken, other, good):
        config = canary(v1, broken, steps, metrics)
        servers = zip(NAMES, (broken, other, good), strict=True)
        config["backends"][1:] = [
            {"name": name, "endpoints": [f"http://127.0.0.1:{server.port}"]} for name, server in servers
        ]
        config["routes"][0]["backendRefs"][1:] = [{"name": name, "role": "canary"} for name in NAMES]
        broken.control(failEvery=1)
        other.control(flipEvery=1)
        with understudy(tmp_path, config) as system:
            async with Load(system.port, rate=250) as load:
                left = await asyncio.to_thread(
                    wait_for,
                    "the broken one to leave",
                    lambda: r if "v2" not in (r := system.route())["racing"] else None,
                    60,
                )
                assert "v4" in left["racing"], left["candidates"]
                kill = system.kill("controller")
                assert kill
                phase = await asyncio.to_thread(system.wait_phase, "Succeeded", "Aborted", "Failed")
                tally = load.tally
            route = system.route()
            assert (phase, route["candidate"]) == ("Succeeded", "v4"), route["reason"]
            standing = {each["name"]: each["verdict"] for each in route["candidates"]}
            assert standing == {"v2": "Failed", "v3": "Failed", "v4": "Successful"}
            assert next(each for each in route["candidates"] if each["name"] == "v3")["decidedBy"] == "prediction.label"
            drops = [e["text"] for e in reversed(system.get("/routes/m/history")["entries"]) if e["kind"] == "drop"]
            assert [text.split()[0] for text in drops] == ["v2", "v3"]
            assert set(tally.backends) >= {"v1", "v3", "v4"}
            after = await Load(system.port).send(200)
            assert after.backends == {"v4": 200}


async def test_one_is_taken_out_by_hand_and_meets_nobody_any_more(tmp_path):
    """If this fails, whoever has trouble with one candidate has to give up all of them, or its users stay with it."""
    steps = [{"setWeight": 20}, {"pause": {}}]
    with models("v1", *NAMES) as (v1, *others):
        config = canary(v1, others[0], steps, [{"name": "errors", "maxIncrease": "10pp"}])
        config["backends"][1:] = [
            {"name": name, "endpoints": [f"http://127.0.0.1:{server.port}"]}
            for name, server in zip(NAMES, others, strict=True)
        ]
        config["routes"][0]["backendRefs"][1:] = [{"name": name, "role": "canary"} for name in NAMES]
        with understudy(tmp_path, config) as system:
            assert (await Load(system.port).send(300)).backends.keys() == {"v1", *NAMES}
            wrong = await asyncio.to_thread(typed, system, "abort", "m", "--candidate", "v9")
            assert (wrong.returncode, "the candidates are v2, v3, v4" in wrong.stderr) == (1, True), wrong
            done = await asyncio.to_thread(typed, system, "abort", "m", "--candidate", "v3", "--reason", "too slow")
            assert (done.returncode, "left: aborted by hand" in done.stdout) == (0, True), done
            after = await Load(system.port).send(300)
            assert after.backends.keys() == {"v1", "v2", "v4"}
            assert set(after.statuses) == {200}
            told = await asyncio.to_thread(typed, system, "why", "m")
            assert (told.returncode, "v3 was taken out by hand" in told.stdout) == (0, True), told
            system.kill("controller")
            await asyncio.to_thread(system.wait_phase, "Paused")
            assert system.route()["racing"] == ["v2", "v4"]
            for name in ("v2", "v4"):
                await asyncio.to_thread(typed, system, "abort", "m", "--candidate", name)
            assert (system.route()["phase"], system.route()["decidedBy"]) == ("Aborted", "operator")
            assert (await Load(system.port).send(100)).backends.keys() == {"v1"}
