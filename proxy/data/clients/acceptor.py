"""A listening socket in a worker: whoever comes is let in, at once or once it is known who it is.

Where a listener asks for nothing the loop accepts, and a connection is a client from its first byte on. Where it asks
for a PROXY header or speaks TLS, one short task per connection sees to that first, in this order. It takes no byte too
many from the socket, so that the handshake is all of the loop's own TLS. What is not done within `headTimeout` is
closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, cast

from proxy.data.clients.downstream import ClientConnection
from proxy.data.requests.trust import Caller, peer_address
from proxy.data.routing.listening import CLOSED, ListenerPlan
from proxy.data.routing.routing import Context
from proxy.data.wire.proxy_protocol import MAX_BYTES, MalformedError, Source, parse, portion
from proxy.faults import FACTS, Fault
from proxy.ledger.layout import W_ACCEPTED, W_TURNED_AWAY

BACKLOG: Final = 4096
ACCEPTS: Final = 64
"""Connections that are accepted in one turn of the loop, so that those who are there already have theirs."""
EXHAUSTED_S: Final = 0.5
"""How long nobody is accepted where there is no descriptor left; the connections wait in the kernel."""
SHUTDOWN_S: Final = 5.0
"""How long a client may take to hear that a TLS connection ends."""
DRAIN_S: Final = 1.0
"""In a drain a connection that has said nothing, or comes last, has this long to say who it is."""
_EXHAUSTED: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))
_TELL_S: Final = 1.0
"""The log has one line in so long about clients that were turned away; the ledger counts all."""

Log = Callable[..., None]


class RefusedError(Exception):
    """A connection that is closed before it is a client."""


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
        "_silent",
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
        self._silent: set[asyncio.Task[Any] | None] = set()
        self.waiting: set[asyncio.Task[None]] = set()
        """Connections of which it is not known yet who it is."""

    async def adopt(self) -> None:
        """Go by the listener as it is now, for connections to come."""
        # The loop's servers for Unix-domain sockets take the path away when they close, in some releases.
        direct = self._plan.direct and self._listening.family != socket.AF_UNIX
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
        """Accept nobody any more, but for those that the kernel has let in already: to close would reset them."""
        self._stop()
        self._loop.call_later(DRAIN_S, self._hush)
        with contextlib.suppress(OSError):
            while True:
                self._meet(self._listening.accept()[0])
        self._listening.close()

    def _hush(self) -> None:
        """Nobody waits any longer for those who have said nothing."""
        for task in list(self._silent):
            if task is not None:
                task.cancel()

    @property
    def _plan(self) -> ListenerPlan:
        return self._context.routing.listener(self._index)

    def _client(self) -> asyncio.Protocol:
        """A client that needs no welcome; an edit may just have changed that."""
        plan = self._plan
        client = ClientConnection(self._context, self._clients, plan if plan.direct else CLOSED)
        return cast(asyncio.Protocol, client)

    def _stop(self) -> None:
        if self._resume is not None:
            self._resume.cancel()
            self._resume = None
        if self._server is not None:
            self._server.close()
            self._server = None
        elif self._direct is False:
            self._loop.remove_reader(self._listening)
        self._direct = None

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
            self._meet(conn)

    def _meet(self, conn: socket.socket) -> None:
        conn.setblocking(False)
        if len(self.waiting) + self._context.admission.total >= self._context.routing.limits.max_connections:
            self._context.writer.add_worker(W_ACCEPTED, 1)
            self._context.writer.add_worker(W_TURNED_AWAY, 1)
            conn.close()
            return
        task = self._loop.create_task(self._welcome(conn, self._plan))
        self.waiting.add(task)
        task.add_done_callback(self.waiting.discard)

    def _go_on(self) -> None:
        self._resume = None
        self._loop.add_reader(self._listening, self._accept)

    async def _welcome(self, conn: socket.socket, plan: ListenerPlan) -> None:
        """Find out who it is, and make a client of it."""
        patience_s = self._context.routing.limits.head_timeout_s
        until_s = self._loop.time() + (min(patience_s, DRAIN_S) if self._context.draining else patience_s)
        fault: Fault | None = None
        try:
            if plan.direct:
                await self._begin(conn, ClientConnection(self._context, self._clients, plan), plan, until_s)
                return
            async with asyncio.timeout_at(until_s):
                if not await self._said_something(conn):
                    conn.close()
                    return
                fault = Fault.PROXY_HEADER if plan.listener.proxy_protocol else Fault.HANDSHAKE
                caller = await self._identify(conn, plan) if plan.listener.proxy_protocol else None
            fault = Fault.HANDSHAKE
            await self._begin(conn, ClientConnection(self._context, self._clients, plan, caller), plan, until_s)
        except RefusedError as refused:
            self._turn_away(conn, fault, str(refused))
        except TimeoutError:
            self._turn_away(conn, fault, "it did not come in time")
        except ssl.SSLError as error:
            self._turn_away(conn, fault, (error.reason or str(error)).lower().replace("_", " "))
        except OSError as error:
            self._turn_away(conn, fault, error.strerror or str(error) or "the client went away")

    async def _begin(self, conn: socket.socket, client: ClientConnection, plan: ListenerPlan, until_s: float) -> None:
        protocol = cast(asyncio.Protocol, client)  # by its methods, not by its base class
        if plan.serving is None:
            await self._loop.connect_accepted_socket(lambda: protocol, conn)
            return
        context = plan.serving.context()
        if context is None:
            raise RefusedError("there is no certificate that could be read")
        await self._loop.connect_accepted_socket(
            lambda: protocol,
            conn,
            ssl=context,
            ssl_handshake_timeout=max(0.001, until_s - self._loop.time()),
            ssl_shutdown_timeout=SHUTDOWN_S,
        )

    async def _said_something(self, conn: socket.socket) -> bool:
        """Whether there is a first byte; health checks close a connection before."""
        task = asyncio.current_task()
        self._silent.add(task)
        try:
            while True:
                try:
                    return bool(conn.recv(1, socket.MSG_PEEK))
                except (BlockingIOError, InterruptedError):
                    await self._readable(conn)
        except asyncio.CancelledError:
            conn.close()
            raise
        finally:
            self._silent.discard(task)

    async def _identify(self, conn: socket.socket, plan: ListenerPlan) -> Caller:
        """Who a connection is from, by its PROXY header."""
        address = peer_address(conn.getpeername())
        if plan.trust and not plan.trust.includes(address):
            raise RefusedError(f"{address} is not among trustedProxies")
        source = await self._source(conn)
        return plan.caller(source.address) if source.address else plan.stranger(address)

    async def _source(self, conn: socket.socket) -> Source:
        """What the PROXY header says."""
        taken = b""
        while True:
            try:
                waiting = conn.recv(MAX_BYTES, socket.MSG_PEEK)
            except (BlockingIOError, InterruptedError):
                await self._readable(conn)
                continue
            if not waiting:
                raise RefusedError("it ends before its end")
            try:
                taken += conn.recv(portion(taken, waiting))
                source = parse(taken)
            except MalformedError as error:
                raise RefusedError(str(error)) from None
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

    def _turn_away(self, conn: socket.socket, fault: Fault | None, reason: str) -> None:
        """Close a connection that is no client, count it, and say so once in a while; one that never said anything is
        no fault of anybody."""
        conn.close()
        if fault is None:
            return
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
