"""Other people's servers behind the proxy: they must count the requests that it counts, whatever a client sends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn as uvicorn_server
from aiohttp import web

from tests.support import corpus, malformed
from tests.support.plane import chunked, request
from tests.support.standing import standing
from tests.support.system import free_port

pytestmark = pytest.mark.system

CLOSE = ("Connection: close",)
WELL_FORMED = [
    request(headers=CLOSE),
    request() + request(headers=CLOSE),
    request("POST", body=b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") + request(headers=CLOSE),
    request("POST", headers=("Transfer-Encoding: chunked",)) + chunked(b"abc", b"0\r\n\r\n") + request(headers=CLOSE),
]
WELL_FORMED_REQUESTS = 7

Peer = Callable[[Path], contextlib.AbstractAsyncContextManager[tuple[int, Callable[[], int]]]]


@contextlib.asynccontextmanager
async def aiohttp(folder: Path) -> AsyncIterator[tuple[int, Callable[[], int]]]:
    """An aiohttp server: its port, and how many requests it has seen."""
    seen = []

    async def handle(request: web.BaseRequest) -> web.Response:
        seen.append(request.path)
        await request.read()
        return web.Response(text="x")

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1], lambda: len(seen)
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def uvicorn(folder: Path, http: str) -> AsyncIterator[tuple[int, Callable[[], int]]]:
    """A uvicorn server with one of its two parsers: its port, and how many requests its application was handed."""
    seen = []

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.append(scope["path"])
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
        await send({"type": "http.response.body", "body": b"x"})

    config = uvicorn_server.Config(application, http=http, lifespan="off", log_config=None, loop="none")
    server = uvicorn_server.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(server, "capture_signals", contextlib.nullcontext)  # they are pytest's
            serving = asyncio.create_task(server.serve([listening]))
            while not server.started:
                assert not serving.done(), serving
                await asyncio.sleep(0.01)
        try:
            yield listening.getsockname()[1], lambda: len(seen)
        finally:
            server.should_exit = True
            await serving


def uvicorn_httptools(folder: Path) -> contextlib.AbstractAsyncContextManager[tuple[int, Callable[[], int]]]:
    """uvicorn as people run it."""
    return uvicorn(folder, "httptools")


def uvicorn_h11(folder: Path) -> contextlib.AbstractAsyncContextManager[tuple[int, Callable[[], int]]]:
    """uvicorn without extras, which parses by h11."""
    return uvicorn(folder, "h11")


@contextlib.asynccontextmanager
async def nginx(folder: Path) -> AsyncIterator[tuple[int, Callable[[], int]]]:
    """nginx: its port, and how many requests its access log has."""
    command = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin")
    if command is None:
        pytest.fail("nginx is missing: `make test` installs it, and so does apt-get install nginx-light")
    port, log, config = free_port(), folder / "access.log", folder / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log; events {{}}\n"
        f"http {{ access_log {log}; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;\n"
        f"fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;\n"
        f"client_max_body_size 0;\n"  # a length is no reason to answer before the body is there
        f"server {{ listen 127.0.0.1:{port}; location / {{ return 200 x; }} }} }}\n"
    )
    start = subprocess.Popen  # it returns at once
    with start([command, "-p", str(folder), "-c", str(config)], stderr=subprocess.DEVNULL) as running:
        try:
            yield port, lambda: len(log.read_text().splitlines()) if log.exists() else 0
        finally:
            running.kill()


def in_front_of(port: int) -> dict[str, Any]:
    """A configuration with one server behind the proxy, and one worker."""
    return {
        "workers": 1,
        "backends": [{"name": "only", "endpoints": [f"http://127.0.0.1:{port}"]}],
        "routes": [{"name": "m", "backendRefs": [{"name": "only"}]}],
    }


async def send(port: int, raw: bytes, done: bool = False) -> bytes:
    """What comes back until the proxy closes; `done` tells it that nothing follows."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(raw)
    if done:
        writer.write_eof()
    answer = b""
    with contextlib.suppress(ConnectionResetError):
        while data := await asyncio.wait_for(reader.read(1 << 16), 5):
            answer += data
    writer.close()
    return answer


@pytest.mark.slow
@pytest.mark.parametrize("peer", [aiohttp, nginx, uvicorn_httptools, uvicorn_h11])
async def test_peer_counts_as_the_proxy_does(tmp_path: Path, peer: Peer) -> None:
    """A server that sees one more request than the proxy can be made to serve what nobody sent or checked."""
    async with peer(tmp_path) as (port, seen):
        with contextlib.ExitStack() as stack:
            system = await asyncio.to_thread(stack.enter_context, standing(in_front_of(port)))
            for name, (raw, _) in malformed.REQUESTS.items():
                answer = await send(system.port, raw + request(target="/smuggled", headers=CLOSE))
                assert not answer.startswith(b"HTTP/1.1 200"), name
                assert seen() == 0, name
            answers = [await send(system.port, raw) for raw in WELL_FORMED]
            assert b"".join(answers).count(b"HTTP/1.1 200 OK") == WELL_FORMED_REQUESTS
            assert seen() == WELL_FORMED_REQUESTS
            told = await asyncio.to_thread(system.route)
            assert sum(arm["requests"] for arm in told["arms"]) == WELL_FORMED_REQUESTS


@pytest.mark.slow
@pytest.mark.parametrize("peer", [aiohttp, nginx, uvicorn_httptools, uvicorn_h11])
async def test_peer_counts_mutants_as_the_proxy_does(tmp_path: Path, peer: Peer) -> None:
    """What is remembered of fuzzing, sent to real servers on connections that they keep: each sees what went on, and
    one more at most where a request was begun and never ended."""
    async with peer(tmp_path) as (port, seen):
        with contextlib.ExitStack() as stack:
            system = await asyncio.to_thread(stack.enter_context, standing(in_front_of(port)))
            for raw, outcome in corpus.load("requests"):
                before, whole = seen(), len(outcome.went_on)
                got = await send(system.port, raw, done=True)
                begun = 0 if len(outcome.statuses) > whole else 1
                for _ in range(100):  # nginx writes its log once the answer is out
                    if seen() >= before + whole:
                        break
                    await asyncio.sleep(0.01)
                assert got.count(b"x-understudy-backend: only") == whole, (raw, got)
                assert whole <= seen() - before <= whole + begun, raw
            told = await asyncio.to_thread(system.route)
            assert seen() <= sum(arm["requests"] for arm in told["arms"])
