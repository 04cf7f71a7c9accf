"""One running Understudy for the tests of a process that need no fresh one: each gives it another file.

A start costs more than three seconds of processor time, and most tests of the data plane ask for nothing that is
decided then. What one test leaves behind (routes, backends, their counts, what is known of endpoints) goes with its
file: before the next one there is none of it. Whoever stops the system, kills a part of it, or has a rollout, takes
one of its own (`system.understudy`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.system import Understudy, fetch, wait_for

IDLE: dict[str, Any] = {
    "workers": 1,
    "backends": [{"name": "nobody", "endpoints": ["http://127.0.0.1:9"]}],
    "routes": [{"name": "nothing", "match": [{"path": {"exact": "/nothing"}}], "backendRefs": [{"name": "nobody"}]}],
}
FIXED = frozenset({"listen", "admin", "store", "drainDelay", "drainTimeout"})
"""What only a start can change."""
_standing: list[Understudy] = []


@contextlib.contextmanager
def standing(config: dict[str, Any]) -> Iterator[Understudy]:
    """The system with this configuration, which has one worker, for the length of a block; its log begins anew."""
    assert config["workers"] == IDLE["workers"], "the number of workers needs a start"
    assert not FIXED & set(config), "this needs a start"
    system = _running()
    own = {key: system.config[key] for key in FIXED if key in system.config}
    os.truncate(system.log, 0)
    try:
        _give(system, {**own, **config})
        yield system
    finally:
        _give(system, {**own, **IDLE})


def end() -> None:
    """Stop it, if there is one."""
    if _standing:
        assert _ended(_standing.pop()) == 0


def logs() -> list[Path]:
    """Where it writes its log, if there is one: that of the test that had it last."""
    return [system.log for system in _standing]


def _running() -> Understudy:
    """The one that stands; another one if a test has broken it, so that the next ones do not fail for it."""
    if _standing and fetch(f"{_standing[0].admin}/readyz")[0] != 200:
        _ended(_standing.pop())
    if not _standing:
        _standing.append(Understudy(Path(tempfile.mkdtemp(prefix="understudy-standing-")), IDLE).start())
    return _standing[0]


def _ended(system: Understudy) -> int:
    """Stop a system, whose folder is no test's; its exit status."""
    try:
        return system.stop()
    finally:
        shutil.rmtree(system.folder)


def _give(system: Understudy, config: dict[str, Any]) -> None:
    """Have every worker hold a configuration."""
    before = system.get("/status")["config"]["generation"]
    system.write(config)
    digest = hashlib.sha256(system.path.read_bytes()).hexdigest()

    def held() -> bool:
        status, body = fetch(f"{system.admin}/api/v1/status")
        if status != 200 or body["config"]["digest"] != digest:
            return False
        generation = body["config"]["generation"]
        return generation > before and all(worker["generation"] == generation for worker in body["workers"])

    wait_for("the configuration to be live", held)
