"""Whether a file is whole while it is used: told, rarely enough, and ended at once."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from proxy.control.storage import examining
from proxy.control.storage.entries import Entry
from proxy.control.storage.errors import StoreError
from proxy.control.storage.examining import EVERY_S, SHARE, Examiner
from proxy.control.storage.keeper import Keeper
from proxy.control.storage.retention import Retention


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of some pages; who opens it has all of them in memory."""
    path = tmp_path / "u #1.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, a)")
        db.executemany("INSERT INTO t (a) VALUES (?)", [("x" * 3000,) for _ in range(100)])
        db.commit()
    return path


def spoil(path: Path, at: int = 4096) -> None:
    """As somebody who writes into the wrong file."""
    with path.open("r+b") as file:
        file.seek(at)
        file.write(os.urandom(60_000))


async def test_pages_that_were_overwritten_are_found(path: Path) -> None:
    """Broken: a store of which the half is gone answers on from memory, until it is needed."""
    assert await examining.damage(str(path)) == ""
    with closing(sqlite3.connect(path)) as db:
        db.execute("SELECT count(*) FROM t").fetchone()
        spoil(path)
        assert await examining.damage(str(path)) != ""
    spoil(path, at=0)
    assert "not a database" in await examining.damage(str(path))


async def test_what_cannot_be_reached_is_not_damaged(tmp_path: Path) -> None:
    """Broken: a file that is away for a moment is said to be damaged, or one is made."""
    assert await examining.damage(str(tmp_path / "absent.db")) == ""
    assert not (tmp_path / "absent.db").exists()


async def test_it_is_done_now_and_then_and_rarer_the_longer_it_takes(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a store of many gigabytes is read all the time."""
    now_s, takes_s, looks = 100.0, iter((0.1, 20.0, 0.1)), 0

    async def look(_: str) -> str:
        nonlocal now_s, looks
        now_s, looks = now_s + next(takes_s), looks + 1
        return ""

    monkeypatch.setattr(examining, "damage", look)
    examiner = Examiner(lambda: now_s)
    for n, wait_s in enumerate((EVERY_S, EVERY_S, 20.0 * SHARE)):
        now_s += wait_s - 0.5
        await examiner.damage(str(path))
        assert looks == n, "it is not time"
        now_s += 0.5
        await examiner.damage(str(path))
        assert looks == n + 1


class Large:
    """A connection to a file that takes for ever to be read."""

    def __init__(self) -> None:
        self.begun, self.ended = threading.Event(), threading.Event()
        self.closed = False

    def execute(self, _: str) -> None:
        self.begun.set()
        assert self.ended.wait(60)
        raise sqlite3.OperationalError("interrupted")

    def interrupt(self) -> None:
        self.ended.set()

    def close(self) -> None:
        self.closed = True


async def test_whoever_stops_does_not_wait_for_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a restart waits for as long as it takes to read a large file, or for ever."""
    large = Large()
    monkeypatch.setattr(examining.sqlite3, "connect", lambda *_, **__: large)
    looking = asyncio.create_task(examining.damage(str(path)))
    assert await asyncio.to_thread(large.begun.wait, 60)
    looking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looking
    await asyncio.get_running_loop().shutdown_default_executor()
    assert large.closed


async def filled_and_spoilt(keeper: Keeper, path: Path) -> None:
    """A store that was whole when it was opened."""
    for n in range(50):
        await keeper.ask(lambda store, n=n: store.record(Entry(0, 1.0, "", "config", "ann", f"{n}" * 3000)))
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    spoil(path)


async def test_a_store_that_is_found_damaged_is_lost(tmp_path: Path) -> None:
    """Broken: what is damaged is written on, and said to be well with the next answer."""
    now_s, path = 100.0, tmp_path / "u.db"
    keeper = Keeper(f"sqlite:///{path}", monotonic=lambda: now_s)
    await filled_and_spoilt(keeper, path)
    await keeper.examine()
    assert keeper.error == "", "it is not time"
    now_s += EVERY_S
    await keeper.examine()
    assert "it is damaged: restore a backup" in keeper.error
    for _ in range(2):
        with pytest.raises(StoreError, match="it is damaged"):
            await keeper.ask(lambda store: store.journal(None, 1))
    path.unlink()
    assert await keeper.ask(lambda store: store.journal(None, 1)) == []
    assert keeper.error == ""
    await keeper.close()


async def test_the_sweep_has_it_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: nobody looks."""
    monkeypatch.setattr(examining, "EVERY_S", 0.0)
    path, stop = tmp_path / "u.db", asyncio.Event()
    keeper = Keeper(f"sqlite:///{path}")
    await filled_and_spoilt(keeper, path)
    sweeping = asyncio.create_task(Retention(keeper, time.time).follow(stop))
    for _ in range(6000):
        if keeper.error:
            break
        await asyncio.sleep(0.01)
    assert "it is damaged" in keeper.error
    stop.set()
    await asyncio.wait_for(sweeping, 60)
    await keeper.close()
