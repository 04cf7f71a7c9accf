"""WebSocket through the proxy: the real `websockets` and aiohttp on both sides, real processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect

from tests.support.standing import standing
from tests.support.system import ROOT, Understudy, understudy, wait_for

pytestmark = pytest.mark.system

MAX_BYTES = 32 << 20
STAY: dict[str, Any] = {"pause": {}}


class SocketServer:
    """A WebSocket server (`tests.support.socket_server`)."""

    def __init__(self, name: str) -> None:
        command = [sys.executable, "-m", "tests.support.socket_server", "--name", name]
        self.process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())


@contextlib.contextmanager
def servers(*names: str) -> Iterator[list[SocketServer]]:
    """WebSocket servers for the length of a block."""
    started = [SocketServer(name) for name in names]
    try:
        yield started
    finally:
        for server in started:
            server.process.kill()
            server.process.wait()


def one(port: int, **timeouts: str) -> dict[str, Any]:
    """A configuration with one backend."""
    return {
        "workers": 1,
        "backends": [{"name": "only", "endpoints": [f"http://127.0.0.1:{port}"]}],
        "routes": [{"name": "m", "backendRefs": [{"name": "only"}], "timeouts": timeouts}],
    }


def two(stable: int, candidate: int, weight: int) -> dict[str, Any]:
    """A configuration with a canary that has this weight, and workers that share the sockets."""
    return {
        "workers": 2,
        "backends": [
            {"name": "v1", "endpoints": [f"http://127.0.0.1:{stable}"]},
            {"name": "v2", "endpoints": [f"http://127.0.0.1:{candidate}"]},
        ],
        "routes": [
            {
                "name": "m",
                "backendRefs": [{"name": "v1", "role": "stable"}, {"name": "v2", "role": "canary"}],
                "sessionAffinity": {"header": "x-user-id"},
                "strategy": {"canary": {"steps": [{"setWeight": weight}, STAY]}},
            }
        ],
    }


@contextlib.asynccontextmanager
async def talk(system: Understudy, path: str = "/chat", **options: Any) -> AsyncIterator[tuple[ClientConnection, str]]:
    """A socket through the proxy, and the greeting of its version."""
    async with connect(
        f"ws://127.0.0.1:{system.port}{path}", max_size=MAX_BYTES, compression=None, **options
    ) as open_socket:
        yield open_socket, str(await open_socket.recv())


def counted(system: Understudy, backend: str, **wanted: int) -> dict[str, Any]:
    """What the admin API says of a version, once it says this."""

    def look() -> dict[str, Any] | None:
        arm = next(arm for arm in system.route()["arms"] if arm["backend"] == backend)
        return arm if all(arm[name] == value for name, value in wanted.items()) else None

    return wait_for(f"{wanted} of {backend}", look)


def resident_kib(pid: int) -> int:
    """Memory of a process."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


async def test_messages_of_any_size_come_back():
    """If this fails, some message is lost, cut or changed on its way."""
    with servers("only") as (server,), standing(one(server.port)) as system:
        async with talk(system, subprotocols=["model.v1", "model.v3"]) as (open_socket, greeting):
            assert greeting == "only model.v1"
            assert open_socket.response is not None
            assert open_socket.response.headers["x-understudy-backend"] == "only"
            for message in ("text", "", "ü" * 70_000, b"", b"binary", os.urandom(16 << 20)):
                await open_socket.send(message)
                assert await open_socket.recv() == message
            await asyncio.wait_for(await open_socket.ping(), 5)
            await open_socket.send("!close 4001 enough")
            with pytest.raises(websockets.ConnectionClosedError):
                await open_socket.recv()
            assert (open_socket.close_code, open_socket.close_reason) == (4001, "enough")
        counted(system, "only", requests=1, failed=0)


async def test_compression_is_between_client_and_server():
    """If this fails, an extension of WebSocket is lost on the way, and the frames cannot be read."""
    with servers("only") as (server,), standing(one(server.port)) as system:
        url = f"http://127.0.0.1:{system.port}/chat"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, compress=15, protocols=("model.v2",), max_msg_size=MAX_BYTES) as open_socket,
        ):
            assert await open_socket.receive_str() == "only model.v2"
            await open_socket.send_bytes(b"x" * 1_000_000)
            assert await open_socket.receive_bytes() == b"x" * 1_000_000
            await open_socket.close(code=1000)
        counted(system, "only", requests=1, failed=0)


async def test_a_refused_socket_is_an_ordinary_answer():
    """If this fails, a client that may not connect is not told so."""
    with servers("only") as (server,), standing(one(server.port)) as system:
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with talk(system, "/refuse"):
                pass
        assert refused.value.response.status_code == 403
        counted(system, "only", requests=1, failed=0)


def test_a_request_after_a_refused_upgrade_is_not_tunnelled():
    """If this fails, a client can smuggle requests past the proxy behind an upgrade that the backend refuses."""
    with servers("only") as (server,), standing(one(server.port)) as system:
        head = b"GET /refuse HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        with socket.create_connection(("127.0.0.1", system.port), timeout=5) as raw:
            raw.sendall(head + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
            got = b""
            while data := raw.recv(65536):
                got += data
        assert got.startswith(b"HTTP/1.1 403 ")
        assert got.count(b"HTTP/1.1") == 1, "the second request was answered"
        counted(system, "only", requests=1)


async def test_fifty_sockets_at_once():
    """If this fails, sockets get each other's messages, or wait for each other."""
    with servers("only") as (server,), standing(one(server.port)) as system:

        async def chat(number: int) -> None:
            async with talk(system) as (open_socket, _):
                for turn in range(20):
                    message = f"{number}.{turn}" * (1 + 997 * (turn % 3))
                    await open_socket.send(message)
                    assert await open_socket.recv() == message

        await asyncio.gather(*(chat(number) for number in range(50)))
        counted(system, "only", requests=50, failed=0)


async def test_a_slow_reader_costs_no_memory(tmp_path):
    """If this fails, one client that does not read fills the memory of the proxy, and everybody pays."""
    with servers("only") as (server,), understudy(tmp_path, one(server.port)) as system:
        (pid,) = system.pids("worker")
        async with talk(system) as (warm, _):
            await warm.send(b"x" * 1_000_000)
            await warm.recv()
        before_kib = resident_kib(pid)
        async with talk(system, max_queue=1) as (open_socket, _):
            await open_socket.send("!flood 200 1000000")
            await asyncio.sleep(1.0)  # the flood goes on as long as somebody takes it
            assert resident_kib(pid) - before_kib < 8 << 10
            for _ in range(200):
                assert len(await open_socket.recv()) == 1_000_000
        async with talk(system) as (open_socket, _):
            await open_socket.send("!silent")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    for _ in range(200):
                        await open_socket.send(b"x" * 1_000_000)
            assert resident_kib(pid) - before_kib < 8 << 10
            open_socket.transport.abort()


async def test_users_stick_and_shares_hold_for_sockets(tmp_path):
    """If this fails, a user's sockets meet both versions, or the canary gets another share than the file says."""
    with servers("v1", "v2") as (v1, v2), understudy(tmp_path, two(v1.port, v2.port, 25)) as system:

        async def version(user: int) -> str:
            async with talk(system, additional_headers={"x-user-id": f"u{user}"}) as (_, greeting):
                return greeting.split()[0]

        met: list[list[str]] = [[] for _ in range(200)]
        for _ in range(2):
            for start in range(0, 200, 50):
                found = await asyncio.gather(*(version(user) for user in range(start, start + 50)))
                for user, name in enumerate(found, start):
                    met[user].append(name)
        assert all(len(set(names)) == 1 for names in met), "a user met both versions"
        assert 0.14 <= sum(names[0] == "v2" for names in met) / 200 <= 0.36


async def test_reloads_and_promotion_cut_no_socket(tmp_path):
    """If this fails, an edit of the file or the end of a rollout makes every client reconnect at once."""
    with servers("v1", "v2") as (v1, v2), understudy(tmp_path, two(v1.port, v2.port, 50)) as system:
        async with contextlib.AsyncExitStack() as stack:
            sockets = [
                await stack.enter_async_context(talk(system, additional_headers={"x-user-id": f"u{user}"}))
                for user in range(20)
            ]
            assert {greeting.split()[0] for _, greeting in sockets} == {"v1", "v2"}

            async def all_answer() -> None:
                for open_socket, _ in sockets:
                    await open_socket.send("still there?")
                    assert await open_socket.recv() == "still there?"

            config = system.config
            for number in range(10):
                before = system.get("/status")["config"]["generation"]
                config["routes"][0]["timeouts"] = {"request": f"{5 + number}s"}
                config["backends"][0]["connectionPool"] = {"maxConnections": 100 + number}
                system.write(config)
                wait_for("the reload", lambda: system.get("/status")["config"]["generation"] > before)  # noqa: B023
                await all_answer()
            assert system.post("/routes/m/promote", full=True)[0] == 200
            system.wait_phase("Succeeded")
            await all_answer()
            assert all(open_socket.state is websockets.State.OPEN for open_socket, _ in sockets)


async def test_a_drain_lets_sockets_end_and_then_cuts_them(tmp_path):
    """If this fails, SIGTERM cuts conversations at once, or one of them keeps the process forever."""
    with servers("only") as (server,), understudy(tmp_path, {**one(server.port), "drainTimeout": "2s"}) as system:
        async with talk(system) as (lasting, _), talk(system) as (ending, _):
            began_s = time.monotonic()
            stopping = asyncio.create_task(asyncio.to_thread(system.stop))
            await asyncio.to_thread(wait_for, "the drain", lambda: "draining" in system.log.read_text())
            for open_socket in (lasting, ending):
                await open_socket.send("during the drain")
                assert await open_socket.recv() == "during the drain"
            await ending.close()
            assert ending.close_code == 1000
            assert await stopping == 0
            assert 2.0 <= time.monotonic() - began_s < 8.0
            with pytest.raises(websockets.ConnectionClosed):
                await lasting.recv()


async def test_a_drain_ends_with_the_last_socket(tmp_path):
    """If this fails, every deployment waits for the whole of `drainTimeout`."""
    with servers("only") as (server,), understudy(tmp_path, {**one(server.port), "drainTimeout": "30s"}) as system:
        async with talk(system) as (open_socket, _):
            began_s = time.monotonic()
            stopping = asyncio.create_task(asyncio.to_thread(system.stop))
            await asyncio.to_thread(wait_for, "the drain", lambda: "draining" in system.log.read_text())
            await open_socket.close()
            assert await stopping == 0
            assert time.monotonic() - began_s < 10.0


async def test_a_killed_version_fails_its_sockets(tmp_path):
    """If this fails, a version that crashes under its sockets looks healthy: it had accepted them all."""
    with servers("v1", "v2") as (v1, v2), understudy(tmp_path, two(v1.port, v2.port, 50)) as system:
        async with contextlib.AsyncExitStack() as stack:
            sockets = [
                await stack.enter_async_context(talk(system, additional_headers={"x-user-id": f"u{user}"}))
                for user in range(30)
            ]
            lost = [open_socket for open_socket, greeting in sockets if greeting.startswith("v2")]
            counted(system, "v2", requests=len(lost), failed=0)
            v2.process.kill()
            for open_socket in lost:
                with pytest.raises(websockets.ConnectionClosedError):
                    await asyncio.wait_for(open_socket.recv(), 5)
                assert open_socket.close_code == 1006
            for open_socket, greeting in sockets:
                if greeting.startswith("v1"):
                    await open_socket.send("still there?")
                    assert await open_socket.recv() == "still there?"
            counted(system, "v2", requests=len(lost), failed=len(lost))
        counted(system, "v1", requests=30 - len(lost), failed=0)


async def test_silent_sockets_are_closed_in_time():
    """If this fails, what a vanished client left behind stays forever, or a quiet socket is cut as a stalled answer."""
    settings = {"streamIdle": "500ms", "tunnelIdle": "3s"}
    with servers("only") as (server,), standing(one(server.port, **settings)) as system:
        async with talk(system, ping_interval=None) as (open_socket, _):
            await asyncio.sleep(1.5)  # longer than an answer may stand still
            await open_socket.send("awake")
            assert await open_socket.recv() == "awake"
            began_s = time.monotonic()
            with pytest.raises(websockets.ConnectionClosed):
                await open_socket.recv()
            assert 2.5 <= time.monotonic() - began_s < 6.0
        counted(system, "only", requests=1, failed=0)
