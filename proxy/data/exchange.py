"""One client request with all its upstream attempts, from its head to its one outcome.

    start ─▶ upstream_ready ─▶ response_head ─▶ response_body … ─▶ response_end ─▶ finish
      │            │                 │                │
      └─ refuse ◀──┴─ upstream_failed / upstream_lost / expire ─▶ cut (the head is out: nothing but to close)

Bytes flow from transport to transport and are gathered only where something needs them, up to a bound: a request's
body for a second attempt or a copy, an answer's for its predictions. What one read brings is passed on in one write.
Whatever happens, `finish` runs once and adds one outcome to the ledger.
"""

from __future__ import annotations

import enum
from time import monotonic
from typing import Final, Protocol

from proxy.data.connection import Connection, ResponseHead
from proxy.data.heads import to_backend, to_client
from proxy.data.http1 import LAST_CHUNK, Headers, chunk, refusal
from proxy.data.pool import Pool
from proxy.data.router import Draw, Head
from proxy.data.routing import ArmPlan, Context, RoutePlan
from proxy.data.shadow import mirror
from proxy.faults import FACTS, Fault, counts_against
from proxy.ledger.writer import Reading

REPLAY_BYTES: Final = 64 << 10
"""A request's body is kept up to here for a second attempt on a stale connection; larger ones are not sent again."""
PENDING_BYTES: Final = 256 << 10
"""Above this much of a body that waits for a connection, the client is not read."""


class Client(Protocol):
    """What an exchange needs of the client's connection."""

    forwarded: bytes

    def write(self, data: bytes) -> None:
        """Send to the client."""

    def hold(self, held: bool) -> None:
        """Stop or go on reading from the client."""

    def abort(self) -> None:
        """Close the connection so that the client sees an incomplete answer."""

    def exchange_done(self, keep: bool) -> None:
        """The answer is out; `keep` says that the connection may be used again."""


class Answer(enum.IntEnum):
    """How far the answer to the client is."""

    NONE = 0
    BODY = 1
    DONE = 2


class Exchange:
    """A request in progress. It is a `Borrower` of upstream connections and has a deadline."""

    __slots__ = (
        "_answer",
        "_answer_bytes",
        "_answer_kept",
        "_arm",
        "_arrived_s",
        "_body_bytes",
        "_chunk_out",
        "_client",
        "_connection",
        "_context",
        "_draw",
        "_held",
        "_kept",
        "_out",
        "_paused_by_client",
        "_plan",
        "_pool",
        "_request_complete",
        "_response_headers",
        "_sent_head",
        "_status",
        "_to_client",
        "_waiting_bytes",
        "deadline_s",
        "head",
    )

    def __init__(self, client: Client, context: Context, head: Head) -> None:
        self._client = client
        self._context = context
        self.head = head
        self._plan: RoutePlan | None = None
        self._arm: ArmPlan | None = None
        self._pool: Pool | None = None
        self._connection: Connection | None = None
        self._draw: Draw | None = None
        self._out: list[bytes] = []
        self._to_client: list[bytes] = []
        self._kept: list[bytes] | None = []
        self._body_bytes = self._waiting_bytes = self._answer_bytes = self._status = 0
        self._answer_kept: list[bytes] | None = None
        self._answer = Answer.NONE
        self._request_complete = self._sent_head = self._chunk_out = self._paused_by_client = self._held = False
        self._response_headers: Headers = []
        self._arrived_s = self.deadline_s = 0.0

    # ------------------------------------------------------------------ the request
    def start(self) -> None:
        """Choose a route and a version, count the arrival, and ask for a connection."""
        context, head = self._context, self.head
        self._arrived_s = now_s = monotonic()
        plan = context.routing.find(head)
        if plan is None:
            self._refuse(Fault.NO_ROUTE, f"no route of this proxy matches {head.method.decode()} {head.path}")
            return
        route = plan.route
        draw = plan.choice.draw(head)
        if (arm := plan.choice.arm(draw.place)) < 0:
            self._refuse(Fault.NO_BACKEND, f"route {route.name} gives no backend any weight")
            return
        self._plan, self._draw, self._arm = plan, draw, plan.arms[arm]
        context.writer.arrive(self._arm.row, now_s, draw.user)
        self.deadline_s = now_s + self._patience_s(plan)
        context.live.add(self)
        if route.max_body_bytes and max(head.length or 0, self._body_bytes) > route.max_body_bytes:
            self._refuse(Fault.BODY_TOO_LARGE, f"route {route.name} takes bodies up to {route.max_body_bytes} bytes")
            return
        self._pool = self._arm.upstream.pool()
        self._pool.acquire(self, head.method == b"HEAD", route.connect_timeout_s)

    def request_body(self, data: bytes) -> None:
        """Take a piece of the request's body."""
        plan = self._plan
        self._body_bytes += len(data)
        if plan is not None and plan.route.max_body_bytes and self._body_bytes > plan.route.max_body_bytes:
            self._refuse(Fault.BODY_TOO_LARGE, f"route {plan.route.name} takes {plan.route.max_body_bytes} bytes")
            return
        if self._kept is not None:
            if plan is not None and self._body_bytes > max(REPLAY_BYTES, plan.keep_bytes):
                self._kept = None
            else:
                self._kept.append(data)
        self._out.append(chunk(data) if self.head.chunked else data)
        self._waiting_bytes += len(data)
        if self._connection is None and self._waiting_bytes > PENDING_BYTES:
            self.upstream_writable(False)

    def request_end(self) -> None:
        """The request is complete."""
        self._request_complete = True
        if self.head.chunked:
            self._out.append(LAST_CHUNK)
        self._be_patient()

    def request_flush(self) -> None:
        """Send on what is there, in one write."""
        connection, out = self._connection, self._out
        if connection is None or self._plan is None:
            return
        if not self._sent_head:
            self._sent_head = True
            out.insert(0, to_backend(self.head, self._client.forwarded, self._context.request_id))
            if self._plan.route.first_byte_s and self._request_complete:
                self.deadline_s = min(self.deadline_s, monotonic() + self._plan.route.first_byte_s)
        elif not out:
            return
        else:
            self._be_patient()
        connection.transport.write(out[0] if len(out) == 1 else b"".join(out))
        out.clear()
        self._waiting_bytes = 0

    # ------------------------------------------------------------------ the connection to the backend
    def upstream_ready(self, connection: Connection) -> None:
        """A connection is there: what the client has sent so far goes out."""
        self._connection = connection
        if self._held:
            self.upstream_writable(True)  # before the write, for which the backend may hold the client again
        self.request_flush()

    def upstream_failed(self, fault: Fault) -> None:
        """No connection could be had."""
        self._pool = None  # it knows of us no more
        self._refuse(fault, self._who())

    def upstream_lost(self, fault: Fault, clean: bool) -> None:
        """The connection ended before the answer did. A stale one (pooled, closed by the backend while the request
        was on its way) is no failure of the version: the request is sent once more, on a new connection."""
        connection, self._connection = self._connection, None
        if self._answer is not Answer.NONE:
            self._cut(fault)
        elif connection is not None and connection.stale and self._kept is not None and fault is Fault.UPSTREAM_RESET:
            self._resend()
        else:
            self._refuse(fault, self._who())

    def _resend(self) -> None:
        plan, arm, pool = self._plan, self._arm, self._pool
        if plan is None or arm is None or pool is None or self._kept is None:
            return
        self._context.writer.retry(arm.row)
        self._out = [chunk(piece) for piece in self._kept] if self.head.chunked else list(self._kept)
        if self.head.chunked and self._request_complete:
            self._out.append(LAST_CHUNK)
        self._sent_head = False
        pool.acquire(self, self.head.method == b"HEAD", plan.route.connect_timeout_s, fresh=True)

    def upstream_writable(self, writable: bool) -> None:
        """The backend reads slowly: the client has to wait with its body."""
        self._held = not writable
        self._be_patient()
        self._client.hold(not writable)

    def _be_patient(self) -> None:
        """Whoever has to move next has time from now, unless it is not yet or no longer the request's turn."""
        if self._plan is not None and self._answer is Answer.NONE:
            self.deadline_s = monotonic() + self._patience_s(self._plan)

    def _patience_s(self, plan: RoutePlan) -> float:
        """The backend has the time of its route, a client that still owes a part of its body that of the limits."""
        if self._request_complete and self._sent_head and not self._held:
            return plan.route.first_byte_s or plan.route.request_timeout_s
        if self._request_complete or self._held:
            return plan.route.request_timeout_s
        return self._context.routing.limits.body_timeout_s

    # ------------------------------------------------------------------ the answer
    def response_head(self, head: ResponseHead) -> None:
        """Write the head of the answer, with framing of our own."""
        plan, arm, request = self._plan, self._arm, self.head
        if plan is None or arm is None:
            return
        self._answer = Answer.BODY
        self._status = head.status
        self.deadline_s = monotonic() + plan.route.stream_idle_s
        written = to_client(head, request, arm.field_line, self._context.draining)
        self._chunk_out, request.keep_alive = written.chunked, written.keep_alive
        self._to_client.append(written.data)
        if plan.reader is not None and head.status == 200 and not head.bodyless:
            self._response_headers = head.headers
            self._answer_kept = []

    def response_body(self, data: bytes) -> None:
        """Pass on a piece of the answer's body."""
        kept = self._answer_kept
        if kept is not None and self._plan is not None and self._plan.reader is not None:
            self._answer_bytes += len(data)
            if self._answer_bytes > self._plan.reader.max_body_bytes:
                self._answer_kept = None
            else:
                kept.append(data)
        self._to_client.append(chunk(data) if self._chunk_out else data)

    def response_flush(self) -> None:
        """Send on what one read brought, in one write."""
        if self._to_client:
            self._client.write(b"".join(self._to_client))
            self._to_client.clear()
            if self._plan is not None and self._answer is Answer.BODY:
                self.deadline_s = monotonic() + self._plan.route.stream_idle_s

    def response_end(self) -> None:
        """The answer is complete: send the rest, give the connection back, count."""
        if self._chunk_out:
            self._to_client.append(LAST_CHUNK)
        connection, self._connection = self._connection, None  # before the write, which may pause who is read
        self._client.write(b"".join(self._to_client))
        if connection is not None and self._pool is not None:
            if self._request_complete and not self._held:
                self._pool.release(connection)
            else:
                connection.transport.abort()
        self._finish(Fault.NONE, keep=self.head.keep_alive and self._request_complete)

    def client_writable(self, writable: bool) -> None:
        """The client reads slowly: the backend has to wait with its answer."""
        self._paused_by_client = not writable
        if self._connection is not None:
            transport = self._connection.transport
            if writable:
                transport.resume_reading()
                if self._plan is not None and self._answer is Answer.BODY:
                    self.deadline_s = monotonic() + self._plan.route.stream_idle_s
            else:
                transport.pause_reading()

    # ------------------------------------------------------------------ ends
    def client_gone(self) -> None:
        """The client left: nobody waits for the answer any more."""
        if self._answer is not Answer.DONE:
            self._drop_upstream()
            self._finish(Fault.CLIENT_GONE, keep=False)

    def reject(self, fault: Fault, detail: str) -> None:
        """The rest of the request cannot be read: answer that, or cut the answer that is under way."""
        if self._answer is Answer.NONE:
            self._refuse(fault, detail)
        else:
            self._cut(fault)

    def expire(self, now_s: float) -> None:
        """The deadline has passed: who is late?"""
        if self._answer is Answer.NONE:
            late = Fault.REQUEST_TIMEOUT if self._request_complete or self._held else Fault.CLIENT_TIMEOUT
            self._refuse(late, self._who() if late is Fault.REQUEST_TIMEOUT else "")
        else:
            self._cut(Fault.CLIENT_GONE if self._paused_by_client else Fault.STREAM_IDLE)

    def _who(self) -> str:
        if self._plan is None or self._arm is None:
            return ""
        return f"route {self._plan.route.name}, backend {self._arm.upstream.backend.name}"

    def _refuse(self, fault: Fault, detail: str) -> None:
        """Answer in the backend's place; only while nothing of an answer was sent."""
        self._drop_upstream()
        if self._answer is not Answer.NONE:
            return
        keep = self.head.keep_alive and self.head.modern and self._request_complete and not self._context.draining
        self._status = FACTS[fault].status
        self._client.write(refusal(fault, detail, close=not keep, with_body=self.head.method != b"HEAD"))
        self._finish(fault, keep)

    def _cut(self, fault: Fault) -> None:
        """Close in the middle of an answer, so that the client can tell that it is not whole."""
        self._drop_upstream()
        if self._answer is Answer.DONE:
            return
        self._client.abort()
        self._finish(fault, keep=False)

    def _drop_upstream(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()
        elif self._pool is not None and self._answer is Answer.NONE:
            self._pool.cancel(self)

    def _finish(self, fault: Fault, keep: bool) -> None:
        """Count the outcome, make the copies, and let the client's connection go on."""
        self._answer = Answer.DONE
        context, plan, arm = self._context, self._plan, self._arm
        context.live.discard(self)
        if self._held:
            self._client.hold(False)
        if plan is None or arm is None or self._draw is None:
            context.writer.refuse(fault)
            self._client.exchange_done(keep)
            return
        now_s = monotonic()
        readings: list[Reading] = []
        kept = self._answer_kept
        if plan.reader is not None and fault is Fault.NONE and (kept is not None or self._answer_bytes):
            readings = plan.reader.read(self._response_headers, None if kept is None else b"".join(kept))
        failed = counts_against(fault, self._status)
        status = 0 if fault is Fault.CLIENT_GONE else self._status
        context.writer.finish(arm.row, self._arrived_s, now_s, failed, status, fault, self._draw.group, readings)
        if plan.mirrors and arm.mirrored:
            latency_s = 0.0 if failed else now_s - self._arrived_s
            mirror(context, plan, self.head, self._kept if self._request_complete else None, readings, latency_s, fault)
        self._client.exchange_done(keep)
