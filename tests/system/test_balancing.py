"""Endpoints of one version that die, hang and come back, with real processes."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.standing import standing
from tests.support.system import ModelServer, Understudy, fetch, models, understudy, wait_for

pytestmark = [pytest.mark.system, pytest.mark.slow]
CHECK = {"path": "/v2/health/ready", "interval": "200ms", "timeout": "1s", "unhealthyThreshold": 2}


def config(servers: list[ModelServer], timeout: str = "1s", **backend: Any) -> dict[str, Any]:
    endpoints = [f"http://127.0.0.1:{server.port}" for server in servers]
    return {
        "workers": 1,
        "backends": [{"name": "v1", "endpoints": endpoints, **backend}],
        "routes": [
            {"name": "m", "backendRefs": [{"name": "v1"}], "timeouts": {"request": timeout, "connect": timeout}}
        ],
    }


def send(system: Understudy, count: int) -> list[int]:
    """The statuses of so many requests, one after the other."""
    url = f"http://127.0.0.1:{system.port}/v2/models/m/infer"
    return [fetch(url, "POST", json.dumps({"n": number}).encode())[0] for number in range(count)]


def endpoints(system: Understudy, backend: int = 0) -> list[dict[str, Any]]:
    return system.get("/status")["backends"][backend]["endpoints"]


def states(system: Understudy) -> list[str]:
    return [line["state"] for line in endpoints(system)]


def test_a_killed_endpoint_costs_a_handful_of_requests(tmp_path: Path) -> None:
    """Every other request would fail until somebody edits the file; and it would never get traffic again."""
    outliers = {"consecutive5xxErrors": 3, "interval": "200ms", "baseEjectionTime": "2s"}
    with models("a", "b") as servers, standing(config(servers, outlierDetection=outliers)) as system:
        assert send(system, 10) == [200] * 10
        servers[1].stop()
        statuses = send(system, 60)
        assert 0 < statuses.count(503) + statuses.count(502) <= 4, statuses
        assert statuses[-40:] == [200] * 40
        wait_for("the ejection to be seen", lambda: states(system) == ["healthy", "ejected"])
        assert endpoints(system)[1]["ejections"] == 1
        assert 'understudy_backend_endpoints{backend="v1",state="ejected"} 1.0' in fetch(f"{system.admin}/metrics")[1]
        assert "endpoint ejected" in system.log.read_text()
        servers[1] = ModelServer("b", servers[1].port)
        wait_for("its traffic", lambda: set(send(system, 2)) == {200} and servers[1].control()["seen"])
        wait_for("it to be seen as healthy", lambda: states(system) == ["healthy", "healthy"])


def test_a_hung_endpoint_is_taken_out_and_comes_back_slowly(tmp_path: Path) -> None:
    """It takes connections, so that nothing but a check or a timeout tells; and back, it would be overrun."""
    balancer = {"slowStart": {"window": "20s", "minWeightPercent": 5}}
    with models("a", "b") as servers:
        document = config(servers, healthCheck=CHECK, loadBalancer=balancer)
        with standing(document) as system:
            wait_for("both to be well", lambda: states(system) == ["healthy", "healthy"])
            os.kill(servers[1].process.pid, signal.SIGSTOP)
            wait_for("the check to find it", lambda: states(system) == ["healthy", "unhealthy"])
            assert endpoints(system)[1]["reason"] == "no answer within 1s"
            assert send(system, 50)[2:] == [200] * 48, "the first may come before the workers have heard of it"
            os.kill(servers[1].process.pid, signal.SIGCONT)
            wait_for("the check to find it well", lambda: states(system) == ["healthy", "healthy"])
            before = servers[1].control()["seen"]
            began = time.monotonic()
            assert send(system, 100) == [200] * 100
            seen = servers[1].control()["seen"] - before
            if time.monotonic() - began < 5:  # its share was below 5/20 all the time, and half of that is expected
                assert seen < 40, "it has had its full share at once"
            wait_for("its share to grow", lambda: endpoints(system)[1]["share"] > 0.1)


def test_all_down_is_a_panic_or_an_answer_at_once(tmp_path: Path) -> None:
    """With every endpoint down for its checks, the checks may be wrong: requests are tried, unless the file says no."""
    with models("a", "b") as servers:
        document = config(servers, healthCheck={**CHECK, "path": "/v2/models/m/infer"})
        document["backends"].append({**document["backends"][0], "name": "v2", "loadBalancer": {"panicThreshold": 0}})
        document["routes"].insert(
            0, {"name": "n", "match": [{"path": {"prefix": "/strict"}}], "backendRefs": [{"name": "v2"}]}
        )
        for server in servers:
            server.control(failEvery=1)
        with standing(document) as system:
            wait_for("all to be found down", lambda: states(system) == ["unhealthy", "unhealthy"])
            assert endpoints(system)[0]["reason"] == "status 500"
            wait_for("the panic to be seen", lambda: system.get("/status")["backends"][0]["panic"] == 1)
            assert send(system, 4) == [500] * 4, "nobody was asked"
            status, problem = fetch(f"http://127.0.0.1:{system.port}/strict/infer")
            assert status == 503
            assert "v2" in str(problem)
            assert "no endpoint" in str(problem)
            for server in servers:
                server.control(failEvery=0)
            wait_for("the end of the panic", lambda: states(system) == ["healthy", "healthy"])
            wait_for("it to serve", lambda: fetch(f"http://127.0.0.1:{system.port}/strict/infer")[0] == 200)
            assert "panic: the health of endpoints is ignored" in system.log.read_text()
            wait_for("the log to say so", lambda: "panic is over" in system.log.read_text())


def test_health_outlives_a_reload_and_the_controller(tmp_path: Path) -> None:
    """Each edit, and each death of the controller, would send traffic to what is known to be down."""
    slow = {**CHECK, "interval": "1s", "healthyThreshold": 100}
    with models("a", "b") as servers, understudy(tmp_path, config(servers, healthCheck=slow)) as system:
        os.kill(servers[1].process.pid, signal.SIGSTOP)
        wait_for("the check to find it", lambda: states(system) == ["healthy", "unhealthy"])
        changed = {**system.config, "routes": [{**system.config["routes"][0], "timeouts": {"request": "2s"}}]}
        changed["backends"] = [{**changed["backends"][0], "connectionPool": {"maxPendingRequests": 7}}]
        generation = system.get("/status")["config"]["generation"]
        system.write(changed)
        wait_for("the edit", lambda: system.get("/status")["config"]["generation"] > generation)
        assert states(system)[1] == "unhealthy"
        assert send(system, 20) == [200] * 20
        system.kill("controller")
        assert send(system, 20) == [200] * 20, "the workers forgot what they were told"
        wait_for("the next controller", lambda: fetch(f"{system.admin}/readyz")[0] == 200)
        assert states(system)[1] == "unhealthy"
        assert send(system, 20) == [200] * 20
