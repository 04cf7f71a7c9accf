"""Captured requests on their way from the workers to the store, and back to whoever may look at them.

The way has a bound, and a store that is away holds nobody up: what cannot be kept is dropped and counted, by reason.
Workers count what they dropped themselves in the ledger.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec
import structlog

from proxy.capture import Captured
from proxy.control.storage.entries import Entry
from proxy.control.storage.errors import StoreError
from proxy.control.storage.keeper import Keeper
from proxy.control.storage.kept_captures import Kept, KeptCapture
from proxy.control.storage.retention import Retention
from proxy.control.storage.store import Store

Json = dict[str, Any]
WAITING: Final = 512
WAITING_BYTES: Final = 16 << 20
"""What may wait for the store. Beyond, what comes is dropped."""
BATCH: Final = 64
"""Of one transaction: ticks come in between."""
FORGOTTEN: Final = "captures"
"""The kind of the journal's entry that says that captured requests were taken away."""
_LOG = structlog.get_logger("understudy.captures")


class Captures:
    """What workers have captured. What is captured now, and for how long, the retention knows."""

    def __init__(self, keeper: Keeper, retention: Retention, clock: Callable[[], float]) -> None:
        self._keeper, self._retention, self._clock = keeper, retention, clock
        self._waiting: deque[Captured] = deque()
        self._bytes = 0
        self._news = asyncio.Event()
        self.kept: Counter[tuple[str, str]] = Counter()
        """By route and kind, since the start."""
        self.dropped: Counter[tuple[str, str]] = Counter()
        """By route and reason: `store`, it could not be kept; `queue`, it found no room."""

    @property
    def limits(self) -> Mapping[str, Kept]:
        """Of the routes that are captured now."""
        return {} if self._retention.limits is None else self._retention.limits.captures

    def take(self, captured: Captured) -> None:
        """Take what a worker sent. What is of a route that is captured no more is nobody's business."""
        if captured.route not in self.limits:
            return
        if len(self._waiting) >= WAITING or self._bytes + len(captured.data) > WAITING_BYTES:
            self.dropped[captured.route, "queue"] += 1
            return
        self._waiting.append(captured)
        self._bytes += len(captured.data)
        self._news.set()

    async def follow(self, stop: asyncio.Event) -> None:
        """Keep what comes, until it is time to stop."""
        ending = asyncio.ensure_future(stop.wait())
        try:
            while not stop.is_set():
                news = asyncio.ensure_future(self._news.wait())
                await asyncio.wait((news, ending), return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
                self._news.clear()
                await self.keep()
        finally:
            ending.cancel()

    async def keep(self) -> None:
        """Keep what waits; what the store does not take is dropped and counted."""
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            self._bytes -= sum(len(one.data) for one in batch)
            rows = [
                KeptCapture(one.route, one.kind, one.at_s, one.at_s + self.limits[one.route].keep_s, one.data)
                for one in batch
                if one.route in self.limits
            ]
            try:
                await self._keeper.ask(partial(Store.keep_captures, captures=rows))
            except StoreError:  # the keeper has said so
                self.dropped.update((one.route, "store") for one in rows)
            else:
                self.kept.update((one.route, one.kind) for one in rows)

    async def page(self, route: str, kind: str | None, limit: int, before: int | None) -> tuple[list[Json], bool]:
        """Captured requests of a route, the newest first, with an id below `before`; and whether there are more.

        Raises:
            StoreError: the store cannot be read.
        """
        found, more = await self._keeper.ask(lambda store: store.captures(route, kind, limit, before))
        told = [{"id": one.id, "at": one.at_s, "kind": one.kind, **msgspec.json.decode(one.data)} for one in found]
        return told, more

    async def forget(self, route: str, actor: str) -> int:
        """Take away all that was captured of a route, and write into the journal that this was done; how many.

        Raises:
            StoreError: it cannot be done; nothing has changed.
        """
        waiting = [one for one in self._waiting if one.route == route]
        entry = Entry(0, self._clock(), route, FORGOTTEN, actor, "")
        count, clear = await self._keeper.ask(lambda store: store.forget_captures(route, entry))
        for one in waiting:
            if one in self._waiting:
                self._waiting.remove(one)
                self._bytes -= len(one.data)
        _LOG.info("captured requests are taken away", route=route, actor=actor, count=count)
        if not clear:
            _LOG.warning(
                "another program reads the store: what was taken away is in its log until that is written over"
            )
        return count
