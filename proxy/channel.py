"""How the controller and its workers speak: frames over a unix socket, and the slot that outlives them both.

The controller pushes each snapshot to every connected worker; a worker says hello when it connects and acknowledges
what it holds. The slot is a piece of inherited memory with the last pushed snapshot, so that a worker which starts
while the controller is down serves at once. Two halves are written in turn; the head names the valid one.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from typing import Final

import msgspec

FRAME_HEAD: Final = struct.Struct("!I")
"""A frame is its length in bytes (32 bits, network order) and then a MessagePack message."""
MAX_FRAME_BYTES: Final = 64 << 20
_SLOT_HEAD: Final = struct.Struct("=QQI")
_SLOT_BYTES: Final = 2 * (MAX_FRAME_BYTES + 4096)


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """A worker has connected. `generation` is what it holds, 0 for nothing."""

    worker: int
    pid: int
    generation: int


class Ack(msgspec.Struct, frozen=True, tag="ack"):
    """A worker routes by this generation from now on."""

    worker: int
    generation: int


class Push(msgspec.Struct, frozen=True, tag="push"):
    """A snapshot in its wire form (`proxy.snapshot.encode`)."""

    snapshot: bytes


Message = Hello | Ack | Push
_DECODER: Final = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """A message as one frame."""
    body = msgspec.msgpack.encode(message)
    return FRAME_HEAD.pack(len(body)) + body


class Frames:
    """Messages out of a byte stream, however it is cut.

    Raises on `feed`:
        ValueError: a frame is over MAX_FRAME_BYTES, or is not a message (`msgspec.DecodeError`).
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that are complete with this data."""
        self._buffer += data
        messages = []
        while len(self._buffer) >= FRAME_HEAD.size:
            (length,) = FRAME_HEAD.unpack_from(self._buffer)
            if length > MAX_FRAME_BYTES:
                raise ValueError(f"a frame of {length} bytes is over the limit of {MAX_FRAME_BYTES}")
            end = FRAME_HEAD.size + length
            if len(self._buffer) < end:
                break
            messages.append(_DECODER.decode(bytes(self._buffer[FRAME_HEAD.size : end])))
            del self._buffer[:end]
        return messages


class Slot:
    """The last pushed snapshot, in memory that the supervisor made and every process inherits."""

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, 0)

    @staticmethod
    def create() -> int:
        """A new, empty slot as the descriptor of an anonymous file."""
        fd = os.memfd_create("understudy-snapshot")
        os.ftruncate(fd, _SLOT_BYTES)
        os.set_inheritable(fd, True)
        return fd

    def write(self, snapshot: bytes) -> None:
        """Keep a snapshot. Only the controller writes."""
        turn = _SLOT_HEAD.unpack_from(self._memory)[0] + 1
        at = 4096 + (turn % 2) * (_SLOT_BYTES // 2)
        self._memory[at : at + len(snapshot)] = snapshot
        head = _SLOT_HEAD.pack(turn, len(snapshot), zlib.crc32(snapshot))
        self._memory[: len(head)] = head

    def read(self) -> bytes | None:
        """The last snapshot that was written whole, or None."""
        for _ in range(8):
            turn, length, checksum = _SLOT_HEAD.unpack_from(self._memory)
            if not turn:
                return None
            at = 4096 + (turn % 2) * (_SLOT_BYTES // 2)
            data = self._memory[at : at + length]
            if zlib.crc32(data) == checksum:
                return data
        return None
