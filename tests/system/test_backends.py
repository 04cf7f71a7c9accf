"""How the whole reaches backends: TLS with right and wrong certificates, Unix-domain sockets, and names."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.support.certificates import Authority, Pair, self_signed
from tests.support.standing import standing
from tests.support.system import Understudy, fetch, free_port, wait_for

pytestmark = pytest.mark.system

REFUSED = "configuration refused: what runs stays as it was"
NO_CERTIFICATE = "it closed a new TLS connection without an answer, as it does that wants a client certificate"
"""Servers made with Python's asyncio send no alert after a handshake of TLS 1.3; OpenSSL's own do."""


def context(pair: Pair, asking: Authority | None = None) -> ssl.SSLContext:
    """What a server is sure of itself with; `asking` for client certificates of an authority."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*pair)
    if asking is not None:
        made.verify_mode = ssl.CERT_REQUIRED
        made.load_verify_locations(asking.certificate)
    return made


@contextlib.asynccontextmanager
async def server(
    name: str, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0, path: str = ""
) -> AsyncIterator[int]:
    """An aiohttp server that answers with its name and what was asked of it; its port."""

    async def handle(request: web.BaseRequest) -> web.Response:
        body = await request.read()
        peer = request.transport.get_extra_info("peercert") if request.transport else None
        serial = peer["serialNumber"] if peer else ""
        told = {"name": name, "host": request.host, "bytes": len(body), "client": bool(peer), "serial": serial}
        return web.json_response(told)

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site: web.BaseSite = web.UnixSite(runner, path) if path else web.TCPSite(runner, host, port, ssl_context=tls)
    await site.start()
    try:
        yield 0 if path else runner.addresses[0][1]
    finally:
        await runner.cleanup()


def config(*endpoints: str, **backend: Any) -> dict[str, Any]:
    """One worker, one backend, one route for everything."""
    return {
        "workers": 1,
        "backends": [{"name": "only", "endpoints": list(endpoints), **backend}],
        "routes": [{"name": "m", "backendRefs": [{"name": "only"}], "timeouts": {"connect": "2s"}}],
    }


async def ask(system: Understudy, data: bytes | None = None) -> tuple[int, Any]:
    return await asyncio.to_thread(fetch, f"http://127.0.0.1:{system.port}/", "POST" if data else "GET", data)


@contextlib.asynccontextmanager
async def serving(settings: dict[str, Any]) -> AsyncIterator[Understudy]:
    """The whole, while servers live in this very loop."""
    with contextlib.ExitStack() as stack:
        yield await asyncio.to_thread(stack.enter_context, standing(settings))
        await asyncio.to_thread(stack.close)


def said(system: Understudy, event: str) -> list[dict[str, Any]]:
    """The lines of the log with this event."""
    lines = (json.loads(line) for line in system.log.read_text().splitlines() if line.startswith("{"))
    return [line for line in lines if line["event"] == event]


@pytest.mark.slow
async def test_tls_from_end_to_end(tmp_path: Path) -> None:
    """Requests and answers of all sizes pass over TLS, and the backend sees the host that the client asked for."""
    authority = Authority(tmp_path)
    client = authority.issue("worker", client=True)
    async with server("s", context(authority.issue("localhost"), asking=authority)) as port:
        tls = {"caFile": str(authority.certificate), "certFile": str(client.certificate), "keyFile": str(client.key)}
        settings = config(f"https://127.0.0.1:{port}", tls={**tls, "serverName": "localhost"})
        async with serving(settings) as system:
            for size in (0, 100, 1 << 20):
                status, told = await ask(system, b"x" * size)
                assert (status, told["bytes"], told["client"]) == (200, size, True)
            assert told["host"] == f"127.0.0.1:{system.port}"


@pytest.mark.slow
@pytest.mark.parametrize("wrong", ["expired", "name", "self-signed", "no client certificate", "no TLS"])
async def test_servers_that_are_not_believed(tmp_path: Path, wrong: str) -> None:
    """Requests would go to whoever answers. The client and the log are told why they do not."""
    authority = Authority(tmp_path)
    words = {
        "expired": (context(authority.issue("127.0.0.1", expired=True)), "its certificate has expired"),
        "name": (context(authority.issue("else.test")), "its certificate is for another address than 127.0.0.1"),
        "self-signed": (context(self_signed(tmp_path, "127.0.0.1")), "its certificate is signed by itself alone"),
        "no client certificate": (context(authority.issue("127.0.0.1"), authority), NO_CERTIFICATE),
        "no TLS": (None, "it does not speak TLS at this port"),
    }
    listening, reason = words[wrong]
    async with server("s", listening) as port:
        settings = config(f"https://127.0.0.1:{port}", tls={"caFile": str(authority.certificate)})
        async with serving(settings) as system:
            for _ in range(3):
                status, told = await ask(system)
                fault = (502, "upstream-reset") if reason == NO_CERTIFICATE else (503, "tls-failed")
                assert (status, told["fault"]) == fault
                assert told["detail"] == f"route m, backend only: {reason}"
            (line,) = said(system, "endpoint not reached")
            assert (line["backend"], line["endpoint"], line["reason"], line["level"]) == (
                "only",
                f"https://127.0.0.1:{port}",
                reason,
                "warning",
            )
            assert line["remedy"]


@pytest.mark.slow
async def test_whoever_is_believed_without_proof_is_told_of(tmp_path: Path) -> None:
    """The switch of an afternoon would be forgotten for years."""
    async with server("s", context(self_signed(tmp_path, "else.test"))) as port:
        settings = config(f"https://127.0.0.1:{port}", tls={"insecureSkipVerify": True})
        async with serving(settings) as system:
            assert (await ask(system))[0] == 200
            (line,) = said(system, "backend is not verified: whoever answers in its place is believed")
            assert (line["level"], line["backend"]) == ("warning", "only")


@pytest.mark.slow
async def test_kinds_of_endpoints_beside_each_other(tmp_path: Path) -> None:
    """A backend that moves to TLS, or to a socket, one endpoint at a time, could not."""
    authority = Authority(tmp_path)
    path = str(tmp_path / "model.sock")
    async with (
        server("plain") as plain,
        server("tls", context(authority.issue("127.0.0.1"))) as secure,
        server("unix", path=path),
    ):
        endpoints = (f"http://127.0.0.1:{plain}", f"https://127.0.0.1:{secure}", f"unix:{path}")
        async with serving(config(*endpoints, tls={"caFile": str(authority.certificate)})) as system:
            answers = [await ask(system) for _ in range(6)]
            assert sorted(told["name"] for _, told in answers) == ["plain", "plain", "tls", "tls", "unix", "unix"]
            assert {told["host"] for _, told in answers} == {f"127.0.0.1:{system.port}"}


@pytest.mark.slow
async def test_a_socket_that_comes_later(tmp_path: Path) -> None:
    """The proxy of a pod starts before its model server: it must not need a restart then."""
    path = str(tmp_path / "model.sock")
    async with serving(config(f"unix:{path}")) as system:
        status, told = await ask(system)
        assert (status, told["detail"]) == (503, "route m, backend only: there is no such socket")
        async with server("unix", path=path):
            assert (await ask(system))[0] == 200


@pytest.mark.slow
async def test_a_name() -> None:
    """What a person writes first is localhost, with an address of IPv6 and one of IPv4, or not."""
    async with server("named") as port, serving(config(f"http://localhost:{port}")) as system:
        for _ in range(4):
            status, told = await ask(system)
            assert (status, told["name"]) == (200, "named")
        await asyncio.to_thread(wait_for, "the name in the log", lambda: said(system, "name resolved"))
        assert "127.0.0.1" in said(system, "name resolved")[0]["addresses"]


@pytest.mark.slow
async def test_a_name_that_does_not_exist() -> None:
    """The client is told at once, and the process ends as soon as it is told to."""
    async with serving(config("http://no-such-model.invalid:80")) as system:
        await asyncio.to_thread(wait_for, "the name in the log", lambda: said(system, "name does not resolve"))
        status, told = await ask(system)
        assert (status, told["fault"]) == (503, "connect-failed")
        assert "the name no-such-model.invalid does not resolve" in told["detail"]


@pytest.mark.slow
async def test_addresses_of_ipv6() -> None:
    """A cluster that has nothing else could not use it."""
    async with server("six", host="::1") as port, serving(config(f"http://[::1]:{port}")) as system:
        assert (await ask(system))[1]["name"] == "six"


@pytest.mark.slow
async def test_certificates_are_renewed_without_a_restart(tmp_path: Path) -> None:
    """A certificate lasts for weeks, or for an hour: each renewal would need a restart. Requests that come while the
    files are in the middle of their change do not notice."""
    authority = Authority(tmp_path)
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(authority.certificate.read_bytes())
    shown = authority.issue("worker", client=True, stem="shown")
    tls = {"caFile": str(trusted), "certFile": str(shown.certificate), "keyFile": str(shown.key)}
    listening = context(authority.issue("127.0.0.1"), asking=authority)
    listening.minimum_version = ssl.TLSVersion.TLSv1_3
    async with (
        server("s", listening) as port,
        serving(config(f"https://127.0.0.1:{port}", tls=tls)) as system,
    ):
        first = (await ask(system))[1]["serial"]
        await asyncio.to_thread(shown.key.write_text, "half of a k")
        await asyncio.to_thread(wait_for, "the refusal", lambda: said(system, REFUSED))
        assert (await ask(system))[1]["serial"] == first
        authority.issue("worker", client=True, stem="shown")
        answers = []

        def renewed() -> bool:
            answers.append(fetch(f"http://127.0.0.1:{system.port}/"))
            return answers[-1][1]["serial"] != first

        await asyncio.to_thread(wait_for, "the new certificate", renewed)
        assert {status for status, _ in answers} == {200}


@pytest.mark.slow
async def test_another_authority_is_trusted_without_a_restart(tmp_path: Path) -> None:
    """The day on which an authority is replaced would be a day of failures."""
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(old.certificate.read_bytes())
    async with server("s", context(new.issue("127.0.0.1"))) as port:
        settings = config(f"https://127.0.0.1:{port}", tls={"caFile": str(trusted)})
        async with serving(settings) as system:
            assert (await ask(system))[1]["fault"] == "tls-failed"
            trusted.write_bytes(old.certificate.read_bytes() + new.certificate.read_bytes())
            await asyncio.to_thread(wait_for, "an answer", lambda: fetch(f"http://127.0.0.1:{system.port}/")[0] == 200)


@contextlib.contextmanager
def nginx(folder: Path, shown: Pair, asking: Authority, *settings: str) -> Iterator[int]:
    """nginx with TLS that asks for a client certificate; its port."""
    command = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if command is None:
        pytest.fail("nginx is missing: `make test` installs it, and so does apt-get install nginx-light")
    port, file = free_port(), folder / "nginx.conf"
    lines = [
        f"listen 127.0.0.1:{port} ssl",
        f"ssl_certificate {shown.certificate}",
        f"ssl_certificate_key {shown.key}",
        f"ssl_client_certificate {asking.certificate}",
        "ssl_verify_client on",
        *settings,
        'location / { return 200 "{\\"serial\\": \\"$ssl_client_serial\\", \\"tls\\": \\"$ssl_protocol\\"}"; }',
    ]
    file.write_text(
        f"daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n"
        f"fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;\n"
        f"server {{ {'; '.join(lines[:-1])}; {lines[-1]} }} }}\n"
    )
    with subprocess.Popen([command, "-p", str(folder), "-c", str(file)], stderr=subprocess.DEVNULL) as running:
        try:
            wait_for("nginx", lambda: fetch(f"http://127.0.0.1:{port}/")[0] == 400)  # plain HTTP to a port of TLS
            yield port
        finally:
            running.kill()


@pytest.mark.slow
@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_nginx_that_closes_idle_connections(tmp_path: Path, version: str) -> None:
    """Requests that meet a pooled TLS connection while its other end closes it would be lost, a few each minute."""
    authority = Authority(tmp_path)
    client = authority.issue("worker", client=True)
    tls = {"caFile": str(authority.certificate), "certFile": str(client.certificate), "keyFile": str(client.key)}
    limits = (f"ssl_protocols {version}", "keepalive_timeout 1s", "keepalive_requests 3")
    with nginx(tmp_path, authority.issue("127.0.0.1"), authority, *limits) as port:
        settings = config(f"https://127.0.0.1:{port}", tls=tls)
        with standing(settings) as system:
            for pause_s in (0, 0, 0, 0, 0, 0, 0, 0.98, 0.99, 1.0, 1.01, 1.02):
                time.sleep(pause_s)  # nobody says when nginx closes: around that moment
                status, told = fetch(f"http://127.0.0.1:{system.port}/")
                assert (status, told["tls"]) == (200, version)
                assert told["serial"]
