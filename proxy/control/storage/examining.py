"""Whether a SQLite file is whole while it is used: where somebody overwrites pages of it, those who have them in memory
do not notice, and what is read later is read as it is.

All pages are read, by a connection of its own that has none in memory, in a thread; writers do not wait for it. It
takes 1.4 s and 0.14 s of processor time for 256 MB that the system has in memory, so it is done now and then, and rarer
the longer it takes.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Final

from proxy.control.storage.errors import tells_damage
from proxy.control.storage.files import address

EVERY_S: Final = 60.0
SHARE: Final = 200
"""A look that took so long is not taken again within so many times that: half a percent of the time."""


class Examiner:
    """Says when it is time to look. Whoever opens a store looks at all of it: the first time is after that."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._due_s = monotonic() + EVERY_S

    async def damage(self, path: str) -> str:
        """What is broken, "" for nothing, and where it is not time to look."""
        begun_s = self._monotonic()
        if begun_s < self._due_s:
            return ""
        try:
            return await damage(path)
        finally:
            now_s = self._monotonic()
            self._due_s = now_s + max(EVERY_S, SHARE * (now_s - begun_s))


async def damage(path: str) -> str:
    """What is broken in a file, "" for nothing, and where it cannot be reached: who needs it says so. Cancelled, it
    ends within some milliseconds."""
    opened: list[sqlite3.Connection] = []
    given_up = threading.Event()

    def look() -> str:
        # Read-only: closed after all others it would take away what is beside the file, whose ever that is by then.
        with closing(sqlite3.connect(address(path, "ro"), uri=True, check_same_thread=False)) as db:
            opened.append(db)
            return "ok" if given_up.is_set() else str(db.execute("PRAGMA quick_check(1)").fetchone()[0])

    try:
        found = await asyncio.to_thread(look)
    except asyncio.CancelledError:
        given_up.set()
        for db in opened:
            with contextlib.suppress(sqlite3.ProgrammingError):  # it is closed already
                db.interrupt()
        raise
    except sqlite3.Error as error:
        return str(error) if tells_damage(str(error)) else ""
    return "" if found == "ok" else found
