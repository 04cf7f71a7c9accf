"""A new release takes over from the one that runs, under load, and whoever is killed on the way."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys

import pytest

from tests.support.arrivals import Arrivals
from tests.support.system import ROOT, Understudy, canary, fetch, models, wait_for

pytestmark = pytest.mark.system
STAY = [{"setWeight": 50}, {"pause": {}}]


async def in_thread(what, holds, timeout_s=30.0):
    return await asyncio.to_thread(wait_for, what, holds, timeout_s)


async def test_a_takeover_loses_nobody(tmp_path):
    """If this fails, a new release of the proxy refuses or resets clients, or forgets how far a rollout has come."""
    with models("v1", "v2") as (v1, v2):
        system = Understudy(tmp_path, canary(v1, v2, STAY)).start()
        old, new = system.process, None
        assert old is not None
        try:
            await asyncio.to_thread(system.wait_phase, "Paused")
            begun = system.route()["startedAt"]
            async with Arrivals(system.port, clients=8, fresh=4) as arrivals:
                await in_thread("connections", lambda: arrivals.met.connections >= 300)
                new = system.process = system.serve("--takeover")
                assert await asyncio.to_thread(old.wait, 40) == 0
                before = arrivals.met.connections
                await in_thread("connections to the new one", lambda: arrivals.met.connections >= before + 300)
            met = arrivals.met
            assert not met.lost, met
            assert met.refused == 0
            assert set(met.statuses) == {200}
            assert new.poll() is None
            route = await asyncio.to_thread(system.route)
            assert (route["phase"], route["weight"], route["startedAt"]) == ("Paused", 50.0, begun)
        finally:
            for process in (old, new):
                if process is not None:
                    process.terminate()
                    await asyncio.to_thread(process.wait, 40)


@pytest.mark.parametrize("victim", ["old", "new"])
async def test_whoever_is_killed_the_other_serves(tmp_path, victim):
    """If this fails, one death during a deployment is an outage."""
    with models("v1", "v2") as (v1, v2):
        system = Understudy(tmp_path, canary(v1, v2, STAY)).start()
        old = system.process
        assert old is not None
        new = None
        try:
            new = system.serve("--takeover")
            await in_thread("the store to be handed over", lambda: '"request": "store"' in system.log.read_text())
            dead, alive = (old, new) if victim == "old" else (new, old)
            dead.kill()
            system.process = alive
            await asyncio.to_thread(system.wait_ready)
            for _ in range(50):
                status, _ = await asyncio.to_thread(
                    fetch, f"http://127.0.0.1:{system.port}/v2/models/m/infer", "POST", b"{}"
                )
                assert status == 200
            await asyncio.to_thread(system.wait_phase, "Paused")
            assert alive.poll() is None
        finally:
            for process in (old, new):
                if process is not None and process.poll() is None:
                    process.terminate()
                    await asyncio.to_thread(process.wait, 40)


def test_a_release_that_never_serves_leaves_the_old_one(tmp_path):
    """If this fails, a broken release takes the place of a good one."""
    with models("v1", "v2") as (v1, v2):
        system = Understudy(tmp_path, canary(v1, v2, STAY)).start()
        try:
            good = system.config
            system.write({**good, "store": {"url": f"sqlite:///{tmp_path}/no/such/folder/u.db"}})
            new = system.serve("--takeover", "--takeover-timeout", "4")
            assert new.wait(30) == 1
            assert "the one that ran goes on" in system.log.read_text()
            system.wait_phase("Paused")
            assert fetch(f"http://127.0.0.1:{system.port}/v2/models/m/infer", "POST", b"{}")[0] == 200
        finally:
            system.stop()


def test_sockets_of_systemd_are_used_and_outlive_us(tmp_path):
    """If this fails, `systemctl restart` refuses or resets the clients that come meanwhile."""
    with models("v1", "v2") as (v1, v2), socket.create_server(("127.0.0.1", 0)) as listening:
        system = Understudy(tmp_path, canary(v1, v2, STAY))
        port = listening.getsockname()[1]
        system.write({**system.config, "listen": [{"address": f"127.0.0.1:{port}"}]})
        serve = [sys.executable, "-m", "proxy", "serve", "--config", str(system.path), "--runtime-dir", str(tmp_path)]
        code = (
            "import os, sys; os.dup2(int(sys.argv[1]), 3); os.set_inheritable(3, True);"
            "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1'); os.execv(sys.argv[2], sys.argv[2:])"
        )

        def begin() -> None:
            with system.log.open("ab") as log:
                command = [sys.executable, "-c", code, str(listening.fileno()), *serve]
                system.process = subprocess.Popen(
                    command, cwd=ROOT, stdout=log, stderr=log, pass_fds=[listening.fileno()]
                )

        begin()
        system.wait_ready()
        assert fetch(f"http://127.0.0.1:{port}/v2/models/m/infer", "POST", b"{}")[0] == 200
        assert system.stop() == 0
        with socket.create_connection(("127.0.0.1", port), 5) as waiting:
            waiting.sendall(b"POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}")
            begin()
            waiting.settimeout(20)
            assert waiting.recv(100).startswith(b"HTTP/1.1 200")
        system.stop()
