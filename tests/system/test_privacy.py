"""Labels that are personal data: nobody outside a worker learns them, and versions are compared all the same."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
import urllib.request
import zlib
from pathlib import Path

import pytest

from tests.support.load import Load
from tests.support.system import ROOT, canary, fetch, free_port, models, understudy, wait_for

pytestmark = pytest.mark.system

SECRET = "patient-4711-has-"
STEPS = [{"setMirror": {"percent": 100}}, {"analysis": {"duration": "2s"}}, {"setWeight": 50}, {"pause": {}}]
METRICS = [{"name": "errors", "maxIncrease": "5pp"}, {"name": "pair.label", "maxDisagreement": "20%"}]
SHIFT = {"name": "prediction.label", "maxShift": "20pp"}


def config(folder, v1, v2, privacy, metrics):
    found = canary(v1, v2, STEPS, metrics)
    found["routes"][0]["predictions"]["outputs"][0]["privacy"] = privacy
    found["routes"][0]["feedback"] = {}
    found["accessLog"] = {"path": str(folder / "access.log"), "percent": 100}
    return found


def rows(database):
    """All that is in a database, unpacked."""
    with contextlib.closing(sqlite3.connect(database)) as db:
        for (table,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
            for row in db.execute(f'SELECT * FROM "{table}"'):
                for value in row:
                    content = value if isinstance(value, bytes) else str(value).encode()
                    yield content
                    with contextlib.suppress(zlib.error):
                        yield zlib.decompress(content)


def tells(system):
    """All that anybody can get out of the system: its API, metrics, files, log, and the memory that processes share."""
    paths = ["/status", "/config", "/routes", "/routes/m", "/routes/m/history", "/journal"]
    paths += [f"/routes/m/report?format={form}" for form in ("json", "markdown", "html")]
    found = {path: json.dumps(fetch(f"{system.admin}/api/v1{path}")).encode() for path in paths}
    with urllib.request.urlopen(f"{system.admin}/metrics") as answer:
        found["/metrics"] = answer.read()
    command = [sys.executable, "-m", "proxy", "why", "m", "--admin", system.admin, "--json"]
    found["why"] = subprocess.run(command, cwd=ROOT, capture_output=True, check=False).stdout
    for path in Path(system.folder).iterdir():
        if path.is_file():
            found[path.name] = path.read_bytes()
    found["store"] = b"\0".join(rows(system.folder / "understudy.db"))
    pid = system.pids("worker")[0]
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        if "memfd:" in os.readlink(fd) or "deleted" in os.readlink(fd):
            with fd.open("rb") as memory:
                found[os.readlink(fd)] = memory.read()
    return found


def leaks(system):
    return [name for name, content in tells(system).items() if SECRET.encode() in content]


async def rehearse(system):
    """Traffic up to the gate before the end, and truths of it, as a client tells them."""
    async with Load(system.port, rate=150) as load:
        await asyncio.to_thread(system.wait_phase, "Paused")
        await asyncio.to_thread(wait_for, "shares of both", lambda: all(labels(system, one) for one in ("v1", "v2")))
    name, _, _ = load.tally.named[-1]
    record = {"id": name, "truth": SECRET + "cat", "prediction": SECRET + "cat"}
    told = await asyncio.to_thread(fetch, f"{system.admin}/api/v1/feedback", "POST", json.dumps(record).encode())
    assert told[1]["accepted"] == 1, told


def labels(system, backend):
    live = [arm for arm in system.route()["arms"] if arm["backend"] == backend and arm["role"] != "shadow"]
    return live[0]["labels"].get("label", {})


def compared(system):
    """Answers whose labels are in the evidence of this stage."""
    shift = next(metric for metric in system.route()["metrics"] if metric["name"] == "prediction.label")
    return shift["nStable"] + shift["nCandidate"]


@pytest.mark.parametrize(("privacy", "form"), [("hash", "[0-9a-f]{12}"), ("mask", "p…[tg]#[0-9a-f]{6}")])
async def test_labels_are_compared_and_never_told(tmp_path, privacy, form):
    """If this fails, what a model says of a person lies in a report, a metric, the store or a log."""
    with (
        models("v1", "v2") as (v1, v2),
        understudy(tmp_path, config(tmp_path, v1, v2, privacy, [*METRICS, SHIFT])) as system,
    ):
        v1.control(labelled=SECRET)
        v2.control(labelled=SECRET)
        await rehearse(system)
        assert leaks(system) == []
        route = system.route()
        one, other = labels(system, "v1"), labels(system, "v2")
        assert set(one) == set(other)
        assert len(one) == 2, one
        assert all(re.fullmatch(form, label) for label in one)
        shift = next(metric for metric in route["metrics"] if metric["name"] == "prediction.label")
        assert min(shift["nStable"], shift["nCandidate"]) > 0
        assert abs(shift["effect"]) < 15, shift  # pp
        pair = next(metric for metric in route["metrics"] if metric["name"] == "pair.label")
        assert pair["effect"] == 0, pair
        assert system.stop() == 0
        system.start()
        before = compared(system)
        await Load(system.port, connections=4).send(300)
        await asyncio.to_thread(wait_for, "all of it in the evidence", lambda: compared(system) == before + 300)
        assert set(labels(system, "v2")) == set(labels(system, "v1")) == set(one), "another key after a restart"
        assert leaks(system) == []


async def test_what_is_dropped_is_judged_by_pairs(tmp_path):
    """If this fails, `drop` leaves a trace of a label, or a version that answers otherwise goes on."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, config(tmp_path, v1, v2, "drop", METRICS)) as system:
        for version in (v1, v2):
            version.control(labelled=SECRET)
        v2.control(flipEvery=2)
        async with Load(system.port, rate=150):
            phase = await asyncio.to_thread(system.wait_phase, "Aborted", "Failed")
        route = system.route()
        assert (phase, route["decidedBy"]) == ("Aborted", "pair.label"), route["reason"]
        assert all(not arm["labels"].get("label") for arm in route["arms"])
        assert leaks(system) == []


async def test_without_privacy_labels_are_told(tmp_path):
    """If this fails, the tests above look where nothing is ever told."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, config(tmp_path, v1, v2, "keep", METRICS)) as system:
        v1.control(labelled=SECRET)
        v2.control(labelled=SECRET)
        await rehearse(system)
        found = leaks(system)
        assert {"/routes/m", "/routes/m/report?format=markdown", "store"} <= set(found), found
        assert any("memfd" in name or "deleted" in name for name in found), found


async def test_secrets_of_the_file_are_told_nowhere(tmp_path):
    """If this fails, whoever may look at a rollout gets the credentials that it is rehearsed with."""
    with models("v1", "v2") as (v1, v2):
        found = canary(v1, v2, STEPS)
        route = found["routes"][0]
        smoke = {"path": "/v2/health/ready?key=parameter", "headers": {"authorization": f"Bearer {SECRET}"}}
        route["strategy"] = {"blueGreen": {"smoke": [{**smoke, "expect": {"status": 299}}], "pause": {}}}
        route["mirrors"] = [{"backend": "v2", "headers": {"set": {"authorization": SECRET}}}]
        url = f"http://127.0.0.1:{free_port()}/{SECRET}"
        route["webhooks"] = [
            {"name": "chat", "type": "event", "url": url},
            {"name": "gate", "type": "rollout", "url": url, "interval": "1s"},
        ]
        with understudy(tmp_path, found) as system:
            said = "status 200, expected 299"
            await asyncio.to_thread(wait_for, "a smoke request to fail", lambda: said in system.log.read_text())
            await asyncio.to_thread(wait_for, "an answer", lambda: system.route()["webhooks"][1]["answer"])
            opened = threading.Event()
            listening = asyncio.create_task(asyncio.to_thread(events, system, opened))
            assert await asyncio.to_thread(opened.wait, 20)
            system.post("/routes/m/pause")
            assert b"by hand" in (heard := await listening) or b"pause" in heard
            assert SECRET.encode() not in heard
            status, text = fetch(f"{system.admin}/api/v1/config")
            assert (status, text.count("masked-"), "authorization" in text) == (200, 4, True)
            known = {"store", "understudy.yaml"} | {path.name for path in tmp_path.glob("understudy.db*")}
            told = set(leaks(system)) - known
            assert "key=parameter" not in system.log.read_text() + json.dumps(system.route())
            assert not [name for name in told if "memfd" not in name and "deleted" not in name]


def events(system, opened):
    """What the stream of events says until it is silent for three seconds."""
    got = b""
    with (
        contextlib.suppress(TimeoutError),
        urllib.request.urlopen(f"{system.admin}/api/v1/events", timeout=3) as stream,
    ):
        opened.set()
        while line := stream.readline():
            got += line
    return got
