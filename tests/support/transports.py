"""Transports that are played: writes are recorded, and events happen when the test says so."""

from __future__ import annotations

import asyncio


class FakeTransport(asyncio.Transport):
    """One side of a connection that leads nowhere.

    `room` is how many bytes fit before the protocol is told to pause, at once and inside `write`, as uvloop does it;
    `drain` makes room again. Closing tells the protocol on the next turn of the loop, as a real transport does. The
    other side closes when it is told that nothing follows, unless it is `stubborn`.
    """

    def __init__(self, protocol: asyncio.Protocol, room: int = 1 << 40) -> None:
        super().__init__({"peername": ("192.0.2.7", 40000), "sockname": ("192.0.2.1", 8080)})
        self.protocol = protocol
        self.writes: list[bytes] = []
        self.room = room
        self.reading = True
        self.ended = self.shut = self.aborted = self.lost = self.stubborn = False
        self._waiting = 0
        self._paused = False

    @property
    def written(self) -> bytes:
        """All that was written."""
        return b"".join(self.writes)

    @property
    def closed(self) -> bool:
        """Nothing more can be written."""
        return self.ended or self.shut

    def take(self) -> bytes:
        """What was written since the last time."""
        written = self.written
        self.writes.clear()
        return written

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._alive("write")
        if self.closed:
            return
        self.writes.append(bytes(data))
        self._waiting += len(data)
        if self._waiting > self.room and not self._paused:
            self._paused = True
            self.protocol.pause_writing()

    def _alive(self, what: str) -> None:
        if self.lost:
            raise RuntimeError(f"{what} on a transport whose protocol was told of its loss")

    def drain(self) -> None:
        """The other side reads everything."""
        self._waiting = 0
        if self._paused:
            self._paused = False
            self.protocol.resume_writing()

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.shut

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self._alive("write_eof")
        self.ended = True
        if not self.stubborn:
            asyncio.get_running_loop().call_soon(self.finish)

    def finish(self) -> None:
        """The other side is done sending."""
        if not self.shut and not self.protocol.eof_received():
            self.close()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self.protocol = protocol

    def close(self) -> None:
        if not self.shut:
            self.shut = True
            asyncio.get_running_loop().call_soon(self.lose)

    def abort(self) -> None:
        self.aborted = self.aborted or not self.lost
        self.close()

    def lose(self, exc: Exception | None = None) -> None:
        """The connection is gone."""
        if not self.lost:
            self.shut = self.lost = True
            self.protocol.connection_lost(exc)


async def settle(turns: int = 6) -> None:
    """Let everything that is ready run; nothing in these tests needs more turns of the loop."""
    for _ in range(turns):
        await asyncio.sleep(0)
