"""How a snapshot reaches the workers, and how it is known that it did.

One unix socket, which the supervisor opened, so that it is there before and after any controller. Workers connect,
say what they hold and get what they lack; after a push each of them acknowledges. A worker that takes nothing for
too long is cut off: it goes on by its last snapshot, connects again and gets the newest one then.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from proxy.capture import Captured
from proxy.channel import Ack, Frames, Hello, Message, Push, encode

READ_BYTES: Final = 1 << 16
UNSENT_BYTES: Final = 4 << 20
"""A worker that leaves this much more than one snapshot unread is cut off."""
_LOG = structlog.get_logger("understudy.push")


@dataclass(slots=True)
class Peer:
    """A connected worker and the generation it has acknowledged."""

    worker: int
    pid: int
    generation: int


class PushServer:
    """The controller's end of the channel. `captured` takes the requests that workers captured."""

    def __init__(self, captured: Callable[[Captured], None] = lambda _: None) -> None:
        self._captured = captured
        self._peers: dict[asyncio.StreamWriter, Peer] = {}
        self._server: asyncio.Server | None = None
        self._frame = b""
        self._generation = 0
        self._news = asyncio.Event()

    async def start(self, listening: socket.socket) -> None:
        """Take connections on a unix socket that listens already."""
        # Not start_unix_server: from Python 3.13 on it removes the socket's path when it closes, and the workers
        # would not find the next controller.
        self._server = await asyncio.start_server(self._serve, sock=listening)

    async def close(self) -> None:
        """Let go of all workers; they serve on."""
        if self._server is not None:
            self._server.close()
        for writer in list(self._peers):
            writer.close()

    def peers(self) -> dict[int, Peer]:
        """Connected workers by number."""
        return {peer.worker: peer for peer in self._peers.values()}

    def push(self, snapshot: bytes, generation: int) -> None:
        """Send a snapshot to every worker; later ones get it when they connect."""
        self._frame = encode(Push(snapshot))
        self._generation = generation
        for writer in list(self._peers):
            self._send(writer)

    async def acknowledged(self, everybody: Callable[[], bool], timeout_s: float) -> bool:
        """Wait until `everybody` holds, which is asked after each piece of news; False when time is up first."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not everybody():
                    self._news.clear()
                    await self._news.wait()
        return everybody()

    def holders(self, generation: int) -> frozenset[int]:
        """The connected workers that route by this generation or a newer one."""
        return frozenset(peer.worker for peer in self._peers.values() if peer.generation >= generation)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = Frames()
        try:
            while data := await reader.read(READ_BYTES):
                for message in frames.feed(data):
                    self._hear(message, writer)
        except (ConnectionError, ValueError) as error:
            _LOG.warning("worker cut off", worker=self._name(writer), reason=str(error))
        finally:
            self._peers.pop(writer, None)
            self._news.set()
            writer.close()

    def _hear(self, message: Message, writer: asyncio.StreamWriter) -> None:
        match message:
            case Hello(worker, pid, generation):
                self._peers[writer] = Peer(worker, pid, generation)
                if generation < self._generation:
                    self._send(writer)
            case Ack(worker, generation):
                if writer in self._peers:
                    self._peers[writer].generation = generation
            case Captured():
                self._captured(message)
                return
            case Push():
                raise ValueError("a worker sent a snapshot")
        self._news.set()

    def _send(self, writer: asyncio.StreamWriter) -> None:
        if not self._frame:
            return
        if writer.transport.get_write_buffer_size() > len(self._frame) + UNSENT_BYTES:
            _LOG.warning("worker cut off", worker=self._name(writer), reason="it reads nothing")
            writer.transport.abort()
            return
        writer.write(self._frame)

    def _name(self, writer: asyncio.StreamWriter) -> int | None:
        peer = self._peers.get(writer)
        return None if peer is None else peer.worker
