"""What an exchange has with the client: the answer on its way there, an answer of our own, and the end of both.

Nothing is gathered but what predictions are read from, up to a bound. Whatever happens, `_finish` runs once and adds
one outcome to the ledger.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Final

from proxy.data.copies.shadow import mirror
from proxy.data.exchanges.attempt import BODY, DONE, HEAD, NOTHING, Attempt
from proxy.data.exchanges.tunnel import Tunnel
from proxy.data.requests.heads import timing, to_switched
from proxy.data.requests.trailers import last_chunk
from proxy.data.requests.upgrade import agreed
from proxy.data.routing.routing import RoutePlan
from proxy.data.wire.bodies import Piece
from proxy.data.wire.gathering import gather
from proxy.data.wire.http1 import LAST_CHUNK, Headers, ResponseHead, chunk, refusal
from proxy.faults import FACTS, Fault, counts_against
from proxy.ledger.reading import Reading
from proxy.ledger.row import NOWHERE

_NONE: Final = Fault.NONE
_GONE: Final = Fault.CLIENT_GONE
"""A member of an enum is looked up by its name, which costs as much as counting the outcome."""


class Reply(Attempt):
    """The client's side of an exchange. Slots are filled by `Exchange.__init__`."""

    __slots__ = (
        "_answer_bytes",
        "_answer_kept",
        "_chunk_out",
        "_paused_by_client",
        "_response_headers",
        "_status",
        "_to_client",
    )

    _answer_bytes: int
    _answer_kept: list[Piece] | None
    """The answer's body for the reader of predictions; None where it is not wanted, or over the bound."""
    _chunk_out: bool
    _paused_by_client: bool
    _response_headers: Headers
    _status: int
    _to_client: list[Piece]

    # ------------------------------------------------------------------ the answer
    def response_head(self, head: ResponseHead) -> None:
        """Write the head of the answer, with framing of our own."""
        plan, arm, request = self._plan, self._arm, self.head
        if plan is None or arm is None:
            return
        if head.status >= 500 and self._try_again(Fault.NONE, head.status):
            return
        field_lines = arm.field_line if self._retrying is None else self._retrying.field_lines(arm.field_line)
        if plan.stamp is not None and 200 <= head.status < 300 and arm.row.index >= 0:
            group = -1 if self._draw is None else self._draw.group
            field_lines += plan.stamp.line(arm.row.tenant, self._arrived_s, group)
        if plan.timed:
            field_lines += timing(self._arrived_s, self._sent_s, monotonic())
        self._answer = HEAD
        self._status = head.status
        self.deadline_s = monotonic() + plan.route.stream_idle_s
        # A client that still sends will not be read any more after its answer, and is told so.
        last = self._context.draining or not self._request_complete
        written = arm.upstream.answers.write(head, request, field_lines, last)
        self._chunk_out, request.keep_alive = written.chunked, written.keep_alive
        self._to_client.append(written.data)
        if plan.reader is not None and head.status == 200 and not head.bodyless and arm.judged:
            self._response_headers = head.headers
            self._answer_kept = []

    def response_body(self, data: Piece) -> None:
        """Pass on a piece of the answer's body."""
        kept = self._answer_kept
        if kept is not None and self._plan is not None and self._plan.reader is not None:
            self._answer_bytes += len(data)
            if self._answer_bytes > self._plan.reader.max_body_bytes:
                self._answer_kept = None
            else:
                gather(kept, data)
        self._to_client.append(chunk(data) if self._chunk_out else data)

    def response_trailers(self, trailers: Headers, headers: Headers) -> None:
        """The answer is complete, and fields follow its body."""
        if self._chunk_out:
            self._to_client.append(last_chunk(trailers, headers))
            self._chunk_out = False

    def response_flush(self) -> None:
        """Send on what one read brought, in one write."""
        if self._to_client:
            self._client.send(self._to_client)
            self._to_client.clear()
            if self._plan is not None and self._answer != DONE:
                self._answer = BODY
                self.deadline_s = monotonic() + self._plan.route.stream_idle_s

    def response_end(self) -> None:
        """The answer is complete: send the rest, give the connection back, count."""
        if self._chunk_out:
            self._to_client.append(LAST_CHUNK)
        connection, self._connection = self._connection, None  # before the write, which may pause who is read
        self._client.send(self._to_client)
        if connection is not None and self._pool is not None:
            if self._request_complete and not self._held:
                self._pool.release(connection)
            else:
                connection.transport.abort()
        self._finish(_NONE, keep=self.head.keep_alive and self._request_complete)

    def _take_back(self) -> None:
        """Forget an answer of which nothing was written: the read that brought its head brought what spoils it."""
        self._answer = NOTHING
        self._to_client.clear()
        self._answer_kept, self._answer_bytes, self._chunk_out = None, 0, False

    def response_switch(self, headers: Headers, rest: bytes) -> bool:
        """The backend switches protocols (101) as the client asked: the outcome is made, and a tunnel goes on."""
        plan, arm, connection, protocol = self._plan, self._arm, self._connection, agreed(headers, self.head.upgrade)
        if plan is None or arm is None or connection is None or not protocol:
            return False
        self._connection, self._status = None, 101
        owner, transport, early = self._client.leave()
        self._finish(Fault.NONE, keep=True)
        row = arm.row if self._retrying is None else NOWHERE  # the first attempt has failed already
        tunnel = Tunnel(self._context, row, plan.route.tunnel_idle_s, protocol)
        tunnel.open(owner, transport, connection, self._held)
        transport.write(to_switched(headers, protocol, arm.field_line) + rest)
        if early:
            connection.transport.write(early)
        return True

    def client_writable(self, writable: bool) -> None:
        """The client reads slowly: the backend has to wait with its answer."""
        self._paused_by_client = not writable
        if self._connection is not None:
            transport = self._connection.transport
            if writable:
                transport.resume_reading()
                if self._plan is not None and self._answer == BODY:
                    self.deadline_s = monotonic() + self._plan.route.stream_idle_s
            else:
                transport.pause_reading()

    # ------------------------------------------------------------------ ends
    def _refuse(self, fault: Fault, detail: str, retry_after_s: int = 0, status: int = 0) -> None:
        """Answer in the backend's place; only while nothing of an answer was sent."""
        self._drop_upstream(fault)
        if self._answer != NOTHING:
            return
        keep = self.head.keep_alive and self.head.modern and self._request_complete and not self._context.draining
        self._status = status or FACTS[fault].status
        self._client.write(refusal(fault, detail, not keep, self.head.method != b"HEAD", retry_after_s, status))
        self._finish(fault, keep)

    def _cut(self, fault: Fault) -> None:
        """Close in the middle of an answer, so that the client can tell that it is not whole."""
        self._drop_upstream(fault)
        if self._answer == DONE:
            return
        self._client.abort()
        self._finish(fault, keep=False)

    def _finish(self, fault: Fault, keep: bool) -> None:
        """Count the outcome, make the copies, and let the client's connection go on."""
        self._answer = DONE
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
        if self._retrying is not None:
            self._retrying.end(fault, self._status)
            failed = True
        else:
            kept = self._answer_kept
            if plan.reader is not None and fault is _NONE and (kept is not None or self._answer_bytes):
                readings = plan.reader.read(self._response_headers, None if kept is None else b"".join(kept))
            failed = self._status >= 500 if fault is _NONE else counts_against(fault, self._status)
            status = 0 if fault is _GONE else self._status
            context.writer.finish(arm.row, self._arrived_s, now_s, failed, status, fault, self._draw.group, readings)
        if plan.mirrors and arm.mirrored:
            latency_s = 0.0 if failed else now_s - self._arrived_s
            self._mirror(plan, readings, latency_s, fault)
        self._client.exchange_done(keep)

    def _mirror(self, plan: RoutePlan, readings: Sequence[Reading], latency_s: float, fault: Fault) -> Sequence[str]:
        """Make the copies; their names."""
        body = self._kept if self._request_complete else None
        upstream = None if self._arm is None else self._arm.upstream
        return mirror(self._context, plan, self.head, body, readings, latency_s, fault, upstream)
