"""The two kinds of database that a store may be in: a SQLite file, and PostgreSQL for a fleet.

SQLite: one file in WAL mode. What must survive a power cut is written with `synchronous=FULL`, the evidence of an
ordinary tick with `NORMAL`. PostgreSQL: the same by `synchronous_commit`. Everything else is the same SQL.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import URL, event, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from proxy.control.storage.errors import tells_damage
from proxy.control.storage.files import Files, address

BUSY_TIMEOUT_S: Final = 5.0
"""How long to wait for another process that writes to the same place (a backup, a person with `sqlite3`)."""
CLEAR_TIMEOUT_S: Final = 0.2
"""How long to wait for those who read before the log stays as it is: a backup may take minutes."""
STATEMENT_TIMEOUT_S: Final = 10.0
"""How long PostgreSQL may take over one statement: rollouts stand still meanwhile."""
WAL_LIMIT_BYTES: Final = 16 << 20
"""What the write-ahead log may keep on disk after a checkpoint; ticks reuse it, so that it does not grow."""
MIGRATING: Final = ""
"""The name under which tables are changed: no instance has it."""
_LOCKS: Final = 7_242_001
"""What tells our locks from those of others in the same database."""
GIVE_BACK_PAGES: Final = 64
"""Pages of a file that are given back at once, within about 10 ms."""
_ROW_BYTES: Final = 200
"""Of a row in PostgreSQL, for what of it is no data: its head, its keys, its place in the indexes."""
_POSTGRES: Final = ("postgresql", "postgres")
_REMEDIES: Final = (
    ("unable to open", "check that its folder exists and that this user may write there, or change store.url"),
    ("readonly", "give this user the right to write the file and its folder, or change store.url"),
    ("not a database", "it is no SQLite file: move it away to begin with an empty one, or change store.url"),
    ("malformed", "it is damaged: restore a backup, or move it away to begin with an empty one"),
    ("locked", "another process holds it: stop the other understudy that uses this file, or change store.url"),
    ("disk is full", "make room on its disk"),
    ("No space left", "make room on the disk of the database"),
    ("disk I/O", "check the disk and its free space"),
    ("password authentication", "check the user and the password in store.url"),
    ("does not exist", "create it, or correct store.url"),
    ("Connect call failed", "start the database, or correct the host and the port in store.url"),
    ("Name or service not known", "correct the host in store.url"),
    ("permission denied", "give the user of store.url the right to create tables in its schema"),
    ("read-only transaction", "name the primary in store.url: this one is a replica"),
)


@dataclass(frozen=True, slots=True)
class Database:
    """Where a store is. `place` names it in messages, without a password."""

    engine: AsyncEngine
    place: str
    is_sqlite: bool
    errors: tuple[type[Exception], ...] = (DBAPIError, sqlite3.Error, OSError)
    """What it raises where it cannot be reached, read or written."""
    files: Files | None = None
    """Of a SQLite database."""

    def insert(self, table: Any) -> Any:
        """An INSERT that knows ON CONFLICT."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    @property
    def reading(self) -> AsyncEngine:
        """What reads: all statements of a transaction see the same moment."""
        return self.engine if self.is_sqlite else self.engine.execution_options(isolation_level="REPEATABLE READ")

    def prepare(self) -> None:
        """Make the file, if there is none, for this user alone: it holds the configuration with its secrets, and the
        key by which answers are told from forged ones. What SQLite puts beside it gets the same mode."""
        if self.is_sqlite:
            with contextlib.suppress(OSError):  # whoever opens it says so, with the remedy
                os.close(os.open(self.place, os.O_CREAT | os.O_WRONLY, 0o600))

    async def lost(self) -> str:
        """What became of the files since they were opened, "" where they are there. PostgreSQL sees to its own."""
        return "" if self.files is None else await self.files.look()

    def damaged(self, said: str) -> bool:
        """Whether an error says that what is read is no database any more."""
        return self.is_sqlite and tells_damage(said)

    async def close(self, gone: bool = False) -> None:
        """Let go of it. `gone`: its files are not there any more, and another takes their place."""
        await self.engine.dispose()
        if self.files is not None:
            await self.files.leave() if gone else self.files.close()

    async def enter(self, db: AsyncConnection, name: str) -> None:
        """Let one transaction at a time write under a name. SQLite has one writer at a time anyway."""
        if not self.is_sqlite:
            lock = text("SELECT pg_advisory_xact_lock(:ours, hashtext(:name))")
            await db.execute(lock, {"ours": _LOCKS, "name": name})

    async def damage(self, db: AsyncConnection) -> str:
        """What a quick look finds to be broken, "" for nothing."""
        if not self.is_sqlite:
            return ""  # PostgreSQL says so itself, page by page
        found = str((await db.exec_driver_sql("PRAGMA quick_check(1)")).scalar())
        return "" if found == "ok" else found

    async def used_bytes(self, db: AsyncConnection, instance: str) -> int:
        """What the store takes on disk without the pages that are free, in no time; of PostgreSQL: what an instance has
        in it, which reads all of that (a fifth of a second for 110 MB)."""
        if self.is_sqlite:
            pages = (await db.exec_driver_sql("PRAGMA page_count")).scalar_one()
            free = (await db.exec_driver_sql("PRAGMA freelist_count")).scalar_one()
            return int(pages - free) * int((await db.exec_driver_sql("PRAGMA page_size")).scalar_one())
        return int((await db.execute(text(_POSTGRESQL_BYTES), {"instance": instance})).scalar_one())

    async def taken_bytes(self, db: AsyncConnection, table: str, ids: Collection[int], size: str = "") -> int:
        """What rows take that `used_bytes` counts one by one, or a column of them; 0 where it counts pages."""
        if self.is_sqlite or not ids:
            return 0
        each = f"coalesce(octet_length({size}), 0)" if size else f"{_POSTGRESQL_SIZES[table]} + {_ROW_BYTES}"
        query = f"SELECT coalesce(sum({each}), 0) FROM {table} WHERE id = ANY(:ids)"  # noqa: S608 (of constants)
        return int((await db.execute(text(query), {"ids": list(ids)})).scalar_one())

    async def give_back(self, db: AsyncConnection) -> None:
        """Give some of what is free back to the disk. PostgreSQL does so by itself."""
        for _ in range(GIVE_BACK_PAGES if self.is_sqlite else 0):
            # The driver takes one step of it, a page, whatever is asked for.
            await db.exec_driver_sql("PRAGMA incremental_vacuum(1)")

    async def erase(self, db: AsyncConnection, gone: Any) -> int:
        """Delete rows so that nothing of them is left in their pages; how many. Of PostgreSQL that is for VACUUM."""
        if not self.is_sqlite:
            return int((await db.execute(gone)).rowcount)
        await db.exec_driver_sql("PRAGMA secure_delete=ON")
        try:
            return int((await db.execute(gone)).rowcount)
        finally:
            await db.exec_driver_sql("PRAGMA secure_delete=OFF")

    async def clear_log(self) -> bool:
        """Have the write-ahead log of a SQLite file forget what was written, as pages are in it as they were; whether
        it did. While another program reads the file it cannot, and is written over in time."""
        if not self.is_sqlite:
            return True
        with contextlib.suppress(*self.errors):
            async with self.engine.connect() as db:
                raw = (await db.get_raw_connection()).driver_connection
                assert raw is not None
                await raw.execute(f"PRAGMA busy_timeout={round(1000 * CLEAR_TIMEOUT_S)}")
                try:
                    busy, _, _ = await (await raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")).fetchone()
                finally:
                    await raw.execute(f"PRAGMA busy_timeout={round(1000 * BUSY_TIMEOUT_S)}")
                return not busy
        return False


_POSTGRESQL_SIZES: Final = {
    "slices": "octet_length(data)",
    "verdicts": "coalesce(octet_length(evidence), 0) + octet_length(body::text)",
    "journal": "octet_length(text) + octet_length(details::text)",
    "configs": "octet_length(text)",
    "evidence": "coalesce(octet_length(data), 0)",
    "captures": "octet_length(data)",
}
"""What of a row is data."""
_POSTGRESQL_BYTES: Final = "SELECT " + " + ".join(  # noqa: S608 (of constants)
    f"(SELECT coalesce(sum({size} + {_ROW_BYTES}), 0) FROM {table} WHERE instance = :instance)"  # noqa: S608
    for table, size in _POSTGRESQL_SIZES.items()
)


def connect(url: str) -> Database:
    """The database of a URL `sqlite:///PATH` or `postgresql://user@host/name`. Nothing is opened yet.

    Raises:
        ValueError: the URL is of another kind, or what speaks to its database is not installed.
    """
    scheme, slashes, path = url.partition(":///")
    if scheme == "sqlite" and slashes and path and path != ":memory:":
        files = Files(path)
        return Database(_sqlite(path, files), path, True, files=files)
    if url.partition("://")[0] in _POSTGRES:
        return _postgresql(url)
    raise ValueError(
        f"store.url: {url!r} is not supported; give sqlite:///PATH, for example sqlite:///understudy.db, "
        "or postgresql://user@host/name"
    )


def remedy(said: str) -> str:
    """What to do about an error of the database."""
    return next((remedy for sign, remedy in _REMEDIES if sign in said), "check the database and its disk")


def _sqlite(path: str, files: Files) -> AsyncEngine:
    engine = create_async_engine(
        # A file that was removed meanwhile is not made by whatever connection happens to be opened next.
        URL.create("sqlite+aiosqlite", database=address(path, "rw"), query={"uri": "true"}),
        connect_args={"timeout": BUSY_TIMEOUT_S},
        pool_size=2,
        json_serializer=_encoded,
        json_deserializer=msgspec.json.decode,
    )
    event.listen(engine.sync_engine, "connect", _connected)
    event.listen(engine.sync_engine, "begin", _begun)
    event.listen(engine.sync_engine, "connect", lambda *_: files.connected())
    event.listen(engine.sync_engine, "close", lambda *_: files.disconnected())
    return engine


def _postgresql(given: str) -> Database:
    try:
        url = make_url(given.replace("postgres://", "postgresql://", 1))
    except ArgumentError as error:
        raise ValueError(f"store.url: cannot be read: {error}") from error
    try:
        engine = create_async_engine(
            url.set(drivername="postgresql+asyncpg"),
            connect_args={"timeout": BUSY_TIMEOUT_S, "command_timeout": STATEMENT_TIMEOUT_S},
            pool_size=2,
            pool_pre_ping=True,  # a database that was restarted costs no failed tick
            isolation_level="READ COMMITTED",
            json_serializer=_encoded,
            json_deserializer=msgspec.json.decode,
        )
    except ModuleNotFoundError as error:
        raise ValueError(
            f"store.url: {url.render_as_string()} needs asyncpg: pip install 'understudy[postgresql]'"
        ) from error
    event.listen(engine.sync_engine, "begin", _begun_postgresql)
    import asyncpg

    return Database(
        engine, url.render_as_string(), False, (DBAPIError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
    )


def _encoded(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _connected(connection: Any, _: object) -> None:
    # The driver's own idea of when a transaction begins leaves DDL and reads outside of it; `_begun` says BEGIN.
    connection.isolation_level = None
    cursor = connection.cursor()
    # Of a file that is made now: what retention frees can be given back to the disk.
    cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
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


def _begun_postgresql(connection: Any) -> None:
    if connection.get_execution_options().get("synchronous") == "NORMAL":
        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
