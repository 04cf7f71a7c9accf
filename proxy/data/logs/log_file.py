"""Lines on their way to a file or a pipe, which may be slow, full or stuck, without anybody waiting for them.

    add ─▶ pending ─▶ flush ─▶ queue ─▶ thread ─▶ write

The loop gathers lines and hands them over some times a second, so that a line costs it an append; a thread writes them.
What waits has a bound. Each write is whole lines, appended in one call to a file, and in pieces of at most PIPE_BUF to
anything else: so the lines of several workers never mix (write(2), pipe(7)).
"""

from __future__ import annotations

import os
import queue
import select
import stat
from collections.abc import Iterator, Sequence
from threading import Thread
from typing import Final

PIPE_BUF: Final = select.PIPE_BUF
"""The most that is written to a pipe in one piece, and the longest line."""
_FILE_BYTES: Final = 1 << 20
_INHERITED: Final = {"/dev/stdout": 1, "/dev/stderr": 2}
"""They may be sockets, as under systemd, which cannot be opened by name."""
_MODE: Final = 0o640


class LogFile:
    """One place that lines go to. All methods are called from the loop's thread."""

    def __init__(self, path: str, max_bytes: int) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.problem = ""
        """Why the last write failed; empty where it did not."""
        self._pending: list[bytes] = []
        self._pending_bytes = self._handed_bytes = self._done_bytes = 0
        self._queue: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()
        self._written = self._lost = 0
        self._told = (0, 0)
        self._fd = -1
        self._thread = Thread(target=self._run, name="access log", daemon=True)
        self._thread.start()

    def add(self, line: bytes) -> bool:
        """Take a line; False where there is no room for it."""
        waiting_bytes = self._pending_bytes + self._handed_bytes - self._done_bytes
        if waiting_bytes + len(line) > self.max_bytes:
            return False
        self._pending.append(line)
        self._pending_bytes += len(line)
        return True

    def flush(self) -> None:
        """Hand over what was gathered."""
        if self._pending:
            self._handed_bytes += self._pending_bytes
            self._queue.put(self._pending)
            self._pending, self._pending_bytes = [], 0

    def news(self) -> tuple[int, int]:
        """How many lines were written since the last time, and how many could not be."""
        (told_written, told_lost), self._told = self._told, (self._written, self._lost)
        return self._told[0] - told_written, self._told[1] - told_lost

    def close(self, timeout_s: float = 0.0) -> None:
        """Hand over the rest, and wait for it to be written, but not longer than this."""
        self.flush()
        self._queue.put(None)
        if timeout_s:
            self._thread.join(timeout_s)

    # --- the thread
    def _run(self) -> None:
        while (lines := self._queue.get()) is not None:
            left = len(lines)
            try:
                fd = self._open()
                for piece, count in _pieces(lines, fd):
                    _write(fd, piece)
                    self._written += count
                    left -= count
                self.problem = ""
            except OSError as error:
                self.problem = str(error)
                self._lost += left
            self._done_bytes += sum(map(len, lines))
        if self._fd >= 0:
            os.close(self._fd)

    def _open(self) -> int:
        """The descriptor, made anew where the path leads elsewhere by now."""
        if self._fd >= 0 and (self.path in _INHERITED or _same(self._fd, self.path)):
            return self._fd
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self.path in _INHERITED:
            self._fd = os.dup(_INHERITED[self.path])
        else:
            self._fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _MODE)
        return self._fd


def _same(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False


def _pieces(lines: Sequence[bytes], fd: int) -> Iterator[tuple[bytes, int]]:
    """The lines in pieces that are written in one call each, and how many lines are in each."""
    most = _FILE_BYTES if stat.S_ISREG(os.fstat(fd).st_mode) else PIPE_BUF
    piece: list[bytes] = []
    size = 0
    for line in lines:
        if piece and size + len(line) > most:
            yield b"".join(piece), len(piece)
            piece, size = [], 0
        piece.append(line)
        size += len(line)
    if piece:
        yield b"".join(piece), len(piece)


def _write(fd: int, data: bytes) -> None:
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:  # somebody who shares the descriptor has made it so
            select.select((), (fd,), ())
