"""Recorded slices in the database, row by row. All of it happens inside a transaction of the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.control.storage.recording import TOGETHER, Recording, Row, is_within
from proxy.control.storage.tables import ROLLOUTS, SLICES

_MOST_ID: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Run:
    """One rollout of which slices are kept: `run` is the journal entry with which it began, times are of slices."""

    run: int
    first_s: float
    last_s: float
    slices: int
    bytes: int


async def keep(db: AsyncConnection, instance: str, route: str, recording: Recording) -> list[int]:
    """Keep rows, in place of others; answers their ids."""
    query = select(ROLLOUTS.c.run).where(ROLLOUTS.c.instance == instance, ROLLOUTS.c.route == route)
    run = (await db.execute(query)).scalar_one_or_none()
    if run is None:
        return []  # the route is forgotten
    if recording.replaced:
        await db.execute(delete(SLICES).where(SLICES.c.instance == instance, SLICES.c.id.in_(recording.replaced)))
    ids = []
    for row in recording.rows:
        values = {
            "instance": instance, "route": route, "run": run, "stage": row.stage, "weight_ppm": row.weight_ppm,
            "mirrored": int(row.mirrored), "first_s": row.first_s, "last_s": row.last_s, "count": row.count,
            "data": row.data,
        }  # fmt: skip
        key = (await db.execute(insert(SLICES).values(values))).inserted_primary_key
        assert key is not None
        ids.append(int(key[0]))
    return ids


async def runs(db: AsyncConnection, instance: str, route: str) -> list[Run]:
    """The rollouts of a route of which slices are kept, the oldest first."""
    c = SLICES.c
    query = (
        select(c.run, func.min(c.first_s), func.max(c.last_s), func.sum(c["count"]), func.sum(func.length(c.data)))
        .where(c.instance == instance, c.route == route)
        .group_by(c.run)
        .order_by(c.run)
    )
    return [Run(run, first, last, int(n), int(size)) for run, first, last, n, size in await db.execute(query)]


async def page(
    db: AsyncConnection, instance: str, route: str, run: int, after: int, limit: int
) -> list[tuple[int, Row]]:
    """Up to `limit` rows of a run with their ids, in order, those above `after`; fewer only where there are no more.

    Earlier builds could leave a row behind that a later one was to replace: what is in a later row is not told twice.
    """
    found: list[tuple[int, Row]] = []
    while len(found) < limit:
        rows = await _rows(db, instance, route, run, after, limit + TOGETHER)
        found += [(id_, row) for n, (id_, row) in enumerate(rows[:limit]) if not _is_told_later(n, rows)]
        if len(rows) <= limit:
            break
        after = rows[limit - 1][0]
    return found[:limit]


def _is_told_later(n: int, rows: Sequence[tuple[int, Row]]) -> bool:
    """A row is put together with those of its minute: not more than that many come in between."""
    return any(is_within(rows[n][1], later) for _, later in rows[n + 1 : n + 1 + TOGETHER])


async def _rows(
    db: AsyncConnection, instance: str, route: str, run: int, after: int, limit: int
) -> list[tuple[int, Row]]:
    of_run = SLICES.c.instance == instance, SLICES.c.route == route, SLICES.c.run == min(run, _MOST_ID)
    query = select(SLICES).where(*of_run, SLICES.c.id > min(after, _MOST_ID)).order_by(SLICES.c.id).limit(limit)
    return [
        (r.id, Row(r.stage, r.weight_ppm, bool(r.mirrored), r.first_s, r.last_s, r._mapping["count"], r.data))
        for r in await db.execute(query)
    ]
