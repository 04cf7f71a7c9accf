"""Connections from clients: requests parsed one after the other, answered in order.

llhttp parses (through httptools, strictly) and `request_head` holds what it parsed to the rest of RFC 9112: a request
that could be read in two ways is refused and its connection closed. An exchange starts when the read that brought its
head is parsed, so that an ordinary request goes on to the backend in one write. A client that sends its next request
early is not read further until its turn comes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import Final, cast

import httptools

from proxy.data.exchange import Exchange
from proxy.data.http1 import CONTINUE, Headers, refusal
from proxy.data.listening import ListenerPlan
from proxy.data.logged import LoggedExchange
from proxy.data.request_head import NO_CONNECT, Refused, read_head, read_trailer, too_large
from proxy.data.request_line import CHUNKED, RequestLine
from proxy.data.routing import Context
from proxy.data.trust import LOCAL, Caller, peer_address
from proxy.data.upgrade import Early, asked, without
from proxy.faults import Fault
from proxy.ledger.layout import W_ACCEPTED, W_CONNECTIONS, W_TURNED_AWAY

READ_BYTES: Final = 256 << 10
"""The most that one read brings: how much of what came with a head may not be of it."""
QUIET_S: Final = 1.0
"""A connection that was made or used more recently may have its next request on the way: a drain waits for it, answers
it and says that it was the last. Closing it at once lost 24 of 29,000 requests of busy clients in ten drains."""
LINGER_BYTES: Final = 64 << 20
LINGER_S: Final = 5.0
"""A client that is answered before it has sent everything may go on for this much: a connection that is closed while
bytes arrive is reset, and the client loses the answer (RFC 9112, section 9.6). nginx waits as long for each piece."""
_NOBODY: Final = Caller(LOCAL, secure=False)


class ClientConnection:
    """One connection from a client."""

    __slots__ = (
        "_admitted",
        "_begun_s",
        "_caller",
        "_closing",
        "_context",
        "_early",
        "_eof",
        "_exchange",
        "_fields",
        "_full",
        "_head_bytes",
        "_line",
        "_lingering",
        "_open",
        "_parser",
        "_plan",
        "_queue",
        "_read_bytes",
        "_reading_head",
        "_refused",
        "_registry",
        "_target",
        "_transport",
    )

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
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)
        self._exchange: Exchange | None = None
        self._early: Early | None = None
        self._open: Exchange | None = None
        """The exchange whose request is being read; it may not have had its turn yet."""
        self._queue: deque[Exchange] = deque()
        self._line = RequestLine()
        self._fields: Headers = []
        self._target = b""
        self._head_bytes = self._read_bytes = 0
        """What came since the last piece of a body, and in the last read: fields and chunk extensions that have no end
        would fill the parser's memory."""
        self._begun_s = 0.0
        self._admitted = self._closing = self._eof = self._reading_head = self._full = False
        self._refused: Refused | None = None
        self._lingering = 0
        """How much the client may still send after its last answer."""
        self._caller = caller or _NOBODY

    # ------------------------------------------------------------------ the transport's calls
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note who it is, and whether there is room."""
        self._transport = cast("asyncio.Transport", transport)
        if self._caller is _NOBODY:
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
        line = self._line
        line.raw = line.raw + data if line.raw else data
        self._read_bytes = len(data)
        self._head_bytes = len(data) + (self._head_bytes if self._reading_head or self._open is not None else 0)
        try:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, Refused):
                raise
            self._refused = error.__context__
        except httptools.HttpParserError as error:
            self._refused = Refused(Fault.BAD_REQUEST, str(error))
        if line.at and self._open is None and not self._reading_head:
            line.raw, line.at, line.half = b"", 0, data[-1:] == b"\r"
        elif self._refused is None:
            self._refused = line.pending(self._reading_head, None if self._open is None else self._open.owed())
        if self._head_bytes > READ_BYTES and self._refused is None and (self._reading_head or self._open is not None):
            limits = self._context.routing.limits
            if self._head_bytes > limits.max_head_bytes + READ_BYTES:
                self._refused = too_large(limits)
        if self._refused is not None and self._open is not None:
            self._give_up(self._open, self._refused)
        if self._exchange is not None:
            self._exchange.request_flush()
        else:
            self._next()
        if self._queue and not self._closing:
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The client is done sending; answers that are due still go out (a half-closed connection)."""
        self._eof = not self._closing and self._open is None and (self._exchange is not None or bool(self._queue))
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

    # ------------------------------------------------------------------ the parser's calls
    def on_message_begin(self) -> None:
        """A new request begins."""
        self._fields = []
        self._target = b""
        self._reading_head = True
        self._begun_s = monotonic()

    def on_url(self, data: bytes) -> None:
        """A piece of the target."""
        self._target += data
        if len(self._target) > (limit := self._context.routing.limits.max_target_bytes):
            raise Refused(Fault.URI_TOO_LONG, f"the target is over {limit} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header field, or a trailer."""
        if self._open is None:
            self._fields.append((name.lower(), value))
        else:
            read_trailer(self._open.head, name.lower(), value, self._context.routing.limits)

    def on_headers_complete(self) -> None:
        """The head is complete: an exchange is made, which waits for its turn."""
        self._reading_head = False
        # What the reads brought that this head is in bounds it from above: only long ones have to be looked at.
        limits = self._context.routing.limits
        if self._head_bytes > limits.max_head_bytes or len(self._fields) > limits.max_headers:
            size = len(self._target) + sum(len(name) + len(value) for name, value in self._fields)
            if size > limits.max_head_bytes or len(self._fields) > limits.max_headers:
                raise too_large(limits)
        parser, line = self._parser, self._line
        method = parser.get_method()
        modern = line.end(method, self._target)
        keep_alive = parser.should_keep_alive()
        head = read_head(method, self._target, self._fields, modern, keep_alive, self._caller, self._own_host)
        line.body = CHUNKED if head.chunked else head.length or 0
        context = self._context
        log = context.access_log
        self._open = Exchange(self, context, head) if log is None else LoggedExchange(self, context, head, log)
        self._queue.append(self._open)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._head_bytes = self._read_bytes
        if self._open is not None:
            self._open.request_body(data)

    def on_message_complete(self) -> None:
        """The request is complete."""
        if self._open is not None:
            self._open.request_end()
            self._open = None

    def _upgrade(self, rest: bytes) -> None:
        """A head asked for another protocol, and `rest` came after it. Where that is not done, it is parsed again."""
        while (head := self._queue[-1].head).method != b"CONNECT":
            head.upgrade = asked(head)
            if head.upgrade:
                early = self._early = Early(head, self._parse_again, self.hold)
                self._parser = cast("httptools.HttpRequestParser", early)
                early.feed_data(rest)
                return
            self._queue.pop()
            self._line.raw, self._line.at = without(head, self._target, self._fields) + rest, 0
            self._parser = httptools.HttpRequestParser(self)
            try:
                self._parser.feed_data(self._line.raw)
                return
            except httptools.HttpParserUpgrade as upgrade:
                rest = self._line.raw[upgrade.args[0] :]
        self._queue.pop()
        self._refused = Refused(Fault.UNSUPPORTED, NO_CONNECT)

    def _parse_again(self) -> httptools.HttpRequestParser | None:
        if self._exchange is not None or self._queue:
            self._line.at = 1  # what comes is no request line
            return None
        self._parser = httptools.HttpRequestParser(self)
        return self._parser

    def _give_up(self, exchange: Exchange, refused: Refused) -> None:
        """The body of a request turned out to be malformed."""
        self._open = None
        if exchange is self._exchange:
            self._refused = None
            exchange.reject(refused.fault, refused.detail)
        elif self._queue and self._queue[-1] is exchange:
            self._queue.pop()

    def _own_host(self) -> bytes:
        """What HTTP/1.0 leaves unsaid: the address that the client connected to."""
        own = self._transport.get_extra_info("sockname")
        if not isinstance(own, tuple):
            return b"localhost"  # a unix socket has no other name
        host, port = own[:2]
        return (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode("latin-1")

    # ------------------------------------------------------------------ the exchange's calls
    def write(self, data: bytes) -> None:
        """Send to the client."""
        self._transport.write(data)

    def hold(self, held: bool) -> None:
        """Stop or go on reading from the client."""
        if held:
            self._transport.pause_reading()
        elif not self._queue and not self._closing:
            self._transport.resume_reading()

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
        if not keep or self._closing or (self._eof and not self._queue):
            self._end(heard=self._open is None and not self._queue and self._refused is None)
            return
        if self._queue or self._refused is not None:
            # On the next turn of the loop: a client that pipelines a thousand requests must not recurse.
            asyncio.get_running_loop().call_soon(self._next)
        else:
            self._begun_s = monotonic()

    def _next(self) -> None:
        if self._exchange is not None or self._closing or self._full:
            return
        if self._queue:
            exchange = self._exchange = self._queue.popleft()
            if not self._queue:
                self._transport.resume_reading()
            exchange.start()
            if exchange.head.expects and exchange is self._open and exchange is self._exchange:
                self._transport.write(CONTINUE)
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
        """Close a connection that was idle for too long, or whose head or whose reading of an answer takes too long."""
        if self._exchange is not None:
            return
        waited_s = now_s - self._begun_s
        limits = self._context.routing.limits
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

    def drain(self, now_s: float) -> None:
        """Close if nothing is under way, nor likely to be; else when the answer is out."""
        idle = self._exchange is None and not self._queue and not self._reading_head
        if idle and now_s - self._begun_s >= QUIET_S:
            self._closing = True
            self._transport.close()
