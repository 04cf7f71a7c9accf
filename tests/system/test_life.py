"""How the whole ends and goes on: draining, the death of a worker, SIGHUP."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import time

import pytest

from tests.support.load import Load
from tests.support.system import canary, fetch, models, understudy, wait_for

pytestmark = pytest.mark.system

STAY = [{"setWeight": 50}, {"pause": {}}]


def seen(*servers):
    """Inferences that the servers were asked for."""
    return sum(server.control()["seen"] for server in servers)


async def test_sigterm_lets_what_is_under_way_end(tmp_path):
    """If this fails, every deployment of the proxy itself costs somebody an answer."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, canary(v1, v2, STAY)) as system:
        v1.control(delayMs=1500)
        v2.control(delayMs=1500)
        load = Load(system.port, connections=8)
        under_way = asyncio.create_task(load.send(8))
        await asyncio.to_thread(
            wait_for, "requests under way", lambda: v1.control()["seen"] + v2.control()["seen"] >= 8
        )
        started = time.monotonic()
        status = await asyncio.to_thread(system.stop)
        tally = await under_way
        assert status == 0
        assert tally.statuses == {200: 8}, tally.problems
        assert time.monotonic() - started < 10, "it waited for more than what was under way"


def test_a_draining_proxy_tells_clients_to_go(tmp_path):
    """If this fails, a client goes on to use a connection that is about to vanish."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, canary(v1, v2, STAY)) as system:
        v1.control(delayMs=700)
        v2.control(delayMs=700)
        client = http.client.HTTPConnection("127.0.0.1", system.port, timeout=10)
        client.request("POST", "/v2/models/m/infer", body=b"{}")
        wait_for("the request at the backend", lambda: seen(v1, v2) >= 1)
        assert system.process is not None
        system.process.terminate()
        answer = client.getresponse()
        assert answer.status == 200
        assert answer.getheader("connection") == "close"
        answer.read()
        assert system.process.wait(timeout=20) == 0


@pytest.mark.alone
async def test_a_dead_worker_is_back_within_300_ms(tmp_path):
    """If this fails, the death of the only worker is an outage that clients notice."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, canary(v1, v2, STAY, workers=1)) as system:
        (old,) = system.pids("worker")
        os.kill(old, signal.SIGKILL)
        killed = time.monotonic()
        # The listening socket outlives the worker: the request waits in it until the next one accepts.
        status, _ = await asyncio.to_thread(fetch, f"http://127.0.0.1:{system.port}/v2/models/m/infer", "POST", b"{}")
        waited = time.monotonic() - killed
        assert status == 200
        assert system.pids("worker") != [old]
        assert waited < 0.3, "a worker that dies again and again waits longer, but this one died once"


def test_sighup_reads_the_file_again(tmp_path):
    """If this fails, the oldest way of reloading a daemon kills it instead, or does nothing."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, canary(v1, v2, STAY)) as system:
        before = system.pids("worker")
        assert system.process is not None
        system.process.send_signal(signal.SIGHUP)

        def told() -> list[str]:
            return [line for line in system.log.read_text().splitlines() if "SIGHUP" in line and "controller" in line]

        (line,) = wait_for("the reload", told)
        assert "configuration unchanged" in line
        assert system.pids("worker") == before
        assert fetch(f"http://127.0.0.1:{system.port}/v2/models/m/infer", "POST", b"{}")[0] == 200
