"""Which process is in charge of an instance. All of it happens inside a transaction of the store."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.control.storage.database import Database
from proxy.control.storage.tables import CHARGES


async def take(db: AsyncConnection, database: Database, instance: str, holder: str, at_s: float) -> None:
    """Put this one in charge, whoever was before."""
    row = database.insert(CHARGES).values(instance=instance, holder=holder, since_s=at_s)
    taken = {name: row.excluded[name] for name in ("holder", "since_s")}
    await db.execute(row.on_conflict_do_update(index_elements=["instance"], set_=taken))


async def taken_by(db: AsyncConnection, instance: str) -> str | None:
    """Who is."""
    return (await db.execute(select(CHARGES.c.holder).where(CHARGES.c.instance == instance))).scalar_one_or_none()
