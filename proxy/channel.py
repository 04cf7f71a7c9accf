"""How the controller and its workers speak: frames over a unix socket.

The controller pushes each snapshot to every connected worker; a worker says hello when it connects, acknowledges what
it holds, and sends the requests that it captured (`proxy.capture`). What was pushed last also lies in the slot
(`proxy.slot`).
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from proxy.capture import Captured
from proxy.slot import MAX_SNAPSHOT_BYTES

FRAME_HEAD: Final = struct.Struct("!I")
"""A frame is its length in bytes (32 bits, network order) and then a MessagePack message."""
MAX_FRAME_BYTES: Final = MAX_SNAPSHOT_BYTES + 64


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


Message = Hello | Ack | Push | Captured
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
