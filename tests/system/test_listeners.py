"""How clients come in: real clients, real sockets, the whole system."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.echo_server import echo_server
from tests.support.system import Understudy, wait_for

pytestmark = pytest.mark.system


@contextlib.contextmanager
def serving(folder: Path, **listener: Any) -> Iterator[Understudy]:
    """The system with one listener, in front of a backend that tells what it was sent."""
    with echo_server() as port:
        system = Understudy(
            folder,
            {
                "workers": 1,
                "backends": [{"name": "echo", "endpoints": [f"http://127.0.0.1:{port}"]}],
                "routes": [{"name": "r", "backendRefs": [{"name": "echo"}]}],
            },
        )
        system.config["listen"] = [{"address": f"127.0.0.1:{system.port}", **listener}]
        system.write(system.config)
        system.start()
        try:
            yield system
        finally:
            system.stop()


def curl(url: str, *options: str) -> dict[str, str]:
    """What the backend was told of a request; raises if there was no answer."""
    command = ["curl", "--silent", "--show-error", "--fail", "--max-time", "10", *options, url]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ConnectionError(f"curl {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def edit(system: Understudy, **listener: Any) -> None:
    """Change the listener of a running system."""
    system.config["listen"][0].update(listener)
    system.write(system.config)


def test_a_proxy_is_trusted_from_the_next_connection_on(tmp_path: Path) -> None:
    """If this fails, clients choose their address, or all have one behind a proxy, or an edit needs a restart."""
    with serving(tmp_path) as system:
        url = f"http://127.0.0.1:{system.port}/"
        claims = ("-H", "X-Forwarded-For: 203.0.113.9", "-H", "X-Forwarded-Proto: https", "-H", "X-Real-IP: 10.0.0.1")
        told = curl(url, *claims)
        assert (told["x-forwarded-for"], told["x-forwarded-proto"]) == ("127.0.0.1", "http")
        assert told["x-forwarded-host"] == f"127.0.0.1:{system.port}"
        assert "x-real-ip" not in told
        edit(system, trustedProxies=["127.0.0.0/8"])
        told = wait_for("trust", lambda: t if (t := curl(url, *claims))["x-forwarded-proto"] == "https" else None, 5)
        assert (told["x-forwarded-for"], told["x-real-ip"]) == ("203.0.113.9, 127.0.0.1", "10.0.0.1")
        assert system.get("/status")["restartNeeded"] == []
