"""Whether the files of a database are those that were opened: what is noticed, and what is no loss."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from proxy.control.storage import files
from proxy.control.storage.entries import Entry
from proxy.control.storage.errors import LostError
from proxy.control.storage.store import Store

ENTRY = Entry(0, 1.0, "", "config", "ann", "loaded")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a b%20?#.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Store]:
    store = await Store.open(f"sqlite:///{path}")
    await store.record(ENTRY)
    yield store
    await store.close()


def beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


@pytest.mark.parametrize(
    ("lose", "said"),
    [
        (Path.unlink, "the file was removed"),
        (lambda path: path.rename(path.with_name("aside")), "the file was removed"),
        (lambda path: os.replace(_other(path), path), "another file was put in its place"),
        (lambda path: beside(path, "-wal").unlink(), r"its log \(-wal\) was removed"),
        (lambda path: beside(path, "-shm").unlink(), r"the index of its log \(-shm\) was removed"),
        (lambda path: os.replace(_other(path), beside(path, "-wal")), r"its log \(-wal\) was replaced"),
    ],
)
async def test_nothing_is_kept_in_a_file_that_is_gone(store: Store, path: Path, lose: Callable, said: str) -> None:
    """Broken: what is said to be kept goes with the process."""
    await store.check()
    lose(path)
    with pytest.raises(LostError, match=f"cannot use the store: .*: {said} while it was in use; it is opened anew"):
        await store.check()
    with pytest.raises(LostError, match=r"cannot write the journal: .*: "):
        await store.record(ENTRY)


def _other(path: Path) -> Path:
    other = path.with_name("other.db")
    with closing(sqlite3.connect(other)) as db:
        db.execute("CREATE TABLE t (a)")
    return other


async def test_what_goes_while_it_is_written_is_not_kept(
    store: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: an abort is answered although nobody will ever find it."""
    look, looks = files.Files.look, []

    async def then_it_goes(self: files.Files) -> str:
        found = await look(self)
        looks.append(found)
        if len(looks) == 1:
            os.unlink(path)
        return found

    monkeypatch.setattr(files.Files, "look", then_it_goes)
    with pytest.raises(LostError, match="was removed"):
        await store.record(ENTRY)
    assert looks[0] == ""


async def test_a_connection_that_is_opened_later_makes_no_file(store: Store, path: Path) -> None:
    """Broken: an empty file that everybody may read takes the place of the store."""
    for name in os.listdir(path.parent):
        os.unlink(path.with_name(name))
    await asyncio.gather(*(store.journal(None, 10) for _ in range(5)), return_exceptions=True)
    assert os.listdir(path.parent) == []


async def test_connections_that_come_and_go_are_no_loss(store: Store, path: Path) -> None:
    """Broken: a log that SQLite itself took away, with the last connection, is taken for a removed one."""
    for _ in range(3):
        await store._database.engine.dispose()
        assert not beside(path, "-wal").exists()
        await store.check()
        await store.record(ENTRY)
        await store.check()
    await asyncio.gather(*(store.journal(None, 10) for _ in range(8)))
    with closing(sqlite3.connect(path)) as other:
        other.execute("SELECT count(*) FROM journal").fetchone()
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    await store.check()
    assert len(await store.journal(None, 10)) == 4


async def test_the_log_of_a_file_that_is_gone_is_not_written_over_the_next(store: Store, path: Path) -> None:
    """Broken: SQLite takes the log that was left beside a backup for its own, and the backup is spoilt."""
    backup = path.with_name("backup.db")
    with closing(sqlite3.connect(path)) as db, closing(sqlite3.connect(backup)) as other:
        db.backup(other)
    await store.record(ENTRY)
    # A reader of the old file has its log outlive our connections.
    with closing(sqlite3.connect(path)) as reader:
        reader.execute("SELECT count(*) FROM journal").fetchone()
        await store.check()
        os.replace(backup, path)
        with pytest.raises(LostError):
            await store.check()
        await store.close(gone=True)
        assert not beside(path, "-wal").exists()
    again = await Store.open(f"sqlite:///{path}")
    assert len(await again.journal(None, 10)) == 1
    await again.close()
