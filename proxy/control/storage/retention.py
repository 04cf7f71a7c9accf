"""Keeping the store within its bounds: now and then, in the background, in transactions of milliseconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final

import structlog

from config import schema
from proxy.control.storage.errors import StoreError
from proxy.control.storage.keeper import Keeper
from proxy.control.storage.kept_captures import Kept
from proxy.control.storage.pruning import Limits, Pruned
from proxy.control.storage.store import Store

Json = dict[str, Any]
EVERY_S: Final = 60.0
PAUSE_S: Final = 0.02
"""Between two transactions, so that ticks come in between."""
MOST_STEPS: Final = 2000
"""Transactions of one sweep; the next one goes on."""
_LOG = structlog.get_logger("understudy.retention")


def limits_of(config: schema.Config) -> Limits:
    """What a configuration says."""
    store = config.store
    kept = store.retention
    return Limits(kept.journal, kept.evidence, kept.recordings, store.max_bytes, _captures(config))


def _captures(config: schema.Config) -> dict[str, Kept]:
    found = {route.name: route.capture for route in config.routes if route.capture is not None}
    return {name: Kept(capture.keep, capture.max_records) for name, capture in found.items()}


class Retention:
    """What is taken away, and what there is. `limits` are None before a configuration is live."""

    def __init__(self, keeper: Keeper, clock: Callable[[], float]) -> None:
        self._keeper, self._clock = keeper, clock
        self._full = False
        self.limits: Limits | None = None
        self.used_bytes: int | None = None
        self.removed = {"recordings": 0, "evidence": 0, "configs": 0, "entries": 0, "captures": 0}

    def document(self) -> Json:
        """How large the store is, and what was taken away since the start."""
        most = None if self.limits is None else self.limits.max_bytes
        return {"bytes": self.used_bytes, "maxBytes": most, "removed": dict(self.removed)}

    async def follow(self, stop: asyncio.Event) -> None:
        """Sweep now and then, and see whether the file is whole, until it is time to stop."""
        stopping = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                await self.sweep(stop)
                examination = asyncio.ensure_future(self._keeper.examine())
                await asyncio.wait((examination, stopping), return_when=asyncio.FIRST_COMPLETED)
                if examination.done():
                    examination.result()
                examination.cancel()
                await asyncio.wait((stopping,), timeout=EVERY_S)
        finally:
            stopping.cancel()

    async def sweep(self, stop: asyncio.Event | None = None) -> None:
        """Take away what has to go. A store that fails is tried again next time."""
        limits = self.limits
        if limits is None or not self._keeper.open:
            return
        before = dict(self.removed)
        try:
            self.used_bytes = await self._keeper.ask(Store.used_bytes)
            for _ in range(MOST_STEPS):
                step = partial(Store.prune, limits=limits, used_bytes=self.used_bytes)
                pruned = await self._keeper.ask(step)
                self._count(pruned)
                self.used_bytes = pruned.used_bytes
                if not pruned.more or (stop is not None and stop.is_set()):
                    break
                await asyncio.sleep(PAUSE_S)
        except StoreError:
            return  # the keeper has said so
        taken = {what: count - before[what] for what, count in self.removed.items() if count > before[what]}
        if taken:
            _LOG.info("retention took away what was too old or too much", used_bytes=self.used_bytes, **taken)
        self._tell_if_full(limits)

    def _count(self, pruned: Pruned) -> None:
        for what in self.removed:
            self.removed[what] += getattr(pruned, what)

    def _tell_if_full(self, limits: Limits) -> None:
        full = self.used_bytes is not None and self.used_bytes > limits.max_bytes
        if full and not self._full:
            text = "the store is larger than it may be, and has nothing left that may go: raise store.maxBytes"
            _LOG.warning(text, used_bytes=self.used_bytes, max_bytes=limits.max_bytes)
        self._full = full
