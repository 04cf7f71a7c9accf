"""Clients of every kind at once, at a low rate: what a proxy meets over a long time.

    python -m loadtests.mixture --port P --seconds N

One line of JSON tells how many requests of each kind went as they should, and how many did not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

import aiohttp
import uvloop

from loadtests.cases import KEY_HEADER, USERS
from loadtests.model import WANT_HEADER

BIG_BYTES: Final = 1 << 20
TOKENS: Final = 25
SLOW_PIECES: Final = 20
SLOW_S: Final = 0.05
TIMEOUT_S: Final = 30.0


@dataclass
class Clients:
    """What the kinds of clients share: where to, whose turn, and how it went."""

    port: int
    http: aiohttp.ClientSession
    random: random.Random
    went: Counter[str] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)

    async def ask(self, model: str, want: str = "", body: bytes = b"x" * 100) -> tuple[int, int]:
        """Status and length of the answer; status 0 where it was cut off."""
        headers = {KEY_HEADER: f"u{self.random.randrange(USERS)}", WANT_HEADER: want}
        url = f"http://127.0.0.1:{self.port}/v2/models/{model}/infer"
        try:
            async with self.http.post(url, data=body, headers=headers) as answer:
                return answer.status, len(await answer.read())
        except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError):
            return 0, 0


async def plain(clients: Clients) -> bool:
    """A small request of a route with weights."""
    return (await clients.ask("plain"))[0] == 200


async def predictions(clients: Clients) -> bool:
    """A small request whose answer is read."""
    return (await clients.ask("predictions"))[0] == 200


async def mirror(clients: Clients) -> bool:
    """A small request that is copied."""
    return (await clients.ask("mirror"))[0] == 200


async def stream(clients: Clients) -> bool:
    """A stream of half a second."""
    status, length = await clients.ask("plain", f"stream {TOKENS}")
    return status == 200 and length > TOKENS * 8


async def failure(clients: Clients) -> bool:
    """A model that fails."""
    return (await clients.ask("predictions", "fail"))[0] == 500


async def cut(clients: Clients) -> bool:
    """A model that breaks off in its answer, which the client has to notice."""
    return (await clients.ask("plain", "cut"))[0] == 0


async def upload(clients: Clients) -> bool:
    """A big body up."""
    return (await clients.ask("plain", "digest", b"x" * BIG_BYTES))[0] == 200


async def download(clients: Clients) -> bool:
    """A big body down."""
    return await clients.ask("plain", f"chunks {BIG_BYTES}") == (200, BIG_BYTES)


async def slow(clients: Clients) -> bool:
    """A client that sends its request, and takes its answer, a little at a time, on a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", clients.port, limit=1 << 12)
    try:
        writer.write(
            f"POST /v2/models/plain/infer HTTP/1.1\r\nhost: slow\r\nconnection: close\r\n{WANT_HEADER}: body "
            f"{BIG_BYTES}\r\ncontent-length: {SLOW_PIECES}\r\n\r\n".encode()
        )
        for _ in range(SLOW_PIECES):
            writer.write(b"x")
            await asyncio.sleep(SLOW_S)
        got = 0
        while data := await reader.read(BIG_BYTES // SLOW_PIECES):
            got += len(data)
            await asyncio.sleep(SLOW_S / 10)
        return got > BIG_BYTES
    finally:
        writer.close()


@dataclass(frozen=True, slots=True)
class Kind:
    """How many clients of a kind there are, and how long each waits between two requests, on average."""

    run: Callable[[Clients], Awaitable[bool]]
    clients: int
    pause_s: float


KINDS: Final = (
    Kind(plain, 8, 0.08),
    Kind(predictions, 8, 0.08),
    Kind(mirror, 4, 0.08),
    Kind(stream, 4, 0.1),
    Kind(failure, 1, 0.1),
    Kind(cut, 1, 0.5),
    Kind(upload, 1, 0.5),
    Kind(download, 1, 0.5),
    Kind(slow, 3, 0.5),
)


async def load(port: int, seconds: float, seed: int) -> dict[str, dict[str, int]]:
    """All kinds together for so many seconds."""
    connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=TIMEOUT_S)
    end_s = monotonic() + seconds
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        clients = Clients(port, http, random.Random(seed))
        async with asyncio.TaskGroup() as group:
            for kind in KINDS:
                for _ in range(kind.clients):
                    group.create_task(_repeat(kind, clients, end_s))
    return {"went": dict(clients.went), "failed": dict(clients.failed)}


async def _repeat(kind: Kind, clients: Clients, end_s: float) -> None:
    name = kind.run.__name__  # type: ignore[attr-defined]
    while monotonic() < end_s:
        try:
            good = await kind.run(clients)
        except (OSError, TimeoutError, aiohttp.ClientError):
            good = False
        (clients.went if good else clients.failed)[name] += 1
        await asyncio.sleep(clients.random.uniform(0, 2 * kind.pause_s))


def main() -> None:
    """Print what came of it as JSON."""
    parser = argparse.ArgumentParser(prog="mixture")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    json.dump(uvloop.run(load(given.port, given.seconds, given.seed)), sys.stdout)


if __name__ == "__main__":
    main()
