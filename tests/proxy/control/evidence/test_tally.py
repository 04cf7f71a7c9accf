"""What arms did altogether, from a real ledger."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import pytest

from proxy.control.evidence import tally
from proxy.control.evidence.lending import Lending, Loan
from proxy.control.evidence.tracks import user_count
from proxy.faults import Fault, Retry, Skip
from proxy.ledger import layout as at
from proxy.ledger.reader import Reader
from proxy.ledger.writer import Writer

NOW_S = 5000.5


@dataclass
class World:
    reader: Reader
    writers: list[Writer]
    stable: Loan
    shadow: Loan


@pytest.fixture
def world() -> Iterator[World]:
    fd = at.create(2, 3, 1)
    book = Lending(3, 1, count(7).__next__)
    outputs = {"score": "number", "label": "category"}
    stable, shadow = (book.lend("r", *arm, 1, outputs) for arm in (("v1", "stable"), ("v2", "shadow")))
    yield World(Reader(fd), [Writer(fd, 0), Writer(fd, 1)], stable, shadow)
    os.close(fd)


def test_workers_and_stages_add_up(world: World) -> None:
    """Reports would count a part of the requests, or users twice who met two workers."""
    for writer in world.writers:
        row = writer.occupy(world.stable.index, world.stable.tenant, 2)
        for user in (1, 2):
            writer.arrive(row, NOW_S, user)
        writer.finish(row, NOW_S, NOW_S + 0.1, True, 502, Fault.UPSTREAM_RESET)
        writer.skip(row, Skip.BUSY)
        writer.retry(row, Retry.RESENT)
    once = tally.read(world.reader, world.stable)
    assert (once.totals.arrived, once.totals.failed, once.totals.in_flight, once.totals.retries) == (
        4,
        2,
        2,
        {Retry.RESENT: 2},
    )
    assert user_count(once.users) == 2
    twice = once + once
    assert (twice.totals.arrived, twice.totals.statuses) == (8, {502: 4})
    assert (twice.totals.faults, twice.totals.skips) == ({Fault.UPSTREAM_RESET: 4}, {Skip.BUSY: 4})
    assert user_count(twice.users) == 2


def test_confusion_is_added_by_text(world: World) -> None:
    """`fraud` of one worker would be `fine` of the other, since each numbers labels by itself."""
    for writer, texts in zip(world.writers, (("fine", "fraud"), ("fraud", "fine")), strict=True):
        table = writer.labels(world.shadow.tables[1].index, world.shadow.tables[1].tenant)
        slots = {text: table.slot(text) for text in texts}
        row = writer.occupy(world.shadow.index, world.shadow.tenant, 2)
        writer.arrive(row, NOW_S)
        writer.pair(row, NOW_S, NOW_S + 0.1, 1.0, [(1, True, [(slots["fine"], slots["fraud"])])])
    found = tally.read(world.reader, world.shadow)
    assert found.confusion == {"label": {("fine", "fraud"): 2}}
    assert (found + found).confusion == {"label": {("fine", "fraud"): 4}}
    assert tally.read(world.reader, world.stable).confusion == {}


def test_no_row_has_nothing() -> None:
    """An exhausted ledger would break every report."""
    fd = at.create(1, 1, 1)
    nowhere = Loan("r", "v", "stable", 0, -1, 0)
    assert tally.read(Reader(fd), nowhere).totals == tally.NO_TOTALS
    os.close(fd)
