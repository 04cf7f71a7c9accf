"""The last pushed snapshot, in memory that outlives the controller and the workers.

The supervisor makes it and every process inherits it, so that a worker which starts while the controller is down
serves at once, and a controller which starts anew knows what the workers hold. Two halves are written in turn; the
head names the valid one, and a checksum shows a half that was being written. Beside them is the one thing that the
supervisor tells everybody: that the end is near. Standard library only: the supervisor imports this.
"""

from __future__ import annotations

import mmap
import os
import struct
import zlib
from typing import Final

MAX_SNAPSHOT_BYTES: Final = 64 << 20
_HEAD: Final = struct.Struct("=QQI")
_HEAD_BYTES: Final = 4096
_DRAINING_AT: Final = 2048
_SLOT_BYTES: Final = _HEAD_BYTES + 2 * MAX_SNAPSHOT_BYTES


class Slot:
    """A process's hold on the slot; only the controller writes, and only the supervisor announces."""

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, 0)

    @staticmethod
    def create() -> int:
        """A new, empty slot as the descriptor of an anonymous file; pages that are never touched cost nothing."""
        fd = os.memfd_create("understudy-snapshot")
        os.ftruncate(fd, _SLOT_BYTES)
        os.set_inheritable(fd, True)
        return fd

    def write(self, snapshot: bytes) -> None:
        """Keep a snapshot.

        Raises:
            ValueError: it is over MAX_SNAPSHOT_BYTES.
        """
        if len(snapshot) > MAX_SNAPSHOT_BYTES:
            raise ValueError(f"a snapshot of {len(snapshot)} bytes is over the limit of {MAX_SNAPSHOT_BYTES}")
        turn = _HEAD.unpack_from(self._memory)[0] + 1
        at = _start(turn)
        self._memory[at : at + len(snapshot)] = snapshot
        head = _HEAD.pack(turn, len(snapshot), zlib.crc32(snapshot))
        self._memory[: len(head)] = head

    def read(self) -> bytes | None:
        """The last snapshot that was written whole, or None."""
        for _ in range(8):
            turn, length, checksum = _HEAD.unpack_from(self._memory)
            if not turn:
                return None
            data = self._memory[_start(turn) : _start(turn) + length]
            if zlib.crc32(data) == checksum:
                return data
        return None

    @property
    def draining(self) -> bool:
        """Whether all of this is about to end."""
        return self._memory[_DRAINING_AT] != 0

    def announce_drain(self) -> None:
        """Tell all processes, also those that start later, that the end is near."""
        self._memory[_DRAINING_AT] = 1


def _start(turn: int) -> int:
    return _HEAD_BYTES + (turn % 2) * MAX_SNAPSHOT_BYTES
