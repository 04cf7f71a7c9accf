"""Recorded slices in the database: what an earlier build left behind is not told twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.control.machine import rollout, steps
from proxy.control.machine.rollout import Plan
from proxy.control.storage.entries import Entry
from proxy.control.storage.recording import TOGETHER, Recorder, Recording, Row, decode
from proxy.control.storage.store import Store
from tests.support.slices import arm, look

STATE, _ = rollout.begin(Plan("r", "v1", "v2", "c2", "p1", (steps.SetWeight(50_000),), 10, 5.0, 100.0, "pause"), 1.0)
RUN = 1


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(f"sqlite:///{tmp_path}/u.db", clock=lambda: 99.0)
    await store.transition(STATE, None, 0, None, [Entry(0, 1.0, "r", "begin", "rollout", "begins")], fresh=True)
    yield store
    await store.close()


def row(*seconds: int, rival: str = "") -> Row:
    """These slices as one row."""
    recorder = Recorder()
    for second in seconds:
        slice_ = replace(look(arm(5 + second), arm(1), stage=1, at_s=float(second), share=0.05), rival=rival)
        recorder.add(slice_, second + 1.0)
    pending = recorder.pending()
    assert pending is not None
    return pending.rows[0]


async def kept(store: Store, *rows: Row) -> None:
    for n, each in enumerate(rows):
        assert await store.keep_evidence("r", b"", 1000 * len(rows) + n, None, Recording((each,))) is not None


async def read(store: Store, limit: int) -> list[float]:
    """The seconds of all slices, page by page, as those who ask go through them."""
    found, after = [], 0
    while True:
        page = await store.recorded("r", RUN, after, limit)
        found += [looked.slice.at_s for _, one in page for looked in decode(one.data)]
        if len(page) < limit:
            return found
        after = page[-1][0]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_what_a_later_row_has_is_not_told_twice(store: Store, limit: int) -> None:
    """If broken, a backtest of what an earlier build recorded runs some slices twice, and out of order."""
    stale = [row(3), row(4, 5), row(9)]
    minutes = [row(*range(TOGETHER)), row(62), row(62), row(*range(TOGETHER, 2 * TOGETHER)), row(120), row(121)]
    await kept(store, *stale, *minutes)
    assert await read(store, limit) == [float(second) for second in range(122)]


async def test_rows_of_the_same_seconds_that_say_something_else_are_told(store: Store) -> None:
    """If broken, of two candidates in a race one loses what was recorded of it."""
    await kept(store, row(5, rival="a"), row(5, 6, rival="b"))
    assert await read(store, 100) == [5.0, 5.0, 6.0]
