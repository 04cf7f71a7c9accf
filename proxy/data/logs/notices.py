"""What a worker says on standard error: one JSON object a line, in the form that all processes use.

Nothing is said for an ordinary request. What could be said for each of a thousand requests a second is said seldom.
"""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime
from time import monotonic
from typing import Final

PAUSE_S: Final = 10.0
"""Trouble that goes on is told again after this time."""


def log(level: str, event: str, **facts: object) -> None:
    """One line."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = {"at": at, "level": level, "process": "worker", "pid": os.getpid(), "event": event, **facts}
    sys.stderr.write(f"{json.dumps(line)}\n")  # in one write: other processes share the file
    sys.stderr.flush()


class Seldom:
    """One kind of trouble of one thing: told when it is new or another than before, and then once in `PAUSE_S`."""

    __slots__ = ("_said", "_silent", "_told_s")

    def __init__(self) -> None:
        self._told_s = float("-inf")
        self._said: tuple[str, object] = ("", None)
        self._silent = 0

    def say(self, event: str, reason: str, **facts: object) -> None:
        """Tell it, or count it until it is told next: `times` is how often it happened since."""
        self._silent += 1
        now_s = monotonic()
        if self._said == (event, reason) and now_s - self._told_s < PAUSE_S:
            return
        log("warning", event, **facts, reason=reason, times=self._silent)
        self._said, self._told_s, self._silent = (event, reason), now_s, 0
