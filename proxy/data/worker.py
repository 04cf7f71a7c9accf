"""A worker process: accepts clients on inherited sockets and serves them by the snapshot it holds.

It starts with what the slot holds, connects to the controller for what comes next, and goes on by its last snapshot
for as long as there is no controller. It accepts nobody before it has a snapshot: the connections wait in the
listening sockets, which the supervisor keeps open.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import re
import secrets
import signal
import socket
from collections.abc import Sequence
from time import monotonic, time
from typing import TYPE_CHECKING, Final, cast

import uvloop

from proxy import channel
from proxy.data.backends.resolving import Names
from proxy.data.clients.acceptor import Acceptor
from proxy.data.clients.downstream import ClientConnection
from proxy.data.exchanges import exchange
from proxy.data.logs import access_log
from proxy.data.logs.notices import log
from proxy.data.routing.routing import Context, Routing
from proxy.ledger import endpoints
from proxy.ledger.layout import (
    W_GENERATION,
    W_HEARTBEAT,
    W_IN_FLIGHT,
    W_PID,
    W_STARTED,
    W_UPSTREAM_OPENED,
    W_UPSTREAM_REUSED,
)
from proxy.ledger.writer import Writer
from proxy.slot import Slot
from proxy.snapshot import Snapshot, decode

if TYPE_CHECKING:
    from proxy.data.routing.capturing import Captures

SWEEP_S: Final = 0.1
"""How often deadlines are looked at; they are exact to this much."""
DRAIN_LOOK_S: Final = 0.02
"""How often a drain looks who is done."""
SWEEPS: Final = 10
"""What need not be looked at so often has its turn at one of so many, which is once a second."""
RECONNECT_S: Final = 0.05
COMPILED: Final = not exchange.__file__.endswith(".py")
"""Whether the request path is the C of the wheel (`make wheel`), or runs from its sources."""


class Worker:
    """The state of one worker process."""

    def __init__(self, index: int, writer: Writer, slot: Slot, listening: Sequence[socket.socket]) -> None:
        self._index = index
        self._writer = writer
        self._slot = slot
        self._listening = listening
        self._acceptors: list[Acceptor] = []
        self._clients: set[ClientConnection] = set()
        self._stop = asyncio.Event()
        self._sweeps = 0
        self._channel: asyncio.StreamWriter | None = None
        """The way to the controller, while there is one."""
        self.context = Context(Routing(Snapshot(0), writer, names=Names()), writer, secrets.token_hex(6).encode())

    async def run(self, channel_path: str, drain_timeout_s: float) -> None:
        """Serve until SIGTERM, then drain."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._stop.set)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        self._writer.set_worker(W_PID, os.getpid())
        self._writer.set_worker(W_STARTED, time())
        self._writer.set_worker(W_GENERATION, 0)
        kept = self._slot.read()
        if kept is not None:
            await self.adopt(decode(kept))
        listener = loop.create_task(self._listen(channel_path))
        self._sweep()
        gc.freeze()
        await self._stop.wait()
        await self._drain(drain_timeout_s)  # meanwhile it hears when a hold ends
        listener.cancel()

    async def adopt(self, snapshot: Snapshot) -> None:
        """Route by this snapshot from now on; the first one opens the doors."""
        routing = Routing(snapshot, self._writer, self.context.routing)
        self.context.routing = routing
        noted = access_log.adopt(snapshot.access_log, self._writer, self.context.access_log)
        self.context.note(noted, self._captures(snapshot))
        first = not self._acceptors
        if first:
            self._acceptors = [
                Acceptor(self.context, self._clients, index, sock, log) for index, sock in enumerate(self._listening)
            ]
        for acceptor in () if self._stop.is_set() else self._acceptors:
            await acceptor.adopt()
        self._writer.set_worker(W_GENERATION, snapshot.generation)  # last: it says that clients are taken
        if first:
            log("info", "serving", generation=snapshot.generation, worker=self._index, compiled=COMPILED)

    def _captures(self, snapshot: Snapshot) -> Captures | None:
        """Where captured requests wait; none, and nothing of it loaded, where no route asks for any."""
        if all(route.capture is None for route in snapshot.routes):
            return None
        from proxy.data.routing.capturing import Captures

        return self.context.captures or Captures()

    async def _listen(self, path: str) -> None:
        """Hold a connection to the controller, and adopt what it pushes."""
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(path)
            except OSError:
                await asyncio.sleep(RECONNECT_S)
                continue
            try:
                await self._follow(reader, writer)
            except (OSError, ValueError, LookupError, re.error) as error:
                log("warning", "channel failed", error=str(error), worker=self._index)
            finally:
                self._channel = None
                writer.close()
            await asyncio.sleep(RECONNECT_S)

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        generation = self.context.routing.generation
        writer.write(channel.encode(channel.Hello(self._index, os.getpid(), generation)))
        frames = channel.Frames()
        self._channel = writer
        while data := await reader.read(1 << 20):
            for message in frames.feed(data):
                if isinstance(message, channel.Push):
                    snapshot = decode(message.snapshot)
                    if snapshot.generation > self.context.routing.generation:
                        await self.adopt(snapshot)
                    writer.write(channel.encode(channel.Ack(self._index, self.context.routing.generation)))

    def _sweep(self) -> None:
        now_s = monotonic()
        context, writer = self.context, self._writer
        context.sweep(now_s)
        for client in context.admission.crowding(self._clients, context.routing.limits, now_s):
            client.drain(now_s)
        if context.access_log is not None:
            context.access_log.flush()
        self._send_captured()
        for upstream in context.routing.upstreams.values():
            while upstream.news:
                level, event, facts = upstream.news.popleft()
                log(level, event, **facts, worker=self._index)
        self._tell_endpoints()
        context.draining |= self._slot.draining
        self._sweeps += 1
        if self._sweeps % SWEEPS == 0:
            for client in list(self._clients):
                client.sweep(now_s)
            opened, reused = context.routing.connections()
            writer.set_worker(W_UPSTREAM_OPENED, opened)
            writer.set_worker(W_UPSTREAM_REUSED, reused)
        writer.set_worker(W_HEARTBEAT, now_s)
        writer.set_worker(W_IN_FLIGHT, len(context.live) - context.copies)
        asyncio.get_running_loop().call_later(SWEEP_S, self._sweep)

    def _send_captured(self) -> None:
        """Some of what was captured, while there is a controller."""
        captures, up = self.context.captures, self._channel
        if captures is not None and up is not None:
            captures.pump(up.write, up.transport.get_write_buffer_size)

    def _tell_endpoints(self) -> None:
        """How endpoints stand, once a second each: a tenth of the backends at a time, as there may be thousands."""
        number = 0
        for turn, upstream in enumerate(self.context.routing.upstreams.values()):
            if turn % SWEEPS == self._sweeps % SWEEPS:
                for at, (tag, state) in enumerate(upstream.states(), number):
                    endpoints.write(self._writer, at, tag, state)
            number += len(upstream.backend.endpoints)

    @property
    def _busy(self) -> bool:
        return bool(self._clients or self.context.live or any(acceptor.waiting for acceptor in self._acceptors))

    async def _drain(self, timeout_s: float) -> None:
        """Accept nobody, let what is under way end, and close what is idle."""
        log("info", "draining", connections=self.context.admission.total, worker=self._index)
        self.context.draining = True
        for acceptor in self._acceptors:
            acceptor.close()
        end_s = monotonic() + timeout_s
        while self._busy and (now_s := monotonic()) < end_s:
            for client in list(self._clients):
                client.drain(now_s)
            await asyncio.sleep(DRAIN_LOOK_S)
        for room in self.context.routing.rooms.values():
            room.clear(monotonic())
        self._send_captured()
        if self.context.access_log is not None:
            self.context.access_log.close(access_log.CLOSE_S)
        log("info", "stopped", cut=self.context.admission.total, worker=self._index)


def main(argv: Sequence[str]) -> int:
    """Run a worker; returns its exit status.

    The descriptors are inherited: the ledger, the slot and the listening sockets, which belong to the supervisor.
    """
    parser = argparse.ArgumentParser(prog="understudy worker")
    parser.add_argument("--index", type=int, required=True)
    parser.add_argument("--ledger-fd", type=int, required=True)
    parser.add_argument("--slot-fd", type=int, required=True)
    parser.add_argument("--channel", required=True)
    parser.add_argument("--listen-fds", required=True)
    parser.add_argument("--drain-timeout", type=float, default=30.0)
    parser.add_argument("--log-level", default="info")
    options = parser.parse_args(argv)
    listening = [socket.socket(fileno=int(fd)) for fd in cast("str", options.listen_fds).split(",")]
    for sock in listening:
        sock.setblocking(False)

    async def run() -> None:
        worker = Worker(options.index, Writer(options.ledger_fd, options.index), Slot(options.slot_fd), listening)
        await worker.run(options.channel, options.drain_timeout)

    uvloop.run(run())
    return 0
