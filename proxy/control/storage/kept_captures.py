"""Captured requests in the database. What goes is overwritten, not just let go of: SQLite leaves what is deleted in
its file until something else needs the room.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import delete, func, insert, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.control.storage.database import Database
from proxy.control.storage.tables import CAPTURES

PAGE_BYTES: Final = 8 << 20
"""Of one page, though one that is larger comes alone: a body may have 1 MiB, and a request three of them."""
_MOST_ID: Final = 2**31 - 1
"""As the databases count."""


@dataclass(frozen=True, slots=True)
class KeptCapture:
    """A captured request. `id` is given by the store, 0: not written yet; `data` is JSON, as the worker wrote it."""

    route: str
    kind: str
    at_s: float
    expires_s: float
    data: bytes
    id: int = 0


@dataclass(frozen=True, slots=True)
class Kept:
    """How long captured requests of a route are kept, and how many of each kind."""

    keep_s: float
    most: int


async def add(db: AsyncConnection, instance: str, captures: Sequence[KeptCapture]) -> None:
    """Write some down."""
    rows = [
        {"instance": instance, "route": one.route, "kind": one.kind, "at_s": one.at_s, "expires_s": one.expires_s,
         "data": one.data}
        for one in captures
    ]  # fmt: skip
    if rows:
        await db.execute(insert(CAPTURES), rows)


async def page(
    db: AsyncConnection, instance: str, route: str, kind: str | None, limit: int, before: int | None
) -> tuple[list[KeptCapture], bool]:
    """Those of a route, the newest first, with an id below `before`, as many as PAGE_BYTES hold; and whether there are
    more."""
    query = select(CAPTURES.c.id, func.length(CAPTURES.c.data).label("size"))
    query = query.where(CAPTURES.c.instance == instance, CAPTURES.c.route == route)
    if kind is not None:
        query = query.where(CAPTURES.c.kind == kind)
    if before is not None:
        query = query.where(CAPTURES.c.id < min(before, _MOST_ID))
    sizes = (await db.execute(query.order_by(CAPTURES.c.id.desc()).limit(limit + 1))).all()
    wanted: list[int] = []
    room = PAGE_BYTES
    for row in sizes[:limit]:
        room -= row.size
        if wanted and room < 0:
            break
        wanted.append(row.id)
    rows = await db.execute(select(CAPTURES).where(CAPTURES.c.id.in_(wanted)).order_by(CAPTURES.c.id.desc()))
    found = [KeptCapture(row.route, row.kind, row.at_s, row.expires_s, bytes(row.data), row.id) for row in rows]
    return found, len(wanted) < len(sizes)


async def drop(db: AsyncConnection, database: Database, instance: str, route: str) -> int:
    """Take away all of a route; how many there were."""
    gone = delete(CAPTURES).where(CAPTURES.c.instance == instance, CAPTURES.c.route == route)
    return await database.erase(db, gone)


async def due(db: AsyncConnection, instance: str, limits: Mapping[str, Kept], now_s: float, most: int) -> Sequence[int]:
    """The ids of up to `most` that are too old, or too many of their kind."""
    return await _too_old(db, instance, limits, now_s, most) or await _too_many(db, instance, limits, most)


async def oldest(db: AsyncConnection, instance: str, most: int) -> Sequence[int]:
    """The ids of up to `most` of the oldest."""
    query = select(CAPTURES.c.id).where(CAPTURES.c.instance == instance).order_by(CAPTURES.c.id)
    return (await db.execute(query.limit(most))).scalars().all()


async def _too_old(
    db: AsyncConnection, instance: str, limits: Mapping[str, Kept], now_s: float, most: int
) -> Sequence[int]:
    """By what was said when they were written, and by what the file says now, if that is sooner."""
    routes: dict[float, list[str]] = {}
    for route, kept in limits.items():
        routes.setdefault(kept.keep_s, []).append(route)
    aged = [CAPTURES.c.route.in_(names) & (CAPTURES.c.at_s < now_s - keep_s) for keep_s, names in routes.items()]
    query = select(CAPTURES.c.id).where(CAPTURES.c.instance == instance, or_(CAPTURES.c.expires_s < now_s, *aged))
    return (await db.execute(query.order_by(CAPTURES.c.id).limit(most))).scalars().all()


async def _too_many(db: AsyncConnection, instance: str, limits: Mapping[str, Kept], most: int) -> Sequence[int]:
    """A route that is captured no more keeps what it has until that is too old."""
    groups = select(CAPTURES.c.route, CAPTURES.c.kind, func.count()).where(CAPTURES.c.instance == instance)
    for route, kind, count in (await db.execute(groups.group_by(CAPTURES.c.route, CAPTURES.c.kind))).all():
        beyond = 0 if route not in limits else count - limits[route].most
        if beyond > 0:
            oldest = select(CAPTURES.c.id).where(
                CAPTURES.c.instance == instance, CAPTURES.c.route == route, CAPTURES.c.kind == kind
            )
            return (await db.execute(oldest.order_by(CAPTURES.c.id).limit(min(beyond, most)))).scalars().all()
    return []
