"""How the whole ends: nobody is lost, and it takes as long as the file says and no longer."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import signal
import socket
import subprocess
import time

import pytest

from tests.support.arrivals import Arrivals
from tests.support.system import Understudy, canary, fetch, models, process, understudy, wait_for

pytestmark = pytest.mark.system
STAY = [{"setWeight": 50}, {"pause": {}}]


def test_what_outlasts_the_drain_timeout_is_cut(tmp_path):
    """If this fails, one request that never ends keeps a deployment waiting until somebody kills it."""
    with models("v1", "v2") as (v1, v2):
        config = canary(v1, v2, STAY)
        with understudy(tmp_path, {**config, "drainTimeout": "1s"}) as system:
            for server in (v1, v2):
                server.control(hang=True)
            client = http.client.HTTPConnection("127.0.0.1", system.port, timeout=20)
            client.request("POST", "/v2/models/m/infer", body=b"{}")
            wait_for("the request at a backend", lambda: v1.control()["seen"] + v2.control()["seen"])
            began_s = time.monotonic()
            assert system.stop() == 0
            assert 1.0 <= time.monotonic() - began_s < 6.0
            with pytest.raises((http.client.HTTPException, OSError)):
                client.getresponse()


@pytest.mark.parametrize("fresh", [8, 4], ids=["new connections", "half of them kept"])
async def test_nobody_who_was_let_in_is_lost(tmp_path, fresh):
    """If this fails, each deployment of the proxy resets some of the clients that are just connecting."""
    with models("v1", "v2") as (v1, v2):
        system = Understudy(tmp_path, canary(v1, v2, STAY)).start()
        try:
            async with Arrivals(system.port, clients=8, fresh=fresh) as arrivals:
                await asyncio.to_thread(wait_for, "connections", lambda: arrivals.met.connections >= 500)
                assert await asyncio.to_thread(system.stop) == 0
                met = await arrivals.finished()
        finally:
            await asyncio.to_thread(system.stop)
    assert not met.lost, met
    assert met.refused == 8
    assert set(met.statuses) == {200}


def test_readiness_fails_first(tmp_path):
    """If this fails, a balancer goes on to send clients to a process that takes nobody any more."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, {**canary(v1, v2, STAY), "drainDelay": "2s"}) as system:
        assert system.process is not None
        client = http.client.HTTPConnection("127.0.0.1", system.port, timeout=5)
        client.request("POST", "/v2/models/m/infer", body=b"{}")
        kept = client.getresponse()
        assert (kept.status, kept.getheader("connection")) == (200, None)
        kept.read()
        began_s = time.monotonic()
        system.process.send_signal(signal.SIGTERM)
        status, problem = wait_for(
            "readiness to fail", lambda: found if (found := fetch(f"{system.admin}/readyz"))[0] == 503 else None, 1
        )
        assert (status, problem["type"]) == (503, "urn:understudy:problem:draining")
        time.sleep(0.2)  # a worker looks ten times a second
        for connection in (client, http.client.HTTPConnection("127.0.0.1", system.port, timeout=5)):
            connection.request("POST", "/v2/models/m/infer", body=b"{}")
            answer = connection.getresponse()
            assert (answer.status, answer.getheader("connection")) == (200, "close")
            answer.read()
        assert system.process.wait(timeout=20) == 0
        assert 2.0 <= time.monotonic() - began_s < 6.0


def test_ctrl_c_waits_for_no_balancer_and_a_second_signal_for_nobody(tmp_path):
    """If this fails, somebody at a terminal waits for seconds, or has to look for processes to kill."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, {**canary(v1, v2, STAY), "drainDelay": "60s"}) as system:
        assert system.process is not None
        for server in (v1, v2):
            server.control(hang=True)
        with socket.create_connection(("127.0.0.1", system.port)) as client:
            client.sendall(b"POST /v2/models/m/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n")
            wait_for("the request at a backend", lambda: v1.control()["seen"] + v2.control()["seen"])
            system.process.send_signal(signal.SIGINT)
            wait_for("the end of listening", lambda: "draining" in system.log.read_text())
            with pytest.raises(subprocess.TimeoutExpired):
                system.process.wait(timeout=1.5)
            system.process.send_signal(signal.SIGINT)
            assert system.process.wait(timeout=5) == 0
            client.settimeout(5)
            assert cut(client)


def cut(client: socket.socket) -> bool:
    """Whether a connection ends without an answer."""
    try:
        return client.recv(10) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(("drain_timeout", "whole"), [("10s", True), ("1s", False)])
def test_a_stream_has_the_drain_timeout(tmp_path, drain_timeout, whole):
    """If this fails, a deployment cuts token streams short, or one that is cut looks complete to its client."""
    with process("tests.support.token_server") as port:
        config = {
            "drainTimeout": drain_timeout,
            "backends": [{"name": "llm", "endpoints": [f"http://127.0.0.1:{port}"]}],
            "routes": [{"name": "chat", "backendRefs": [{"name": "llm"}]}],
        }
        with understudy(tmp_path, config) as system, socket.create_connection(("127.0.0.1", system.port)) as client:
            body = b'{"model": "m", "stream": true, "metadata": {"gapMs": "700"}}'
            head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            client.settimeout(15)
            client.sendall(head + b"content-length: %d\r\n\r\n" % len(body) + body)
            answer = client.recv(65_536)
            assert answer.startswith(b"HTTP/1.1 200")
            assert system.process is not None
            system.process.terminate()
            began_s = time.monotonic()
            with contextlib.suppress(ConnectionResetError):
                while data := client.recv(65_536):
                    answer += data
            took_s = time.monotonic() - began_s
            assert (b"[DONE]" in answer) is whole
            assert answer.endswith(b"0\r\n\r\n") is whole
            assert (3.5 < took_s < 8.0) if whole else (0.9 < took_s < 3.0), took_s
