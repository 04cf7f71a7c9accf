"""Truths that clients tell later, over real processes: judged, kept, and counted once."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import zlib

import pytest

from tests.support.load import Load
from tests.support.system import ROOT, canary, fetch, models, understudy, wait_for

pytestmark = pytest.mark.system

STEPS = [{"setWeight": 20}, {"analysis": {"minSamples": 100}}, {"setWeight": 50}, {"analysis": {"minSamples": 200}}]
METRICS = [{"name": "errors", "maxIncrease": "5pp"}, {"name": "feedback.accuracy", "maxDecrease": "8pp"}]
SILENT = "feedback.accuracy: no truth of both versions yet; silence proves nothing"
ENDED = ("Succeeded", "Aborted", "Failed")


def record(name, asked, answered):
    """What turned out true of an answer: what the model says if it is not told otherwise, but for one case in ten."""
    body = asked.partition(b"\r\n\r\n")[2]
    truth = "cat" if zlib.crc32(body) % 10 < 7 else "dog"
    if zlib.crc32(body[::-1]) % 10 == 0:
        truth = "dog" if truth == "cat" else "cat"
    return {"id": name, "truth": truth, "prediction": json.loads(answered)["outputs"][0]["data"][0]}


def tell(system, records):
    """All records in one request."""
    lines = "".join(json.dumps(each) + "\n" for each in records).encode()
    status, answer = fetch(f"{system.admin}/api/v1/feedback", "POST", lines, content_type="application/x-ndjson")
    assert status in (0, 200), answer
    return answer if status else None


async def tell_on(system, tally, every_s=0.3):
    """Tell what is known by now, again and again; what could not be told is told the next time."""
    told = 0
    while True:
        await asyncio.sleep(every_s)
        records = [record(*each) for each in tally.named[told : told + 5000]]
        if records and await asyncio.to_thread(tell, system, records) is not None:
            told += len(records)


@contextlib.asynccontextmanager
async def traffic(system, rate=250):
    """Clients that tell what turned out true."""
    async with Load(system.port, rate=rate) as load:
        telling = asyncio.create_task(tell_on(system, load.tally))
        try:
            yield load
        finally:
            telling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await telling


async def test_a_version_that_is_wrong_more_often_is_aborted(tmp_path):
    """If this fails, a worse model goes live while everybody is told that it is worse."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, canary(v1, v2, STEPS, METRICS)) as system:
        v2.control(flipEvery=3)
        async with traffic(system):
            phase = await asyncio.to_thread(system.wait_phase, *ENDED)
        route = system.route()
        assert (phase, route["decidedBy"]) == ("Aborted", "feedback.accuracy"), route["reason"]
        assert "wrong 3" in route["reason"]
        stable, candidate = (arm["feedback"] for arm in route["arms"])
        assert 0.05 < stable["wrong"] < 0.16
        assert 0.25 < candidate["wrong"] < 0.50


async def test_a_version_that_is_right_as_often_is_promoted(tmp_path):
    """If this fails, truths prove nothing, and a rollout waits for its horizon."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, canary(v1, v2, STEPS, METRICS)) as system:
        async with traffic(system):
            phase = await asyncio.to_thread(system.wait_phase, *ENDED)
        route = system.route()
        assert (phase, route["verdict"]) == ("Succeeded", "Successful"), route["reason"]
        accuracy = next(metric for metric in route["metrics"] if metric["name"] == "feedback.accuracy")
        assert accuracy["passed"]
        assert accuracy["nCandidate"] > 100


async def test_without_truths_nothing_is_promoted(tmp_path):
    """If this fails, silence of those who know the truth is taken for a good sign."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, canary(v1, v2, STEPS, METRICS)) as system:
        async with Load(system.port, rate=250) as load:
            await asyncio.to_thread(wait_for, "the last stage", lambda: system.route()["weight"] == 50)
            await asyncio.to_thread(wait_for, "all else to be proven", lambda: system.route()["missing"] == [SILENT])
            sent = load.tally.sent
            await asyncio.to_thread(wait_for, "looks at more of it", lambda: load.tally.sent > sent + 500)
            route = system.route()
        assert (route["phase"], route["missing"]) == ("Progressing", [SILENT])
        assert len({name for name, _, _ in load.tally.named}) == len(load.tally.named) == load.tally.statuses[200]


async def test_kill_nine_of_the_controller_counts_nothing_twice(tmp_path):
    """If this fails, truths are lost with the controller, or count again when they are told again."""
    steps = [{"setWeight": 50}, {"pause": {}}]
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, canary(v1, v2, steps, METRICS)) as system:
        await asyncio.to_thread(wait_for, "the stage", lambda: system.route()["weight"] == 50)
        tally = await Load(system.port, connections=8).send(1500)
        records = [record(*each) for each in tally.named]
        assert await asyncio.to_thread(tell, system, records[:1000]) == {
            "accepted": 1000, "problems": [],
            "refused": {"invalid": 0, "forged": 0, "stale": 0, "late": 0, "duplicate": 0},
        }  # fmt: skip
        await asyncio.to_thread(wait_for, "the evidence", lambda: weighed(system) == 1000)
        assert system.kill("controller")
        await asyncio.to_thread(wait_for, "another controller", lambda: system.phase() == "Paused")
        again = await asyncio.to_thread(tell, system, records)
        assert (again["accepted"], again["refused"]["duplicate"]) == (500, 1000), again
        await asyncio.to_thread(wait_for, "the evidence", lambda: weighed(system) == 1500)
        route = system.route()
        assert sum(arm["feedback"]["truths"] for arm in route["arms"]) == 1500
        assert route["feedback"]["waiting"] == 0


def weighed(system):
    """Truths that are in the evidence."""
    metric = system.route()["metrics"][1]
    return metric["nStable"] + metric["nCandidate"]


async def test_the_command_line_tells_a_file(tmp_path):
    """If this fails, nobody can tell truths without writing a client, or learns which lines were no use."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, canary(v1, v2, STEPS, METRICS)) as system:
        await asyncio.to_thread(wait_for, "a stage", lambda: system.route()["weight"] > 0)
        tally = await Load(system.port, connections=8).send(300)
        lines = [json.dumps(record(*each)) for each in tally.named]
        lines[7] = lines[7].replace(tally.named[7][0], tally.named[7][0].swapcase())
        lines[9] = "{"
        lines.insert(12, "")
        file = tmp_path / "truths.ndjson"
        file.write_text("\n".join(lines) + "\n")
        command = [sys.executable, "-m", "proxy", "feedback", str(file), "--admin", system.admin]
        done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 1
        assert done.stdout.splitlines()[0] == "298 accepted; refused: 1 invalid, 1 forged"
        assert "line 10: invalid: is no JSON" in done.stdout
        assert "line 8: forged: no worker of this Understudy has written this id" in done.stdout
        with file.open() as source:
            piped = await asyncio.to_thread(
                subprocess.run, [*command[:4], "-", "--json", *command[5:]], cwd=ROOT, stdin=source, capture_output=True
            )
        assert json.loads(piped.stdout)["refused"]["duplicate"] == 298


async def test_where_nobody_asks_for_truths_answers_have_no_names(tmp_path):
    """If this fails, every route pays for what few want."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, canary(v1, v2, STEPS)) as system:
        tally = await Load(system.port).send(50)
        assert tally.statuses == {200: 50}
        assert tally.named == []
        assert system.route()["feedback"] is None
