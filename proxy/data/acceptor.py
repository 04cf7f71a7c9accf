"""A listening socket in a worker: whoever comes is let in, at once or once it is known who it is.

Where a listener asks for nothing the loop accepts, and a connection is a client from its first byte on. Where it asks
for a PROXY header, one short task per connection reads it first, and takes no byte too many. What is not done within
`headTimeout` is closed.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from time import monotonic
from typing import Final

from proxy.data.downstream import ClientConnection
from proxy.data.listening import CLOSED, ListenerPlan
from proxy.data.proxy_protocol import MAX_BYTES, MalformedError, Source, parse, portion
from proxy.data.routing import Context
from proxy.data.trust import peer_address
from proxy.faults import FACTS, Fault
from proxy.ledger.layout import W_ACCEPTED, W_TURNED_AWAY

BACKLOG: Final = 4096
ACCEPTS: Final = 64
"""Connections that are accepted in one turn of the loop, so that those who are there already have theirs."""
EXHAUSTED_S: Final = 0.5
"""How long nobody is accepted where there is no descriptor left; the connections wait in the kernel."""
_EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_TELL_S: Final = 1.0
"""The log has one line in so long about clients that were turned away; the ledger counts all."""

Log = Callable[..., None]


class RefusedError(Exception):
    """A connection that is closed before it is a client."""

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(reason)
        self.fault = fault


class Acceptor:
    """One listening socket."""

    __slots__ = (
        "_clients",
        "_context",
        "_direct",
        "_index",
        "_listening",
        "_log",
        "_loop",
        "_resume",
        "_server",
        "_told_s",
        "_untold",
        "waiting",
    )

    def __init__(
        self, context: Context, clients: set[ClientConnection], index: int, listening: socket.socket, log: Log
    ) -> None:
        self._context = context
        self._clients = clients
        self._index = index
        self._listening = listening
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._direct: bool | None = None
        self._server: asyncio.Server | None = None
        self._resume: asyncio.TimerHandle | None = None
        self._told_s = 0.0
        self._untold = 0
        self.waiting: set[asyncio.Task[None]] = set()
        """Connections of which it is not known yet who it is."""

    async def adopt(self) -> None:
        """Go by the listener as it is now, for connections to come."""
        direct = self._plan.direct
        if direct is self._direct:
            return
        self._stop()
        self._direct = direct
        if direct:
            # A copy of the descriptor, since the loop closes what it is given when it stops to accept.
            self._server = await self._loop.create_server(self._client, sock=self._listening.dup(), backlog=BACKLOG)
        else:
            self._loop.add_reader(self._listening, self._accept)

    def close(self) -> None:
        """Accept nobody any more."""
        self._stop()
        self._listening.close()

    @property
    def _plan(self) -> ListenerPlan:
        return self._context.routing.listener(self._index)

    def _client(self) -> ClientConnection:
        """A client that needs no welcome; an edit may just have changed that."""
        plan = self._plan
        return ClientConnection(self._context, self._clients, plan if plan.direct else CLOSED)

    def _stop(self) -> None:
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None
        if self._server is not None:
            self._server.close()
            self._server = None
        elif self._direct is False:
            self._loop.remove_reader(self._listening)

    # ------------------------------------------------------------------ connections that are looked at first
    def _accept(self) -> None:
        for _ in range(ACCEPTS):
            try:
                conn, _ = self._listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno not in _EXHAUSTED:
                    continue  # who it was is gone already
                self._log("error", "cannot accept", reason=str(error), again_in_s=EXHAUSTED_S)
                self._loop.remove_reader(self._listening)
                self._resume = self._loop.call_later(EXHAUSTED_S, self._go_on)
                return
            conn.setblocking(False)
            if len(self.waiting) + self._context.admission.total >= self._context.routing.limits.max_connections:
                self._context.writer.add_worker(W_ACCEPTED, 1)
                self._context.writer.add_worker(W_TURNED_AWAY, 1)
                conn.close()
                continue
            task = self._loop.create_task(self._welcome(conn, self._plan))
            self.waiting.add(task)
            task.add_done_callback(self.waiting.discard)

    def _go_on(self) -> None:
        self._resume = None
        self._loop.add_reader(self._listening, self._accept)

    async def _welcome(self, conn: socket.socket, plan: ListenerPlan) -> None:
        """Find out who it is, and make a client of it."""
        try:
            async with asyncio.timeout(self._context.routing.limits.head_timeout_s):
                client = await self._identify(conn, plan)
            if client is None:
                conn.close()
                return
            await self._loop.connect_accepted_socket(lambda: client, conn)
        except RefusedError as refused:
            self._turn_away(conn, refused.fault, str(refused))
        except TimeoutError:
            self._turn_away(conn, Fault.PROXY_HEADER, "it did not come in time")
        except OSError as error:
            self._turn_away(conn, Fault.PROXY_HEADER, error.strerror or str(error))

    async def _identify(self, conn: socket.socket, plan: ListenerPlan) -> ClientConnection | None:
        """The client; None where a connection is closed before it said anything, as health checks do it."""
        address = peer_address(conn.getpeername())
        if plan.trust and not plan.trust.includes(address):
            raise RefusedError(Fault.PROXY_HEADER, f"{address} is not among trustedProxies")
        source = await self._source(conn)
        if source is None:
            return None
        caller = plan.caller(source.address, False) if source.address else plan.stranger(address, False)
        return ClientConnection(self._context, self._clients, plan, caller)

    async def _source(self, conn: socket.socket) -> Source | None:
        """What the PROXY header says; None where nothing came."""
        taken = b""
        while True:
            try:
                waiting = conn.recv(MAX_BYTES, socket.MSG_PEEK)
            except (BlockingIOError, InterruptedError):
                await self._readable(conn)
                continue
            if not waiting:
                if not taken:
                    return None
                raise RefusedError(Fault.PROXY_HEADER, "it ends before its end")
            try:
                taken += conn.recv(portion(taken, waiting))
                source = parse(taken)
            except MalformedError as error:
                raise RefusedError(Fault.PROXY_HEADER, str(error)) from None
            if source is not None:
                return source

    async def _readable(self, conn: socket.socket) -> None:
        """Wait until there is something to read, or the end."""
        ready = self._loop.create_future()
        self._loop.add_reader(conn, _resolve, ready)
        try:
            await ready
        finally:
            self._loop.remove_reader(conn)

    def _turn_away(self, conn: socket.socket, fault: Fault, reason: str) -> None:
        """Close a connection that is no client, count it, and say so once in a while."""
        conn.close()
        self._context.writer.add_worker(W_ACCEPTED, 1)
        self._context.writer.refuse(fault)
        now_s = monotonic()
        if now_s - self._told_s < _TELL_S:
            self._untold += 1
            return
        self._log("warning", "connection refused", listener=self._plan.listener.address, fault=FACTS[fault].flag,
                  reason=reason, more=self._untold)  # fmt: skip
        self._told_s, self._untold = now_s, 0


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
