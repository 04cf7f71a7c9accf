"""A copy of a request under way: written, answered, read and thrown away. What it was for, its kind says at the end."""

from __future__ import annotations

from time import monotonic
from typing import Final

from proxy.data.backends.connection import Borrower, Connection
from proxy.data.backends.pool import Pool
from proxy.data.backends.upstream import Upstream
from proxy.data.routing.routing import Context, RoutePlan
from proxy.data.wire.bodies import Piece
from proxy.data.wire.gathering import gather
from proxy.data.wire.http1 import Headers, ResponseHead
from proxy.faults import Fault, Skip
from proxy.ledger.reading import Reading

_NONE: Final = Fault.NONE
"""Looked up once: see `proxy.data.exchanges.reply`."""


class Copy(Borrower):
    """A request that no client waits for. It is a `Borrower` of upstream connections and has a deadline."""

    __slots__ = (
        "_arrived_s",
        "_connection",
        "_context",
        "_done",
        "_headers",
        "_kept",
        "_kept_bytes",
        "_plan",
        "_pool",
        "_request",
        "_status",
        "_upstream",
        "deadline_s",
    )

    def __init__(self, context: Context, plan: RoutePlan, upstream: Upstream, pool: Pool) -> None:
        self._context = context
        self._plan = plan
        self._upstream = upstream
        self._pool = pool
        self._connection: Connection | None = None
        self._headers: Headers = []
        self._kept: list[Piece] | None = None
        self._kept_bytes = 0
        self._request = b""
        self._status = 0
        self._done = False
        self._arrived_s = 0.0
        self.deadline_s = 0.0

    def start(self, request: bytes, arrived_s: float, timeout_s: float) -> None:
        """Ask for a connection to write a request to."""
        self._request = request
        self._arrived_s = arrived_s
        self.deadline_s = arrived_s + timeout_s
        self._upstream.copies += 1
        self._context.copies += 1
        self._context.live.add(self)
        self._pool.acquire(self, request.startswith(b"HEAD "), self._plan.route.connect_timeout_s)

    # --- the upstream's calls
    def upstream_ready(self, connection: Connection) -> None:
        """Send the copy."""
        self._connection = connection
        connection.transport.write(self._request)

    def upstream_failed(self, fault: Fault) -> None:
        """No connection: the copy never left."""
        self._end(fault, Skip.NO_CONNECTION)

    def upstream_lost(self, fault: Fault, clean: bool) -> None:
        """The backend gave up, or its pooled connection was stale, in which case the copy goes out once more."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.stale and not self._status and fault is Fault.UPSTREAM_RESET:
            self._pool.acquire(self, self._request.startswith(b"HEAD "), self._plan.route.connect_timeout_s, fresh=True)
        else:
            self._end(fault)

    def upstream_writable(self, writable: bool) -> None:
        """The copy is in the transport's buffer, which its size bounds: nothing to hold."""

    def response_head(self, head: ResponseHead) -> None:
        """Keep what is needed to read predictions."""
        self._status = head.status
        self._headers = head.headers
        if self._plan.reader is not None and head.status == 200 and not head.bodyless:
            self._kept = []

    def response_body(self, data: Piece) -> None:
        """Keep the body up to the bound, drop it otherwise."""
        if self._kept is not None and self._plan.reader is not None:
            self._kept_bytes += len(data)
            if self._kept_bytes > self._plan.reader.max_body_bytes:
                self._kept = None
            else:
                gather(self._kept, data)

    def response_trailers(self, trailers: Headers, headers: Headers) -> None:
        """Nobody waits for them."""

    def response_flush(self) -> None:
        """Nothing waits for a copy's answer."""

    def response_end(self) -> None:
        """There is an answer."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.release(connection)
        self._end(_NONE)

    # --- ends
    def expire(self, now_s: float) -> None:
        """The answer is too slow: its connection is given up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon(self._impatience())
        else:
            self._pool.cancel(self)
        self._end(Fault.REQUEST_TIMEOUT, Skip.TIMEOUT)

    def _impatience(self) -> Fault:
        """What the endpoint is told of a copy that took too long."""
        return Fault.REQUEST_TIMEOUT

    def _end(self, fault: Fault, skip: Skip | None = None) -> None:
        """It is over, once. `skip` says why there is no answer at all."""
        if self._done:
            return
        self._done = True
        self._context.live.discard(self)
        self._upstream.copies -= 1
        self._context.copies -= 1
        self._finish(fault, skip, monotonic())

    def _read(self) -> list[Reading]:
        """What the answer predicts; nothing where no answer was kept that could say."""
        reader, kept = self._plan.reader, self._kept
        if reader is None or (kept is None and not self._kept_bytes):
            return []
        return reader.read(self._headers, None if kept is None else b"".join(kept))

    def _finish(self, fault: Fault, skip: Skip | None, now_s: float) -> None:
        """Count what came of it."""
        raise NotImplementedError
