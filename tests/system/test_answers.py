"""A backend that sends raw bytes, behind the whole system: what of its answers reaches real clients."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.support import malformed
from tests.support.plane import request
from tests.support.standing import standing
from tests.system.test_peers import CLOSE, send

pytestmark = pytest.mark.system

GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmine"
PIECES = 7


@contextlib.asynccontextmanager
async def raw_backend(answers: dict[str, bytes]) -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A server that answers `/NAME` with the bytes of that name, at once, and `/NAME/slow` in pieces.

    The event says that a connection has ended: what comes after an answer when its connection has been lent again
    cannot be told from the next answer, by anybody.
    """
    ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                name, _, slow = head.split()[1].decode().removeprefix("/").partition("/")
                raw = answers.get(name, GOOD)
                size = len(raw) // PIECES + 1 if slow else len(raw)
                for at in range(0, len(raw), size):
                    writer.write(raw[at : at + size])
                    await writer.drain()
                    if slow:
                        await asyncio.sleep(0.002)
        ended.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], ended


async def test_trailers_go_both_ways() -> None:
    """If this fails, checksums that follow a stream get lost between two real connections."""
    got: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"x-sum: 1\r\n\r\n"))
        writer.write(malformed.CHUNKED + b"Trailer: X-State\r\n\r\n3\r\nabc\r\n")
        await writer.drain()
        writer.write(b"0\r\nX-State: done\r\nSet-Cookie: a=b\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        config = {
            "workers": 1,
            "backends": [{"name": "only", "endpoints": [f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"]}],
            "routes": [{"name": "m", "backendRefs": [{"name": "only"}]}],
        }
        with contextlib.ExitStack() as stack:
            system = await asyncio.to_thread(stack.enter_context, standing(config))
            head = request("POST", headers=("Transfer-Encoding: chunked", "Trailer: X-Sum", *CLOSE))
            answer = await send(system.port, head + b"2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n")
    assert b"\r\ntrailer: x-sum\r\n" in got[0]
    assert got[0].endswith(b"2\r\nhi\r\n0\r\nx-sum: 1\r\n\r\n")
    assert b"\r\ntrailer: x-state\r\n" in answer
    assert answer.endswith(b"3\r\nabc\r\n0\r\nx-state: done\r\n\r\n")


@pytest.mark.slow
async def test_no_malformed_answer_gets_through() -> None:
    """Played transports cut bytes as the test says; the kernel cuts them as it likes."""
    tables = (malformed.ANSWERS, malformed.ANSWER_BODIES, malformed.AFTER_ANSWERS)
    names = [
        (f"{kind}-{number}", raw) for kind, table in enumerate(tables) for number, raw in enumerate(table.values())
    ]
    async with raw_backend(dict(names)) as (port, ended):
        config = {
            "workers": 1,
            "backends": [{"name": "only", "endpoints": [f"http://127.0.0.1:{port}"]}],
            "routes": [{"name": "m", "backendRefs": [{"name": "only"}]}],
        }
        with contextlib.ExitStack() as stack:
            system = await asyncio.to_thread(stack.enter_context, standing(config))
            for name, raw in names:
                for slow in ("", "/slow"):
                    ended.clear()
                    got = await send(system.port, request(target=f"/{name}{slow}", headers=CLOSE))
                    if name.startswith("0-"):
                        assert got.startswith(b"HTTP/1.1 502 "), (raw, slow, got)
                        assert b"bad-response" in got
                    elif name.startswith("1-"):
                        assert got.startswith(b"HTTP/1.1 502 ") or not got.endswith(b"0\r\n\r\n"), (raw, slow, got)
                    else:
                        assert got.split()[1] in (b"200", b"204", b"304"), (raw, slow, got)
                        assert got.count(b"HTTP/1.1") == 1, (raw, slow, got)
                    await asyncio.wait_for(ended.wait(), 10)
                    after = await send(system.port, request(target="/good", headers=CLOSE))
                    assert after.endswith(b"\r\n\r\nmine"), (raw, slow, after)
