"""One client request with all its upstream attempts, from its head to its one outcome.

    start ─▶ upstream_ready ─▶ response_head ─▶ response_body … ─▶ response_end ─▶ finish
      │            │                 │                │
      └─ refuse ◀──┴─ upstream_failed / upstream_lost / expire ─▶ cut (the head is out: nothing but to close)

Bytes flow from transport to transport and are gathered only where something needs them, up to a bound: a request's
body for a second attempt or a copy, an answer's for its predictions. What one read brings is passed on in one write.
Whatever happens, `finish` runs once and adds one outcome to the ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import ceil
from time import monotonic

from proxy.data.exchanges.attempt import DONE, HEAD, NOTHING, PENDING_BYTES, REPLAY_BYTES, Client
from proxy.data.exchanges.reply import Reply
from proxy.data.requests.router import Draw, Head
from proxy.data.requests.trailers import last_chunk
from proxy.data.routing.holding import Room
from proxy.data.routing.injection import Strike
from proxy.data.routing.routing import Context, RoutePlan
from proxy.data.wire.bodies import Piece
from proxy.data.wire.gathering import PIECE_BYTES, gather
from proxy.data.wire.http1 import chunk
from proxy.faults import FACTS, Fault


class Exchange(Reply):
    """A request in progress: what comes of it, and what becomes of it. It borrows connections and has a deadline.

    `Attempt` has what concerns the backend, `Reply` what concerns the client: one object in three parts, for another
    object costs every request.
    """

    __slots__ = ("_body_bytes",)

    def __init__(self, client: Client, context: Context, head: Head) -> None:
        self._client = client
        self._context = context
        self.head = head
        self._plan = None
        self._arm = None
        self._pool = None
        self._connection = None
        self._draw = None
        self._retrying = None
        self._out = []
        self._to_client = []
        self._kept = []
        self._body_bytes = self._waiting_bytes = self._answer_bytes = self._status = 0
        self._answer_kept = None
        self._answer = NOTHING
        self._room = None
        self._request_complete = self._sent_head = self._chunk_out = self._paused_by_client = self._held = False
        self._response_headers = []
        self._arrived_s = self._complete_s = self._sent_s = self.deadline_s = 0.0

    # ------------------------------------------------------------------ the request
    def start(self) -> None:
        """Choose a route; its guards may turn the request away, or have it wait."""
        context, head = self._context, self.head
        self._arrived_s = now_s = monotonic()
        plan = context.routing.find(head)
        if plan is None:
            self._refuse(Fault.NO_ROUTE, f"no route of this proxy matches {head.method.decode()} {head.path}")
            return
        route = plan.route
        if plan.limit is not None and (wait_s := plan.limit.wait_s(head, now_s)):
            self._plan = plan
            self._refuse(Fault.RATE_LIMITED, f"the rate limit of route {route.name} is used up", ceil(wait_s))
            return
        if plan.room is None or not self._waits_in(plan.room, plan, now_s):
            self._admit(plan)

    def _waits_in(self, room: Room, plan: RoutePlan, now_s: float) -> bool:
        """Whether the request waits, or may not even do that; it is looked at again when it is let go."""
        most = plan.route.max_body_bytes
        if most and (self.head.length or 0) > most:
            return False  # it is refused as any other
        if not room.takes(self, self.head, now_s):
            return False
        if self._answer == NOTHING:
            self._room = room
            self._context.live.add(self)
        return True

    def _admit(self, plan: RoutePlan) -> None:
        """Go on, unless the route has a fault for the request."""
        if plan.injector is not None and (strike := plan.injector.draw(self.head)) is not None:
            self._meet(strike, lambda: self._choose(plan, delayed=strike.delay_s > 0))
        else:
            self._choose(plan, delayed=False)

    def released(self, now_s: float) -> None:
        """The route is held no longer: a version is chosen by what routes now, and what was waited is not its time."""
        self._room = None
        self._arrived_s = now_s
        plan = self._context.routing.find(self.head)
        if plan is None:
            self._refuse(Fault.NO_ROUTE, "the route that held the request is gone")
            return
        self._admit(plan)
        self._client.proceed()

    def turned_away(self, fault: Fault, detail: str, retry_after_s: int) -> None:
        """The route is held, and the request cannot wait."""
        self._room = None
        self._refuse(fault, detail, retry_after_s)

    def _choose(self, plan: RoutePlan, delayed: bool) -> None:
        """Choose a version, count the arrival, and ask for a connection."""
        context, head, route = self._context, self.head, plan.route
        if plan.direct is not None and (name := plan.direct.asked(head)) is not None:
            draw = Draw(0, -1, -1)
            if (asked := plan.direct.arms.get(name)) is None:
                self._plan = plan
                self._refuse(Fault.NO_ROUTE, f"route {route.name} has no backend {name[:64].decode('latin-1')}")
                return
            arm = asked
        else:
            draw = plan.choice.draw(head)
            if (place := plan.choice.arm(draw.place)) < 0:
                self._plan = plan
                self._refuse(Fault.NO_BACKEND, f"route {route.name} gives no backend any weight")
                return
            arm = plan.arms[place]
        if delayed:
            self._arrived_s = monotonic()  # what comes before a version is chosen is not its latency
            arm = arm.delayed or arm
        self._plan, self._draw, self._arm = plan, draw, arm
        now_s = self._arrived_s
        context.writer.arrive(arm.row, now_s, draw.user)
        self.deadline_s = now_s + self._patience_s(plan)
        context.live.add(self)
        if route.max_body_bytes and max(head.length or 0, self._body_bytes) > route.max_body_bytes:
            self._refuse(Fault.BODY_TOO_LARGE, f"route {route.name} takes bodies up to {route.max_body_bytes} bytes")
            return
        if arm.injector is not None and (strike := arm.injector.draw(head)) is not None:
            if strike.delay_s:
                self._arm = arm.delayed
            self._meet(strike, self._ask)
        else:
            self._ask()

    def _ask(self) -> None:
        """Ask for a connection."""
        if self._plan is not None and self._arm is not None:
            self._pool = self._arm.upstream.pool()
            self._pool.acquire(self, self.head.method == b"HEAD", self._plan.route.connect_timeout_s)

    def _meet(self, strike: Strike, go_on: Callable[[], None]) -> None:
        """Have the first attempt meet an injected fault; what ends it meanwhile is found by its timer."""

        def met() -> None:
            if self._answer == DONE or self._retrying is not None:
                return
            if not strike.status:
                go_on()
            elif not self._try_again(Fault.INJECTED, strike.status):
                self._refuse(Fault.INJECTED, self._who(), status=strike.status)

        if strike.delay_s:
            asyncio.get_running_loop().call_later(strike.delay_s, met)
        else:
            met()

    def request_body(self, data: Piece) -> None:
        """Take a piece of the request's body."""
        plan = self._plan
        self._body_bytes += len(data)
        if plan is not None and plan.route.max_body_bytes and self._body_bytes > plan.route.max_body_bytes:
            self.reject(Fault.BODY_TOO_LARGE, f"route {plan.route.name} takes {plan.route.max_body_bytes} bytes")
            return
        if self._kept is not None:
            if plan is not None and self._body_bytes > max(REPLAY_BYTES, plan.keep_bytes):
                self._kept = None
            else:
                gather(self._kept, data)
        self._out.append(chunk(data) if self.head.chunked else data)
        self._waiting_bytes += len(data) + PIECE_BYTES
        if self._connection is None and self._waiting_bytes > PENDING_BYTES:
            self.upstream_writable(False)

    def owed(self) -> int:
        """How much of the body has yet to come; negative where its length is not known."""
        return -1 if self.head.length is None else self.head.length - self._body_bytes

    def intake(self) -> tuple[float, int, bool]:
        """Since when the request has had its turn, how much of its body has come, and whether nothing but the client
        keeps the rest from coming. Once there is an answer its body is in nobody's way."""
        return self._arrived_s, self._body_bytes, self._answer == NOTHING and not self._held and self._room is None

    def request_end(self) -> None:
        """The request is complete."""
        self._request_complete = True
        if self.head.chunked:
            self._out.append(last_chunk(self.head.trailers, self.head.headers))
        if self._plan is not None:
            self._complete_s = monotonic()
            self._be_patient()

    # ------------------------------------------------------------------ faults
    def upstream_failed(self, fault: Fault) -> None:
        """No connection could be had."""
        pool = self._pool
        if self._try_again(fault, FACTS[fault].status):
            return
        self._pool = None  # it knows of us no more
        said = pool.why(fault) if pool is not None else ""
        self._refuse(fault, self._who() + (f": {said}" if said else ""))

    def upstream_lost(self, fault: Fault, clean: bool) -> None:
        """The connection ended before the answer did. A stale one (pooled, closed by the backend while the request
        was on its way) is no failure of the version: the request is sent once more, on a new connection."""
        connection, self._connection = self._connection, None
        if self._answer == HEAD:
            self._take_back()
        if self._answer != NOTHING:
            self._cut(fault)
        elif connection is not None and connection.stale and self._kept is not None and fault is Fault.UPSTREAM_RESET:
            self._resend()
        elif not self._try_again(fault, FACTS[fault].status):
            problem = f": {connection.problem}" if connection is not None and connection.problem else ""
            self._refuse(fault, self._who() + problem)

    def client_gone(self) -> None:
        """The client left: nobody waits for the answer any more."""
        if self._answer != DONE:
            self._drop_upstream(Fault.CLIENT_GONE)
            self._finish(Fault.CLIENT_GONE, keep=False)

    def reject(self, fault: Fault, detail: str) -> None:
        """The rest of the request cannot be read: answer that, or cut the answer that is under way."""
        if self._answer == NOTHING:
            self._refuse(fault, detail)
        else:
            self._cut(fault)

    def expire(self, now_s: float) -> None:
        """The deadline has passed: who is late?"""
        if self._room is not None:
            self._room.expire(self, now_s)
        elif self._answer == NOTHING:
            if not self._request_complete and not self._held:
                self._refuse(Fault.CLIENT_TIMEOUT, "")
            elif not self._try_again(Fault.REQUEST_TIMEOUT, FACTS[Fault.REQUEST_TIMEOUT].status):
                self._refuse(Fault.REQUEST_TIMEOUT, self._who())
        else:
            self._cut(Fault.CLIENT_GONE if self._paused_by_client else Fault.STREAM_IDLE)
