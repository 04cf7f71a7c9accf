"""Clients that never pause: each loses nothing, or says what it lost."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

REQUEST = b"POST /v2/models/m/infer HTTP/1.1\r\nhost: test\r\nx-user-id: %d\r\ncontent-length: 2\r\n%b\r\n{}"


@dataclass
class Met:
    """What the clients met. `lost` are requests on connections that were made, and that got no whole answer."""

    answered: int = 0
    refused: int = 0
    connections: int = 0
    told_to_close: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    longest_s: float = 0.0


class Arrivals:
    """So many clients of a port. `fresh` of them make a connection for each request, the others keep theirs.

    A client whose connection is refused stops, as there is nobody left to lose anything to.
    """

    def __init__(self, port: int, clients: int = 8, fresh: int = 8) -> None:
        self.met = Met()
        self._port, self._running = port, True
        self._fresh = [number < fresh for number in range(clients)]
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Arrivals:
        self._tasks = [asyncio.create_task(self._client(number, fresh)) for number, fresh in enumerate(self._fresh)]
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._running = False
        await asyncio.gather(*self._tasks)

    async def finished(self) -> Met:
        """Once every client was refused."""
        await asyncio.gather(*self._tasks)
        return self.met

    async def _client(self, number: int, fresh: bool) -> None:
        connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        request = REQUEST % (number, b"connection: close\r\n" if fresh else b"")
        while self._running:
            began_s = time.monotonic()
            if connection is None:
                try:
                    connection = await asyncio.open_connection("127.0.0.1", self._port)
                except OSError:
                    self.met.refused += 1
                    return
                self.met.connections += 1
            try:
                connection[1].write(request)
                keep = await self._answer(connection[0])
            except (OSError, asyncio.IncompleteReadError) as error:
                self.met.lost[f"{'new' if fresh else 'kept'}: {error!r}"] += 1
                keep = False
            self.met.longest_s = max(self.met.longest_s, time.monotonic() - began_s)
            if not keep:
                connection[1].close()
                connection = None

    async def _answer(self, reader: asyncio.StreamReader) -> bool:
        """Read an answer whole; whether the connection goes on."""
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        self.met.answered += 1
        self.met.statuses[int(head.split()[1])] += 1
        closes = b"\r\nconnection: close" in head
        self.met.told_to_close += closes
        return not closes
