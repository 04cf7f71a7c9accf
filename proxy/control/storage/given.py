"""What is given out under a name: numbers that never repeat, and secrets that stay the same. All of it happens inside a
transaction of the store."""

from __future__ import annotations

import secrets

from sqlalchemy import case, select
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.control.storage.database import Database
from proxy.control.storage.tables import NUMBERS, SECRETS


async def last(db: AsyncConnection, instance: str, name: str) -> int:
    """The last number that was given out; 0 for none."""
    query = select(NUMBERS.c.value).where(NUMBERS.c.instance == instance, NUMBERS.c.name == name)
    return (await db.execute(query)).scalar_one_or_none() or 0


async def following(db: AsyncConnection, database: Database, instance: str, name: str, above: int) -> int:
    """The next number, above one that is known to be taken; the first is 1."""
    row = database.insert(NUMBERS).values(instance=instance, name=name, value=above + 1)
    next_ = case((NUMBERS.c.value < above, above + 1), else_=NUMBERS.c.value + 1)
    counted = row.on_conflict_do_update(index_elements=["instance", "name"], set_={"value": next_})
    return int((await db.execute(counted.returning(NUMBERS.c.value))).scalar_one())


async def secret(db: AsyncConnection, database: Database, instance: str, name: str, size: int) -> bytes:
    """The secret of a name, of so many random bytes; it is made when it is asked for the first time."""
    row = database.insert(SECRETS).values(instance=instance, name=name, value=secrets.token_bytes(size))
    known = select(SECRETS.c.value).where(SECRETS.c.instance == instance, SECRETS.c.name == name)
    await db.execute(row.on_conflict_do_nothing())
    return bytes((await db.execute(known)).scalar_one())


async def know(db: AsyncConnection, database: Database, instance: str, name: str, value: bytes) -> None:
    """Take a secret for the one of its name, whatever was."""
    row = database.insert(SECRETS).values(instance=instance, name=name, value=value)
    over = {"value": row.excluded.value}
    await db.execute(row.on_conflict_do_update(index_elements=["instance", "name"], set_=over))
