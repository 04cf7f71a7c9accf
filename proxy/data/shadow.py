"""Copies of live requests to versions that only rehearse.

A copy goes out when the client has its answer, so it can neither delay nor change it, and its answer is read,
compared and thrown away. It has a bound on how many are under way and a deadline of its own. Every copy that is not
sent, or not compared, is counted by reason: what was skipped is part of what the comparison means.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import random
from time import monotonic

from proxy.data.bodies import Piece
from proxy.data.connection import Borrower, Connection
from proxy.data.heads import to_shadow
from proxy.data.http1 import Headers, ResponseHead
from proxy.data.router import Head
from proxy.data.routing import Context, MirrorPlan, RoutePlan
from proxy.faults import FACTS, Fault, Side, Skip, counts_against
from proxy.ledger.writer import Reading
from proxy.snapshot import CIRCLE


def mirror(
    context: Context,
    plan: RoutePlan,
    head: Head,
    body: list[Piece] | None,
    readings: Sequence[Reading],
    latency_s: float,
    fault: Fault,
) -> Sequence[str]:
    """Send the copies that a finished request is due; the names of the versions that get one.

    `body` is None where it was not kept. `latency_s` is stable's, 0 where stable failed and there is nothing to
    compare with. A `fault` of the client's says that there was no whole request, or nobody to answer it.
    """
    gone = FACTS[fault].side is Side.CLIENT and fault is not Fault.BODY_TOO_LARGE
    sent = []
    for copy in plan.mirrors:
        writer = context.writer
        if head.upgrade:
            writer.skip(copy.row, Skip.UPGRADE)
            continue
        if head.method not in copy.methods:
            writer.skip(copy.row, Skip.METHOD)
            continue
        if copy.matches is not None and not copy.matches(head):
            writer.skip(copy.row, Skip.NOT_MATCHED)
            continue
        share = copy.mirror.share
        if share < CIRCLE and random() * CIRCLE >= share:  # noqa: S311 - a share of traffic, not a secret
            continue
        if gone:
            writer.skip(copy.row, Skip.CLIENT_GONE)
        elif context.draining:
            writer.skip(copy.row, Skip.DRAINING)
        elif body is None or sum(map(len, body)) > copy.mirror.max_body_bytes:
            writer.skip(copy.row, Skip.BODY_TOO_LARGE)
        elif copy.upstream.copies >= copy.mirror.max_concurrency:
            writer.skip(copy.row, Skip.BUSY)
        else:
            Shadow(context, plan, copy, readings, latency_s).start(head, b"".join(body))
            sent.append(copy.upstream.backend.name)
    return sent


class Shadow(Borrower):
    """One copy under way. It is a `Borrower` of upstream connections and has a deadline."""

    __slots__ = (
        "_arrived_s",
        "_connection",
        "_context",
        "_copy",
        "_done",
        "_headers",
        "_kept",
        "_kept_bytes",
        "_latency_s",
        "_plan",
        "_pool",
        "_readings",
        "_request",
        "_status",
        "deadline_s",
    )

    def __init__(
        self, context: Context, plan: RoutePlan, copy: MirrorPlan, readings: Sequence[Reading], latency_s: float
    ) -> None:
        self._context = context
        self._plan = plan
        self._copy = copy
        self._readings = readings
        self._latency_s = latency_s
        self._pool = copy.upstream.pool()
        self._connection: Connection | None = None
        self._headers: Headers = []
        self._kept: list[Piece] | None = None
        self._kept_bytes = 0
        self._request = b""
        self._status = 0
        self._done = False
        self._arrived_s = 0.0
        self.deadline_s = 0.0

    def start(self, head: Head, body: bytes) -> None:
        """Write the copy and ask for a connection."""
        copy = self._copy
        head_bytes = to_shadow(head, len(body), copy.changed, copy.field_lines, self._context.request_id)
        self._request = head_bytes + body
        self._arrived_s = monotonic()
        self.deadline_s = self._arrived_s + self._copy.mirror.timeout_s
        self._copy.upstream.copies += 1
        self._context.copies += 1
        self._context.writer.arrive(self._copy.row, self._arrived_s)
        self._context.live.add(self)
        self._pool.acquire(self, head.method == b"HEAD", self._plan.route.connect_timeout_s)

    # --- the upstream's calls
    def upstream_ready(self, connection: Connection) -> None:
        """Send the copy."""
        self._connection = connection
        connection.transport.write(self._request)

    def upstream_failed(self, fault: Fault) -> None:
        """No connection: the copy never left."""
        self._finish(fault, Skip.NO_CONNECTION)

    def upstream_lost(self, fault: Fault, clean: bool) -> None:
        """The shadow gave up, or its pooled connection was stale, in which case the copy goes out once more."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.stale and not self._status and fault is Fault.UPSTREAM_RESET:
            self._pool.acquire(self, self._request.startswith(b"HEAD "), self._plan.route.connect_timeout_s, fresh=True)
        else:
            self._finish(fault)

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
                self._kept.append(data)

    def response_trailers(self, trailers: Headers, headers: Headers) -> None:
        """Nobody waits for them."""

    def response_flush(self) -> None:
        """Nothing waits for a shadow's answer."""

    def response_end(self) -> None:
        """The shadow has answered."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.release(connection)
        self._finish(Fault.NONE)

    # --- ends
    def expire(self, now_s: float) -> None:
        """The shadow is too slow: its connection is given up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon(Fault.REQUEST_TIMEOUT)
        else:
            self._pool.cancel(self)
        self._finish(Fault.REQUEST_TIMEOUT, Skip.TIMEOUT)

    def _finish(self, fault: Fault, skip: Skip | None = None) -> None:
        if self._done:
            return
        self._done = True
        context, copy, reader = self._context, self._copy, self._plan.reader
        context.live.discard(self)
        copy.upstream.copies -= 1
        context.copies -= 1
        now_s = monotonic()
        readings: list[Reading] = []
        if skip is not None:
            context.writer.skip(copy.row, skip)
        elif reader is not None and fault is Fault.NONE and (self._kept is not None or self._kept_bytes):
            readings = reader.read(self._headers, None if self._kept is None else b"".join(self._kept))
        failed = counts_against(fault, self._status)
        if self._latency_s and not failed:
            ratio = (now_s - self._arrived_s) / self._latency_s
            outputs = reader.compare(self._readings, readings) if reader and self._readings and readings else ()
            if reader and not outputs:
                context.writer.skip(copy.row, Skip.UNREADABLE)
            context.writer.pair(copy.row, self._arrived_s, now_s, ratio, outputs)
        context.writer.finish(copy.row, self._arrived_s, now_s, failed, self._status, fault, -1, readings)
