"""What guards a route, under real load: rate limits, faults injected on purpose, the access log."""

from __future__ import annotations

import asyncio
import json
import os
import re
import urllib.error
import urllib.request
from time import monotonic

import pytest

from tests.support.load import Load, least
from tests.support.system import canary, fetch, models, understudy, wait_for

pytestmark = pytest.mark.system

LIMIT, BURST = 100, 200
"""Tokens of two seconds: a client that a busy machine holds up for less wastes none."""


def plain(server, **route):
    return {
        "workers": 2,
        "backends": [{"name": "v1", "endpoints": [f"http://127.0.0.1:{server.port}"]}],
        "routes": [{"name": "m", "backendRefs": [{"name": "v1"}], **route}],
    }


def metric(system, name, **labels):
    """The value of a metric, summed over the samples that have these labels."""
    text = fetch(f"{system.admin}/metrics")[1]
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    lines = [line for line in text.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
    return sum(float(line.rpartition(" ")[2]) for line in lines if all(label in line for label in wanted))


async def test_two_workers_hold_one_rate_limit(tmp_path):
    """If this fails, a limit is another one for each worker, for each connection, or judges the version."""
    with models("v1") as (v1,):
        limits = [{"requests": LIMIT, "burst": BURST}]
        with understudy(tmp_path, plain(v1, rateLimits=limits)) as system:
            started = monotonic()
            load = Load(system.port, rate=4 * LIMIT, connections=16)
            tally = await load.send(4 * LIMIT * 6)
            took_s = monotonic() - started
            allowed = BURST + LIMIT * took_s
            assert set(tally.statuses) == {200, 429}, tally.problems
            assert 0.9 * allowed <= tally.statuses[200] <= 1.1 * allowed, (tally.statuses, took_s)
            refused = tally.statuses[429]
            counted = wait_for("the count", lambda: metric(system, "understudy_rate_limited_total", route="m"))
            assert counted == refused
            # They are no sample of the version, and it has not seen them.
            assert metric(system, "understudy_requests_total", backend="v1") == tally.statuses[200]
            assert v1.control()["seen"] == tally.statuses[200]


def test_a_version_is_asked_for_by_name(tmp_path):
    """If this fails, a candidate cannot be tried before users meet it, or whoever tries it decides its rollout."""
    with models("v1", "v2") as (v1, v2):
        config = canary(v1, v2, [{"setWeight": 50}])
        config["routes"][0] |= {"directAccess": True, "responseHeaders": {"serverTiming": True}}
        config["accessLog"] = {"path": str(tmp_path / "access.log"), "percent": 100}
        with understudy(tmp_path, config) as system:
            url = f"http://127.0.0.1:{system.port}/v2/models/m/infer"
            seen = v2.control()["seen"]
            for _ in range(20):
                asked = urllib.request.Request(url, b"{}", {"x-understudy-backend": "v2"})
                with urllib.request.urlopen(asked, timeout=10) as got:
                    assert got.headers["x-understudy-backend"] == "v2"
                    assert re.fullmatch(r"understudy;dur=[\d.]+, backend;dur=[\d.]+", got.headers["server-timing"])
            assert v2.control()["seen"] == seen + 20
            with pytest.raises(urllib.error.HTTPError, match="404"):
                urllib.request.urlopen(urllib.request.Request(url, b"{}", {"x-understudy-backend": "v9"}), timeout=10)
            assert metric(system, "understudy_direct_requests_total", route="m") == 21
            log = tmp_path / "access.log"
            wait_for("the log", lambda: log.exists() and log.read_text().count("\n") == 21)
            told = [json.loads(line) for line in log.read_text().splitlines()]
            logged = sorted((line["status"], line["backend"], line["role"]) for line in told)
            assert logged == [(200, "v2", "direct")] * 20 + [(404, "", "")]
            assert metric(system, "understudy_requests_total", route="m") == 0


async def test_a_user_has_a_limit_of_its_own(tmp_path):
    """If this fails, one greedy user takes from all others, or has the limit once for each of its connections."""
    with models("v1") as (v1,):
        limits = [{"key": {"header": "x-user-id"}, "requests": 1, "per": "1h", "burst": 5}]
        with understudy(tmp_path, plain(v1, rateLimits=limits)) as system:
            tally = await Load(system.port, user_count=20, connections=16).send(400)
            assert tally.statuses == {200: 100, 429: 300}, tally.problems


async def test_a_game_day_aborts_the_candidate(tmp_path):
    """If this fails, nobody knows whether a rollout would be aborted before it has to be."""
    with models("v1", "v2") as (v1, v2):
        config = canary(v1, v2, [{"setWeight": 50}, {"analysis": {"minSamples": 100_000}}])
        config["routes"][0]["fault"] = {"abort": {"httpStatus": 503, "percent": 50}, "backend": "v2"}
        with understudy(tmp_path, config) as system:
            assert "faults are injected on purpose" in system.log.read_text()
            assert system.get("/status")["faultInjection"][0]["route"] == "m"
            async with Load(system.port, rate=200) as load:
                phase = await asyncio.to_thread(system.wait_phase, "Aborted", "Succeeded", "Failed")
            assert phase == "Aborted", system.route()
            assert load.tally.statuses[503] > 0
            counted = metric(system, "understudy_injected_total", route="m", kind="abort")
            assert counted == load.tally.statuses[503]
            assert metric(system, "understudy_faults_total", backend="v2", fault="injected") == counted
            assert metric(system, "understudy_faults_total", backend="v1") == 0


async def test_a_fault_of_nobody_is_judged_against_nobody(tmp_path):
    """If this fails, a test of the clients takes the candidate out of service."""
    with models("v1", "v2") as (v1, v2):
        config = canary(v1, v2, [{"setWeight": 50}, {"analysis": {"minSamples": 400}}])
        config["routes"][0]["fault"] = {"abort": {"httpStatus": 503, "percent": 50}}
        with understudy(tmp_path, config) as system:
            async with Load(system.port, rate=200) as load:
                phase = await asyncio.to_thread(system.wait_phase, "Succeeded", "Aborted", "Failed")
            assert phase == "Succeeded", system.route()
            assert load.tally.statuses[503] > 0.3 * load.tally.sent


async def test_a_stuck_reader_of_the_access_log_slows_nobody(tmp_path):
    """If this fails, a log collector that hangs takes the proxy down with it."""
    fifo = tmp_path / "log"
    os.mkfifo(fifo)
    with models("v1") as (v1,), understudy(tmp_path, plain(v1)) as system:

        async def p99(count):
            tally = await Load(system.port, rate=300).send(count)
            assert tally.failed == 0, tally.problems
            return tally.quantile_s(0.99)

        quick = await p99(900)
        stuck = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        log = {"path": str(fifo), "percent": 100, "maxBufferBytes": 65_536}
        system.write({**system.config, "accessLog": log})
        wait_for("the log", lambda: "access log changed" in system.log.read_text())
        # A loaded machine has tens of milliseconds of noise; whoever waits for the pipe waits for ever.
        limit_s = max(3 * quick, 0.1)
        assert await least(lambda: p99(2400), limit_s) < limit_s
        wait_for("dropped lines", lambda: metric(system, "understudy_access_log_dropped_total") > 0)
        os.close(stuck)


async def test_every_request_has_its_line_through_a_rotation(tmp_path):
    """If this fails, lines of two workers are mixed, or some are lost when the log is rotated or the proxy stops."""
    path, aside = tmp_path / "access.log", tmp_path / "access.log.1"
    with models("v1") as (v1,):
        config = {**plain(v1), "accessLog": {"path": str(path), "percent": 100, "headers": ["x-user-id"]}}
        with understudy(tmp_path, config) as system:
            async with Load(system.port, rate=400) as load:
                await asyncio.to_thread(wait_for, "lines", lambda: path.exists() and path.stat().st_size > 50_000)
                path.rename(aside)
                await asyncio.to_thread(wait_for, "lines", lambda: path.exists() and path.stat().st_size > 50_000)
            sent = load.tally.sent
            assert load.tally.failed == 0, load.tally.problems
        # The last lines are written while the workers end.
        lines = [json.loads(line) for log in (aside, path) for line in log.read_bytes().splitlines()]
        assert len(lines) == len({line["requestId"] for line in lines}) == sent
        assert {(line["status"], line["backend"], line["flags"]) for line in lines} == {(200, "v1", "")}
        assert all(line["headers"]["x-user-id"].startswith("user-") for line in lines)
