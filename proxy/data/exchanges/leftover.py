"""The rest of an answer that nobody waits for: read to its end, so that its connection can be used again.

A version that answers every third request with 503 would otherwise cost a new connection each time, on top of the
failure. The rest is bounded in bytes and in time; beyond that the connection is closed.
"""

from __future__ import annotations

from typing import Final

from proxy.data.backends.connection import Borrower, Connection
from proxy.data.backends.pool import Pool
from proxy.data.routing.routing import Context
from proxy.data.wire.bodies import Piece
from proxy.data.wire.http1 import Headers, ResponseHead
from proxy.faults import Fault

LEFTOVER_BYTES: Final = 64 << 10
"""Reading this much costs about what a new connection does."""
LEFTOVER_S: Final = 1.0


class Leftover(Borrower):
    """The borrower of a connection after the one that gave its answer up. It has a deadline."""

    __slots__ = ("_bytes", "_connection", "_context", "_pool", "deadline_s")

    def __init__(self, context: Context, pool: Pool, connection: Connection, now_s: float) -> None:
        self._context = context
        self._pool = pool
        self._connection = connection
        self._bytes = 0
        self.deadline_s = now_s + LEFTOVER_S
        context.live.add(self)

    def upstream_ready(self, connection: Connection) -> None:
        """Never: it has its connection from the beginning."""

    def upstream_failed(self, fault: Fault) -> None:
        """Never, for the same reason."""

    def upstream_writable(self, writable: bool) -> None:
        """Nothing is written."""

    def response_head(self, head: ResponseHead) -> None:
        """Never: the head is what the answer was given up for."""

    def response_body(self, data: Piece) -> None:
        """Count it."""
        self._bytes += len(data)
        if self._bytes > LEFTOVER_BYTES:
            self.expire(self.deadline_s)

    def response_trailers(self, trailers: Headers, headers: Headers) -> None:
        """Nobody waits."""

    def response_flush(self) -> None:
        """Nobody waits."""

    def response_end(self) -> None:
        """The connection is free again."""
        self._context.live.discard(self)
        self._pool.release(self._connection)

    def upstream_lost(self, fault: Fault, clean: bool) -> None:
        """The connection is gone, which is all the same."""
        self._context.live.discard(self)

    def expire(self, now_s: float) -> None:
        """It takes too long."""
        self._context.live.discard(self)
        self._connection.abandon(Fault.RESPONSE_CUT)
