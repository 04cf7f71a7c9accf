"""What a test waits for: said when it waits in vain, and ended with its test.

A test that runs out of its time is left by an exception, in the main thread alone. Whatever it waits for in other
threads would go on, and the loop waits for its threads before the next test may begin: so waits are known by name, and
are told to end.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 60.0
"""What is meant to come at once does so even where ten programs share a core, and a start takes half a minute."""


class _Wait:
    """One thing that somebody waits for."""

    def __init__(self, what: str) -> None:
        self.what, self.since_s, self.over = what, time.monotonic(), threading.Event()


_waits: set[_Wait] = set()


def wait_for(what: str, holds: Callable[[], Any], timeout_s: float = PATIENCE_S, every_s: float = 0.02) -> Any:
    """The first true value of a condition; fails with what was waited for, and for how long."""
    wait = _Wait(what)
    _waits.add(wait)
    try:
        while not (value := holds()):
            if time.monotonic() > wait.since_s + timeout_s:
                raise AssertionError(f"waited {timeout_s:g} s in vain for {what}")
            if wait.over.wait(every_s):
                raise AssertionError(f"the test has ended that waited for {what}")
    finally:
        _waits.discard(wait)
    return value


def waited_for() -> list[str]:
    """What is waited for now, and since when."""
    now = time.monotonic()
    return [f"{wait.what}, for {now - wait.since_s:.1f} s" for wait in list(_waits)]


def end() -> None:
    """End all waits that there are now; those that begin later are not touched."""
    for wait in list(_waits):
        wait.over.set()
