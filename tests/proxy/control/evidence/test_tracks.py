"""Evidence read from a real ledger, into which played workers write."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import numpy as np
import pytest

from analysis.summaries import Moments, Repeats
from proxy.control.evidence.lending import Lending, Loan
from proxy.control.evidence.tracks import CLOSE_AFTER_S, OTHER_LABEL, Track, counts, pairs, user_count, users
from proxy.faults import Fault, Repeat
from proxy.ledger import layout as at
from proxy.ledger.reader import Reader
from proxy.ledger.reading import Reading
from proxy.ledger.row import Row
from proxy.ledger.writer import Writer

T = 1000
"""The slice that the tests are about; its first moment in seconds."""


@dataclass
class World:
    """A ledger of two workers, with a stable and a candidate row lent."""

    fd: int
    reader: Reader
    writers: list[Writer]
    stable: Loan
    canary: Loan
    shadow: Loan

    def row(self, worker: int, loan: Loan) -> Row:
        return self.writers[worker].occupy(loan.index, loan.tenant, len(loan.outputs))

    def request(self, worker: int, loan: Loan, arrived_s: float, took_s: float | None = 0.01, **more: Any) -> None:
        """A request that took so long; None: it is still under way."""
        row, writer = self.row(worker, loan), self.writers[worker]
        writer.arrive(row, arrived_s, more.pop("user", -1))
        if took_s is not None:
            outcome = {"failed": False, "status": 200, "fault": Fault.NONE} | more
            writer.finish(row, arrived_s, arrived_s + took_s, **outcome)

    def track(self, *loans: Loan, share: float = 0.1, sticky: bool = False, next_slice: int = T) -> Track:
        return Track(1, share, True, sticky, loans or (self.stable, self.canary), next_slice)


@pytest.fixture
def world() -> Iterator[World]:
    fd = at.create(workers=2, rows=4, tables=2)
    book = Lending(4, 2, count(11).__next__)
    outputs = {"label": "category", "score": "number"}
    loans = [book.lend("r", *arm, 1, outputs) for arm in (("v1", "stable"), ("v2", "canary"), ("v2", "shadow"))]
    yield World(fd, Reader(fd), [Writer(fd, 0), Writer(fd, 1)], *loans)
    os.close(fd)


def read(track: Track, world: World, now_s: float) -> list[tuple[float, float, float]]:
    return [(s.at_s, s.stable.assigned, s.candidate.assigned) for s in track.read(world.reader, now_s)]


def test_workers_are_added_up(world: World) -> None:
    """A part of the traffic would be no evidence."""
    for worker in (0, 1, 1):
        world.request(worker, world.stable, T + 0.2, failed=True, status=500)
        world.request(worker, world.stable, T + 0.5, took_s=0.05)
    found = counts(world.reader, world.stable, T)
    assert (found.assigned, found.recorded, found.answered, found.failed) == (6, 6, 6, 3)
    assert found.latency[at.latency_bucket(0.05)] == 3
    assert found.latency.sum() == 6


def test_a_tunnel_that_is_cut_is_an_answer_that_failed(world: World) -> None:
    """A version that drops its sockets would look healthy; with a failure and no answer its share would be over one."""
    world.request(0, world.canary, T - 30.0, status=101)
    world.writers[0].cut(world.row(0, world.canary), T + 0.5)
    found = counts(world.reader, world.canary, T)
    assert (found.assigned, found.recorded, found.answered, found.failed) == (0, 0, 1, 1)
    assert found.latency.sum() == 0
    assert read(world.track(), world, T + 1.1) == [(T, 0, 0)], "its slice waits for nothing"


def test_labels_are_merged_by_text(world: World) -> None:
    """Workers number labels as they meet them: `fraud` of one would be `fine` of the other."""
    for worker, texts in ((0, ("fine", "fraud", "fine")), (1, ("fraud", "fine"))):
        table = world.writers[worker].labels(world.stable.tables[0].index, world.stable.tables[0].tenant)
        for text in texts:
            world.request(worker, world.stable, T + 0.1, readings=[Reading(0, labels=[table.slot(text)])])
    world.request(0, world.stable, T + 0.1, readings=[Reading(0, labels=[at.OTHER])])
    found = counts(world.reader, world.stable, T)
    assert found.labels == {"label": {"fine": 3, "fraud": 2, OTHER_LABEL: 1}}


def test_what_is_dropped_is_neither_labels_nor_numbers(world: World) -> None:
    """An output that nobody counts would be judged as one that is always 0, or stop the reading of all others."""
    world.stable = replace(world.stable, kinds=("category:drop", "number"))
    world.request(0, world.stable, T + 0.1, readings=[Reading(0, invalid=1), Reading(1, numbers=[0.5])])
    found = counts(world.reader, world.stable, T)
    assert (found.labels, list(found.numbers), list(found.histograms)) == ({}, ["score"], ["score"])
    assert found.invalid == {"label": 1, "score": 0}


def test_hashed_labels_are_counted_as_labels(world: World) -> None:
    """Versions whose labels are hashed would not be compared."""
    world.stable = replace(world.stable, kinds=("category:hash", "number"))
    world.request(0, world.stable, T + 0.1, readings=[Reading(0, labels=[at.OTHER])])
    assert counts(world.reader, world.stable, T).labels == {"label": {OTHER_LABEL: 1}}


def test_numbers_and_what_was_wrong_with_answers(world: World) -> None:
    """A shift of scores, or a version that stops to predict, would not be seen."""
    readings = [
        Reading(0, missing=1),
        Reading(1, numbers=[0.5, 0.25], number_buckets=[32, 16], invalid=2, clipped=3),
    ]
    world.request(0, world.canary, T + 0.1, readings=readings)
    found = counts(world.reader, world.canary, T)
    assert found.numbers == {"score": Moments(2, 0.75, 0.3125)}
    assert np.flatnonzero(found.histograms["score"]).tolist() == [16, 32]
    assert (found.missing, found.invalid, found.clipped) == (
        {"label": 1, "score": 0},
        {"label": 0, "score": 2},
        {"label": 0, "score": 3},
    )


def test_a_slice_closes_soon_when_all_is_answered(world: World) -> None:
    """Each verdict would come eleven seconds late."""
    world.request(0, world.stable, T + 0.9)
    track = world.track()
    assert read(track, world, T + 1.01) == []
    assert read(track, world, T + 1.06) == [(T, 1, 0)]
    assert read(track, world, T + 1.06) == []


def test_a_slice_waits_for_slow_requests_of_any_arm(world: World) -> None:
    """A slow candidate would look fast: its quick answers would be judged without its slow ones."""
    world.request(0, world.stable, T + 0.5)
    world.request(1, world.canary, T + 0.5, took_s=None)
    world.request(0, world.stable, T + 1.5)
    track = world.track()
    assert read(track, world, T + 5.0) == []
    writer, row = world.writers[1], world.row(1, world.canary)
    writer.finish(row, T + 0.5, T + 5.0, False, 200, Fault.NONE)
    assert read(track, world, T + 5.1)[:2] == [(T, 1, 1), (T + 1, 1, 0)]


def test_what_hangs_counts_at_the_grace(world: World) -> None:
    """A version that never answers would never be judged, or without the requests that hang."""
    world.request(0, world.stable, T + 0.5)
    world.request(1, world.canary, T + 0.5, took_s=None)
    track = world.track()
    assert read(track, world, T + 1 + CLOSE_AFTER_S - 0.01) == []
    closed = next(track.read(world.reader, T + 1 + CLOSE_AFTER_S))
    assert (closed.candidate.assigned, closed.candidate.recorded, closed.candidate.answered) == (1, 0, 0)
    assert closed.candidate.latency[at.latency_bucket(at.GRACE_S)] == 1


def test_late_failures_count_where_they_end(world: World) -> None:
    """Requests that time out after the grace would be no failure of anybody."""
    world.request(0, world.canary, T - 20.5, took_s=21.0, failed=True, status=504, fault=Fault.REQUEST_TIMEOUT)
    found = counts(world.reader, world.canary, T)
    assert (found.assigned, found.recorded, found.answered, found.failed) == (0, 0, 1, 1)
    assert found.latency.sum() == 0


def test_an_absent_controller_catches_up(world: World) -> None:
    """What happened while the controller was started again would be lost."""
    for second in range(8):
        world.request(0, world.stable, T + second + 0.5)
    assert read(world.track(), world, T + 8.5) == [(T + second, 1, 0) for second in range(8)]


def test_overwritten_slices_are_skipped_whole(world: World) -> None:
    """After a long absence one arm's lanes are gone before the other's: traffic would seem to have gone astray."""
    world.request(0, world.canary, T + 0.5)
    for second in range(40):
        world.request(0, world.stable, T + second + 0.5)
    track = world.track()
    found = read(track, world, T + 40.5)
    assert found[0] == (T + 25, 1, 0)
    assert (len(found), track.skipped, track.next_slice) == (15, 25, T + 40)


def test_a_track_ends(world: World) -> None:
    """A stage that is over would be read for ever, and the next one never."""
    for second in range(4):
        world.request(0, world.stable, T + second + 0.5)
    track = replace(world.track(), until=T + 1)
    assert read(track, world, T + 5.5) == [(T, 1, 0), (T + 1, 1, 0)]
    assert track.done


def test_idle_seconds_are_slices(world: World) -> None:
    """The judge would take a route with little traffic for one where no time passes."""
    assert read(world.track(), world, T + 2.5) == [(T, 0, 0), (T + 1, 0, 0)]


def test_a_stranger_in_the_row_is_not_counted(world: World) -> None:
    """A row that was lent anew would be counted for its old stage."""
    world.request(0, world.stable, T + 0.5)
    world.writers[0].occupy(world.stable.index, 999, 2)
    assert read(world.track(), world, T + 1.5) == [(T, 0, 0)]


def test_only_copies_are_judged_where_only_copies_are_made(world: World) -> None:
    """A rehearsal without live traffic would never be judged."""
    world.request(0, world.stable, T + 0.5)
    world.request(0, world.shadow, T + 0.6)
    disagree = [(0, True, [(0, 1)]), (1, False, [])]
    world.writers[0].arrive(world.row(0, world.shadow), T + 0.7)
    world.writers[0].pair(world.row(0, world.shadow), T + 0.7, T + 0.8, 2.0, disagree)
    world.writers[0].finish(world.row(0, world.shadow), T + 0.7, T + 0.8, False, 200, Fault.NONE)
    track = world.track(world.stable, world.shadow, share=0.0)
    closed = next(track.read(world.reader, T + 1.1))
    assert (closed.share, closed.stable.assigned, closed.candidate.assigned) == (0.0, 1, 2)
    assert closed.pairs is not None
    assert (closed.pairs.compared, closed.pairs.disagreed) == (1, {"label": (1, 1), "score": (1, 0)})
    assert np.flatnonzero(closed.pairs.ratio).tolist() == [at.ratio_bucket(2.0)]
    assert (track.compared, track.disagreed) == (1, {"label": (1, 1), "score": (1, 0)})
    assert pairs(world.reader, world.stable, T).compared == 0


def test_users_are_counted_once_over_workers(world: World) -> None:
    """A user who comes back would be another one, and the ratio of users be called wrong."""
    for worker, user in ((0, 5), (1, 5), (1, 6)):
        world.request(worker, world.stable, T + 0.5, user=user)
    world.request(0, world.canary, T + 0.5, user=7)
    closed = next(world.track(sticky=True).read(world.reader, T + 1.1))
    assert (closed.users, closed.sticky) == ((2, 1), True)
    assert user_count(users(world.reader, world.stable)) == 2
    assert next(world.track().read(world.reader, T + 1.1)).users is None


@pytest.mark.parametrize("real", [1000, 30_000])
def test_users_that_share_a_slot_are_estimated(real: int) -> None:
    """Reports would name fewer users than met the candidate."""
    slots = np.zeros(at.USER_SLOTS, dtype=np.bool_)
    slots[np.random.default_rng(1).integers(0, at.USER_SLOTS, real)] = True
    assert user_count(slots) == pytest.approx(real, rel=0.015)


def test_sums_are_what_was_read(world: World) -> None:
    """Tables for people would differ from what was judged."""
    for second in range(3):
        world.request(0, world.stable, T + second + 0.5)
        world.request(0, world.canary, T + second + 0.5, failed=True, status=500)
    track = world.track()
    read(track, world, T + 4.5)
    assert {role: (arm.answered, arm.failed) for role, arm in track.sums.items()} == {
        "stable": (3, 0),
        "canary": (3, 3),
    }


def test_a_loan_without_a_row_has_no_counts(world: World) -> None:
    """An exhausted ledger would break the evidence of every route."""
    nowhere = replace(world.stable, index=-1, tenant=0)
    assert counts(world.reader, nowhere, T).assigned == 0
    assert user_count(users(world.reader, nowhere)) == 0
    assert read(world.track(nowhere, world.canary), world, T + 1.5) == [(T, 0, 0)]


def test_the_clock_of_slices_outlives_a_reboot(world: World) -> None:
    """After a reboot slices would seem to come before those that were judged already."""
    world.request(0, world.stable, T + 0.5)
    assert [s.at_s for s in world.track().read(world.reader, T + 1.1, 50_000)] == [T + 50_000]


def test_groups_of_users_are_merged_by_text_and_read_once_in_ten_slices(world: World) -> None:
    """A few odd users would count as many requests: their labels are added up over workers that number them apart."""
    for worker, texts in ((0, ("fine", "fraud")), (1, ("fraud",))):
        table = world.writers[worker].labels(world.stable.tables[0].index, world.stable.tables[0].tenant)
        for text in texts:
            readings = [Reading(0, labels=[table.slot(text)]), Reading(1, numbers=[0.5])]
            world.request(worker, world.stable, T + 0.1, group=5, readings=readings)
    track = world.track(sticky=True)
    found = [slice_.groups for slice_ in track.read(world.reader, T + 12.0)]
    told = [place for place, groups in enumerate(found) if groups is not None]
    assert told == [0, 10]
    stable, canary = found[0] or (None, None)
    assert stable is not None
    assert canary is not None
    assert {label: (int(n.argmax()), n.sum()) for label, n in stable.labels["label"].items()} == {
        "fine": (5, 1.0), "fraud": (5, 2.0),
    }  # fmt: skip
    assert stable.numbers["score"][:, 5].tolist() == [3.0, 1.5]
    assert (stable.latency[:, 5].sum(), stable.latency.sum(), canary.latency.sum()) == (3, 3, 0)


def test_what_stable_was_asked_twice_is_of_all_workers_and_in_its_slice(world: World) -> None:
    """The noise of one worker would stand for all, of another output, or of a slice that was read without it."""
    for worker in (0, 1):
        writer, row = world.writers[worker], world.row(worker, world.shadow)
        for at_s, outputs in ((T + 0.2, [(0, True, False), (1, True, True)]), (T + 0.4, [(0, False, True)])):
            writer.arrive(row, at_s)
            writer.repeats.ask(row, at_s)
            writer.pair(row, at_s, at_s + 0.1, 1.0, [(output, differs, ()) for output, differs, _ in outputs])
            writer.finish(row, at_s, at_s + 0.1, False, 200, Fault.NONE)
            if at_s == T + 0.2:
                writer.repeats.end(row, at_s, at_s + 0.3, Repeat.DISAGREED, outputs)
    track = world.track(world.stable, world.canary, world.shadow)
    assert read(track, world, T + 5.0) == [], "two are under way"
    for worker in (0, 1):
        row = world.row(worker, world.shadow)
        world.writers[worker].repeats.end(row, T + 0.4, T + 6.0, Repeat.DISAGREED, [(0, False, True)])
    slice_ = next(track.read(world.reader, T + 6.1))
    assert slice_.pairs is not None
    assert slice_.pairs.repeated == {"label": Repeats(4, 2, 2, 0), "score": Repeats(2, 0, 0, 2)}
    assert slice_.pairs.disagreed == {"label": (4, 2), "score": (2, 2)}
    assert track.repeated == slice_.pairs.repeated
    assert pairs(world.reader, world.shadow, T, turned=True).repeated == {}, "that would be the candidate's noise"
    totals = [world.reader.totals(worker, world.shadow.index, world.shadow.tenant) for worker in (0, 1)]
    assert [found and found.repeats for found in totals] == [{Repeat.DISAGREED: 2}] * 2


def test_no_slice_waits_for_a_repeat_beyond_its_grace(world: World) -> None:
    """A stable that hangs on second requests would hold up all evidence."""
    writer, row = world.writers[0], world.row(0, world.shadow)
    world.request(0, world.shadow, T + 0.2)
    writer.repeats.ask(row, T + 0.2)
    track = world.track(world.stable, world.canary, world.shadow)
    assert read(track, world, T + 1 + at.GRACE_S) == []
    assert read(track, world, T + 1 + at.GRACE_S + 0.3)[0][0] == T


def test_repeats_of_a_dead_worker_are_awaited_no_more(world: World) -> None:
    """Its slices would close at the end of the grace only, one after the other."""
    world.request(0, world.shadow, T + 0.2)
    world.writers[0].repeats.ask(world.row(0, world.shadow), T + 0.2)
    assert not world.reader.complete(0, world.shadow.index, world.shadow.tenant, T)
    world.writers[0] = Writer(world.fd, 0)
    assert world.reader.complete(0, world.shadow.index, world.shadow.tenant, T)


def test_a_promoted_candidate_is_compared_with_copies_for_stable(world: World) -> None:
    """In a bake the versions would change places: a slow candidate would look fast, and its errors be stable's."""
    live, copies = world.canary, replace(world.stable, role="shadow")
    track = world.track(copies, live, share=1.0)
    assert track.roles == ("shadow", "canary")
    world.request(0, live, T + 0.5, failed=True, status=500)
    world.request(0, copies, T + 0.5)
    world.writers[0].pair(world.row(0, copies), T + 0.5, T + 0.6, 0.5, ())
    [slice_] = track.read(world.reader, T + 1.5)
    assert (slice_.candidate.failed, slice_.stable.failed, slice_.stable.answered) == (1.0, 0.0, 1.0)
    assert slice_.pairs is not None
    twice = at.ratio_bucket(2.0)
    assert slice_.pairs.ratio[twice - 1 : twice + 2].sum() == 1.0, "stable took half as long"
