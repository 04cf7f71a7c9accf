"""Connections from clients: requests parsed one after the other, answered in order.

`intake` parses: a request that could be read in two ways is refused and its connection closed. An exchange starts when
the read that brought its head is parsed, so that an ordinary request goes on to the backend in one write. A client that
sends its next request early is not read further until its turn comes, and of a thousand that one read brings only some
are parsed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import cast

import httptools

from proxy.data.clients.intake import Intake
from proxy.data.clients.pace import BodyPace
from proxy.data.exchanges.exchange import Exchange
from proxy.data.requests.request_head import Refused
from proxy.data.requests.request_line import RequestLine
from proxy.data.requests.trust import NOBODY, Caller, peer_address
from proxy.data.routing.listening import ListenerPlan
from proxy.data.routing.patience import LINGER_BYTES, LINGER_S, QUIET_S
from proxy.data.routing.routing import Context
from proxy.data.wire.bodies import LONG_BYTES, Piece, send
from proxy.data.wire.http1 import CONTINUE, refusal
from proxy.faults import Fault
from proxy.ledger.layout import W_ACCEPTED, W_CONNECTIONS, W_TURNED_AWAY
from proxy.snapshot import Limits


class ClientConnection(Intake):
    """One connection from a client."""

    __slots__ = ("_admitted", "_eof", "_full", "_lingering", "_pace", "_plan", "_registry")

    def __init__(
        self,
        context: Context,
        registry: set[ClientConnection],
        plan: ListenerPlan | None = None,
        caller: Caller | None = None,
    ) -> None:
        """`plan` is its listener, by default the first; `caller` is who it is where its address does not say so."""
        self._context = context
        self._plan = plan or context.routing.listener(0)
        self._registry = registry
        self._parser = httptools.HttpRequestParser(self)
        self._transport = cast("asyncio.Transport", None)
        self._exchange = self._early = self._open = self._refused = None
        self._queue = deque()
        self._line = RequestLine()
        self._fields = []
        self._target = self._rest = b""
        self._head_bytes = self._read_bytes = self._left_bytes = 0
        self._begun_s = 0.0
        self._admitted = self._closing = self._eof = self._reading_head = self._full = False
        self._lingering = 0
        """How much the client may still send after its last answer."""
        self._pace: BodyPace | None = None
        """Of a body that it sends, where there is a least rate."""
        self._caller = caller or NOBODY

    # ------------------------------------------------------------------ the transport's calls
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note who it is, and whether there is room."""
        self._transport = cast("asyncio.Transport", transport)
        if self._caller is NOBODY:
            self._caller = self._plan.caller(peer_address(transport.get_extra_info("peername")))
        caller = self._caller
        self._context.writer.add_worker(W_ACCEPTED, 1)
        limits = self._context.routing.limits
        self._admitted = not self._plan.listener.closed and self._context.admission.enter(
            caller.address, limits, bounded=not caller.trusted
        )
        if not self._admitted:
            self._context.writer.add_worker(W_TURNED_AWAY, 1)
            self._closing = True
            self._transport.close()
            return
        self._begun_s = monotonic()
        self._registry.add(self)
        self._context.writer.add_worker(W_CONNECTIONS, 1)

    def data_received(self, data: bytes) -> None:
        """Parse what came; then start or feed exchanges."""
        if self._closing or self._refused is not None:
            self._discard(data)
            return
        if len(data) < LONG_BYTES and not self._left_bytes and not self._rest:
            self._parse(data)
        else:
            self._parse_long(self._rest + data if self._rest else data)
        if self._exchange is not None:
            self._exchange.request_flush()
        else:
            self._next()
        if self._queue and not self._closing:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The client is done sending; answers that are due still go out (a half-closed connection)."""
        due = self._exchange is not None or bool(self._queue)
        self._eof = not self._closing and due and (self._open is None or bool(self._rest))
        return self._eof and not self._caller.secure  # the loop cannot keep half of a TLS connection

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._closing = True
        if not self._admitted:
            return
        self._context.admission.leave(self._caller.address)
        self._registry.discard(self)
        self._context.writer.add_worker(W_CONNECTIONS, -1)
        self._queue.clear()
        self._rest = b""
        if self._exchange is not None:
            self._exchange.client_gone()

    def pause_writing(self) -> None:
        """The client reads more slowly than the backend sends."""
        self._full = True
        if self._exchange is not None:
            self._exchange.client_writable(False)

    def resume_writing(self) -> None:
        """The client has caught up: its answer goes on, or its next request has its turn."""
        self._full = False
        if self._exchange is not None:
            self._exchange.client_writable(True)
        else:
            self._next()

    # ------------------------------------------------------------------ the exchange's calls
    def write(self, data: bytes) -> None:
        """Send to the client."""
        self._transport.write(data)

    def send(self, pieces: list[Piece]) -> None:
        """Send to the client, in one write."""
        send(self._transport, pieces)

    def hold(self, held: bool) -> None:
        """Stop or go on reading from the client."""
        if held:
            self._transport.pause_reading()
        elif not self._queue and not self._rest and not self._closing:
            self._transport.resume_reading()

    def proceed(self) -> None:
        """The request is taken up: a client that waits to be told so may send its body."""
        exchange = self._exchange
        if exchange is not None and exchange.head.expects and exchange is self._open and not exchange.waits:
            self._transport.write(CONTINUE)

    def abort(self) -> None:
        """Close so that the client sees an incomplete answer."""
        self._closing = True
        self._transport.abort()

    def leave(self) -> tuple[ClientConnection, asyncio.Transport, bytes]:
        """The transport becomes a side of a tunnel; only its loss is told here."""
        self._registry.discard(self)
        return self, self._transport, b"" if self._early is None else self._early.take()

    def exchange_done(self, keep: bool) -> None:
        """An answer is out: the next request has its turn, or the connection closes."""
        self._exchange = None
        if not keep or self._closing or (self._eof and not self._queue and not self._rest):
            self._end(heard=self._open is None and not self._queue and not self._rest and self._refused is None)
            return
        if self._queue or self._rest or self._refused is not None:
            # On the next turn of the loop: a client that pipelines a thousand requests must not recurse.
            asyncio.get_running_loop().call_soon(self._next)
        else:
            self._begun_s = monotonic()

    def _next(self) -> None:
        if self._exchange is not None or self._closing or self._full:
            return
        if self._rest and len(self._queue) <= 1:  # the last one may still be read
            self._parse_long(self._rest)
        if self._queue:
            exchange = self._exchange = self._queue.popleft()
            if not self._queue and not self._rest:
                self._transport.resume_reading()
            exchange.start()
            self.proceed()
        elif self._refused is not None:
            self._context.writer.refuse(self._refused.fault)
            if self._context.access_log is not None:
                self._context.access_log.refused(self._refused.fault, self._caller.address, self._target)
            self._transport.write(refusal(self._refused.fault, self._refused.detail, close=True))
            self._end(heard=False)

    def _end(self, heard: bool) -> None:
        """Close after the last answer. A client that may not have been `heard` out is told that nothing follows, and
        may finish."""
        self._closing = True
        self._begun_s = monotonic()
        if heard or self._transport.is_closing():
            self._transport.close()
            return
        self._open = None
        self._queue.clear()
        self._rest = b""
        self._lingering = LINGER_BYTES
        if self._transport.can_write_eof():  # TLS cannot; its clients know from `connection: close`
            self._transport.write_eof()
        self._transport.resume_reading()

    def _discard(self, data: bytes) -> None:
        """What a client sends after its last answer is nobody's."""
        if self._lingering:
            self._lingering -= len(data)
            if self._lingering <= 0:
                self._part()

    def _part(self) -> None:
        """The client had its time to finish."""
        self._lingering = 0
        self._begun_s = monotonic()
        self._transport.close()

    # ------------------------------------------------------------------ the worker's calls
    def sweep(self, now_s: float) -> None:
        """Close a connection that was idle for too long, or whose head, body or reading of an answer takes too long."""
        limits = self._context.routing.limits
        if self._exchange is not None:
            if limits.min_body_rate and self._exchange is self._open:
                self._hurry(self._exchange, now_s, limits)
            return
        waited_s = now_s - self._begun_s
        if self._lingering:
            if waited_s > LINGER_S:
                self._part()
        elif self._closing or self._full:
            if waited_s > limits.keep_alive_idle_s:
                self.abort()  # a close would wait until the client has read everything
        elif self._reading_head:
            if waited_s > (limit_s := limits.head_timeout_s):
                self._refused = Refused(Fault.CLIENT_TIMEOUT, f"the head did not arrive within {limit_s:g} s")
                self._next()
        elif waited_s > limits.keep_alive_idle_s:
            self._closing = True
            self._transport.close()

    def _hurry(self, exchange: Exchange, now_s: float, limits: Limits) -> None:
        """Refuse a body that comes too slowly; one that a backend answers already has the time of the answer."""
        arrived_s, received_bytes, read = exchange.intake()
        if self._pace is None or self._pace.arrived_s != arrived_s:
            self._pace = BodyPace(arrived_s, now_s)
        if self._pace.too_slow(received_bytes, read, now_s, limits):
            exchange.reject(Fault.CLIENT_TIMEOUT, f"the body came at less than {limits.min_body_rate} bytes/s")

    def idle_s(self, now_s: float) -> float:
        """How long nothing has been under way; 0 where something is."""
        busy = self._exchange is not None or self._queue or self._rest or self._reading_head or self._closing
        return 0.0 if busy else now_s - self._begun_s

    def drain(self, now_s: float) -> None:
        """Close if nothing is under way, nor likely to be; else when the answer is out."""
        if self.idle_s(now_s) >= QUIET_S:
            self._closing = True
            self._transport.close()
