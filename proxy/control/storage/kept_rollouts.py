"""Rollouts and their evidence in the database, a row of each for a route. All of it happens inside a transaction of the
store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.control.machine import state_codec
from proxy.control.machine.state import State
from proxy.control.storage.database import Database
from proxy.control.storage.tables import EVIDENCE, ROLLOUTS, VERDICTS


@dataclass(frozen=True, slots=True)
class Standing:
    """A rollout as a row has it: encoded, with the run and the verdict that it stands on."""

    state: Mapping[str, Any]
    run: int
    verdict_id: int | None
    verdict: Mapping[str, Any] | None


async def standing(db: AsyncConnection, instance: str) -> dict[str, Standing]:
    """All of them by route, as far as they are understood without decoding them."""
    columns = ROLLOUTS.c.route, ROLLOUTS.c.state, ROLLOUTS.c.run, ROLLOUTS.c.verdict_id, VERDICTS.c.body
    query = select(*columns).outerjoin(VERDICTS, VERDICTS.c.id == ROLLOUTS.c.verdict_id)
    rows = await db.execute(query.where(ROLLOUTS.c.instance == instance))
    return {route: Standing(*rest) for route, *rest in rows}


async def load(db: AsyncConnection, instance: str) -> Sequence[Any]:
    """Of each: route, encoded state, evidence, cursor, body of the verdict."""
    query = (
        select(ROLLOUTS.c.route, ROLLOUTS.c.state, EVIDENCE.c.data, EVIDENCE.c.cursor, VERDICTS.c.body)
        .join(EVIDENCE, (EVIDENCE.c.route == ROLLOUTS.c.route) & (EVIDENCE.c.instance == ROLLOUTS.c.instance))
        .outerjoin(VERDICTS, VERDICTS.c.id == ROLLOUTS.c.verdict_id)
        .where(ROLLOUTS.c.instance == instance)
    )
    return (await db.execute(query)).all()


async def keep(
    db: AsyncConnection,
    database: Database,
    instance: str,
    state: State,
    evidence: bytes | None,
    cursor: int,
    verdict_id: int | None,
    run: int | None,
) -> None:
    """Keep a state with its evidence. `run` is the entry of the journal with which it began; None: as before."""
    values = {"state": state_codec.encode(state), "verdict_id": verdict_id}
    begun = {} if run is None else {"run": run}
    await _put(db, database, ROLLOUTS, {"instance": instance, "route": state.route}, values | begun, {"run": 0})
    await _put(
        db, database, EVIDENCE, {"instance": instance, "route": state.route}, {"data": evidence, "cursor": cursor}
    )


async def verdict_of(db: AsyncConnection, instance: str, route: str) -> int | None:
    """The verdict that a rollout stands on."""
    query = select(ROLLOUTS.c.verdict_id).where(ROLLOUTS.c.instance == instance, ROLLOUTS.c.route == route)
    return (await db.execute(query)).scalar_one_or_none()


async def drop(db: AsyncConnection, instance: str, route: str | None = None) -> None:
    """Forget a rollout with its evidence; None: all."""
    for table in (ROLLOUTS, EVIDENCE):
        of_route = () if route is None else (table.c.route == route,)
        await db.execute(delete(table).where(table.c.instance == instance, *of_route))


def of_a_tick(database: Database) -> Any:
    """The statement that keeps the evidence of a tick, unless it was. It is made once: made anew it was a third of the
    work, for every rollout in every second."""
    row = database.insert(EVIDENCE)
    return row.on_conflict_do_update(
        index_elements=["instance", "route"],
        set_={"data": row.excluded.data, "cursor": row.excluded.cursor},
        where=or_(EVIDENCE.c.cursor != row.excluded.cursor, EVIDENCE.c.data.is_(None)),
    )


async def _put(
    db: AsyncConnection, database: Database, table: Any, key: dict[str, Any], values: dict[str, Any],
    new: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """Write a row over the one that may be there. `new` is what it begins with that an update leaves as it is."""
    row = database.insert(table).values(**{**(new or {}), **values, **key})
    over = {name: row.excluded[name] for name in values}
    await db.execute(row.on_conflict_do_update(index_elements=list(key), set_=over))
