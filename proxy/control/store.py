"""What outlives the controller: rollouts with their evidence, the journal, configurations and counters.

One SQLite file in WAL mode, reached by SQLAlchemy Core. A transition is one transaction: the state, the evidence that
it was decided upon, the verdict and the journal entries are all there after a crash, or none is. Transitions and
counters wait for the disk (`synchronous=FULL`); the evidence of an ordinary tick does not (`NORMAL`): after a power
cut the newest ticks may be gone, never half of one. A `kill -9` loses nothing that was acknowledged.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
from alembic.util import CommandError
from sqlalchemy import URL, Row, delete, event, insert, or_, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from proxy.control import kept_seen, state_codec
from proxy.control.migrations import upgrade as migrations
from proxy.control.seen import Changes, Chunk
from proxy.control.state import State
from proxy.control.tables import CONFIGS, EVIDENCE, JOURNAL, NUMBERS, ROLLOUTS, SECRETS, VERDICTS

BUSY_TIMEOUT_S: Final = 5.0
"""How long to wait for another process that writes to the file (a backup, a person with `sqlite3`)."""
WAL_LIMIT_BYTES: Final = 16 << 20
"""What the write-ahead log may keep on disk after a checkpoint; ticks reuse it, so that it does not grow."""
_REMEDIES: Final = (
    ("unable to open", "check that its folder exists and that this user may write there, or change store.url"),
    ("readonly", "give this user the right to write the file and its folder, or change store.url"),
    ("not a database", "it is no SQLite file: move it away to begin with an empty one, or change store.url"),
    ("malformed", "it is damaged: restore a backup, or move it away to begin with an empty one"),
    ("locked", "another process holds it: stop the other understudy that uses this file, or change store.url"),
    ("disk is full", "make room on its disk"),
    ("disk I/O", "check the disk and its free space"),
)
_LAST_CONFIG: Final = select(CONFIGS).order_by(CONFIGS.c.id.desc()).limit(1)


class StoreError(Exception):
    """The store cannot be opened, read or written; the text names the file and the remedy."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal. `id` is given by the store (0: not written yet); `route` is "" for the whole proxy."""

    id: int
    at_s: float
    route: str
    kind: str
    actor: str
    text: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kept:
    """A rollout as it was left: state, dump of the evidence, the last slice in it, verdict of the last transition, and
    which answers were heard of."""

    state: State
    evidence: bytes | None
    cursor: int
    verdict: Mapping[str, Any] | None = None
    seen: tuple[Chunk, ...] = ()


@dataclass(frozen=True, slots=True)
class Revision:
    """A configuration that was live once."""

    id: int
    at_s: float
    digest: str
    actor: str
    text: str


class Store:
    """The database. Safe to use from several tasks of one loop; one process at a time is meant to write."""

    def __init__(self, engine: AsyncEngine, path: Path, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._writing = engine.execution_options(synchronous="NORMAL")
        self._durable = engine.execution_options(synchronous="FULL")
        self._path = path
        self._clock = clock

    @classmethod
    async def open(cls, url: str, clock: Callable[[], float] = time.time) -> Store:
        """Open the database of a URL `sqlite:///PATH`; an empty or absent file is made one, an older one is upgraded.

        `clock` dates what is written without a time of its own (verdicts and configurations).

        Raises:
            StoreError: the URL is of another kind; the file cannot be opened or written, is damaged, or is newer than
                this release. A file that is refused is left as it was.
        """
        path = _path(url)
        store = cls(_engine(path), path, clock)
        try:
            async with store._write("open the store", durable=True) as db:
                damage = (await db.exec_driver_sql("PRAGMA quick_check(1)")).scalar()
                if damage != "ok":
                    raise StoreError(f"cannot open the store: {path}: {damage}; {_remedy('malformed')}")
                await db.run_sync(migrations.upgrade)
        except CommandError as error:
            await store.close()
            raise StoreError(
                f"cannot open the store: {path}: a newer release wrote it ({error}); run that one, or change store.url"
            ) from error
        except StoreError:
            await store.close()
            raise
        return store

    async def close(self) -> None:
        """Let go of the database. Closing twice does nothing."""
        await self._engine.dispose()

    async def rollouts(self) -> dict[str, Kept]:
        """All rollouts by route.

        Raises:
            StoreError: a state cannot be read by this release.
        """
        query = (
            select(ROLLOUTS.c.route, ROLLOUTS.c.state, EVIDENCE.c.data, EVIDENCE.c.cursor, VERDICTS.c.body)
            .join(EVIDENCE, EVIDENCE.c.route == ROLLOUTS.c.route)
            .outerjoin(VERDICTS, VERDICTS.c.id == ROLLOUTS.c.verdict_id)
        )
        async with self._read() as db:
            rows = (await db.execute(query)).all()
            seen = await kept_seen.load(db)
        kept = {}
        for route, values, data, cursor, verdict in rows:
            try:
                kept[route] = Kept(state_codec.decode(values), data, cursor, verdict, seen.get(route, ()))
            except ValueError as error:
                raise StoreError(
                    f"cannot read the rollout of route {route}: {self._path}: {error}; "
                    f"run the release that wrote it, or move the file away to begin with an empty one"
                ) from error
        return kept

    async def transition(
        self,
        state: State,
        evidence: bytes | None,
        cursor: int,
        verdict: Mapping[str, Any] | None,
        entries: Sequence[Entry],
        seen: Changes | None = None,
    ) -> None:
        """Keep a new state with the evidence, the verdict and the journal entries of it: all or, if it fails, nothing.

        `evidence` None drops what was kept (a rollout that begins anew), `seen` are answers that were heard of in it.
        It is on disk when this returns.
        """
        async with self._write("keep a transition", durable=True) as db:
            verdict_id = None
            if verdict is not None:
                values = {"route": state.route, "at_s": self._clock(), "body": dict(verdict)}
                verdict_id = _id((await db.execute(insert(VERDICTS).values(values))).inserted_primary_key)
            await _put(db, ROLLOUTS, route=state.route, state=state_codec.encode(state), verdict_id=verdict_id)
            await _put(db, EVIDENCE, route=state.route, data=evidence, cursor=cursor)
            if seen is not None:
                await kept_seen.keep(db, state.route, seen)
            for entry in entries:
                await db.execute(insert(JOURNAL).values(**_columns(entry), verdict_id=verdict_id))

    async def keep_evidence(self, route: str, evidence: bytes, cursor: int, seen: Changes | None = None) -> bool:
        """Keep the evidence of a tick in place of the last, and which answers were heard of in it; whether it was
        written: a cursor that has not moved writes nothing."""
        row = sqlite.insert(EVIDENCE).values(route=route, data=evidence, cursor=cursor)
        changed = row.on_conflict_do_update(
            index_elements=["route"],
            set_={"data": row.excluded.data, "cursor": row.excluded.cursor},
            where=or_(EVIDENCE.c.cursor != row.excluded.cursor, EVIDENCE.c.data.is_(None)),
        )
        async with self._write("keep evidence") as db:
            written = (await db.execute(changed)).rowcount > 0
            if seen is not None and written:
                await kept_seen.keep(db, route, seen)
            return written

    async def journal(self, route: str | None, limit: int, before: int | None = None) -> list[Entry]:
        """Up to `limit` entries, the newest first; of all routes for None. `before` is the last id of the last page."""
        query = select(JOURNAL).order_by(JOURNAL.c.id.desc()).limit(limit)
        if route is not None:
            query = query.where(JOURNAL.c.route == route)
        if before is not None:
            query = query.where(JOURNAL.c.id < before)
        async with self._read() as db:
            return [_entry(row) for row in await db.execute(query)]

    async def journal_after(self, after: int, limit: int) -> list[Entry]:
        """Up to `limit` entries of all routes with an id above `after`, the oldest first."""
        query = select(JOURNAL).where(JOURNAL.c.id > after).order_by(JOURNAL.c.id).limit(limit)
        async with self._read() as db:
            return [_entry(row) for row in await db.execute(query)]

    async def verdict(self, entry_id: int) -> Mapping[str, Any] | None:
        """The verdict behind a journal entry, with all its numbers; None if it had none."""
        query = select(VERDICTS.c.body).join(JOURNAL, JOURNAL.c.verdict_id == VERDICTS.c.id)
        async with self._read() as db:
            return (await db.execute(query.where(JOURNAL.c.id == entry_id))).scalar_one_or_none()

    async def record(self, entry: Entry) -> int:
        """Write one journal entry and answer its id."""
        async with self._write("write the journal", durable=True) as db:
            return _id((await db.execute(insert(JOURNAL).values(_columns(entry)))).inserted_primary_key)

    async def keep_config(self, text: str, digest: str, actor: str) -> int:
        """Keep a configuration and answer its id; one with the digest of the last is not kept twice."""
        values = {"at_s": self._clock(), "digest": digest, "actor": actor, "text": text}
        async with self._write("keep a configuration", durable=True) as db:
            last = (await db.execute(_LAST_CONFIG)).one_or_none()
            if last is not None and last.digest == digest:
                return int(last.id)
            return _id((await db.execute(insert(CONFIGS).values(values))).inserted_primary_key)

    async def last_config(self) -> Revision | None:
        """The configuration that was kept last."""
        async with self._read() as db:
            row = (await db.execute(_LAST_CONFIG)).one_or_none()
        return None if row is None else Revision(row.id, row.at_s, row.digest, row.actor, row.text)

    async def numbers(self, name: str) -> int:
        """The last number that was given out under a name; 0 for none."""
        async with self._read() as db:
            return (await db.execute(select(NUMBERS.c.value).where(NUMBERS.c.name == name))).scalar_one_or_none() or 0

    async def next_number(self, name: str) -> int:
        """The next number of a name, the first is 1. No number is given out twice, whatever happens."""
        row = sqlite.insert(NUMBERS).values(name=name, value=1)
        counted = row.on_conflict_do_update(index_elements=["name"], set_={"value": NUMBERS.c.value + 1})
        async with self._write("count", durable=True) as db:
            return int((await db.execute(counted.returning(NUMBERS.c.value))).scalar_one())

    async def secret(self, name: str, size: int) -> bytes:
        """The secret of a name, of so many random bytes; it is made when it is asked for the first time."""
        row = sqlite.insert(SECRETS).values(name=name, value=secrets.token_bytes(size))
        async with self._write("keep a secret", durable=True) as db:
            await db.execute(row.on_conflict_do_nothing())
            return bytes((await db.execute(select(SECRETS.c.value).where(SECRETS.c.name == name))).scalar_one())

    async def forget(self, route: str) -> None:
        """Drop the rollout and the evidence of a route; its journal and its verdicts stay."""
        async with self._write("forget a route", durable=True) as db:
            await db.execute(delete(ROLLOUTS).where(ROLLOUTS.c.route == route))
            await db.execute(delete(EVIDENCE).where(EVIDENCE.c.route == route))
            await kept_seen.drop(db, route)

    @asynccontextmanager
    async def _read(self) -> AsyncIterator[AsyncConnection]:
        async with self._errors("read the store"), self._engine.connect() as db:
            yield db

    @asynccontextmanager
    async def _write(self, doing: str, *, durable: bool = False) -> AsyncIterator[AsyncConnection]:
        async with self._errors(doing), (self._durable if durable else self._writing).begin() as db:
            yield db

    @asynccontextmanager
    async def _errors(self, doing: str) -> AsyncIterator[None]:
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:
            # What happens while a connection is set up comes as the driver raised it.
            text = str(error.orig if isinstance(error, DBAPIError) else error)
            raise StoreError(f"cannot {doing}: {self._path}: {text}; {_remedy(text)}") from error


def _path(url: str) -> Path:
    scheme, slashes, path = url.partition(":///")
    if scheme != "sqlite" or not slashes or not path or path == ":memory:":
        raise StoreError(
            f"store.url: {url!r} is not supported; give sqlite:///PATH, for example sqlite:///understudy.db"
        )
    return Path(path)


def _engine(path: Path) -> AsyncEngine:
    url = URL.create("sqlite+aiosqlite", database=str(path))
    engine = create_async_engine(
        url,
        connect_args={"timeout": BUSY_TIMEOUT_S},
        pool_size=2,
        json_serializer=lambda value: msgspec.json.encode(value).decode(),
        json_deserializer=msgspec.json.decode,
    )
    event.listen(engine.sync_engine, "connect", _connected)
    event.listen(engine.sync_engine, "begin", _begun)
    return engine


def _connected(connection: Any, _: object) -> None:
    # The driver's own idea of when a transaction begins leaves DDL and reads outside of it; `_begun` says BEGIN.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute(f"PRAGMA journal_size_limit={WAL_LIMIT_BYTES}")
    cursor.close()


def _begun(connection: Any) -> None:
    synchronous = connection.get_execution_options().get("synchronous")
    if synchronous is None:
        connection.exec_driver_sql("BEGIN")
        return
    connection.exec_driver_sql(f"PRAGMA synchronous={synchronous}")
    # The lock is taken at once: a transaction that first reads and then writes can find that it may not.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _remedy(text: str) -> str:
    return next((remedy for sign, remedy in _REMEDIES if sign in text), "check the file and its disk")


async def _put(db: AsyncConnection, table: Any, **values: Any) -> None:
    """Write a row whose key is its route, over the one that may be there."""
    row = sqlite.insert(table).values(values)
    rest = {name: row.excluded[name] for name in values if name != "route"}
    await db.execute(row.on_conflict_do_update(index_elements=["route"], set_=rest))


def _columns(entry: Entry) -> dict[str, Any]:
    return {
        "at_s": entry.at_s,
        "route": entry.route,
        "kind": entry.kind,
        "actor": entry.actor,
        "text": entry.text,
        "details": dict(entry.details),
    }


def _entry(row: Row[Any]) -> Entry:
    return Entry(row.id, row.at_s, row.route, row.kind, row.actor, row.text, row.details)


def _id(key: Any) -> int:
    return int(key[0])
