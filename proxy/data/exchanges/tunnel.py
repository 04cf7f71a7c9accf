"""Two connections that are one: after a 101 bytes pass both ways, unread, until both sides are done.

    client ─▶ Side ═══ write ══▶ transport ─▶ backend        one watermark each way: who is not read when the other
    client ◀─ transport ◀══ write ═══ Side ◀─ backend        side's buffer is full

An upgrade is one outcome, made when the tunnel opens: status 101, and the latency is the time to it. It cannot wait
for the end: the slice of its arrival is evidence at most 10 s later, and hours of a healthy tunnel are no latency. A
tunnel that its backend cuts is that outcome turned into a failure, in the slice in which it happens (`Writer.cut`). A
reset is a cut; for WebSocket so is an end without a close frame (RFC 6455, section 7.1.5), which is how a killed server
ends. An orderly end, the client's, silence on both sides and a drain are not the version's doing.

A reload or a promotion leaves a tunnel where it is. It takes one of its backend's `maxConnections` for its life.
"""

from __future__ import annotations

import asyncio
from math import inf
from time import monotonic
from typing import Final, Protocol

from proxy.data.backends.connection import Connection
from proxy.data.requests.upgrade import WEBSOCKET
from proxy.data.routing.routing import Context
from proxy.ledger.row import Row

LINGER_S: Final = 30.0
"""When one side is gone, how long the other has to take what it was sent: a reader that hangs must not stay forever."""
_TAIL_BYTES: Final = 2 + 4 + 125
"""The longest close frame: two bytes, a client's mask, and a payload of a control frame."""
_CLOSE: Final = 0x88


class Owner(Protocol):
    """Who keeps the books of a connection that became a side of a tunnel."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""


class Tunnel:
    """An open tunnel. It has a deadline, which every byte in either direction moves."""

    __slots__ = (
        "_backend",
        "_client",
        "_connection",
        "_context",
        "_idle_s",
        "_row",
        "_settled",
        "_websocket",
        "deadline_s",
    )

    def __init__(self, context: Context, row: Row, idle_s: float, protocol: bytes) -> None:
        self._context = context
        self._row = row
        self._idle_s = idle_s
        self._websocket = protocol.lower() == WEBSOCKET
        self._settled = False
        """Whether it is decided who ended it."""
        self.deadline_s = inf

    def open(self, owner: Owner, transport: asyncio.Transport, connection: Connection, held: bool) -> None:
        """Take over the client's transport, whose books `owner` keeps, and the backend's connection.

        `held` says that the backend has not taken its head yet, and so the client waits.
        """
        self._client = Side(self, owner, transport)
        self._connection = connection
        self._backend = Side(self, connection, connection.transport)
        self._client.other, self._backend.other = self._backend, self._client
        self._context.live.add(self)
        self.moved()
        for side in (self._client, self._backend):
            side.transport.set_protocol(side)
            side.transport.resume_reading()
        if held:
            transport.pause_reading()

    def moved(self) -> None:
        """Bytes went by."""
        self.deadline_s = monotonic() + self._idle_s

    def ended(self, side: Side) -> bool:
        """A side is done sending, which the other is told; whether it can still be sent to."""
        self._judge(side, None)
        other = side.other
        if other.ended or other.transport.is_closing() or not other.transport.can_write_eof():
            other.transport.close()
            return False
        other.transport.write_eof()
        return side.transport.can_write_eof()

    def lost(self, side: Side, exc: Exception | None) -> None:
        """A side is gone: the other gets what is on its way, and is closed."""
        self._judge(side, exc)
        if side.other.gone:
            self._context.live.discard(self)
        else:
            self.deadline_s = monotonic() + LINGER_S
            side.other.transport.close()

    def expire(self, now_s: float) -> None:
        """Nothing moved for too long: close both sides."""
        self._settled = True
        self.deadline_s = inf
        self._client.transport.abort()
        self._backend.transport.abort()

    def _judge(self, side: Side, exc: Exception | None) -> None:
        """Count a cut if it was the backend that ended the tunnel, and not in the way that it should."""
        if self._settled:
            return
        self._settled = True
        if side is self._backend:
            whole = self._backend.said_goodbye() or self._client.said_goodbye() if self._websocket else exc is None
            if not whole:
                self._context.writer.cut(self._row, monotonic())
                self._connection.cut()


class Side(asyncio.Protocol):
    """One side of a tunnel: what comes from it goes to the other. `owner` keeps the books of its connection."""

    __slots__ = ("_owner", "_tail", "_tunnel", "ended", "gone", "other", "transport")

    other: Side

    def __init__(self, tunnel: Tunnel, owner: Owner, transport: asyncio.Transport) -> None:
        self._tunnel = tunnel
        self._owner = owner
        self._tail = b""
        self.transport = transport
        self.ended = self.gone = False

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        self._tail = data[-_TAIL_BYTES:] if len(data) >= _TAIL_BYTES else (self._tail + data)[-_TAIL_BYTES:]
        self._tunnel.moved()
        if not self.other.gone:
            self.other.transport.write(data)

    def eof_received(self) -> bool:
        """This side is done sending; the other may go on (a half-closed connection)."""
        self.ended = True
        return self._tunnel.ended(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """This side is gone."""
        self.gone = True
        self._owner.connection_lost(exc)
        self._tunnel.lost(self, exc)

    def pause_writing(self) -> None:
        """This side reads slowly: the other has to wait."""
        if not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """This side has caught up."""
        if not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def said_goodbye(self) -> bool:
        """Whether the last that it sent is a close frame of WebSocket (RFC 6455, section 5.5.1), masked or not.

        Frames are not followed, only the end is looked at: 1 in 500 random ends would pass for a close frame.
        """
        tail = self._tail
        for mask_bit, mask_bytes in ((0x80, 4), (0, 0)):
            for at in range(len(tail) - 1 - mask_bytes):
                if tail[at] == _CLOSE and tail[at + 1] == mask_bit | (len(tail) - at - 2 - mask_bytes):
                    return True
        return False
