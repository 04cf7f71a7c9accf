"""Whether the files of a SQLite database are those that were opened.

SQLite itself does not look: it writes on into a file that was removed or renamed, and all of it is gone with the
process. A file is known by its device and inode. The log (`-wal`) and its index (`-shm`) come with the first connection
and go with the last one, so they are known for as long as there is a connection.

A look is one `stat` for each file, about 5 µs, in a thread of its own: on a network disk that hangs it takes for ever,
and neither the loop nor the threads of others may wait for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Final
from urllib.parse import quote

Identity = tuple[int, int]
"""Device and inode."""
_BESIDE: Final = ("-wal", "-shm")
_SAID: Final = {"-wal": "its log", "-shm": "the index of its log"}


def address(path: str, mode: str) -> str:
    """The URI of a file, to be opened in a mode (`ro`, `rw`) that makes none."""
    return f"file://{quote(os.path.abspath(path))}?mode={mode}"


class Files:
    """The files of one database, from when it is opened until it is let go. `connected` and `disconnected` are told of
    each connection of ours."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._main: Identity | None = None
        self._beside: dict[str, Identity] = {}
        self._ours: dict[str, Identity] = {}
        """What was beside it last."""
        self._connections = 0
        self._thread = ThreadPoolExecutor(1, "understudy-files")

    def connected(self) -> None:
        """There is one connection more."""
        self._connections += 1

    def disconnected(self) -> None:
        """There is one less. What is beside the file goes with the last one."""
        self._connections = max(0, self._connections - 1)
        if not self._connections:
            self._beside = {}

    async def look(self) -> str:
        """What became of them, "" where they are those that were opened; the first look learns which these are.

        Raises:
            OSError: it cannot be told, as the folder cannot be read.
        """
        found = await asyncio.get_running_loop().run_in_executor(self._thread, self._found)
        main = found.get("")
        if self._main is None:
            self._main = main
        elif main is None:
            return "the file was removed while it was in use"
        elif main != self._main:
            return "another file was put in its place while it was in use"
        for suffix, known in self._beside.items():
            if found.get(suffix) != known:
                done = "replaced" if suffix in found else "removed"
                return f"{_SAID[suffix]} ({suffix}) was {done} while it was in use"
        if self._connections:
            self._beside |= {suffix: found[suffix] for suffix in _BESIDE if suffix in found}
            self._ours = dict(self._beside)
        return ""

    async def leave(self) -> None:
        """Take away what is left beside a file that is not there any more: SQLite would take it for the log of the next
        one, and write it over that. For when all connections are closed."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._take_away)
        self.close()

    def close(self) -> None:
        """Look no more."""
        self._thread.shutdown(wait=False)

    def _found(self) -> dict[str, Identity]:
        found = {}
        for suffix in ("", *_BESIDE):
            with contextlib.suppress(FileNotFoundError):
                there = os.stat(self._path + suffix)
                found[suffix] = (there.st_dev, there.st_ino)
        return found

    def _take_away(self) -> None:
        found = self._found()
        if found.pop("", None) == self._main:
            return  # SQLite knows what to do with them
        for suffix, there in found.items():
            if self._ours.get(suffix) == there:
                os.unlink(self._path + suffix)
