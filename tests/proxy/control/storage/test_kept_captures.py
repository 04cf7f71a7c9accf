"""Captured requests in both databases: what stays, what goes, and that nothing is left of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.control.storage import kept_captures, pruning
from proxy.control.storage.entries import Entry
from proxy.control.storage.kept_captures import Kept, KeptCapture
from proxy.control.storage.pruning import Limits, Pruned
from proxy.control.storage.recording import Recording, Row
from proxy.control.storage.store import Store
from tests.proxy.control.storage.test_pruning import STATE
from tests.support.postgres import Place

FOREVER = Limits(1e9, 1e9, 1e9, 1 << 40)
GONE = Entry(0, 5.0, "fraud", "captures", "ann@desk", "")


@pytest.fixture
async def store(place: Place, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    monkeypatch.setattr(pruning, "BATCH", 7)
    store = await Store.open(place.url, clock=lambda: 1000.0)
    yield store
    await store.close()


def one(number: int, route: str = "fraud", kind: str = "sample", expires_s: float = 1e12) -> KeptCapture:
    return KeptCapture(route, kind, float(number), expires_s, b'{"number": %d}' % number)


async def numbers(store: Store, route: str = "fraud", kind: str | None = None) -> list[int]:
    return [int(each.at_s) for each in (await store.captures(route, kind, 1000, None))[0]]


async def prune(store: Store, limits: Limits) -> Pruned:
    return await store.prune(limits, await store.used_bytes())


async def pruned(store: Store, limits: Limits) -> int:
    count = 0
    while (step := await prune(store, limits)).more:
        count += step.captures
        assert step.captures <= pruning.BATCH
    return count


async def test_pages_go_from_the_newest_to_the_oldest(store: Store) -> None:
    """Broken: an engineer who pages sees some twice, others never, or those of another route or instance."""
    other = Store(store._database, "other", lambda: 0.0)
    await store.keep_captures([one(number, kind="error" if number % 3 == 0 else "sample") for number in range(9)])
    await store.keep_captures([one(99, "other")])
    await other.keep_captures([one(77)])
    await store.keep_captures([])
    assert await numbers(store) == list(range(8, -1, -1))
    assert await numbers(store, kind="error") == [6, 3, 0]
    first, _ = await store.captures("fraud", None, 4, None)
    second, more = await store.captures("fraud", None, 4, first[-1].id)
    assert more
    assert await store.captures("fraud", None, 1, second[-1].id) == (
        [replace(one(0, kind="error"), id=first[-1].id - 5)],
        False,
    )
    assert [int(each.at_s) for each in (*first, *second)] == list(range(8, 0, -1))
    assert first[0].data == b'{"number": 8}'
    assert await store.captures("fraud", None, 4, 2**63 - 1) == (first, True)


async def test_a_page_of_large_ones_is_a_short_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a hundred requests of three megabytes each fill the controller's memory, or one too large stands in the
    way of all before it."""
    monkeypatch.setattr(kept_captures, "PAGE_BYTES", 1000)
    sizes = (10, 600, 600, 5000, 10)
    await store.keep_captures([replace(one(number), data=b"x" * size) for number, size in enumerate(sizes)])
    pages, before, more = [], None, True
    while more:
        found, more = await store.captures("fraud", None, 100, before)
        pages.append([int(each.at_s) for each in found])
        before = found[-1].id
    assert pages == [[4], [3], [2], [1, 0]]


async def test_captures_go_by_age_number_and_size(store: Store) -> None:
    """Broken: payloads lie about for ever, or fill the disk in place of what is needed."""
    await store.keep_captures([one(number, expires_s=900.0 + number) for number in range(200)])
    await store.keep_captures([one(number, kind="error") for number in range(30)])
    await store.keep_captures([one(number, "gone", expires_s=1e12) for number in range(50)])
    assert await pruned(store, FOREVER) == 100, "those that were kept up to now"
    limits = replace(FOREVER, captures={"fraud": Kept(1e12, 20)})
    assert await pruned(store, limits) == 80 + 10
    assert await numbers(store, kind="sample") == list(range(199, 179, -1))
    assert await numbers(store, kind="error") == list(range(29, 9, -1))
    assert len(await numbers(store, "gone")) == 50, "it has its time, though it is captured no more"
    assert await pruned(store, replace(FOREVER, captures={"fraud": Kept(1000.0 - 190, 20)})) == 10 + 20 - 0
    assert await numbers(store) == list(range(199, 189, -1))
    assert not (await prune(store, FOREVER)).more


async def test_where_there_is_no_room_captures_go_first(store: Store) -> None:
    """Broken: what a rollout could be judged again by goes before a sample of its traffic."""
    await store.transition(STATE, b"", 0, None, [])
    row = Row(1, 0, False, 1.0, 1.0, 1, b"x" * 4000)
    await store.keep_evidence("fraud", b"", 1, None, Recording((row,)))
    await store.keep_captures([one(number) for number in range(20)])
    full = replace(FOREVER, max_bytes=1)
    found = [await prune(store, full) for _ in range(4)]
    assert [step.captures for step in found] == [7, 7, 6, 0]
    assert found[3].recordings == 1


async def test_taking_them_away_is_in_the_journal(store: Store) -> None:
    """Broken: a person's request is followed and nobody can show it, or the journal says more than that."""
    await store.keep_captures([one(number) for number in range(3)])
    await store.keep_captures([one(9, "other")])
    assert await store.forget_captures("fraud", GONE) == (3, True)
    assert (await numbers(store), await numbers(store, "other")) == ([], [9])
    (entry,) = await store.journal("fraud", 10)
    assert (entry.kind, entry.actor, entry.text) == ("captures", "ann@desk", "3 captured requests are taken away")
    assert not (await store.verify()).broken
    assert await store.forget_captures("fraud", GONE) == (0, True)


@pytest.mark.slow
async def test_nothing_is_left_in_the_file(path: Path) -> None:
    """Broken: what a person asked to be taken away is found in the free pages of the file, or in its log."""
    store = await Store.open(f"sqlite:///{path}")
    for number in range(20):
        await store.keep_captures([replace(one(number), data=b"of-a-person " * size) for size in (1, 100, 2000)])
    await store.keep_captures([replace(one(1, "other"), data=b"of-another")])

    def anywhere(text: bytes) -> bool:
        return any(text in file.read_bytes() for file in path.parent.glob("understudy.db*"))

    assert anywhere(b"of-a-person")
    await store.forget_captures("fraud", GONE)
    assert not anywhere(b"of-a-person")
    assert anywhere(b"of-another")
    await store.keep_captures([replace(one(1, expires_s=1.0), data=b"of-a-person " * 500)])
    while (await prune(store, FOREVER)).more:
        pass
    await store._database.clear_log()
    assert not anywhere(b"of-a-person"), "nor of what grew too old"
    await store.close()


@pytest.mark.slow
async def test_a_reader_does_not_hold_it_up(path: Path) -> None:
    """Broken: a backup under way has the request fail, or wait."""
    store = await Store.open(f"sqlite:///{path}")
    await store.keep_captures([one(1)])
    async with asyncio.timeout(10), store._read() as db:
        assert (await db.exec_driver_sql("SELECT count(*) FROM captures")).scalar() == 1
        assert await store.forget_captures("fraud", GONE) == (1, False)
    await store.close()
