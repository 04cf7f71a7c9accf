"""The store in real databases of both kinds: all or nothing, whatever is killed when."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from proxy.control.machine import rollout, state_codec, steps
from proxy.control.machine.rollout import Phase, Plan
from proxy.control.storage.entries import Basis, Entry
from proxy.control.storage.errors import StoreError
from proxy.control.storage.seen import Changes, Chunk
from proxy.control.storage.store import Kept, Letter, Store
from tests.support.postgres import Place

ROOT = Path(__file__).parents[4]
PLAN = Plan("fraud", "v1", "v2", "c2", "p1", (steps.SetWeight(50_000),), 10, 5.0, 100.0, "pause")
STATE, _ = rollout.begin(PLAN, 1.0)


def entry(text: str, route: str = "fraud") -> Entry:
    return Entry(0, 12.5, route, "step", "ann", text, {"n": [1, 2.5, None], "word": "größer"})


def basis(**verdict: object) -> Basis:
    return Basis(verdict, b"the judge", {"gates": [], "alpha": 0.05}, 7.5)


@pytest.fixture
async def store(place: Place) -> AsyncIterator[Store]:
    store = await Store.open(place.url, clock=lambda: 99.0)
    yield store
    await store.close()
    # A connection that was given up in the middle of something has a thread yet, whose last word is to this loop.
    for thread in threading.enumerate():
        if "_connection_worker_thread" in thread.name:
            await asyncio.to_thread(thread.join, 60)


async def test_an_empty_store_holds_nothing(store: Store) -> None:
    """If broken, a first start finds what is not there."""
    assert await store.rollouts() == {}
    assert await store.journal(None, 10) == []
    assert await store.last_config() is None
    assert await store.numbers("generation") == 0


async def test_a_transition_is_there_after_reopening(place: Place) -> None:
    """If broken, a restart loses the weight, the evidence, the verdict or the journal of a rollout."""
    store = await Store.open(place.url)
    aborted = replace(STATE, phase=Phase.ABORTED, verdict="Failed", ended_s=9.0)
    await store.transition(STATE, None, 0, None, [entry("begins")])
    made_on = basis(abort=True, effect=0.03)
    kept = await store.transition(aborted, b"\x00\xff", 7, made_on, [entry("one"), entry("two")])
    await store.close()
    again = await Store.open(place.url)
    assert await again.rollouts() == {"fraud": Kept(aborted, b"\x00\xff", 7, {"abort": True, "effect": 0.03})}
    newest, second, first = await again.journal("fraud", 10)
    assert (newest.text, second.text, first.text) == ("two", "one", "begins")
    assert newest == replace(entry("two"), id=3, hash=newest.hash) == kept[1]
    for line in (newest, second):
        decision = await again.decision("fraud", line.id)
        assert decision is not None
        assert (decision.entry, decision.basis, decision.intact) == (line, made_on, True)
    last = await again.decision("fraud", None)
    assert last is not None
    assert last.entry == newest
    begun = await again.decision("fraud", first.id)
    assert begun is not None
    assert (begun.verdict, begun.basis) == (None, None)
    assert await again.decision("fraud", 999) is await again.decision("spam", newest.id) is None
    await again.close()


async def test_the_last_decision_is_one_that_decided_something(store: Store) -> None:
    """If broken, `understudy why` shows an edit of the file in place of the promotion before it, with what was still
    missing for one at that moment."""

    async def told(kind: str, *, effect: float) -> Entry:
        made = replace(entry(kind), kind=kind)
        return (await store.transition(STATE, None, 0, basis(effect=effect), [made]))[0]

    progress = await told("progress", effect=0.01)
    only = await store.decision("fraud", None)
    assert only is not None
    assert only.entry == progress, "where nothing was decided, what there is"
    promoted = await told("promote", effect=0.02)
    later = [await told(kind, effect=0.03) for kind in ("plan", "pause", "resume", "recovered", "swap", "confirmed")]
    last = await store.decision("fraud", None)
    assert last is not None
    assert (last.entry, last.verdict) == (promoted, {"effect": 0.02})
    asked = await store.decision("fraud", later[0].id)
    assert asked is not None
    assert asked.entry == later[0], "who asks for it is shown it"
    aborted = await told("abort", effect=0.04)
    again = await store.decision("fraud", None)
    assert again is not None
    assert again.entry == aborted


async def test_answers_that_were_heard_of_are_kept_with_the_evidence(place: Place) -> None:
    """If broken, a truth counts again after a restart, or evidence lacks one that is called a duplicate."""
    store = await Store.open(place.url)
    one, two, old = Chunk(1, 0, 70, b"a"), Chunk((1 << 32) - 1, 3, 80, b"b"), Chunk(1, 9, 10, b"old")
    await store.transition(STATE, b"e", 1, None, [], Changes(True, 0, (one, old)))
    assert await store.keep_evidence("fraud", b"f", 1, Changes(False, 0, (two,))) is None, "the cursor has not moved"
    assert set((await store.rollouts())["fraud"].seen) == {one, old}
    assert await store.keep_evidence("fraud", b"f", 2, Changes(False, 50, (replace(one, bits=b"c"), two))) == []
    await store.close()
    again = await Store.open(place.url)
    assert set((await again.rollouts())["fraud"].seen) == {replace(one, bits=b"c"), two}
    await again.transition(STATE, b"new", 3, None, [], Changes(True, 0, ()))
    assert (await again.rollouts())["fraud"].seen == ()
    await again.keep_evidence("fraud", b"f", 4, Changes(False, 0, (one,)))
    await again.forget("fraud")
    await again.transition(STATE, b"e", 1, None, [])
    assert (await again.rollouts())["fraud"].seen == ()
    await again.close()


async def test_a_transition_that_fails_keeps_no_answer(store: Store) -> None:
    """If broken, truths are duplicates that no evidence has."""
    await store.transition(STATE, b"old", 1, None, [])
    bad = replace(entry("bad"), kind=None)  # type: ignore[arg-type]
    with pytest.raises(StoreError):
        await store.transition(STATE, b"new", 2, None, [bad], Changes(True, 0, (Chunk(1, 1, 1, b"x"),)))
    assert (await store.rollouts())["fraud"].seen == ()


async def test_a_secret_is_made_once(place: Place) -> None:
    """If broken, what was sealed before a restart cannot be read after it."""
    store = await Store.open(place.url)
    secret = await store.secret("feedback", 32)
    assert len(secret) == 32
    assert await store.secret("other", 32) != secret
    await store.close()
    again = await Store.open(place.url)
    assert await again.secret("feedback", 32) == secret
    await again.close()


async def test_a_transition_that_fails_leaves_nothing(store: Store) -> None:
    """If broken, a state is kept without the journal that explains it."""
    await store.transition(STATE, b"old", 1, None, [entry("begins")])
    bad = replace(entry("bad"), kind=None)  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="cannot keep a transition"):
        await store.transition(replace(STATE, stage=2), b"new", 2, basis(abort=False), [entry("good"), bad])
    assert await store.rollouts() == {"fraud": Kept(STATE, b"old", 1)}
    assert [line.text for line in await store.journal(None, 10)] == ["begins"]


async def test_numbers_that_json_lacks_do_not_stop_an_abort(store: Store) -> None:
    """If broken, one NaN in a report keeps a bad candidate in service."""
    await store.transition(STATE, None, 0, basis(low=float("nan"), high=float("inf")), [entry("aborted")])
    assert (await store.rollouts())["fraud"].verdict == {"low": None, "high": None}
    assert (await store.verify()).broken == 0


async def test_evidence_of_a_tick_replaces_the_last(store: Store, place: Place, path: Path) -> None:
    """If broken, a restart forgets evidence, or the file grows with every second of a rollout."""
    await store.transition(STATE, None, 3, None, [])
    await store.keep_evidence("fraud", b"three", 3)
    assert (await store.rollouts())["fraud"].evidence == b"three"
    await store.keep_evidence("fraud", b"not written: the cursor stands", 3)
    assert (await store.rollouts())["fraud"].evidence == b"three"
    blob = os.urandom(100_000)
    for cursor in range(4, 104):
        await store.keep_evidence("fraud", blob, cursor)
    assert (await store.rollouts())["fraud"] == Kept(STATE, blob, 103)
    if place.server is None:
        assert sum(file.stat().st_size for file in path.parent.iterdir()) < 8 << 20


async def test_evidence_without_a_rollout_is_no_rollout(store: Store) -> None:
    """If broken, a late tick of a route that was forgotten brings a broken rollout back."""
    await store.keep_evidence("gone", b"x", 1)
    assert await store.rollouts() == {}


async def test_the_journal_is_paged_by_route(store: Store) -> None:
    """If broken, people see entries twice, miss some, or see those of another route."""
    for number in range(7):
        await store.record(entry(str(number), route="fraud" if number % 2 else "spam"))
    assert [line.text for line in await store.journal(None, 3)] == ["6", "5", "4"]
    page = await store.journal("fraud", 2)
    assert [line.text for line in page] == ["5", "3"]
    assert [line.text for line in await store.journal("fraud", 2, before=page[-1].id)] == ["1"]
    assert await store.journal("fraud", 2, before=1) == []


@pytest.mark.parametrize("change", ["UPDATE journal SET text = 'never was'", "DELETE FROM journal"])
async def test_the_journal_is_append_only(store: Store, place: Place, change: str) -> None:
    """If broken, history can be rewritten."""
    assert (await store.record(entry("was"))).id == 1
    with pytest.raises((sqlite3.IntegrityError, asyncpg.RaiseError), match="append-only"):
        await asyncio.to_thread(place.execute, change)
    assert [line.text for line in await store.journal(None, 10)] == ["was"]


CHANGES = {
    "text": "UPDATE journal SET text = 'never was' WHERE id = 3",
    "actor": "UPDATE journal SET actor = 'bob' WHERE id = 3",
    "configuration": "UPDATE journal SET config = 'another' WHERE id = 3",
    "time": "UPDATE journal SET at_s = 13.0 WHERE id = 3",
    "numbers": "UPDATE journal SET details = '{}' WHERE id = 3",
    "hash": "UPDATE journal SET hash = 'ab' WHERE id = 3",
    "verdict": "UPDATE verdicts SET body = '{\"abort\":true}'",
    "evidence": "UPDATE verdicts SET evidence = NULL, digest = ''",
    "question": "UPDATE verdicts SET question = '{}'",
    "elapsed": "UPDATE verdicts SET elapsed_s = 8",
    "link": "UPDATE journal SET verdict_id = NULL WHERE id = 3",
}


async def tampered(place: Place, change: str) -> None:
    """What somebody does who may do everything: the database's own refusal is out of the way first."""
    if place.server is None:
        await asyncio.to_thread(place.execute, "DROP TRIGGER journal_refuses_update")
        await asyncio.to_thread(place.execute, "DROP TRIGGER journal_refuses_delete")
    else:
        await asyncio.to_thread(place.execute, "ALTER TABLE journal DISABLE TRIGGER USER")
    await asyncio.to_thread(place.execute, change)


async def written(store: Store) -> None:
    """Four entries, the third one a decision."""
    await store.record(entry("1"))
    await store.record(entry("2", route="spam"))
    await store.transition(STATE, b"x", 1, basis(abort=False, low=float("nan")), [entry("3")])
    await store.record(entry("4"))


@pytest.mark.parametrize("change", CHANGES)
async def test_whatever_is_changed_breaks_the_chain_where_it_was(store: Store, place: Place, change: str) -> None:
    """If broken, somebody who can write the store can make a decision look like another one."""
    await written(store)
    assert (await store.verify()).broken == 0
    await tampered(place, CHANGES[change])
    found = await store.verify()
    assert found.broken == 3
    assert found.reason
    decision = await store.decision("fraud", 3)
    assert decision is not None
    assert decision.intact == (change not in ("verdict", "evidence", "question", "elapsed", "link"))


async def test_an_entry_that_is_taken_away_breaks_the_chain(store: Store, place: Place) -> None:
    """If broken, what was inconvenient can be left out. That the end is missing only a hash kept elsewhere tells."""
    await written(store)
    last = (await store.journal(None, 10))[0].hash
    assert (await store.verify(last)).broken == 0
    await tampered(place, "DELETE FROM journal WHERE id = 4")
    assert (await store.verify()).broken == 0
    lost = await store.verify(last)
    assert (lost.broken, "its end was cut off" in lost.reason) == (3, True)
    await asyncio.to_thread(place.execute, "DELETE FROM journal WHERE id = 2")
    assert (await store.verify()).broken == 3


async def test_instances_that_share_a_database_do_not_meet(place: Place) -> None:
    """If broken, one of a fleet overwrites the rollouts of another, or its chain has the entries of both."""
    one = await Store.open(place.url, instance="one")
    two = await Store.open(place.url, instance="two")
    for number, store in enumerate((one, two, one, two)):
        state = replace(STATE, stage=number)
        await store.transition(state, str(number).encode(), number, basis(n=number), [entry(str(number))])
        await store.keep_evidence("fraud", b"tick of %d" % number, number + 10)
        await store.keep_config(f"a: {number}", f"d{number}", "file")
        assert await store.next_number("generation") == number // 2 + 1
    for store, number in ((one, 2), (two, 3)):
        kept = await store.rollouts()
        assert kept == {"fraud": Kept(replace(STATE, stage=number), b"tick of %d" % number, number + 10, {"n": number})}
        assert [line.text for line in await store.journal(None, 10)] == [str(number), str(number - 2)]
        assert [line.text for line in await store.journal_after(0, 10)] == [str(number - 2), str(number)]
        last = await store.last_config()
        assert last is not None
        assert last.digest == f"d{number}"
        found = await store.verify()
        assert (found.broken, found.entries) == (0, 2)
    await one.forget("fraud")
    assert list(await two.rollouts()) == ["fraud"]
    mixed = await asyncio.gather(*(store.record(entry("x")) for store in (one, two) * 10))
    assert len({line.hash for line in mixed}) == 20
    assert (await one.verify()).entries == (await two.verify()).entries == 12
    await one.close()
    await two.close()


async def test_letters_wait_in_their_order_for_their_own_instance(place: Place) -> None:
    """If broken, one of a fleet tells the news of another, or a webhook hears the end before the begin."""
    one = await Store.open(place.url, instance="one")
    two = await Store.open(place.url, instance="two")
    news = [Letter(f"id{n}", "fraud", "chat", 9.0 - n, {"kind": "step", "n": n}) for n in range(4)]
    await one.transition(STATE, b"x", 1, None, [entry("begins")], letters=news[:2])
    await two.transition(STATE, b"x", 1, None, [entry("begins")], letters=news[:1])
    await one.transition(STATE, b"x", 1, None, [entry("goes on")], letters=news[2:])
    assert await one.letters() == news
    await two.forget_letter("id0")
    await one.forget_letter("id1")
    assert await two.letters() == []
    await one.close()
    again = await Store.open(place.url, instance="one")
    assert await again.letters() == [news[0], *news[2:]]
    await again.close()
    await two.close()


async def test_the_last_one_to_take_charge_writes_alone(place: Place) -> None:
    """If broken, two processes with the same instance name move the same rollout in turns."""
    old = await Store.open(place.url)
    await old.take_charge("process 1 on a")
    await old.transition(STATE, b"x", 1, None, [entry("begins")])
    new = await Store.open(place.url)
    assert list(await new.rollouts()) == ["fraud"], "one may look without taking charge"
    await old.record(entry("still in charge"))
    await new.take_charge("process 2 on b")
    refused = "process 2 on b is in charge of the instance 'understudy' now; give each .* its own store.instance"
    with pytest.raises(StoreError, match=refused):
        await old.transition(replace(STATE, stage=9), b"y", 2, None, [entry("late")])
    with pytest.raises(StoreError, match=refused):
        await old.keep_evidence("fraud", b"y", 2)
    await new.transition(replace(STATE, stage=2), b"z", 2, None, [entry("goes on")])
    assert (await old.rollouts())["fraud"].state.stage == 2
    assert [line.text for line in await old.journal(None, 9)] == ["goes on", "still in charge", "begins"]
    await old.take_charge("process 1 on a")
    await old.record(entry("back"))
    with pytest.raises(StoreError, match="process 1 on a is in charge"):
        await new.record(entry("late"))
    await old.close()
    await new.close()


async def test_texts_that_a_database_refuses_are_kept(store: Store) -> None:
    """If broken, a reason with a NUL in it keeps an abort from being written, or breaks the chain."""
    odd = replace(entry("a\0b"), actor="\0", details={"nan": float("nan"), "deep": {"b": 1, "a": 2}})
    line = await store.record(odd)
    assert (line.text, line.actor) == ("a\N{REPLACEMENT CHARACTER}b", "\N{REPLACEMENT CHARACTER}")
    assert (await store.verify()).broken == 0
    assert await store.journal(None, 5, before=2**62)


async def test_a_forgotten_route_keeps_its_journal(store: Store) -> None:
    """If broken, a route that was removed from the file comes back with old progress, or its history is lost."""
    await store.transition(STATE, b"x", 1, basis(abort=False), [entry("begins")])
    await store.forget("fraud")
    assert await store.rollouts() == {}
    (line,) = await store.journal("fraud", 10)
    decision = await store.decision("fraud", line.id)
    assert decision is not None
    assert decision.verdict == {"abort": False}


async def test_configurations_are_kept_once_each(store: Store) -> None:
    """If broken, the file that was live is unknown, or each restart adds a copy."""
    assert await store.keep_config("a: 1", "d1", "file") == 1
    assert await store.keep_config("a: 1", "d1", "file") == 1
    assert await store.keep_config("a: 2", "d2", "ann") == 2
    assert await store.keep_config("a: 1", "d1", "ann") == 3
    last = await store.last_config()
    assert last is not None
    assert (last.id, last.text, last.digest, last.actor, last.at_s) == (3, "a: 1", "d1", "ann", 99.0)


async def test_numbers_never_repeat(place: Place) -> None:
    """If broken, two snapshots share a generation, or two stages share a row of the ledger."""
    store = await Store.open(place.url)
    drawn = await asyncio.gather(*(store.next_number("tenant") for _ in range(20)))
    assert sorted(drawn) == list(range(1, 21))
    assert await store.next_number("generation") == 1
    await store.close()
    again = await Store.open(place.url)
    assert (await again.numbers("tenant"), await again.next_number("tenant")) == (20, 21)
    assert [await again.next_number("generation", above) for above in (0, 7, 3)] == [2, 8, 9]
    assert await again.next_number("other", 4) == 5
    await again.close()


async def test_readers_and_writers_do_not_stop_each_other(store: Store) -> None:
    """If broken, reading the journal while ticks are written fails with "database is locked"."""
    await store.transition(STATE, b"x", 0, None, [])

    async def write(number: int) -> None:
        await store.keep_evidence("fraud", b"x", number)
        await store.transition(replace(STATE, stage=number), b"x", number, basis(), [entry(str(number))])

    await asyncio.gather(*(write(number) for number in range(1, 21)), *(store.journal(None, 5) for _ in range(20)))
    assert len(await store.journal(None, 100)) == 20


async def test_a_cancelled_transition_is_whole_or_absent(store: Store) -> None:
    """If broken, a controller that is stopped in the middle of a write leaves half of it, or a lock."""
    for pause in range(12):
        task = asyncio.create_task(
            store.transition(replace(STATE, stage=pause), b"x", pause, basis(), [entry(str(pause))])
        )
        for _ in range(pause):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        kept = (await store.rollouts()).get("fraud")
        lines = await store.journal("fraud", 1)
        assert (kept is None) == (not lines)
        assert kept is None or str(kept.state.stage) == str(kept.cursor) == lines[0].text
    await store.transition(STATE, None, 0, None, [])


@pytest.mark.parametrize("url", ["mysql://db/understudy", "sqlite://", "sqlite:///", "sqlite:///:memory:", "x"])
async def test_other_urls_are_refused(url: str) -> None:
    """If broken, a store that does not last, or does not exist yet, is taken for one."""
    with pytest.raises(StoreError, match=r"store\.url: .* is not supported; give sqlite:///PATH"):
        await Store.open(url)


async def test_the_file_is_for_its_user_alone(path: Path) -> None:
    """If broken, everybody on the machine reads the secrets of the configuration, and can forge answer ids."""
    before = os.umask(0o022)
    try:
        store = await Store.open(f"sqlite:///{path}")
        await store.keep_config("text", "digest", "ann")
        assert {file.name: file.stat().st_mode & 0o777 for file in path.parent.glob(f"{path.name}*")} == {
            path.name: 0o600, f"{path.name}-wal": 0o600, f"{path.name}-shm": 0o600,
        }  # fmt: skip
        await store.close()
        os.chmod(path, 0o640)
        await (await Store.open(f"sqlite:///{path}")).close()
        assert os.stat(path).st_mode & 0o777 == 0o640, "what was given on purpose stays"
    finally:
        os.umask(before)


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """If broken, "unable to open database file" is all that people get."""
    path = tmp_path / "absent" / "understudy.db"
    with pytest.raises(StoreError, match=f"cannot open the store: {path}: unable to open .*; check that its folder"):
        await Store.open(f"sqlite:///{path}")


def refusal(path: Path) -> str:
    """What `open` says to a file that it refuses."""
    with pytest.raises(StoreError) as caught:
        asyncio.run(Store.open(f"sqlite:///{path}"))
    return str(caught.value)


@contextmanager
def somebody_else() -> Iterator[None]:
    """Root may write everything; nobody else may."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_a_file_that_may_not_be_written_is_refused_at_once() -> None:
    """If broken, a read-only store is noticed at the first transition, hours later."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "understudy.db"
        asyncio.run(_open_and_close(path))
        path.chmod(0o444)
        path.parent.chmod(0o555)
        with somebody_else():
            text = refusal(path)
        path.parent.chmod(0o755)
    assert text.startswith(f"cannot open the store: {path}: ")
    assert "this user" in text
    assert text.endswith("or change store.url")


def test_a_foreign_file_is_refused_and_left_alone(path: Path) -> None:
    """If broken, a wrong path overwrites somebody's file."""
    content = b"this is a text, and no database at all\n" * 99
    path.write_bytes(content)
    assert "file is not a database; it is no SQLite file: move it away" in refusal(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("first_page", [1, 5])
def test_a_damaged_file_is_refused(path: Path, first_page: int) -> None:
    """If broken, a damaged store fails somewhere later, in the middle of a rollout."""
    asyncio.run(_open_and_close(path, entries=50))
    damaged = bytearray(path.read_bytes())
    damaged[first_page * 4096 :] = b"\x5a" * (len(damaged) - first_page * 4096)
    path.write_bytes(damaged)
    text = refusal(path)
    assert text.startswith(f"cannot open the store: {path}: ")
    assert "it is damaged: restore a backup, or move it away" in text


async def _open_and_close(path: Path, entries: int = 0) -> None:
    store = await Store.open(f"sqlite:///{path}")
    for number in range(entries):
        await store.record(entry(str(number)))
    await store.close()


async def test_a_store_that_is_held_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If broken, two controllers on one file look like a broken disk."""
    monkeypatch.setattr("proxy.control.storage.database.BUSY_TIMEOUT_S", 0.05)
    store = await Store.open(f"sqlite:///{path}")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"cannot count: .*locked; another process holds it"):
        await store.next_number("generation")
    other.rollback()
    assert await store.next_number("generation") == 1
    other.close()
    await store.close()


async def test_a_state_of_a_newer_release_is_named(store: Store, place: Place) -> None:
    """If broken, a state that this release cannot read ends in a stack trace without a route or a remedy."""
    await store.transition(STATE, None, 0, None, [])
    newer = json.dumps({**state_codec.encode(STATE), "version": 7})
    await asyncio.to_thread(place.execute, f"UPDATE rollouts SET state = '{newer}'")
    with pytest.raises(StoreError, match=r"rollout of route fraud: .*version 7 .*; run the release that wrote"):
        await store.rollouts()


WRITER = """
import asyncio, json, sys
from dataclasses import replace
from proxy.control.machine import state_codec
from proxy.control.storage.entries import Basis, Entry
from proxy.control.storage.store import Store

async def main(url, state):
    store = await Store.open(url)
    kept = (await store.rollouts()).get("fraud")
    number = kept.state.stage if kept else 0
    while True:
        number += 1
        entries = [Entry(0, 1.0, "fraud", "step", "", f"{number} {half}") for half in "ab"]
        blob = str(number).encode() * 20_000
        basis = Basis({"number": number}, blob, {}, 1.0)
        await store.transition(replace(state, stage=number), blob, number, basis, entries)
        print(number, flush=True)

asyncio.run(main(sys.argv[1], state_codec.decode(json.loads(sys.argv[2]))))
"""


@pytest.mark.slow
async def test_kill_9_in_the_middle_of_writes_leaves_a_whole_transition(place: Place) -> None:
    """If broken, a killed controller comes back with a weight that its evidence, verdict or journal does not match."""
    for round_ in range(4):
        acknowledged = await asyncio.to_thread(_write_and_kill, place.url, lines=5 + 7 * round_)
        store = await Store.open(place.url)
        kept = (await store.rollouts())["fraud"]
        number = kept.state.stage
        assert number >= acknowledged
        assert kept == Kept(replace(STATE, stage=number), str(number).encode() * 20_000, number, {"number": number})
        texts = [line.text for line in await store.journal("fraud", 10_000)]
        assert texts == [f"{n} {half}" for n in range(number, 0, -1) for half in "ba"]
        assert (await store.verify()).entries == 2 * number
        assert (await store.verify()).broken == 0
        await store.close()


def _write_and_kill(url: str, lines: int) -> int:
    """The last transition that a writer acknowledged before it was killed."""
    state = json.dumps(state_codec.encode(STATE))
    command = [sys.executable, "-c", WRITER, url, state]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as writer:
        assert writer.stdout is not None
        for _ in range(lines):
            last = writer.stdout.readline()
        writer.kill()
        rest = writer.stdout.read().split()
    return int(rest[-1] if rest else last)
