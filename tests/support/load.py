"""Load on a proxy: many users over keep-alive connections, each request's answer kept.

Open loop where a rate is given: a request is due at its intended time whether or not the last one is answered, and its
latency counts from that time, so that a stall is seen by every request that it delayed.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from time import monotonic

import httptools


@dataclass
class Tally:
    """What the clients met."""

    statuses: Counter[int] = field(default_factory=Counter)
    broken: int = 0
    backends: Counter[str] = field(default_factory=Counter)
    users: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    latencies_s: list[float] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)
    named: list[tuple[str, bytes, bytes]] = field(default_factory=list)
    """Of answers with an `x-understudy-id`: that, the request, and the answer's body."""

    @property
    def sent(self) -> int:
        """Requests that were answered or broken."""
        return sum(self.statuses.values()) + self.broken

    @property
    def failed(self) -> int:
        """Requests that were not answered with 200."""
        return self.sent - self.statuses[200]

    def quantile_s(self, q: float) -> float:
        """A quantile of the latencies."""
        ordered = sorted(self.latencies_s)
        return ordered[min(int(q * len(ordered)), len(ordered) - 1)]


class _Answer(asyncio.Protocol):
    """A client connection with one request at a time."""

    def __init__(self) -> None:
        self.done: asyncio.Future[int] | None = None
        self.backend = self.name = ""
        self.body = b""

    def connection_made(self, transport):
        self.transport = transport
        self.parser = httptools.HttpResponseParser(self)

    def send(self, data: bytes) -> asyncio.Future[int]:
        self.done = asyncio.get_running_loop().create_future()
        self.backend, self.name, self.body = "", "", b""
        self.transport.write(data)
        return self.done

    def data_received(self, data):
        self.parser.feed_data(data)

    def on_header(self, name, value):
        if name.lower() == b"x-understudy-backend":
            self.backend = value.decode()
        elif name.lower() == b"x-understudy-id":
            self.name = value.decode()

    def on_body(self, data):
        self.body += data

    def on_message_complete(self):
        if self.done is not None and not self.done.done():
            self.done.set_result(self.parser.get_status_code())
        if not self.parser.should_keep_alive():
            self.transport.close()

    def connection_lost(self, exc):
        if self.done is not None and not self.done.done():
            self.done.set_exception(ConnectionError(f"connection lost: {exc}"))


def request(user: str, number: int, path: str = "/v2/models/m/infer") -> bytes:
    """An inference request of a user."""
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [number]}]}).encode()
    head = f"POST {path} HTTP/1.1\r\nhost: test\r\nx-user-id: {user}\r\ncontent-type: application/json\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


def users(count: int) -> Iterator[str]:
    """Users in turn, without end."""
    number = 0
    while True:
        yield f"user-{number % count}"
        number += 1


TRIES = 3
"""A fault that is there shows every time; the noise of a busy machine does not come so often."""


async def least(measure: Callable[[], Awaitable[float]], enough: float) -> float:
    """The least of a few measurements, the first of which that is below `enough` is the last."""
    found = [await measure()]
    while min(found) >= enough and len(found) < TRIES:
        found.append(await measure())
    return min(found)


class Load:
    """Clients of one proxy. As a context, `async with Load(port) as load`, or `await load.send(n)`."""

    def __init__(self, port: int, rate: float = 0.0, user_count: int = 500, connections: int = 16) -> None:
        self._port, self._rate, self._connections = port, rate, connections
        self._users = users(user_count)
        self._number = 0
        self._running = False
        self._task: asyncio.Task[None] | None = None
        self.tally = Tally()

    async def __aenter__(self) -> Load:
        self._running = True
        self._task = asyncio.create_task(self._go(None))
        return self

    async def __aexit__(self, *exc) -> None:
        self._running = False
        if self._task is not None:
            await self._task

    async def send(self, count: int) -> Tally:
        """Send so many requests and wait for their answers."""
        self._running = True
        await self._go(count)
        return self.tally

    async def _go(self, count: int | None) -> None:
        self._left = count
        self._start = monotonic()
        self._due = 0
        await asyncio.gather(*(self._client() for _ in range(self._connections)))

    def _take(self) -> float | None:
        """The intended time of the next request, or None at the end."""
        if not self._running or self._left == 0:
            return None
        if self._left is not None:
            self._left -= 1
        self._due += 1
        return self._start + self._due / self._rate if self._rate else monotonic()

    async def _client(self) -> None:
        loop = asyncio.get_running_loop()
        protocol: _Answer | None = None
        while (due := self._take()) is not None:
            wait = due - monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            user = next(self._users)
            self._number += 1
            try:
                if protocol is None or protocol.transport.is_closing():
                    _, protocol = await loop.create_connection(_Answer, "127.0.0.1", self._port)
                asked = request(user, self._number)
                status = await asyncio.wait_for(protocol.send(asked), 30)
            except (OSError, TimeoutError) as error:
                self.tally.broken += 1
                self.tally.problems[repr(error)] += 1
                protocol = None
                continue
            self.tally.statuses[status] += 1
            self.tally.latencies_s.append(monotonic() - due)
            if status != 200:
                self.tally.problems[protocol.body[:200].decode()] += 1
            if protocol.name:
                self.tally.named.append((protocol.name, asked, protocol.body))
            if protocol.backend:
                self.tally.backends[protocol.backend] += 1
                self.tally.users[protocol.backend].add(user)
        if protocol is not None:
            protocol.transport.close()
