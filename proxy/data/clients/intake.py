"""What a client sends, read: requests out of bytes, each of them an exchange that waits for its turn.

llhttp parses (through httptools, strictly) and `request_head` holds what it parsed to the rest of RFC 9112. A long body
is not parsed but counted (`bodies`): a read that has one in it is taken in the parts that it is made of, as if the
network had cut it there.
"""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import cast

import httptools

from proxy.data.exchanges.attempt import Client
from proxy.data.exchanges.exchange import Exchange
from proxy.data.exchanges.logged import LoggedExchange
from proxy.data.requests.request_head import NO_CONNECT, Refused, read_head, read_trailer, too_large
from proxy.data.requests.request_line import CHUNKED, RequestLine
from proxy.data.requests.router import Head
from proxy.data.requests.trust import Caller
from proxy.data.requests.upgrade import Early, asked, without
from proxy.data.routing.patience import MAX_WAITING, READ_BYTES
from proxy.data.routing.routing import Context
from proxy.data.wire.bodies import LONG_BYTES, Piece, head_end
from proxy.data.wire.http1 import Headers, trimmed
from proxy.faults import Fault


class Intake(Client):
    """The reading half of a client's connection. Slots are filled by `ClientConnection.__init__`."""

    __slots__ = (
        "_begun_s",
        "_caller",
        "_closing",
        "_context",
        "_early",
        "_exchange",
        "_fields",
        "_head_bytes",
        "_left_bytes",
        "_line",
        "_open",
        "_parser",
        "_queue",
        "_read_bytes",
        "_reading_head",
        "_refused",
        "_rest",
        "_target",
        "_transport",
    )

    _begun_s: float
    _caller: Caller
    _closing: bool
    _context: Context
    _early: Early | None
    _exchange: Exchange | None
    """The one that has its turn."""
    _fields: Headers
    _head_bytes: int
    """What came since the last piece of a body, and with `_read_bytes` in the last read: fields and chunk extensions
    that have no end would fill the parser's memory."""
    _left_bytes: int
    """How much of a long body has yet to come; 0 in any other request."""
    _line: RequestLine
    _open: Exchange | None
    """The exchange whose request is being read; it may not have had its turn yet."""
    _parser: httptools.HttpRequestParser
    _queue: deque[Exchange]
    _read_bytes: int
    _reading_head: bool
    _refused: Refused | None
    _rest: bytes
    """What came and was not parsed yet, since enough requests wait."""
    _target: bytes
    _transport: asyncio.Transport

    # ------------------------------------------------------------------ what a read brings
    def _parse_long(self, data: bytes) -> None:
        """Take apart a read that may have to do with a long body, or have many requests, until enough of them wait."""
        at = 0
        self._rest = b""
        while at < len(data) and self._refused is None and not self._closing:
            begin = at
            if len(self._queue) >= MAX_WAITING and not self._left_bytes and self._early is None:
                self._rest = data[begin:]
                return
            if self._left_bytes:
                at = min(begin + self._left_bytes, len(data))
                self._count(data if at - begin == len(data) else memoryview(data)[begin:at])
            else:
                at = head_end(data, begin) if self._open is None else min(begin + LONG_BYTES, len(data))
                self._parse(data[begin:at])

    def _count(self, data: Piece) -> None:
        """Pass on what is of a long body; when that ends so does the use of the parser, which knows nothing of it."""
        self._left_bytes -= len(data)
        if self._open is not None:
            self._open.request_body(data)
        if not self._left_bytes:
            self._parser = httptools.HttpRequestParser(self)
            self._line.raw, self._line.at, self._line.half = b"", 0, False
            self.on_message_complete()

    def _parse(self, data: bytes) -> None:
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

    # ------------------------------------------------------------------ the parser's calls
    def on_message_begin(self) -> None:
        """A new request begins."""
        self._head_bytes = self._read_bytes
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
        value = trimmed(value)
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
        head = read_head(method, self._target, self._fields, modern, keep_alive, self._caller, self._transport)
        line.body = CHUNKED if head.chunked else head.length or 0
        self._left_bytes = line.body if line.body >= LONG_BYTES else 0
        context = self._context
        self._open = self._noted(head) if context.noted else Exchange(self, context, head)
        self._queue.append(self._open)

    def _noted(self, head: Head) -> Exchange:
        """An exchange that is noted."""
        context = self._context
        if context.captures is None:
            return LoggedExchange(self, context, head, context.access_log)
        from proxy.data.exchanges.captured import CapturedExchange

        return CapturedExchange(self, context, head, context.access_log, context.captures)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._head_bytes = self._read_bytes
        if self._left_bytes:
            self._left_bytes -= len(data)
        if self._open is not None:
            self._open.request_body(data)

    def on_message_complete(self) -> None:
        """The request is complete."""
        self._left_bytes = 0
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
