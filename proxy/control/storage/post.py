"""What webhooks have yet to be told, in the store: written in the transaction of the change that it is about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.control.storage.tables import LETTERS


@dataclass(frozen=True, slots=True)
class Letter:
    """Something that a webhook is to be told; `id` is what its receiver knows it by."""

    id: str
    route: str
    hook: str
    at_s: float
    facts: Mapping[str, Any]


async def add(db: AsyncConnection, instance: str, letters: Sequence[Letter]) -> None:
    """Put letters behind those that wait, in order: the number says it, as many are of the same moment."""
    for letter in letters:
        await db.execute(insert(LETTERS).values(instance=instance, **asdict(letter)))


async def waiting(db: AsyncConnection, instance: str) -> list[Letter]:
    """What has yet to be told, the oldest first."""
    rows = await db.execute(select(LETTERS).where(LETTERS.c.instance == instance).order_by(LETTERS.c.number))
    return [Letter(row.id, row.route, row.hook, row.at_s, row.facts) for row in rows]


async def drop(db: AsyncConnection, instance: str, id_: str) -> None:
    """Forget a letter."""
    await db.execute(delete(LETTERS).where(LETTERS.c.instance == instance, LETTERS.c.id == id_))
