"""What an exchange has with the backend: the request on its way there, over a connection that is lent.

It knows nothing of answers. What the client sends waits here until there is a connection, goes out in one write, and is
kept up to a bound for another attempt.
"""

from __future__ import annotations

import asyncio
from math import inf
from time import monotonic
from typing import Final, Protocol

from proxy.data.backends.connection import Borrower, Connection
from proxy.data.backends.pool import Pool
from proxy.data.backends.retries import Retrying
from proxy.data.exchanges.leftover import Leftover
from proxy.data.exchanges.tunnel import Owner
from proxy.data.requests.heads import to_backend
from proxy.data.requests.router import Draw, Head
from proxy.data.requests.trailers import last_chunk
from proxy.data.routing.holding import Room
from proxy.data.routing.routing import ArmPlan, Context, RoutePlan
from proxy.data.wire.bodies import Piece, send
from proxy.data.wire.http1 import chunk
from proxy.faults import Fault, Retry, counts_against

REPLAY_BYTES: Final = 64 << 10
"""A request's body is kept up to here for a second attempt on a stale connection; larger ones are not sent again."""
PENDING_BYTES: Final = 256 << 10
"""Above this much of a body that waits for a connection, the client is not read."""


class Client(Protocol):
    """What an exchange needs of the client's connection."""

    def write(self, data: bytes) -> None:
        """Send to the client."""

    def send(self, pieces: list[Piece]) -> None:
        """Send to the client, in one write."""

    def hold(self, held: bool) -> None:
        """Stop or go on reading from the client."""

    def proceed(self) -> None:
        """The request is taken up: a client that waits to be told so may send its body."""

    def abort(self) -> None:
        """Close the connection so that the client sees an incomplete answer."""

    def leave(self) -> tuple[Owner, asyncio.Transport, bytes]:
        """Hand over the transport, with who keeps the books of it and what the client sent before the answer."""

    def exchange_done(self, keep: bool) -> None:
        """The answer is out; `keep` says that the connection may be used again."""


NOTHING: Final = 0
"""How far the answer to the client is: there is nothing of it. These are plain numbers, which compiled code compares
as such."""
HEAD: Final = 1
"""Its head is here, and nothing of it was written yet."""
BODY: Final = 2
DONE: Final = 3


class Attempt(Borrower):
    """The backend's side of an exchange. Slots are filled by `Exchange.__init__`, in one call for the whole chain."""

    __slots__ = (
        "_answer",
        "_arm",
        "_arrived_s",
        "_client",
        "_complete_s",
        "_connection",
        "_context",
        "_draw",
        "_held",
        "_kept",
        "_out",
        "_plan",
        "_pool",
        "_request_complete",
        "_retrying",
        "_room",
        "_sent_head",
        "_sent_s",
        "_waiting_bytes",
        "deadline_s",
        "head",
    )

    _answer: int
    """NOTHING, HEAD, BODY or DONE."""
    _arm: ArmPlan | None
    _arrived_s: float
    _client: Client
    _complete_s: float
    """When the request was complete; 0 where it was so when it arrived."""
    _connection: Connection | None
    _context: Context
    _draw: Draw | None
    _held: bool
    """The backend reads slowly, and so the client is not read."""
    _kept: list[Piece] | None
    """The body so far, for another attempt or a copy; None where it is over the bound."""
    _out: list[Piece]
    """What waits for a connection, or for the end of a read."""
    _plan: RoutePlan | None
    _pool: Pool | None
    _request_complete: bool
    _retrying: Retrying | None
    """There once the first attempt has failed and another is due."""
    _room: Room | None
    """Where it waits while its route is held."""
    _sent_head: bool
    _sent_s: float
    """When the attempt under way began, where somebody wants to know."""
    _waiting_bytes: int
    deadline_s: float
    head: Head

    @property
    def waits(self) -> bool:
        """Whether its route is held."""
        return self._room is not None

    def request_flush(self) -> None:
        """Send on what is there, in one write."""
        connection, out = self._connection, self._out
        if connection is None or self._plan is None:
            return
        if not self._sent_head:
            self._sent_head = True
            out.insert(0, to_backend(self.head, self._context.request_id))
            if self._plan.timed:
                self._sent_s = monotonic()
            if self._plan.route.first_byte_s and self._request_complete:
                self.deadline_s = min(self.deadline_s, monotonic() + self._plan.route.first_byte_s)
        elif not out:
            return
        else:
            self._be_patient()
        send(connection.transport, out)
        out.clear()
        self._waiting_bytes = 0

    def upstream_ready(self, connection: Connection) -> None:
        """A connection is there: what the client has sent so far goes out."""
        self._connection = connection
        if self._held:
            self.upstream_writable(True)  # before the write, for which the backend may hold the client again
        self.request_flush()

    def upstream_writable(self, writable: bool) -> None:
        """The backend reads slowly: the client has to wait with its body."""
        self._held = not writable
        self._be_patient()
        self._client.hold(not writable)

    def _resend(self) -> None:
        plan, arm, pool = self._plan, self._arm, self._pool
        if plan is None or arm is None or pool is None or self._kept is None:
            return
        self._context.writer.retry(arm.row, Retry.RESENT)
        self._rewind(self._kept)
        pool.acquire(self, self.head.method == b"HEAD", plan.route.connect_timeout_s, fresh=True)

    def _rewind(self, kept: list[Piece]) -> None:
        """What the client has sent so far waits again."""
        self._out = [chunk(piece) for piece in kept] if self.head.chunked else list(kept)
        if self.head.chunked and self._request_complete:
            self._out.append(last_chunk(self.head.trailers, self.head.headers))
        self._sent_head = False
        self._waiting_bytes = 0

    def _try_again(self, fault: Fault, status: int) -> bool:
        """Whether the attempt, which failed with nothing sent to the client, is followed by another. If so it is given
        up, and if it is the first its outcome is counted: it is what is judged, whatever the others bring."""
        context, plan, arm, kept = self._context, self._plan, self._arm, self._kept
        if plan is None or plan.retries is None or arm is None or not plan.retries.wants(fault, status):
            return False
        now_s, retrying, upstream = monotonic(), self._retrying, arm.upstream
        if retrying is not None and retrying.waiting:
            return False
        retries = 0 if retrying is None else retrying.retries
        wait_s = plan.retries.wait_s(retries)
        left_s = self._end_s(plan) - now_s - wait_s
        denial = plan.retries.denial(upstream, self.head.method, self._sent_head, kept is not None, retries, left_s)
        if denial is not None or kept is None:
            context.writer.retry(arm.row, denial or Retry.NOT_REPLAYABLE)
            return False
        if retrying is None:
            retrying = self._retrying = Retrying(upstream, arm.row, context.writer)
            failed, group = counts_against(fault, status), -1 if self._draw is None else self._draw.group
            context.writer.finish(arm.row, self._arrived_s, now_s, failed, status, fault, group)
        self._leave(fault, now_s)
        retrying.wait(wait_s, self._begin_again, self._pool)
        self._pool = None
        self._rewind(kept)
        self._be_patient()
        return True

    def _leave(self, fault: Fault, now_s: float) -> None:
        """Give up the attempt: an answer is read to its end, for the sake of its connection."""
        connection, pool = self._connection, self._pool
        if fault or connection is None or pool is None or not self._request_complete or self._held:
            self._drop_upstream(fault or Fault.RESPONSE_CUT)
        else:
            self._connection = None
            connection.pass_on(Leftover(self._context, pool, connection, now_s))

    def _begin_again(self) -> None:
        if self._retrying is None or self._plan is None:
            return
        self._pool = self._retrying.begin()
        self._be_patient()
        self._pool.acquire(self, self.head.method == b"HEAD", self._plan.route.connect_timeout_s)

    def _be_patient(self) -> None:
        """Whoever has to move next has time from now, unless it is not yet or no longer the request's turn."""
        if self._plan is not None and self._answer == NOTHING:
            self.deadline_s = monotonic() + self._patience_s(self._plan)
            if self._retrying is not None:
                self.deadline_s = min(self.deadline_s, self._end_s(self._plan))

    def _end_s(self, plan: RoutePlan) -> float:
        """When all attempts together have to have an answer: the client's own time does not count."""
        if not self._request_complete:
            return inf
        return (self._complete_s or self._arrived_s) + plan.route.request_timeout_s

    def _patience_s(self, plan: RoutePlan) -> float:
        """The backend has the time of its route, a client that still owes a part of its body that of the limits."""
        if self._request_complete and self._sent_head and not self._held:
            return plan.route.first_byte_s or plan.try_timeout_s
        if self._request_complete or self._held:
            return plan.try_timeout_s
        return self._context.routing.limits.body_timeout_s

    def _drop_upstream(self, fault: Fault) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon(fault)
        elif self._pool is not None and self._answer == NOTHING:
            self._pool.cancel(self)
        elif self._room is not None:
            self._room.leave(self)
            self._room = None

    def _who(self) -> str:
        if self._plan is None or self._arm is None:
            return ""
        return f"route {self._plan.route.name}, backend {self._arm.upstream.backend.name}"
