"""Captured requests from client to command line: what the file lets out is there, and nothing else anywhere."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from tests.support.load import Load
from tests.support.system import ROOT, Understudy, canary, fetch, models, understudy, wait_for

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]

SECRET = "patient-4711"
NAME = "Ann-Elizabeth Smith-Jones"
STEPS = [{"setMirror": {"percent": 100}}, {"pause": {}}, {"setWeight": 5}]
CAPTURE = {
    "percent": 100,
    "disagreements": True,
    "errors": True,
    "perMinute": 6000,
    "fields": {
        "inputs[*].name": "keep",
        "parameters.user": "mask",
        "outputs[*].name": "keep",
        "outputs[*].data": "keep",
    },
    "headers": {"x-request-id": "keep", "authorization": "hash"},
    "path": "keep",
}


def captured(folder, v1, v2, **changes):
    found = canary(v1, v2, STEPS)
    found["routes"][0]["capture"] = CAPTURE | changes
    return found


def body(number: int) -> bytes:
    inputs = [{"name": "text", "datatype": "BYTES", "shape": [1], "data": [f"{SECRET} number {number}"]}]
    return json.dumps({"inputs": inputs, "parameters": {"user": NAME, "note": SECRET}}).encode()


def infer(system: Understudy, number: int) -> int:
    """One request of a person, with what nobody is to keep."""
    url = f"http://127.0.0.1:{system.port}/v2/models/m/infer?user={SECRET}"
    request = urllib.request.Request(url, body(number), method="POST")
    for name, value in (
        ("Content-Type", "application/json"),
        ("X-Request-Id", f"r-{number}"),
        ("X-Patient", SECRET),
        ("Authorization", f"Bearer {SECRET}"),
    ):
        request.add_header(name, value)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def page(system: Understudy, **asked):
    query = "&".join(f"{key}={value}" for key, value in {"limit": 100, **asked}.items())
    return system.get(f"/routes/m/captures?{query}")["captures"]


def everywhere(system: Understudy) -> bytes:
    """All files of it, and what its API tells."""
    files = [path.read_bytes() for path in system.folder.iterdir() if path.is_file()]
    return b"\n".join([*files, json.dumps(page(system)).encode()])


def metric(system: Understudy, name: str) -> float:
    with urllib.request.urlopen(f"{system.admin}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def command(system: Understudy, *words: str) -> str:
    line = [sys.executable, "-m", "proxy", "captures", "m", "--admin", system.admin, *words]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_what_differs_is_seen_and_nothing_personal_is_kept(tmp_path):
    """If this fails, an engineer cannot see where versions disagree, or a person's data lies in a file."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, captured(tmp_path, v1, v2)) as system:
        v2.control(flipEvery=3)
        await asyncio.to_thread(wait_for, "copies", lambda: system.route()["mirror"] == 100, 30)
        for number in range(12):
            assert await asyncio.to_thread(infer, system, number) == 200
        await asyncio.to_thread(wait_for, "disagreements", lambda: len(page(system, kind="disagreement")) == 4, 20)
        await asyncio.to_thread(wait_for, "samples", lambda: len(page(system, kind="sample")) == 12, 20)

        one = page(system, kind="disagreement")[0]
        request, (stable, candidate) = one["request"], one["answers"]
        assert one["differs"] == ["label"]
        assert (request["method"], request["path"]) == ("POST", "/v2/models/m/infer")
        assert request["headers"]["x-request-id"].startswith("r-")
        assert len(request["headers"]["authorization"]) == 12
        assert request["body"]["bytes"] == len(body(int(request["headers"]["x-request-id"][2:])))
        value = request["body"]["value"]
        assert value["inputs"] == [{"name": "text"}]
        assert value["parameters"].keys() == {"user"}
        assert value["parameters"]["user"].startswith("A…s#")
        assert [(a["backend"], a["role"], a["status"]) for a in (stable, candidate)] == [
            ("v1", "stable", 200),
            ("v2", "shadow", 200),
        ]
        labels = [answer["body"]["value"]["outputs"][0] for answer in (stable, candidate)]
        assert {tuple(label["data"]) for label in labels} == {("cat",), ("dog",)}

        for word in (SECRET, NAME, "Elizabeth"):
            assert word.encode() not in everywhere(system)
        assert metric(system, 'understudy_captures_total{kind="sample",route="m"}') == 12

        shown = command(system, "--kind", "disagreement", "--limit", "1")
        assert "differs in label" in shown
        assert "shadow v2" in shown
        assert "cat" in shown
        assert "dog" in shown
        assert len(json.loads(command(system, "--json", "--limit", "3"))["captures"]) == 3

        user = value["parameters"]["user"].encode()  # as it is kept, and to be gone for good
        assert json.dumps(user.decode())[1:-1].encode() in everywhere(system) or user in everywhere(system)
        assert "16 captured requests are taken away" in command(system, "--delete")
        assert page(system) == []
        database = b"".join(path.read_bytes() for path in tmp_path.glob("understudy.db*"))
        assert user not in database
        entry = system.get("/routes/m/history?limit=1")["entries"][0]
        assert (entry["kind"], entry["text"]) == ("captures", "16 captured requests are taken away")


async def test_failures_are_captured_whatever_is_killed(tmp_path):
    """If this fails, nobody sees which requests a version fails, or a capture costs a client its answer."""
    with (
        models("v1", "v2") as (v1, v2),
        understudy(tmp_path, captured(tmp_path, v1, v2, percent=0, disagreements=False)) as system,
    ):
        await asyncio.to_thread(wait_for, "copies", lambda: system.route()["mirror"] == 100, 30)
        v1.control(failEvery=2)
        statuses = [await asyncio.to_thread(infer, system, number) for number in range(6)]
        assert sorted(statuses) == [200] * 3 + [500] * 3
        found = await asyncio.to_thread(wait_for, "errors", lambda: len(e := page(system)) == 3 and e, 20)
        assert {each["kind"] for each in found} == {"error"}
        assert [(a["backend"], a["status"], a["body"]["why"]) for a in found[0]["answers"]] == [("v1", 500, "dropped")]

        v1.control(failEvery=0)
        async with Load(system.port, rate=100) as load:
            await asyncio.sleep(0.5)
            os.kill(system.pids("worker")[0], 9)
            await asyncio.sleep(1.5)
            killed = load.tally.broken
            system.kill("controller")
            await asyncio.sleep(2.0)
        assert load.tally.statuses.keys() <= {200}
        assert load.tally.broken == killed, "a controller that died was noticed"
        await asyncio.to_thread(system.wait_ready)
        v2.control(failEvery=1)
        assert await asyncio.to_thread(infer, system, 7) == 200
        news = await asyncio.to_thread(
            wait_for, "the copy's failure", lambda: [e for e in page(system) if len(e["answers"]) == 2], 20
        )
        assert [(a["backend"], a["role"], a["status"]) for a in news[0]["answers"]] == [
            ("v1", "stable", 200),
            ("v2", "shadow", 500),
        ]
        assert SECRET.encode() not in everywhere(system)


async def test_without_capture_nothing_of_a_payload_is_stored(tmp_path):
    """If this fails, what nobody asked for lies in a file."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, canary(v1, v2, STEPS)) as system:
        await asyncio.to_thread(wait_for, "copies", lambda: system.route()["mirror"] == 100, 30)
        for number in range(5):
            assert await asyncio.to_thread(infer, system, number) == 200
        await asyncio.sleep(1.0)
        assert page(system) == []
        assert fetch(f"{system.admin}/api/v1/routes/nobody/captures")[0] == 404
        for word in (SECRET, NAME):
            assert word.encode() not in everywhere(system)
