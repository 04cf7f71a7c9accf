"""Connections to one endpoint: who is lent which, and what happens at every bound.

A connection goes back to the pool only if the answer ended where it said it would, the whole request was sent, and both
sides may keep it; anything else closes it. The connection that was used last is lent first, which lets the others grow
old and be closed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import Final

from proxy.data.backends.connection import Borrower, Connection
from proxy.data.backends.dialing import Dialer, DialError
from proxy.data.backends.resolving import Name
from proxy.data.backends.standing import Standing, Watch
from proxy.data.logs.notices import Seldom
from proxy.faults import FACTS, Fault
from proxy.snapshot import Backend, Endpoint

STALE_AFTER_S: Final = 0.25
"""A connection that was idle for longer may have been closed by the backend for its age while a request was on its way:
such a request is sent once more, unless it is known to have been delivered. One that was in use a moment ago was not,
and its loss is the version's failure: a version that crashes on some requests must not be hidden by second attempts."""


class Pool:
    """Connections to one endpoint. `max_connections` bounds them and `max_pending` the queue for them.

    Of an endpoint with a name each `address` has a pool of its own; "" stands for all, before they are known.

    `watch` is told how every attempt ended, where the backend asks for it (`outlierDetection`).
    """

    def __init__(self, backend: Backend, endpoint: Endpoint, name: Name | None = None, address: str = "") -> None:
        self.endpoint = endpoint
        self.address = address
        self.standing = Standing()
        self.watch: Watch | None = None
        self._max_connections = backend.max_connections
        self._max_pending = backend.max_pending
        self._max_requests = backend.max_requests
        self._idle_timeout_s = backend.idle_timeout_s
        self._idle: list[Connection] = []
        self._waiting: deque[tuple[Borrower, bool, float]] = deque()
        self._connections: set[Connection] = set()
        self._connecting: dict[Borrower, asyncio.Task[None]] = {}
        self._retired = False
        self._name = backend.name
        self._dialer = Dialer(backend, endpoint, name, address)
        self._trouble: DialError | None = None
        self._seldom = Seldom()
        self.opened = 0
        self.reused = 0

    def __str__(self) -> str:
        return str(self._dialer)

    @property
    def in_flight(self) -> int:
        """Requests that have a connection or wait for one."""
        return len(self._connections) - len(self._idle) + len(self._connecting) + len(self._waiting)

    @property
    def roomy(self) -> bool:
        """Whether half of the connections that there may be are not needed: a copy then delays no request."""
        return 2 * self.in_flight < self._max_connections

    def acquire(self, borrower: Borrower, head_only: bool, connect_timeout_s: float, fresh: bool = False) -> None:
        """Lend a connection: at once where one is idle, else when one is made or comes back.

        `fresh` asks for a new connection. At the bound of connections the borrower waits in a queue; at the bound of
        the queue it is told `Fault.OVERFLOW`.
        """
        while self._idle and not fresh:
            connection = self._idle.pop()
            if connection.transport.is_closing():
                continue
            connection.stale = monotonic() - connection.idle_since_s > STALE_AFTER_S
            self.reused += 1
            connection.lend(borrower, head_only)
            borrower.upstream_ready(connection)
            return
        if len(self._connections) + len(self._connecting) < self._max_connections:
            self._connecting[borrower] = asyncio.get_running_loop().create_task(
                self._connect(borrower, head_only, connect_timeout_s)
            )
        elif len(self._waiting) < self._max_pending:
            self._waiting.append((borrower, head_only, connect_timeout_s))
        else:
            borrower.upstream_failed(Fault.OVERFLOW)

    def cancel(self, borrower: Borrower) -> None:
        """Forget a borrower that waits for a connection."""
        task = self._connecting.pop(borrower, None)
        if task is not None:
            task.cancel()
            self._serve_next()
        elif self._waiting:
            self._waiting = deque(entry for entry in self._waiting if entry[0] is not borrower)

    def release(self, connection: Connection) -> None:
        """Take a connection back after a complete exchange."""
        if connection.transport.is_closing():
            return
        if self._retired or (self._max_requests and connection.served >= self._max_requests):
            connection.close()
        elif self._waiting:
            borrower, head_only, _ = self._waiting.popleft()
            connection.stale = False
            connection.lend(borrower, head_only)
            borrower.upstream_ready(connection)
        else:
            connection.idle_since_s = monotonic()
            self._idle.append(connection)

    def adopt(self, connection: Connection) -> None:
        """A connection is made."""
        self._connections.add(connection)
        self.opened += 1

    def forget(self, connection: Connection) -> None:
        """A connection is closed; whoever waits may have its place."""
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._serve_next()

    def _serve_next(self) -> None:
        """There is room for a connection: make one for whoever waits."""
        if self._waiting and len(self._connections) + len(self._connecting) < self._max_connections:
            self.acquire(*self._waiting.popleft())

    def sweep(self, now_s: float) -> None:
        """Close connections that were idle for too long."""
        while self._idle and now_s - self._idle[0].idle_since_s > self._idle_timeout_s:
            self._idle.pop(0).close()

    def retire(self) -> None:
        """Close what is idle now, and what is in use when it comes back."""
        self._retired = True
        self.watch = None  # the standing is the next pool's now
        while self._idle:
            self._idle.pop().close()

    def why(self, fault: Fault) -> str:
        """What is known of the fault that a borrower was just told, in words."""
        trouble = self._trouble
        return trouble.said if trouble is not None and trouble.fault is fault else ""

    def explain(self, error: Exception | None) -> tuple[Fault, str]:
        """What the end of a new connection is, and why: the handshake of TLS 1.3 may fail after its end."""
        trouble = self._dialer.explain_end(error)
        return (Fault.UPSTREAM_RESET, "") if trouble is None else (self._note(trouble), trouble.said)

    async def _connect(self, borrower: Borrower, head_only: bool, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                connection = await self._dialer.dial(lambda: Connection(self))
        except TimeoutError:
            fault = self._note(self._dialer.late(timeout_s))
        except DialError as error:
            fault = self._note(error)
        else:
            fault, self._trouble = Fault.CONNECT_FAILED, None  # it was closed before anybody had it
            if not connection.transport.is_closing():
                self._connecting.pop(borrower, None)
                connection.lend(borrower, head_only)
                borrower.upstream_ready(connection)
                return
        self._connecting.pop(borrower, None)
        if self.watch is not None:
            self.watch.failed(fault)
        borrower.upstream_failed(fault)
        self._serve_next()

    def _note(self, trouble: DialError) -> Fault:
        """Say it, seldom, and keep it for whoever asks why."""
        self._trouble = trouble
        self._seldom.say(
            "endpoint not reached",
            trouble.said,
            backend=self._name,
            endpoint=str(self._dialer),
            fault=FACTS[trouble.fault].flag,
            remedy=trouble.remedy,
        )
        return trouble.fault
