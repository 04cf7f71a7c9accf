"""Real processes for system tests: model servers, and the whole of Understudy behind one configuration file."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]


_held: list[socket.socket] = []


def free_port() -> int:
    """A port of the loopback address that nobody listens on, and that nobody else is given while this process lives.

    It is bound here and never listened at, so that the system passes it over when it picks ports for others: hundreds
    of programs start and thousands of connections are made beside a test. Whoever is meant to have it binds it with
    SO_REUSEADDR, as servers do; until then it refuses connections.
    """
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("127.0.0.1", 0))
    _held.append(sock)
    return sock.getsockname()[1]


ENDED = ("Succeeded", "Aborted", "Failed")
SETTLED_S = 15.0
"""A rollout that has ended so long ago begins no other one by itself, as it does for an edit of the file."""


def fetch(
    url: str, method: str = "GET", data: bytes | None = None, timeout_s: float = 30.0, content_type: str = ""
) -> tuple[int, Any]:
    """Status and decoded body of a request; status 0 where nobody listens."""
    request = urllib.request.Request(url, data=data, method=method)
    if content_type:
        request.add_header("Content-Type", content_type)
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:
            status, body = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, body = error.code, error.read()
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return 0, None
    try:
        return status, json.loads(body)
    except ValueError:
        return status, body.decode()


@contextlib.contextmanager
def process(module: str, *arguments: str) -> Iterator[int]:
    """A Python module as a process that says its port on standard output, for the length of a block."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        try:
            yield int(running.stdout.readline())
        finally:
            running.kill()


class ModelServer:
    """A steerable model server (`tests.support.model_server`)."""

    def __init__(self, name: str, port: int = 0) -> None:
        command = [sys.executable, "-m", "tests.support.model_server", "--name", name, "--port", str(port)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def control(self, **behaviour: Any) -> dict[str, int]:
        """Change how it behaves; returns what it has seen."""
        return fetch(f"http://127.0.0.1:{self.port}/control", "POST", json.dumps(behaviour).encode())[1]

    def stop(self) -> None:
        """Kill it."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()


class Understudy:
    """The whole system, as `understudy serve --config FILE` starts it."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.port, self.admin_port = free_port(), free_port()
        self.folder = folder
        self.path = folder / "understudy.yaml"
        self.log = folder / "understudy.log"
        self.config = {
            "listen": [{"address": f"127.0.0.1:{self.port}"}],
            "admin": {"address": f"127.0.0.1:{self.admin_port}"},
            "store": {"url": f"sqlite:///{folder / 'understudy.db'}"},
            "drainDelay": "0s",
            **config,
        }
        self.config["admin"] = {"address": f"127.0.0.1:{self.admin_port}", **config.get("admin", {})}
        self.write(self.config)
        self.process: subprocess.Popen[bytes] | None = None

    def write(self, config: dict[str, Any]) -> None:
        """Write the file as an editor does: a new file renamed over the old one."""
        self.config = config
        draft = self.path.with_suffix(".draft")
        draft.write_text(yaml.safe_dump(config, sort_keys=False))
        draft.replace(self.path)

    def start(self) -> Understudy:
        """Start, and wait until it is ready."""
        self.process = self.serve()
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def serve(self, *options: str) -> subprocess.Popen[bytes]:
        """A process of it, which may be a second one."""
        command = [
            sys.executable,
            "-m",
            "proxy",
            "serve",
            "--config",
            str(self.path),
            "--runtime-dir",
            str(self.folder),
        ]
        with self.log.open("ab") as log:
            return subprocess.Popen([*command, *options], cwd=ROOT, stdout=log, stderr=log)

    def wait_ready(self) -> None:
        """Until every worker holds the current generation."""
        wait_for("readiness", lambda: fetch(f"{self.admin}/readyz", timeout_s=10)[0] == 200)

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            for pid in (*children(self.process.pid), self.process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
            raise

    @property
    def admin(self) -> str:
        """Base address of the admin API."""
        return f"http://127.0.0.1:{self.admin_port}"

    def get(self, path: str) -> Any:
        """A document of the admin API."""
        status, body = fetch(f"{self.admin}/api/v1{path}")
        assert status == 200, (path, status, body)
        return body

    def post(self, path: str, **fields: Any) -> tuple[int, Any]:
        """A command to the admin API."""
        return fetch(f"{self.admin}/api/v1{path}", "POST", json.dumps(fields).encode())

    def route(self, name: str = "m") -> dict[str, Any]:
        """One route as the admin API tells it."""
        return self.get(f"/routes/{name}")

    def phase(self, name: str = "m") -> str:
        """The phase of a route's rollout, "" while the controller is away."""
        status, body = fetch(f"{self.admin}/api/v1/routes/{name}", timeout_s=10)
        return (body.get("phase") or "") if status == 200 else ""

    def wait_phase(self, *phases: str, timeout_s: float = 120.0) -> str:
        """Until the rollout is in one of the phases, and all workers have heard of it if it has ended: it is kept and
        shown, before they are told. One that has ended otherwise is not waited for: it stays so."""
        ended_s: float | None = None

        def look() -> str | None:
            nonlocal ended_s
            if (phase := self.phase()) in phases:
                return phase
            ended_s = (ended_s or time.monotonic()) if phase in ENDED else None
            assert ended_s is None or time.monotonic() - ended_s < SETTLED_S, f"{phase}, and not one of {phases}"
            return None

        try:
            phase = wait_for(f"phase {phases}", look, timeout_s, every_s=0.1)
            if phase in ENDED:
                wait_for("all workers to hear of it", self.heard, timeout_s, every_s=0.1)
            return phase
        except AssertionError:
            print(json.dumps(self.route(), indent=1)[:6000])
            raise

    def heard(self) -> bool:
        """Whether every worker routes by the newest generation."""
        status, body = fetch(f"{self.admin}/api/v1/status", timeout_s=10)
        return status == 200 and all(worker["generation"] == body["config"]["generation"] for worker in body["workers"])

    def pids(self, role: str) -> list[int]:
        """Processes of a role, found as children of the supervisor."""
        assert self.process is not None
        found = []
        for pid in children(self.process.pid):
            with contextlib.suppress(OSError):
                command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if role.encode() in command:
                    found.append(pid)
        return found

    def kill(self, role: str) -> list[int]:
        """kill -9 of every process of a role; returns who they were."""
        pids = self.pids(role)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return pids


def children(pid: int) -> list[int]:
    """Children of a process."""
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


@contextlib.contextmanager
def models(*names: str) -> Iterator[list[ModelServer]]:
    """Model servers for the length of a block."""
    servers = [ModelServer(name) for name in names]
    try:
        yield servers
    finally:
        for server in servers:
            server.stop()


@contextlib.contextmanager
def understudy(folder: Path, config: dict[str, Any]) -> Iterator[Understudy]:
    """The whole system for the length of a block."""
    system = Understudy(folder, config).start()
    try:
        yield system
    finally:
        system.stop()


def canary(
    stable: ModelServer,
    candidate: ModelServer,
    steps: list[dict[str, Any]],
    metrics: list[dict[str, Any]] | None = None,
    workers: int = 2,
    **analysis: Any,
) -> dict[str, Any]:
    """A configuration with one route `m`, v1 stable and v2 candidate, and quick blocks."""
    return {
        "workers": workers,
        "backends": [
            {"name": "v1", "endpoints": [f"http://127.0.0.1:{stable.port}"]},
            {"name": "v2", "endpoints": [f"http://127.0.0.1:{candidate.port}"]},
        ],
        "routes": [
            {
                "name": "m",
                "match": [{"path": {"prefix": "/v2/models/m"}}],
                "backendRefs": [{"name": "v1", "role": "stable"}, {"name": "v2", "role": "canary"}],
                "sessionAffinity": {"header": "x-user-id", "fallback": ["sourceIp"]},
                "predictions": {
                    "protocol": "open-inference",
                    "outputs": [
                        {"name": "label", "kind": "category"},
                        {"name": "score", "kind": "number", "range": [0, 1]},
                    ],
                },
                "strategy": {"canary": {"steps": steps}},
                "analysis": {
                    "interval": "1s",
                    "block": "1s",
                    "minDuration": "2s",
                    "minSamples": 50,
                    "maxDuration": "10m",
                    "metrics": metrics or [{"name": "errors", "maxIncrease": "5pp"}],
                    **analysis,
                },
            }
        ],
    }
