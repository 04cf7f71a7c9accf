"""Retention in both databases: what goes, what stays, and that the chain holds while it goes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from proxy.control.machine import rollout, steps
from proxy.control.machine.rollout import Plan
from proxy.control.storage import pruning
from proxy.control.storage.entries import Basis, Entry
from proxy.control.storage.errors import StoreError
from proxy.control.storage.pruning import Limits, Pruned
from proxy.control.storage.recording import Recording, Row
from proxy.control.storage.store import Store
from tests.support.postgres import Place

PLAN = Plan("fraud", "v1", "v2", "c2", "p1", (steps.SetWeight(50_000),), 10, 5.0, 100.0, "pause")
STATE, _ = rollout.begin(PLAN, 1.0)
NOTHING = Limits(1e9, 1e9, 1e9, 1 << 40)
DAY_S = 86_400.0


class Clock:
    """A time that the test sets."""

    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """With small batches, so that there are several of them."""
    monkeypatch.setattr(pruning, "BATCH", 7)
    monkeypatch.setattr(pruning, "_KEEP_ENTRIES", 9)
    monkeypatch.setattr(pruning, "_WORTH", 4)
    return Clock()


@pytest.fixture
async def store(place: Place, clock: Clock) -> AsyncIterator[Store]:
    store = await Store.open(place.url, clock=clock)
    yield store
    await store.close()


async def fill(store: Store, clock: Clock, days: int, per_day: int = 3) -> None:
    """Decisions, configurations and recordings, day by day."""
    for day in range(days):
        for number in range(per_day):
            clock.now_s = day * DAY_S + number
            entry = Entry(0, clock.now_s, "fraud", "step", "rollout", f"{day}/{number}")
            basis = Basis({"day": day}, b"x" * 3000, {"gates": []}, 1.0)
            first = not day and not number
            await store.transition(STATE, b"e", 1, None if first else basis, [entry], fresh=first)
            row = Row(1, 50_000, False, clock.now_s, clock.now_s + 1, 2, b"y" * 4000)
            await store.keep_evidence("fraud", b"e", day * 10 + number + 2, None, Recording((row,)))
        await store.keep_config(f"day: {day}", f"d{day}", "file")


async def swept(store: Store, limits: Limits) -> Pruned:
    """All that goes."""
    sums = [0, 0, 0, 0]
    used = await store.used_bytes()
    while (step := await store.prune(limits, used)).more:
        used = step.used_bytes
        assert used == await store.used_bytes(), "what a step says is left is what is there"
        for place, count in enumerate((step.recordings, step.evidence, step.configs, step.entries)):
            sums[place] += count
            assert count <= pruning.BATCH
        assert (await store.verify()).broken == 0, "the chain holds after each step"
    return Pruned(*sums)


async def test_what_is_young_stays(store: Store, clock: Clock) -> None:
    """If broken, retention takes away what was to be kept."""
    await fill(store, clock, 3)
    assert not (await store.prune(NOTHING, await store.used_bytes())).more
    assert (await store.verify()).entries == 9


async def test_each_kind_goes_by_its_own_age(store: Store, clock: Clock) -> None:
    """If broken, the disk fills, or what is needed longest goes first."""
    await fill(store, clock, 10)
    clock.now_s = 10 * DAY_S
    assert await swept(store, replace(NOTHING, recordings_s=2 * DAY_S)) == Pruned(recordings=24)
    (run,) = await store.recordings("fraud")
    assert run.first_s == 8 * DAY_S
    assert await swept(store, replace(NOTHING, evidence_s=3 * DAY_S)) == Pruned(evidence=20)
    newest = await store.decision("fraud", None)
    assert newest is not None
    assert newest.basis is not None
    assert newest.basis.evidence is not None
    old = await store.decision("fraud", (await store.journal("fraud", 500))[-2].id)
    assert old is not None
    assert (old.verdict, old.intact) == ({"day": 0}, True), "the verdict stays, and is still what was hashed"
    assert old.basis is not None
    assert old.basis.evidence is None
    before = await store.journal(None, 500)
    head = before[0].hash
    gone = await swept(store, replace(NOTHING, journal_s=2.5 * DAY_S))
    assert gone == Pruned(configs=8, entries=21), "the newest stay in any case"
    found = await store.verify(head)
    assert (found.broken, found.removed_through) == (0, before[-21].id)
    checkpoint, *left = await store.journal(None, 500)
    assert checkpoint.kind == "checkpoint"
    assert (checkpoint.details["entries"], checkpoint.details["hash"]) == (21, before[-21].hash)
    assert left == before[:9]
    assert (await store.rollouts())["fraud"].verdict == {"day": 9}
    last = await store.last_config()
    assert last is not None
    assert last.text == "day: 9"
    clock.now_s = 20 * DAY_S
    few = await swept(store, replace(NOTHING, journal_s=2.5 * DAY_S))
    assert few == Pruned(configs=1), "one entry is not worth a checkpoint"
    for number in range(4):
        await store.record(Entry(0, clock.now_s, "", "config", "file", str(number)))
    again = await swept(store, replace(NOTHING, journal_s=2.5 * DAY_S))
    assert again.entries == 5
    assert (await store.verify(head)).broken == 0
    assert (await store.verify()).entries == 10 == len(await store.journal(None, 99))


async def test_a_store_that_is_too_large_loses_the_oldest_first(store: Store, clock: Clock, place: Place) -> None:
    """If broken, the store grows beyond what it may take, or loses what a rollout that goes on stands on."""
    await fill(store, clock, 20)
    used = await store.used_bytes()
    assert used > 60 * 7000
    most = used - 100_000
    gone = await swept(store, replace(NOTHING, max_bytes=most))
    assert await store.used_bytes() <= most
    assert gone.recordings > 0
    assert (gone.evidence, gone.configs, gone.entries) == (0, 0, 0)
    (run,) = await store.recordings("fraud")
    assert run.last_s == 19 * DAY_S + 3, "the newest recording stays"
    gone = await swept(store, replace(NOTHING, max_bytes=1))
    assert gone.evidence == 58, "the evidence on which the rollout stands is not touched"
    assert await store.recordings("fraud") == []
    assert 9 <= len(await store.journal(None, 500)) < 30
    newest = await store.decision("fraud", None)
    assert newest is not None
    assert newest.basis is not None
    assert newest.basis.evidence is not None
    assert (await store.rollouts())["fraud"].state == STATE


async def test_another_instance_loses_nothing(place: Place, clock: Clock) -> None:
    """If broken, one of a fleet prunes the journal of all."""
    one, two = [await Store.open(place.url, clock=clock, instance=name) for name in ("one", "two")]
    for store in (one, two):
        await fill(store, clock, 6)
    clock.now_s = 500 * DAY_S
    await swept(one, Limits(DAY_S, DAY_S, DAY_S, 1 << 40))
    assert (await two.verify()).entries == 18
    assert (await two.recordings("fraud"))[0].slices == 36
    decision = await two.decision("fraud", None)
    assert decision is not None
    assert decision.basis is not None
    assert decision.basis.evidence is not None
    with pytest.raises(StoreError, match="append-only"):
        async with two._write("delete what no checkpoint of its own stands for") as db:
            await db.exec_driver_sql("DELETE FROM journal WHERE instance = 'two'")
    await one.close()
    await two.close()
