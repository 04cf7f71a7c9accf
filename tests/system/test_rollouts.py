"""Whole rollouts over real processes: promoted, aborted, silent, and interrupted by kill -9."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
import signal
import time

import pytest

from tests.support.load import Load
from tests.support.system import canary, models, understudy, wait_for

pytestmark = pytest.mark.system

STEPS = [{"setWeight": 20}, {"analysis": {"minSamples": 100}}, {"setWeight": 50}, {"analysis": {"minSamples": 200}}]
METRICS = [
    {"name": "errors", "maxIncrease": "5pp"},
    {"name": "prediction.label", "maxShift": "20pp"},
]


async def drive(system, *phases, rate=250, timeout_s=90.0):
    """Load until the rollout is in one of the phases."""
    async with Load(system.port, rate=rate) as load:
        phase = await asyncio.to_thread(system.wait_phase, *phases, timeout_s=timeout_s)
    return phase, load.tally


async def test_a_good_version_is_promoted(tmp_path):
    """If this fails, evidence does not lead to a promotion."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, canary(v1, v2, STEPS, METRICS)) as system:
        phase, tally = await drive(system, "Succeeded", "Aborted", "Failed")
        route = system.route()
        assert (phase, route["verdict"]) == ("Succeeded", "Successful"), route["reason"]
        assert route["weight"] == 100
        assert tally.failed == 0, tally.problems
        after = await Load(system.port).send(200)
        assert after.backends == {"v2": 200}


async def test_a_failing_version_is_aborted(tmp_path):
    """If this fails, a version that answers with errors stays in service."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, canary(v1, v2, STEPS, METRICS)) as system:
        v2.control(failEvery=4)
        phase, tally = await drive(system, "Succeeded", "Aborted", "Failed")
        route = system.route()
        assert (phase, route["verdict"]) == ("Aborted", "Failed"), route["reason"]
        assert "errors" in route["reason"]
        assert route["weight"] == 0
        assert set(tally.statuses) <= {200, 500}
        after = await Load(system.port).send(200)
        assert after.backends == {"v1": 200}


async def test_a_version_that_predicts_otherwise_is_aborted(tmp_path):
    """If this fails, a version that answers 200 with other predictions is promoted."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, canary(v1, v2, STEPS, METRICS)) as system:
        v2.control(flipEvery=1)
        phase, tally = await drive(system, "Succeeded", "Aborted", "Failed")
        route = system.route()
        assert (phase, route["decidedBy"]) == ("Aborted", "prediction.label"), route["reason"]
        assert tally.failed == 0


async def test_a_version_whose_scores_are_no_numbers_is_aborted(tmp_path):
    """If this fails, a model that answers 200 and NaN is rehearsed for ever, since nothing can be compared."""
    metrics = [METRICS[0], {"name": "prediction.score", "maxShift": "0.2sd"}]
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, canary(v1, v2, STEPS, metrics)) as system:
        v2.control(nan=True)
        phase, tally = await drive(system, "Succeeded", "Aborted", "Failed")
        route = system.route()
        assert (phase, route["decidedBy"]) == ("Aborted", "prediction.score.invalid"), route["reason"]
        assert "100 % of the candidate's values are invalid against 0 % of stable's" in route["reason"]
        assert tally.failed == 0


async def test_a_shadow_that_disagrees_never_meets_a_user(tmp_path):
    """If this fails, pairs are not compared, or their evidence does not stop a rollout."""
    steps = [{"setMirror": {"percent": 100}}, {"analysis": {"minSamples": 5000}}, {"setWeight": 50}, {"analysis": {}}]
    metrics = [{"name": "pair.label", "maxDisagreement": "2%"}]
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, canary(v1, v2, steps, metrics)) as system:
        v2.control(flipEvery=5)
        phase, tally = await drive(system, "Succeeded", "Aborted", "Failed")
        route = system.route()
        assert (phase, route["decidedBy"]) == ("Aborted", "pair.label"), route["reason"]
        assert tally.backends["v2"] == 0
        assert route["pairs"]["outputs"]["label"]["disagreed"] > 0


async def test_silence_never_promotes(tmp_path):
    """If this fails, a rollout without traffic, or with nothing but failures of the metric, goes live."""
    metrics = [{"name": "prediction.label", "maxShift": "20pp"}]
    with models("v1", "v2") as (v1, v2):
        quiet = canary(v1, v2, STEPS, metrics, maxDuration="3s", breaker=None)
        with understudy(tmp_path, quiet) as system:
            over_s = system.route()["startedAt"] + 3 * 3
            await asyncio.to_thread(wait_for, "three times the longest duration", lambda: time.time() > over_s)
            route = system.route()
            assert (route["phase"], route["verdict"], route["weight"]) == ("Waiting", "", 20)
            assert [entry["kind"] for entry in system.get("/routes/m/history")["entries"]] == ["begin"]


async def test_only_errors_from_the_metric_never_promote(tmp_path):
    """If this fails, a metric that can never be read (no answer has the output) counts as passed."""
    metrics = [{"name": "prediction.score", "maxShift": "0.2sd"}]
    with models("v1", "v2") as (v1, v2):
        config = canary(v1, v2, STEPS, metrics, maxDuration="10s", breaker=None)
        outputs = config["routes"][0]["predictions"]["outputs"]
        outputs[1]["name"] = "nowhere"
        config["routes"][0]["analysis"]["metrics"][0]["name"] = "prediction.nowhere"
        with understudy(tmp_path, config) as system:
            phase, _ = await drive(system, "Paused", "Promoting", "Succeeded", "Aborted", "Failed", timeout_s=40)
            route = system.route()
            assert phase == "Paused"
            assert route["verdict"] == "Inconclusive"


@pytest.mark.parametrize("victims", [("worker",), ("controller",), ("worker", "controller")], ids="+".join)
@pytest.mark.parametrize(("fail_every", "phase", "verdict"), [(0, "Succeeded", "Successful"), (4, "Aborted", "Failed")])
async def test_kill_nine_in_the_middle_changes_no_verdict(tmp_path, victims, fail_every, phase, verdict):
    """If this fails, a crash loses state or evidence, or ends a rollout otherwise than it would have ended."""
    steps = [{"setWeight": 20}, {"analysis": {"minSamples": 150}}, *STEPS[2:]]
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, canary(v1, v2, steps, METRICS)) as system:
        async with Load(system.port, rate=250) as load:
            await asyncio.to_thread(wait_for, "evidence", lambda: under_way(system))
            if fail_every:
                v2.control(failEvery=fail_every)
            before = system.route()
            killed = [pid for role in victims for pid in system.kill(role)]
            assert len(killed) >= len(victims)
            if victims == ("controller",):
                with no_controller(system, killed):
                    answered = load.tally.statuses[200]
                    await asyncio.to_thread(wait_for, "answers", lambda: load.tally.statuses[200] > answered + 100)
            ended = await asyncio.to_thread(system.wait_phase, "Succeeded", "Aborted", "Failed")
        route = system.route()
        assert (ended, route["verdict"]) == (phase, verdict), route["reason"]
        assert route["startedAt"] == before["startedAt"], "the rollout began anew"
        if victims == ("controller",):
            assert load.tally.broken == 0, load.tally.problems
        else:
            assert load.tally.broken <= 16 * 2, "more was lost than what was in flight in the dead workers"


@contextlib.contextmanager
def no_controller(system, killed):
    """What was killed is away for the length of a block: the next controller, which comes at once, stands still."""
    (pid,) = wait_for("the next one", lambda: [pid for pid in system.pids("controller") if pid not in killed])
    os.kill(pid, signal.SIGSTOP)
    yield
    os.kill(pid, signal.SIGCONT)


def under_way(system):
    """Whether the rollout has begun to gather evidence."""
    route = system.route()
    seen = sum(arm["requests"] for arm in route["arms"] if arm["backend"] == "v2")
    return route["phase"] == "Progressing" and seen > 30


async def test_a_restart_of_everything_resumes(tmp_path):
    """If this fails, a stop and start of the whole forgets where the rollout stood."""
    with models("v1", "v2") as (v1, v2):
        config = canary(v1, v2, [{"setWeight": 30}, {"pause": {}}], METRICS)
        with understudy(tmp_path, config) as system:
            await Load(system.port).send(500)
            before = wait_for("the gate", lambda: r if (r := system.route())["phase"] == "Paused" else None)
            assert system.stop() == 0
            system.start()
            after = system.route()
            assert (after["phase"], after["weight"], after["startedAt"]) == ("Paused", 30, before["startedAt"])
            assert system.post("/routes/m/abort", reason="enough seen")[0] == 200
            assert system.wait_phase("Aborted") == "Aborted"
            assert system.post("/routes/m/abort")[0] == 200, "abort is idempotent"
            assert system.post("/routes/m/promote")[0] == 409
            system.stop()
            system.start()
            assert system.route()["phase"] == "Aborted", "the abort is latched for this version"


async def test_the_revert_of_a_revert_reaches_no_client(tmp_path):
    """If this fails, a file that goes to another candidate and back gives clients the version that has just failed
    them, also if the controller was killed in between."""
    with models("v1", "v2", "v3") as (v1, v2, v3):
        config = canary(v1, v2, [STEPS[0], {"pause": {}}], METRICS)
        config["backends"].append({"name": "v3", "endpoints": [f"http://127.0.0.1:{v3.port}"]})
        with understudy(tmp_path, config) as system:

            def edit(name, phase):
                edited = copy.deepcopy(system.config)
                edited["routes"][0]["backendRefs"][1]["name"] = name
                system.write(edited)
                wait_for(f"{name} in the file", lambda: system.route()["candidate"] == name)
                assert system.wait_phase(phase) == phase

            v2.control(failEvery=1)
            assert (await drive(system, "Aborted"))[0] == "Aborted"
            found = system.route()["reason"]
            async with Load(system.port, rate=100) as load:
                await asyncio.to_thread(edit, "v3", "Paused")
                before = set(system.pids("controller"))
                system.kill("controller")
                await asyncio.to_thread(wait_for, "another one", lambda: set(system.pids("controller")) - before)
                await asyncio.to_thread(system.wait_ready)
                await asyncio.to_thread(edit, "v2", "Aborted")
                sent = load.tally.sent
                await asyncio.to_thread(wait_for, "requests", lambda: load.tally.sent > sent + 300)
            assert load.tally.failed == 0, load.tally.problems
            assert set(load.tally.backends) == {"v1", "v3"}
            reason = system.route()["reason"]
            assert reason == f"it was found to do harm before, and stays out until retry: {found}"
            assert [one["name"] for one in system.route()["latched"]] == ["v2"]
            v2.control(failEvery=0)
            assert system.post("/routes/m/retry")[0] == 200
            assert (await drive(system, "Paused"))[0] == "Paused", "it has its second chance"
            assert system.route()["latched"] == []
