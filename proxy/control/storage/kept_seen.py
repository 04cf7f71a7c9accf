"""Which answers were heard of, in the store: written in the transaction of the evidence that they are in."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.control.storage.database import Database
from proxy.control.storage.seen import Changes, Chunk
from proxy.control.storage.tables import SEEN


async def keep(db: AsyncConnection, database: Database, instance: str, route: str, changes: Changes) -> None:
    """Write what changed, over what was there of it, and drop what is forgotten."""
    gone = delete(SEEN).where(SEEN.c.instance == instance, SEEN.c.route == route)
    if changes.anew:
        await db.execute(gone)
    elif changes.floor:
        await db.execute(gone.where(SEEN.c.second < changes.floor))
    if not changes.chunks:
        return
    rows = [
        {
            "instance": instance,
            "route": route,
            "run": one.run,
            "number": one.number,
            "second": one.second,
            "bits": one.bits,
        }
        for one in changes.chunks
    ]
    row = database.insert(SEEN)
    over = row.on_conflict_do_update(
        index_elements=["instance", "route", "run", "number"],
        set_={"second": row.excluded.second, "bits": row.excluded.bits},
    )
    await db.execute(over, rows)


async def load(db: AsyncConnection, instance: str) -> dict[str, tuple[Chunk, ...]]:
    """What was kept, by route."""
    found: dict[str, list[Chunk]] = {}
    for route, run, number, second, bits in await db.execute(
        select(SEEN.c.route, SEEN.c.run, SEEN.c.number, SEEN.c.second, SEEN.c.bits).where(SEEN.c.instance == instance)
    ):
        found.setdefault(route, []).append(Chunk(run, number, second, bits))
    return {route: tuple(chunks) for route, chunks in found.items()}


async def drop(db: AsyncConnection, instance: str, route: str) -> None:
    """Forget a route."""
    await db.execute(delete(SEEN).where(SEEN.c.instance == instance, SEEN.c.route == route))
