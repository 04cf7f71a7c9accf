"""A store that may be away: what is asked of it then."""

from __future__ import annotations

import asyncio
import sqlite3
from functools import partial
from pathlib import Path

import pytest

from proxy.control.storage.carrying import Live
from proxy.control.storage.entries import Entry
from proxy.control.storage.errors import StoreError
from proxy.control.storage.keeper import MOST_S, SLOW_S, Keeper
from proxy.control.storage.store import Store


class Locked:
    """A question to a store that takes so long to say no, as long as it is locked."""

    def __init__(self, no_after_s: float) -> None:
        self.no_after_s, self.now_s, self.asked, self.locked = no_after_s, 100.0, 0, True

    def clock(self) -> float:
        return self.now_s

    async def __call__(self, _: Store) -> str:
        self.asked += 1
        if self.locked:
            self.now_s += self.no_after_s
            raise StoreError("cannot: locked")
        return "done"


async def asked(keeper: Keeper, question: Locked) -> str:
    try:
        return await keeper.ask(question)
    except StoreError as error:
        return str(error)


async def test_a_no_that_took_long_stands_for_as_long(tmp_path: Path) -> None:
    """Broken: twenty routes wait five seconds each for a locked store, and no command gets its turn for minutes."""
    question = Locked(no_after_s=4.0)
    keeper = Keeper(f"sqlite:///{tmp_path}/u.db", monotonic=question.clock)
    assert [await asked(keeper, question) for _ in range(20)] == ["cannot: locked"] * 20
    assert (question.asked, question.now_s) == (1, 104.0)
    question.now_s += 4.1
    question.locked = False
    assert await asked(keeper, question) == "done"
    assert keeper.error == ""
    await keeper.close()


@pytest.mark.parametrize(("no_after_s", "stands_s"), [(SLOW_S / 2, 0.0), (60.0, MOST_S)])
async def test_a_quick_no_and_a_very_slow_one(tmp_path: Path, no_after_s: float, stands_s: float) -> None:
    """Broken: a route whose state is refused freezes all others, or a store that is back is left alone for long."""
    question = Locked(no_after_s)
    keeper = Keeper(f"sqlite:///{tmp_path}/u.db", monotonic=question.clock)
    assert await asked(keeper, question) == "cannot: locked"
    question.locked = False
    question.now_s += stands_s
    assert await asked(keeper, question) == "done"
    await keeper.close()


class Going:
    """What goes on: nothing. `begun` is how often it was told that the store is another one."""

    def __init__(self) -> None:
        self.begun = 0

    def begin_anew(self) -> None:
        self.begun += 1

    def live(self) -> Live:
        return Live(5.0, (), (), 7, {}, None)


async def test_what_was_asked_of_a_store_that_is_lost_meanwhile_is_not_done(tmp_path: Path) -> None:
    """Broken: rows are replaced in a new file by the ids that they had in the old one, or nobody learns that what was
    kept last is gone."""
    keeper, going, path = Keeper(f"sqlite:///{tmp_path}/u.db"), Going(), tmp_path / "u.db"
    await keeper.ask(lambda store: store.take_charge("me"))
    keeper.follow(going)
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(_: Store) -> str:
        asked.set()
        await answer.wait()
        return "done"

    waiting = asyncio.create_task(keeper.ask(slow))
    await asked.wait()
    path.unlink()
    await keeper.look()
    assert (going.begun, keeper.open) == (1, False)
    again = asyncio.create_task(keeper.ask(lambda store: store.journal(None, 10)))
    await asyncio.sleep(0)
    assert not path.exists(), "it is opened anew when the last question to the old one is answered"
    answer.set()
    with pytest.raises(StoreError, match="the store was lost meanwhile: ask again"):
        await waiting
    assert [entry.kind for entry in await again] == ["store"]
    assert (going.begun, keeper.open, keeper.error) == (1, True, "")
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT holder FROM charges").fetchall() == [("me",)]
    db.close()
    await keeper.close()


async def test_who_was_not_in_charge_does_not_take_the_place(tmp_path: Path) -> None:
    """Broken: after the file is gone two processes with the same name take turns again, or the one that was told to
    stand still has its old state written over that of the other."""
    old, new, path = Keeper(f"sqlite:///{tmp_path}/u.db"), Keeper(f"sqlite:///{tmp_path}/u.db"), tmp_path / "u.db"
    for keeper, name in ((old, "old"), (new, "new")):
        await keeper.ask(partial(Store.take_charge, holder=name))
        keeper.follow(Going())
    line = Entry(0, 1.0, "", "config", "ann", "loaded")
    with pytest.raises(StoreError, match="new is in charge"):
        await old.ask(lambda store: store.record(line))
    path.unlink()
    for keeper in (old, new, old, new, old):
        await keeper.look()
    with pytest.raises(StoreError, match="new is in charge"):
        await old.ask(lambda store: store.record(line))
    kept = [entry.kind for entry in await new.ask(lambda store: store.journal(None, 10))]
    assert kept == ["store"]
    await new.ask(lambda store: store.record(line))
    await old.close()
    await new.close()


async def test_what_cannot_take_the_place_is_said_until_it_can(tmp_path: Path) -> None:
    """Broken: what goes on is forgotten with the first try to write it again."""
    keeper, path = Keeper(f"sqlite:///{tmp_path}/u.db"), tmp_path / "u.db"
    await keeper.ask(lambda store: store.take_charge("me"))
    keeper.follow(Going())
    path.unlink()
    path.mkdir()
    for _ in range(3):
        await keeper.look()
    assert "cannot open the store" in keeper.error
    path.rmdir()
    await keeper.look()
    assert keeper.error == ""
    assert [entry.kind for entry in await keeper.ask(lambda store: store.journal(None, 10))] == ["store"]
    await keeper.close()


async def test_that_a_file_is_there_does_not_say_that_it_can_be_written(tmp_path: Path) -> None:
    """Broken: an error that lasts is told as one that comes and goes with each second."""
    question = Locked(no_after_s=0.1)
    keeper = Keeper(f"sqlite:///{tmp_path}/u.db", monotonic=question.clock)
    assert await asked(keeper, question) == "cannot: locked"
    await keeper.look()
    assert keeper.error == "cannot: locked"
    await keeper.close()
