"""How clients come in: real clients, real sockets, the whole system."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.echo_server import echo_server
from tests.support.system import Understudy, fetch, wait_for

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


def test_a_load_balancer_that_passes_on_bytes_says_who_it_is(tmp_path: Path) -> None:
    """If this fails, behind such a load balancer no client has an address, or the header is taken for a request."""
    with serving(tmp_path) as system:
        url = f"http://127.0.0.1:{system.port}/"
        edit(system, proxyProtocol=True)

        def asked() -> dict[str, str] | None:
            with contextlib.suppress(ConnectionError):
                return curl(url, "--haproxy-protocol")
            return None

        assert wait_for("the PROXY protocol", asked, 5)["x-forwarded-for"] == "127.0.0.1"
        with socket.create_connection(("127.0.0.1", system.port)) as conn:
            conn.sendall(b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n")
            conn.sendall(b"GET / HTTP/1.1\r\nHost: m.test\r\nConnection: close\r\n\r\n")
            assert b'"x-forwarded-for": "203.0.113.9"' in conn.makefile("rb").read()
        with pytest.raises(ConnectionError):
            curl(url)
        counted = 'understudy_refused_requests_total{fault="proxy-header"} 1.0'
        wait_for("the count", lambda: counted in fetch(f"{system.admin}/metrics")[1], 5)
