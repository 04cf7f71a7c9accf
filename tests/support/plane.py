"""A data plane whose network is played: real clients' and backends' protocols on fake transports, and a real ledger."""

from __future__ import annotations

import asyncio
import os
from array import array
from collections.abc import Callable
from typing import Any, Final

import msgspec

from proxy.data.backends.connection import Connection
from proxy.data.clients.downstream import ClientConnection
from proxy.data.routing.routing import Context, Routing
from proxy.ledger.layout import create
from proxy.ledger.reader import Reader, Totals
from proxy.ledger.writer import Writer
from proxy.snapshot import CIRCLE, Arm, Backend, Endpoint, Listener, Match, Route, RowRef, Segment, Snapshot
from tests.support.transports import FakeTransport, settle

START_S: Final = 5000.25
STABLE: Final = Backend("v1", (Endpoint("v1.test", 81),))
CANARY: Final = Backend("v2", (Endpoint("v2.test", 82),))
SHADOW: Final = Backend("v3", (Endpoint("v3.test", 83),))
ROWS: Final = {"v1": RowRef(0, 11), "v2": RowRef(1, 12), "v3": RowRef(2, 13)}


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now_s: float = START_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def move(self, seconds: float) -> None:
        self.now_s += seconds


class PlayedBackend:
    """The backend's end of one connection."""

    def __init__(self, connection: Connection, room: int) -> None:
        self.connection = connection
        self.transport = FakeTransport(connection, room)
        connection.connection_made(self.transport)

    def take(self) -> bytes:
        """What the proxy sent since the last time."""
        return self.transport.take()

    def answer(self, raw: bytes) -> None:
        """Send bytes to the proxy, unless it does not read."""
        assert self.transport.reading, "the proxy does not read from this backend"
        self.transport.protocol.data_received(raw)

    def close(self) -> None:
        """Close in an orderly way."""
        self.transport.protocol.eof_received()
        self.transport.lose()

    def reset(self) -> None:
        """Break the connection."""
        self.transport.lose(ConnectionResetError("reset by the played backend"))


class Network:
    """Takes the place of `loop.create_connection`: what happens to a connect is decided by its host."""

    def __init__(self) -> None:
        self.dialled: list[str] = []
        self.made: dict[str, list[PlayedBackend]] = {}
        self.refusing: set[str] = set()
        self.silent: set[str] = set()
        self.room = 1 << 40

    async def create_connection(
        self, factory: Callable[[], Connection], host: str, port: int, **options: object
    ) -> tuple[FakeTransport, Connection]:
        self.dialled.append(host)
        if host in self.refusing:
            raise ConnectionRefusedError(f"{host}:{port}")
        if host in self.silent:
            await asyncio.get_running_loop().create_future()
        backend = PlayedBackend(factory(), self.room)
        self.made.setdefault(host, []).append(backend)
        return backend.transport, backend.connection


class PlayedClient:
    """The client's end of one connection."""

    def __init__(self, context: Context, registry: set[ClientConnection], room: int) -> None:
        self.connection = ClientConnection(context, registry)
        self.transport = FakeTransport(self.connection, room)
        self.connection.connection_made(self.transport)

    def send(self, raw: bytes) -> None:
        """Send bytes to the proxy, whether it reads or not: a read may be on its way already."""
        if not self.transport.lost:
            self.transport.protocol.data_received(raw)

    def take(self) -> bytes:
        """What the proxy sent since the last time."""
        return self.transport.take()


class Plane:
    """One worker's data plane with three versions: v1 (stable), v2 (canary), v3 (to be mirrored to)."""

    def __init__(self, network: Network, clock: Clock) -> None:
        fd = create(1, 8, 8)
        self.writer = Writer(fd, 0)
        self.reader = Reader(fd)
        os.close(fd)
        self.network = network
        self.clock = clock
        self.backends = [STABLE, CANARY, SHADOW]
        self.listener = Listener()
        self.route = Route(
            name="all",
            matches=(Match(),),
            arms=(Arm(0, ROWS["v1"]), Arm(1, ROWS["v2"], mirrored=False)),
            segments=(Segment(0, 1), Segment(CIRCLE, 0)),
            seed=1,
        )
        self.registry: set[ClientConnection] = set()
        self.context = Context(Routing(Snapshot(0), self.writer), self.writer, b"test")
        self.adopt()

    def adopt(self, **changes: Any) -> None:
        """Change the one route, as a new generation."""
        self.route = msgspec.structs.replace(self.route, **changes)
        snapshot = Snapshot(
            self.context.routing.generation + 1,
            tuple(self.backends),
            (self.route,),
            listeners=(self.listener,),
        )
        self.context.routing = Routing(snapshot, self.writer, self.context.routing)

    def listen(self, **settings: Any) -> None:
        """Change the one listener, for clients to come."""
        self.listener = Listener(**settings)
        self.adopt()

    def client(self, room: int = 1 << 40) -> PlayedClient:
        """A new client."""
        return PlayedClient(self.context, self.registry, room)

    def backend(self, name: str = "v1", number: int = -1) -> PlayedBackend:
        """The newest connection to a version, or one by number."""
        return self.network.made[f"{name}.test"][number]

    def connections(self, name: str = "v1") -> int:
        """How many connections to a version were ever made."""
        return len(self.network.made.get(f"{name}.test", ()))

    async def exchange(self, client: PlayedClient, request: bytes, answer: bytes, name: str = "v1") -> bytes:
        """Send a request, have it answered, and give what the client got."""
        client.send(request)
        await settle()
        self.backend(name).answer(answer)
        await settle()
        return client.take()

    def sweep(self, seconds: float = 0.0) -> None:
        """Move the clock and look at all deadlines, as the worker does."""
        self.clock.move(seconds)
        self.context.sweep(self.clock.now_s)
        for client in list(self.registry):
            client.sweep(self.clock.now_s)

    def totals(self, name: str = "v1") -> Totals:
        """What the ledger says of a version."""
        totals = self.reader.totals(0, ROWS[name].index, ROWS[name].tenant)
        assert totals is not None
        return totals

    def lane(self, name: str = "v1", at_s: float | None = None) -> array[float]:
        """A version's cells of the slice of a time, now by default."""
        slice_ = int(self.clock.now_s if at_s is None else at_s)
        lane = self.reader.lane(0, ROWS[name].index, ROWS[name].tenant, slice_)
        assert lane is not None
        return lane

    def refused(self) -> dict[int, float]:
        """Requests that no version saw, by fault."""
        cells = self.reader.worker(0)[16:48]
        return {fault: count for fault, count in enumerate(cells) if count}


def request(
    method: str = "GET",
    target: str = "/",
    headers: tuple[str, ...] = (),
    body: bytes | None = None,
    version: str = "1.1",
) -> bytes:
    """A well-formed request; with a body it says how long that is."""
    lines = [f"{method} {target} HTTP/{version}", "Host: m.test", *headers]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


def answer(body: bytes = b"", status: int = 200, headers: tuple[str, ...] = (), length: bool = True) -> bytes:
    """A well-formed answer."""
    lines = [f"HTTP/1.1 {status} X", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked(*pieces: bytes) -> bytes:
    """A body in chunks."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def split(message: bytes) -> tuple[str, dict[str, str], bytes]:
    """First line, fields and the rest of one message; a field that comes twice is an error."""
    head, _, rest = message.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    fields: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        assert name not in fields, f"{name} comes twice in {message!r}"
        fields[name] = value
    return first, fields, rest
