"""How clients come in: real clients, real sockets, the whole system."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import ssl
import stat
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.certificates import Authority, Pair
from tests.support.echo_server import echo_server
from tests.support.system import ROOT, Understudy, fetch, free_port, wait_for

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
        told = wait_for("trust", lambda: t if (t := curl(url, *claims))["x-forwarded-proto"] == "https" else None)
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

        assert wait_for("the PROXY protocol", asked)["x-forwarded-for"] == "127.0.0.1"
        with socket.create_connection(("127.0.0.1", system.port)) as conn:
            conn.sendall(b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n")
            conn.sendall(b"GET / HTTP/1.1\r\nHost: m.test\r\nConnection: close\r\n\r\n")
            assert b'"x-forwarded-for": "203.0.113.9"' in conn.makefile("rb").read()
        with pytest.raises(ConnectionError):
            curl(url)
        counted = 'understudy_refused_requests_total{fault="proxy-header"} 1.0'
        wait_for("the count", lambda: counted in fetch(f"{system.admin}/metrics")[1])


def secret(folder: Path, pair: Pair) -> None:
    """Files as Kubernetes puts a Secret there: links through a link, which is swapped."""
    folder.mkdir(exist_ok=True)
    version = folder / f"..{pair.certificate.stem}"
    version.mkdir(exist_ok=True)
    shutil.copy(pair.certificate, version / "tls.crt")
    shutil.copy(pair.key, version / "tls.key")
    (folder / "..new").symlink_to(version.name)
    (folder / "..new").replace(folder / "..data")
    for name in ("tls.crt", "tls.key"):
        if not (folder / name).exists():
            (folder / name).symlink_to(f"..data/{name}")


def tls(folder: Path, **more: Any) -> dict[str, Any]:
    return {"certificates": [{"certFile": f"{folder}/tls.crt", "keyFile": f"{folder}/tls.key"}], **more}


def test_clients_come_over_tls_and_see_a_renewed_certificate(tmp_path: Path) -> None:
    """If this fails, there is no TLS, a renewal needs a restart, or one that went wrong ends it."""
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    folder = tmp_path / "tls"
    secret(folder, old.issue("localhost", "127.0.0.1", stem="one"))
    with serving(tmp_path, tls=tls(folder)) as system:
        url = f"https://localhost:{system.port}/"
        assert curl(url, "--cacert", str(old.certificate))["x-forwarded-proto"] == "https"
        before = http.client.HTTPSConnection(
            "localhost", system.port, context=ssl.create_default_context(cafile=old.certificate), timeout=10
        )
        before.request("GET", "/")
        before.getresponse().read()

        second = new.issue("localhost", "127.0.0.1", stem="two")
        secret(folder, Pair(second.certificate, old.issue("localhost", stem="three").key))  # not its key
        wait_for("the refusal", lambda: system.get("/status")["config"]["lastError"])
        (problem,) = system.get("/status")["config"]["lastError"]["problems"]
        assert "is not the key of" in problem["message"]
        assert curl(url, "--cacert", str(old.certificate))

        shutil.rmtree(folder / "..two")
        secret(folder, second)

        def renewed() -> dict[str, str] | None:
            with contextlib.suppress(ConnectionError):
                return curl(url, "--cacert", str(new.certificate))
            return None

        wait_for("the new certificate", renewed, 8)
        wait_for("no more error", lambda: not system.get("/status")["config"]["lastError"], 8)
        before.request("GET", "/")
        assert before.getresponse().status == 200, "who was there before goes on"
        before.close()

        with pytest.raises(ConnectionError):
            curl(url, "--cacert", str(old.certificate))
        with pytest.raises(ConnectionError):
            curl(url.replace("https", "http"))
        assert "tls-handshake" in wait_for("the count", lambda: fetch(f"{system.admin}/metrics")[1])

        (worker,) = system.pids("worker")
        os.kill(worker, signal.SIGKILL)
        assert curl(url, "--cacert", str(new.certificate)), "a new worker has the certificates too"


def test_large_bodies_go_both_ways_over_tls(tmp_path: Path) -> None:
    """If this fails, what is larger than a record, or than a socket takes at once, is cut or mixed up."""
    authority = Authority(tmp_path)
    secret(tmp_path / "tls", authority.issue("localhost"))
    body = tmp_path / "body"
    body.write_bytes(random.Random(1).randbytes(8 << 20))
    with serving(tmp_path, tls=tls(tmp_path / "tls")) as system:
        url, believed = f"https://localhost:{system.port}/", ("--cacert", str(authority.certificate))
        for more in ((), ("--http1.0",), ("-H", "Expect: 100-continue")):
            told = curl(url, *believed, *more, "-H", "X-Padding: 5000000", "--data-binary", f"@{body}")
            assert told["body-digest"] == hashlib.sha256(body.read_bytes()).hexdigest()
            assert len(told["padding"]) == 5_000_000


def test_clients_show_a_certificate_behind_a_load_balancer(tmp_path: Path) -> None:
    """If this fails, anybody can call what only known clients may, or nobody can through a load balancer."""
    authority = Authority(tmp_path)
    folder = tmp_path / "tls"
    secret(folder, authority.issue("localhost"))
    client = authority.issue("worker", client=True)
    settings = tls(folder, clientCaFile=str(authority.certificate), minVersion="1.3")
    with serving(tmp_path, tls=settings, proxyProtocol=True) as system:
        url = f"https://localhost:{system.port}/"
        believed = ("--haproxy-protocol", "--cacert", str(authority.certificate))
        shown = ("--cert", str(client.certificate), "--key", str(client.key))
        told = curl(url, *believed, *shown, "--http2")
        assert (told["x-forwarded-proto"], told["x-forwarded-for"]) == ("https", "127.0.0.1")
        with pytest.raises(ConnectionError):
            curl(url, *believed)
        with pytest.raises(ConnectionError):
            curl(url, *believed, *shown, "--tls-max", "1.2")


def test_a_listener_whose_address_changes_goes_on_until_the_restart(tmp_path: Path) -> None:
    """If this fails, an edit of a port closes the door at once; or leaves it open with less asked of clients."""
    with serving(tmp_path, trustedProxies=["127.0.0.0/8"]) as system:
        url = f"http://127.0.0.1:{system.port}/"
        edit(system, address=f"127.0.0.1:{free_port()}", trustedProxies=[])
        wait_for("the edit", lambda: system.get("/status")["restartNeeded"] == ["listen"])
        assert curl(url, "-H", "X-Forwarded-Proto: https")["x-forwarded-proto"] == "https"


def test_a_path_outlives_a_kill_and_not_the_end(tmp_path: Path) -> None:
    """If this fails, a client beside the proxy finds no door, the proxy does not start again after a kill, or somebody
    else on the machine comes in."""
    path = tmp_path / "u.sock"
    with serving(tmp_path, address=f"unix:{path}", mode="0600") as system:

        def asked() -> dict[str, str] | None:
            with contextlib.suppress(ConnectionError):
                return curl("http://m.test/", "--unix-socket", str(path), "-H", "X-Forwarded-For: 10.0.0.1")
            return None

        told = asked()
        assert told is not None
        assert told["x-forwarded-host"] == "m.test"
        assert "x-forwarded-for" not in told
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert f"unix:{path}" in system.log.read_text()
        edit(system, trustedProxies=["unix"])
        wait_for("trust", lambda: (t := asked()) and t.get("x-forwarded-for") == "10.0.0.1")

        (worker,) = system.pids("worker")
        os.kill(worker, signal.SIGKILL)
        assert asked(), "the path outlives a worker"

        assert system.process is not None
        system.process.kill()
        system.process.wait()
        wait_for("the end of the workers", lambda: not asked())
        assert path.exists()
        system.start()
        assert asked()

        second = subprocess.run(
            [sys.executable, "-m", "proxy", "serve", "--config", str(system.path)],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert second.returncode == 1
        assert "somebody listens on it already" in second.stderr
        assert asked(), "and the first goes on"
    assert not path.exists()


def test_edits_and_renewals_cost_no_connection(tmp_path: Path) -> None:
    """If this fails, clients that come in the moment of a renewal, or of an edit, find nobody."""
    authority = Authority(tmp_path)
    folder = tmp_path / "tls"
    secret(folder, authority.issue("localhost"))
    believing = ssl.create_default_context(cafile=authority.certificate)
    problems: list[str] = []
    answers: list[int] = []
    over = threading.Event()

    def come_again_and_again(port: int) -> None:
        while not over.is_set():
            conn = http.client.HTTPSConnection("localhost", port, context=believing, timeout=10)
            try:
                conn.request("GET", "/")
                answers.append(conn.getresponse().status)
            except OSError as error:
                problems.append(repr(error))
            finally:
                conn.close()

    with serving(tmp_path, tls=tls(folder)) as system:
        clients = [threading.Thread(target=come_again_and_again, args=(system.port,)) for _ in range(4)]
        for client in clients:
            client.start()
        for number in range(4):
            before = system.get("/status")["config"]["generation"]
            if number % 2:
                edit(system, trustedProxies=[f"127.0.0.{number}"])
            else:
                secret(folder, authority.issue("localhost", stem=f"renewed-{number}"))
            wait_for("the change", lambda old=before: system.get("/status")["config"]["generation"] > old, 8)
            enough = len(answers) + 50
            wait_for("more requests", lambda enough=enough: len(answers) > enough or problems)
        over.set()
        for client in clients:
            client.join()
    assert problems == []
    assert set(answers) == {200}


def test_what_clients_do_wrong_leaves_no_trace_of_ours(tmp_path: Path) -> None:
    """If this fails, whoever scans ports fills the log with tracebacks, or a worker dies of it."""
    authority = Authority(tmp_path)
    secret(tmp_path / "tls", authority.issue("localhost"))
    believing = ssl.create_default_context(cafile=authority.certificate)
    with serving(tmp_path, tls=tls(tmp_path / "tls")) as system:
        workers = system.pids("worker")
        for spoil in ("reset", "garbage", "cut"):
            plain = socket.create_connection(("127.0.0.1", system.port))
            below = plain.dup()
            with below, believing.wrap_socket(plain, server_hostname="localhost") as safe:
                safe.sendall(b"GET / HTTP/1.1\r\nHost: m\r\n\r\n")
                assert safe.recv(1)
                if spoil == "reset":
                    below.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                else:
                    below.sendall(b"\x17\x03\x03\x00\x20" + b"?" * (32 if spoil == "garbage" else 3))
        with socket.create_connection(("127.0.0.1", system.port)) as plain:
            plain.sendall(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc")
        url = f"https://localhost:{system.port}/"
        assert curl(url, "--cacert", str(authority.certificate))
        assert system.pids("worker") == workers
        for line in system.log.read_text().splitlines():
            assert json.loads(line), "every line is JSON"
