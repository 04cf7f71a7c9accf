"""What the store remembers, as the admin API tells it: the journal, whether its chain holds, and why a decision was
made."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import asdict
from itertools import zip_longest
from typing import Any, Final

from proxy.control.hindsight import why
from proxy.control.storage.keeper import Keeper
from proxy.control.views import routes as views

Json = dict[str, Any]
ENTRIES: Final = 1000
"""Entries of the journal that are gone through for what was decided in recorded rollouts."""
ROWS: Final = 100
"""Rows of a page of recorded slices: some hundred KB."""


class Records:
    """Questions about the past. All of them raise StoreError where the store cannot be read."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    async def history(self, route: str, limit: int, before: int | None) -> list[Json]:
        """The last journal entries of a route, newest first, with an id below `before`."""
        return [views.entry(e) for e in await self._keeper.ask(lambda store: store.journal(route, limit, before))]

    async def journal(self, limit: int, before: int | None) -> list[Json]:
        """The last journal entries, newest first, with an id below `before`."""
        return [views.entry(e) for e in await self._keeper.ask(lambda store: store.journal(None, limit, before))]

    async def journal_after(self, after: int, limit: int) -> list[Json]:
        """The first journal entries with an id above `after`, oldest first."""
        return [views.entry(e) for e in await self._keeper.ask(lambda store: store.journal_after(after, limit))]

    async def verify(self, expected: str) -> Json:
        """Whether the chain of the journal holds, and names the first entry that breaks it."""
        found = asdict(await self._keeper.ask(lambda store: store.verify(expected)))
        gone = {"removedThrough": found.pop("removed_through"), "begunAnew": found.pop("begun_anew")}
        return {"holds": not found["broken"], **gone, **found}

    async def recordings(self, route: str) -> list[Json]:
        """The rollouts of a route of which slices are kept, the oldest first, with what was decided in each."""
        runs = await self._keeper.ask(lambda store: store.recordings(route))
        entries = await self._keeper.ask(lambda store: store.journal(route, ENTRIES))
        ends = [run.run for run in runs[1:]]
        return [
            {
                "run": run.run,
                "firstAt": run.first_s,
                "lastAt": run.last_s,
                "slices": run.slices,
                "bytes": run.bytes,
                "entries": [
                    views.entry(e) for e in reversed(entries) if e.id >= run.run and (end is None or e.id < end)
                ],
            }
            for run, end in zip_longest(runs, ends)
        ]

    async def recorded(self, route: str, run: int, after: int) -> Json:
        """Rows of recorded slices, those above an id, and where to go on."""
        found = await self._keeper.ask(lambda store: store.recorded(route, run, after, ROWS))
        rows = [
            {
                "id": number,
                "stage": row.stage,
                "weightPpm": row.weight_ppm,
                "mirrored": row.mirrored,
                "firstAt": row.first_s,
                "lastAt": row.last_s,
                "slices": row.count,
                "data": base64.b64encode(row.data).decode(),
            }
            for number, row in found
        ]
        return {"rows": rows, "nextAfter": found[-1][0] if len(found) == ROWS else None}

    async def why(self, route: str, entry: int | None) -> Json | None:
        """What a decision was made on, and whether this release decides the same; None if there is no such entry."""
        decision = await self._keeper.ask(lambda store: store.decision(route, entry))
        return None if decision is None else await asyncio.to_thread(why.explain, decision)
