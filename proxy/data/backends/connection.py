"""One connection to a backend: one exchange at a time, and what its answers look like.

A connection belongs to whoever borrowed it until the answer is complete. The answer is told piece by piece, and
whatever is out of step closes the connection, so that no answer can ever be taken for that of another request.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol, cast

import httptools

from proxy.data.backends.standing import Watch
from proxy.data.wire.bodies import LONG_BYTES, Piece, head_end
from proxy.data.wire.delivery import delivered
from proxy.data.wire.http1 import Headers, ResponseHead, number, trimmed
from proxy.data.wire.status_line import MAX_LINE_BYTES, begins
from proxy.faults import Fault

MAX_HEAD_BYTES: Final = 256 << 10
"""An answer's header fields; a model server needs a few hundred bytes, and this only bounds memory."""
MAX_FIELDS: Final = 1000
"""How many header fields an answer has: each takes more memory than its bytes."""
MAX_INTERIM: Final = 20
"""Informational answers before the one that counts; a backend that sends more is not going to answer."""
READ_BYTES: Final = 256 << 10
"""The most that one read brings."""
_ORDINARY: Final = b"HTTP/1.1 200 OK\r\n"


class Borrower(Protocol):
    """Who may borrow a connection: an exchange, or a shadow."""

    __slots__ = ()

    def upstream_ready(self, connection: Connection) -> None:
        """The connection is yours."""

    def upstream_failed(self, fault: Fault) -> None:
        """There is no connection, and none was used."""

    def response_head(self, head: ResponseHead) -> None:
        """The head of the answer is complete."""

    def response_body(self, data: Piece) -> None:
        """A piece of the body."""

    def response_flush(self) -> None:
        """All that one read brought has been told."""

    def response_trailers(self, trailers: Headers, headers: Headers) -> None:
        """Fields that follow the body of a chunked answer with these headers; its end follows."""

    def response_end(self) -> None:
        """The answer is complete; the connection is no longer yours."""

    def response_switch(self, headers: Headers, rest: bytes) -> bool:
        """The backend switches protocols (101), and `rest` came after its head; False where that was not asked for."""
        return False

    def upstream_lost(self, fault: Fault, clean: bool) -> None:
        """The connection ended before the answer did; `clean` says that the backend closed it in an orderly way."""

    def upstream_writable(self, writable: bool) -> None:
        """The connection's write buffer crossed a watermark."""


class Lender(Protocol):
    """Who lends a connection out: its pool. Its `watch`, if it has one, is told how each attempt ended."""

    @property
    def watch(self) -> Watch | None:
        """Who counts failures in a row."""

    def adopt(self, connection: Connection) -> None:
        """A connection is made."""

    def forget(self, connection: Connection) -> None:
        """A connection is closed."""

    def explain(self, error: Exception | None) -> tuple[Fault, str]:
        """The fault that the end of a new connection is, and why, in words."""


class Connection:
    """One connection to an endpoint."""

    __slots__ = (
        "_answered",
        "_borrower",
        "_close_delimited",
        "_complete",
        "_ended",
        "_head_only",
        "_headers",
        "_interim",
        "_left_bytes",
        "_parser",
        "_poisoned",
        "_pool",
        "_quiet_bytes",
        "_start",
        "_started",
        "_status",
        "_trailers",
        "idle_since_s",
        "problem",
        "served",
        "stale",
        "transport",
    )

    def __init__(self, pool: Lender) -> None:
        self._pool = pool
        self._borrower: Borrower | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._headers: Headers = []
        self._head_only = False
        self._answered = self._complete = self._poisoned = self._close_delimited = self._started = False
        self._ended = False
        self._start = b""
        self._trailers: Headers | None = None
        self._interim = self._status = 0
        self._quiet_bytes = 0
        """What came since the last piece of a body: fields that have no end would fill the parser's memory."""
        self._left_bytes = 0
        """How much of a long body has yet to come; 0 in any other answer."""
        self.problem = ""
        """What was wrong with the answer, in words."""
        self.stale = False
        self.idle_since_s = 0.0
        self.served = 0
        self.transport: asyncio.Transport = cast("asyncio.Transport", None)

    # --- lending
    def lend(self, borrower: Borrower, head_only: bool) -> None:
        """Begin an exchange. `head_only` says that the answer has no body whatever its head tells (HEAD)."""
        self._borrower = borrower
        self.served += 1
        self._head_only = head_only
        self._answered = self._complete = self._close_delimited = self._started = False
        self._headers = []
        self._quiet_bytes = self._interim = self._left_bytes = 0

    def abandon(self, fault: Fault) -> None:
        """Give the connection up in the middle of an exchange, for a reason: it is closed."""
        if self._pool.watch is not None and self._borrower is not None:
            self._pool.watch.failed(fault)
        self._borrower = None
        self.transport.abort()

    def pass_on(self, borrower: Borrower) -> None:
        """The rest of the answer under way is somebody else's."""
        self._borrower = borrower

    def cut(self) -> None:
        """The backend cut the tunnel that this connection had become."""
        if self._pool.watch is not None:
            self._pool.watch.failed(Fault.RESPONSE_CUT)

    def close(self) -> None:
        """Close an idle connection."""
        self.transport.close()

    # --- the transport's calls
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)
        self._pool.adopt(self)

    def data_received(self, data: bytes) -> None:
        """Parse what came and pass it on."""
        if self._borrower is None:
            self.transport.abort()  # nobody asked: whatever this is, it is no answer
            return
        if self._left_bytes:
            self._count(data)
        elif self._started or not data.startswith(_ORDINARY):
            if not self._started and not self._starts(data):
                self._spoil("it does not begin as an answer of HTTP/1.1 or HTTP/1.0")
                return
            self._parse(data)
        else:
            self._begin(data)
        if self._complete:
            self._finish()
        elif self._borrower is not None:
            if self._quiet_bytes > MAX_HEAD_BYTES + READ_BYTES:
                self._spoil("fields or chunk extensions have no end")
            else:
                self._borrower.response_flush()

    def _parse(self, data: Piece) -> None:
        self._quiet_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            self._spoil(str(error.__context__))
            if not isinstance(error.__context__, httptools.HttpParserError):
                raise
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            switched = isinstance(error, httptools.HttpParserUpgrade)
            if switched and self._switch(bytes(data[error.args[0] :])):
                return
            self._poisoned = True
            if not self._complete:
                self._spoil("a switch of protocols that was not asked for" if switched else str(error))

    def _begin(self, data: bytes) -> None:
        """Parse a read that begins with an ordinary head, and may have much of a long body."""
        self._started = True
        end = len(data) if len(data) < LONG_BYTES else head_end(data, 0)
        self._parse(data[:end])
        rest = memoryview(data)[end:] if end < len(data) else b""
        if rest and self._left_bytes:
            self._count(rest)
        elif rest and self._borrower is not None:
            self._parse(rest)

    def _count(self, data: Piece) -> None:
        """Pass on what is of a long body; when that ends so does the use of the parser, which knows nothing of it."""
        left_bytes = self._left_bytes
        piece = data if len(data) <= left_bytes else memoryview(data)[:left_bytes]
        self._left_bytes -= len(piece)
        self._quiet_bytes = 0
        if self._borrower is not None:
            self._borrower.response_body(piece)
        if not self._left_bytes:
            self._complete = True
            self._poisoned = self._poisoned or len(data) > left_bytes
            self._parser = httptools.HttpResponseParser(self)

    def eof_received(self) -> bool:
        """The backend is done sending; `connection_lost` follows. With TLS this is its own word (close_notify)."""
        self._ended = True
        if self.stale and self._borrower is not None and delivered(self.transport):
            self.stale = False  # it was there when the request came: that this was lost is its failure
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange, if one is going on."""
        self._pool.forget(self)
        if self._borrower is None:
            return
        if self._answered and self._close_delimited and exc is None and self._whole():
            self._poisoned = True
            self._finish()
            return
        fault = Fault.RESPONSE_CUT if self._answered else Fault.UPSTREAM_RESET
        if not self._answered and self.served == 1:
            fault, self.problem = self._pool.explain(exc)
        self._lose(fault, clean=exc is None)

    def _whole(self) -> bool:
        """Whether the end of the connection is the end of the answer: with TLS anybody on the way can close, and only
        the backend can say that it did (RFC 9112, section 9.8)."""
        return self._ended or self.transport.get_extra_info("ssl_object") is None

    def pause_writing(self) -> None:
        """The backend reads more slowly than the client sends."""
        if self._borrower is not None:
            self._borrower.upstream_writable(False)

    def resume_writing(self) -> None:
        """The backend has caught up."""
        if self._borrower is not None:
            self._borrower.upstream_writable(True)

    # --- the parser's calls
    def on_message_begin(self) -> None:
        """An answer begins, so the connection is not stale. A second one in an exchange is a backend out of step."""
        self.stale = False
        if self._complete:
            self._poisoned = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header field, or a trailer."""
        value = trimmed(value)
        if not self._answered:
            self._headers.append((name.lower(), value))
        elif not self._complete:
            name = name.lower()
            if name == b"transfer-encoding":
                raise httptools.HttpParserError("a transfer coding among the trailers")
            self._trailers = self._trailers or []
            self._trailers.append((name, value))

    def on_headers_complete(self) -> None:
        """Pass the head on, unless it is informational (RFC 9110, section 15.2)."""
        if self._complete or self._borrower is None:
            return
        self._bound(self._headers)
        status = self._parser.get_status_code()
        if not 100 <= status <= 599:
            raise httptools.HttpParserError(f"there is no status {status}")
        if self._interim and self._parser.get_http_version() not in ("1.1", "1.0"):
            raise httptools.HttpParserError("an answer of another version after an informational one")
        length: int | None = None
        chunked = False
        for name, value in self._headers:
            if name == b"content-length":
                length = number(value)
            elif name == b"transfer-encoding":
                # We asked for no other coding, and would pass it on as none; HTTP/1.0 knows none at all.
                if chunked or value.strip().lower() != b"chunked" or self._parser.get_http_version() != "1.1":
                    raise httptools.HttpParserError("the transfer coding must be chunked, once, in HTTP/1.1")
                chunked = True
        if status < 200:
            self._informational(status, framed=chunked or length is not None)
            return
        bodyless = self._head_only or status in (204, 304)
        self._answered = True
        self._status = status
        self._close_delimited = length is None and not chunked and not bodyless
        self._borrower.response_head(ResponseHead(status, self._headers, length, chunked, bodyless))
        if bodyless and (length or chunked or (length is None and status not in (204, 304))):
            # The parser now waits for a body that will not come.
            self._complete = self._poisoned = True
        elif length is not None and length >= LONG_BYTES and not chunked and not bodyless:
            self._left_bytes = length
            self._poisoned = self._poisoned or not self._parser.should_keep_alive()

    def _bound(self, fields: Headers) -> None:
        """Refuse fields over a limit. What the reads brought bounds them from above: only long ones are looked at."""
        if self._quiet_bytes > MAX_HEAD_BYTES or len(fields) > MAX_FIELDS:
            size = sum(len(name) + len(value) for name, value in fields)
            if size > MAX_HEAD_BYTES or len(fields) > MAX_FIELDS:
                raise httptools.HttpParserError("header fields over the limit")

    def _informational(self, status: int, framed: bool) -> None:
        """Drop an answer that only informs: the client was told to go on by us, and hints break many clients."""
        self._interim += 1
        if framed or self._interim > MAX_INTERIM:
            raise httptools.HttpParserError("an informational answer with a body, or too many of them")
        if status != 101:
            self._headers = []
        elif not self._parser.should_upgrade():
            raise httptools.HttpParserError("a switch of protocols to none")

    def on_body(self, data: bytes) -> None:
        """Pass a piece of the body on."""
        self._quiet_bytes = 0
        if self._left_bytes:
            self._left_bytes -= len(data)
        if self._borrower is not None and not self._complete:
            self._borrower.response_body(data)

    def on_message_complete(self) -> None:
        """Note the end; it is acted on when the whole read is parsed, so that what follows it is seen."""
        if self._answered and not self._complete:
            self._complete = True
            self._poisoned = self._poisoned or not self._parser.should_keep_alive()
            if self._trailers:
                self._bound(self._trailers)
                if self._borrower is not None:
                    self._borrower.response_trailers(self._trailers, self._headers)
                self._trailers = None

    # --- ends
    def _starts(self, data: bytes) -> bool:
        """Whether an answer begins as it must, as far as it is there."""
        start = self._start + data[: MAX_LINE_BYTES + 1]
        self._started = b"\r\n" in start
        self._start = b"" if self._started else start
        return begins(start)

    def _spoil(self, problem: str) -> None:
        """What the backend sent is no answer, or ambiguous."""
        self.problem = problem
        self._lose(Fault.BAD_RESPONSE, clean=False)

    def _switch(self, rest: bytes) -> bool:
        """Whether the borrower goes on with this connection in another protocol; from here on it is no longer ours."""
        borrower = self._borrower
        if self._answered or borrower is None or not borrower.response_switch(self._headers, rest):
            return False
        self._borrower = None
        if self._pool.watch is not None:
            self._pool.watch.answered(101)
        return True

    def _finish(self) -> None:
        borrower = self._borrower
        self._borrower = None
        if self._poisoned:
            self.transport.close()
        if borrower is not None:  # who gave the answer up has told the watch
            if self._pool.watch is not None:
                self._pool.watch.answered(self._status)
            borrower.response_end()

    def _lose(self, fault: Fault, clean: bool) -> None:
        borrower = self._borrower
        self._borrower = None
        self.transport.abort()
        if borrower is not None:
            if self._pool.watch is not None and not self.stale:
                self._pool.watch.failed(fault)
            borrower.upstream_lost(fault, clean)
