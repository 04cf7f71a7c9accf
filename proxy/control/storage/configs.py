"""The configurations that were live, in the database. All of it happens inside a transaction of the store."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.control.storage.tables import CONFIGS


@dataclass(frozen=True, slots=True)
class Revision:
    """A configuration that was live once."""

    id: int
    at_s: float
    digest: str
    actor: str
    text: str


async def keep(db: AsyncConnection, instance: str, text: str, digest: str, actor: str, at_s: float) -> int:
    """Keep a configuration and answer its id; one with the digest of the last is not kept twice."""
    known = await last(db, instance)
    if known is not None and known.digest == digest:
        return known.id
    values = {"instance": instance, "at_s": at_s, "digest": digest, "actor": actor, "text": text}
    key = (await db.execute(insert(CONFIGS).values(values))).inserted_primary_key
    assert key is not None
    return int(key[0])


async def last(db: AsyncConnection, instance: str) -> Revision | None:
    """The configuration that was kept last."""
    of_instance = select(CONFIGS).where(CONFIGS.c.instance == instance)
    row = (await db.execute(of_instance.order_by(CONFIGS.c.id.desc()).limit(1))).one_or_none()
    return None if row is None else Revision(row.id, row.at_s, row.digest, row.actor, row.text)
