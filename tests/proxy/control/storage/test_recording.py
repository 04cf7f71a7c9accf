"""Recorded slices: what comes back is what a judge was given, and silence costs nothing."""

from __future__ import annotations

import zlib
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.plan import Gate, Plan
from analysis.summaries import ArmTruths, Cut, GroupCounts, Moments, PairCounts, Repeats, Slice, SoFar, TruthCounts
from analysis.verdict import Judge
from proxy.control.storage.recording import MOST_PENDING, TOGETHER, Recorder, Recording, decode
from tests.support.slices import Version, arm, look


def rich(n: int, *, stage: int = 1, seed: int = 7) -> list[Slice]:
    """Slices with everything in them."""
    random = np.random.default_rng(seed)
    made = []
    for second in range(n):
        stable, candidate = (Version(score=0.1).serve(random, 40 + second) for _ in range(2))
        groups = tuple(
            GroupCounts(
                random.integers(0, 3, (48, 64)).astype(float),
                {"label": {"größer": random.integers(0, 3, 64).astype(float)}},
                {"score": random.random((2, 64))},
            )
            for _ in range(2)
        )
        ratio = random.integers(0, 2, 256).astype(float)
        pairs = PairCounts(9.0, {"label": (9.0, 2.0)}, ratio, {"label": Repeats(4.0, 1.0, 0.0, 1.0)})
        candidate = replace(
            candidate,
            group_n=random.integers(0, 9, 64).astype(float),
            histograms={"score": random.integers(0, 4, 64).astype(float)},
            numbers={"score": Moments(3.0, -1.25e-3, 1 / 3)},
            clipped={"score": 2.0},
        )
        slice_ = look(stable, candidate, stage=stage, at_s=1.8e9 + second, share=0.05, users=(40, 2), sticky=True)
        told = ArmTruths(9.0, 2.0, Moments(3.0, 0.25, 1 / 3), group_loss=random.random((2, 64)))
        truths = (TruthCounts(0, told, ArmTruths()), TruthCounts(stage, told, told)) if not second % 7 else ()
        asked = groups if not second % 10 else None
        cut = Cut(SoFar(30.0, 1.0, 2.0), SoFar(2.0, 2.0, 0.0)) if second % 5 == 3 else None
        made.append(replace(slice_, pairs=pairs, groups=asked, truths=truths, rival="ab"[second % 2], cut=cut))
    return made


def same(one: Any, other: Any) -> bool:
    if is_dataclass(one):
        return type(one) is type(other) and all(same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and bool(np.array_equal(one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple) and one and not isinstance(one[0], float | int):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return bool(one == other)


class Rows:
    """What a database would hold."""

    def __init__(self) -> None:
        self.rows: dict[int, Any] = {}
        self.next = 1

    def take(self, recording: Recording) -> list[int]:
        for number in recording.replaced:
            del self.rows[number]
        ids = list(range(self.next, self.next + len(recording.rows)))
        self.next += len(ids)
        self.rows.update(zip(ids, recording.rows, strict=True))
        return ids

    def slices(self) -> list[Slice]:
        return [looked.slice for _, row in sorted(self.rows.items()) for looked in decode(row.data)]


def test_what_comes_back_is_what_was_judged() -> None:
    """If broken, a backtest is of other evidence than the rollout was."""
    made = rich(25)
    recorder, rows = Recorder(), Rows()
    for slice_ in made:
        recorder.add(slice_, slice_.at_s + 1.06)
        pending = recorder.pending()
        assert pending is not None
        recorder.kept(rows.take(pending))
    assert len(rows.slices()) == len(made)
    for one, other in zip(made, rows.slices(), strict=True):
        assert same(one, other)
    plan = Plan((Gate("e", "errors", margin_absolute=0.05), Gate("l", "category", "label", margin_absolute=0.1),
                 Gate("p", "latency", quantile=0.9, margin_relative=0.2), Gate("n", "number", "score", margin_sd=0.2),
                 Gate("d", "pair", "label", margin_absolute=0.1)), block_s=5.0)  # fmt: skip
    first, second = Judge(plan), Judge(plan)
    for one, other in zip(made, rows.slices(), strict=True):
        first.observe(one)
        second.observe(other)
    assert first.dump() == second.dump()
    assert [looked.read_s for looked in decode(rows.rows[1].data)] == [made[0].at_s + 1.06]


@pytest.mark.parametrize("fails", [(), (3, 4, 70), (59, 60, 61, 119, 120)])
def test_rows_are_put_together_and_none_is_lost(fails: tuple[int, ...]) -> None:
    """If broken, a store that was away for a while leaves a hole in the recording, or a row twice."""
    recorder, rows = Recorder(), Rows()
    for second in range(150):
        stage = 1 if second < 130 else 2
        recorder.add(look(arm(5), arm(1), stage=stage, at_s=float(second), share=0.05 * stage), second + 1.0)
        pending = recorder.pending()
        if pending is not None and second not in fails:
            recorder.kept(rows.take(pending))
    assert recorder.pending() is None
    assert [slice_.at_s for slice_ in rows.slices()] == list(range(150))
    shapes = [(row.stage, row.weight_ppm, row.count) for _, row in sorted(rows.rows.items())]
    assert shapes[:3] == [(1, 50_000, TOGETHER), (1, 50_000, TOGETHER), (1, 50_000, 10)]
    assert {(stage, weight) for stage, weight, _ in shapes[3:]} == {(2, 100_000)}
    assert len(rows.rows) == 3 + 20
    assert all(row.first_s <= row.last_s for row in rows.rows.values())


TICKS = st.lists(st.tuples(st.sampled_from([0, 0, 1, 1, 1, 2, 5, 70]), st.booleans(), st.integers(0, 9)), max_size=90)
"""Of each tick: how many slices have closed, whether the store takes them, and 0 where a new stage begins."""


@settings(deadline=None)
@given(TICKS)
def test_each_slice_is_kept_once_and_in_order_whatever_a_tick_finds(ticks: list[tuple[int, bool, int]]) -> None:
    """If broken, a tick in which nothing has closed leaves a row behind, and a backtest runs its slices twice."""
    recorder, rows, second, stage = Recorder(), Rows(), 0, 1
    for closed, works, change in ticks:
        stage += change == 0
        for _ in range(closed):
            recorder.add(look(arm(5), arm(1), stage=stage, at_s=float(second), share=0.05), second + 1.0)
            second += 1
        pending = recorder.pending()
        if works:
            recorder.kept([] if pending is None else rows.take(pending))
    if (pending := recorder.pending()) is not None:
        recorder.kept(rows.take(pending))
    assert [slice_.at_s for slice_ in rows.slices()] == [float(each) for each in range(second)]
    assert sum(row.count for row in rows.rows.values()) == second


def test_a_store_that_is_away_costs_bounded_memory() -> None:
    """If broken, a disk that stays full for a night ends the controller."""
    recorder = Recorder()
    for second in range(MOST_PENDING + 50):
        recorder.add(look(arm(), arm(), stage=1, at_s=float(second)), float(second))
    pending = recorder.pending()
    assert pending is not None
    kept = sum(row.count for row in pending.rows)
    assert (kept + recorder.lost, recorder.lost) == (MOST_PENDING + 50, TOGETHER)
    last = [looked.slice.at_s for row in pending.rows for looked in decode(row.data)]
    assert last == [float(second) for second in range(TOGETHER, MOST_PENDING + 50)]


def test_what_waits_is_packed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """If broken, each tick of a night without a store packs the whole night anew, and the controller stands still."""
    packed: list[int] = []
    compress = zlib.compress
    monkeypatch.setattr(
        "proxy.control.storage.recording.zlib.compress",
        lambda data, level: packed.append(len(data)) or compress(data, level),
    )
    recorder = Recorder()
    for second in range(10 * TOGETHER + 30):
        recorder.add(look(arm(5), arm(1), stage=1, at_s=float(second)), second + 1.0)
        recorder.pending()
    assert len(packed) == 10 * TOGETHER + 30, "one row for each tick: the one that is still open, or has just closed"
    pending = recorder.pending()
    assert pending is not None
    found = [looked.slice.at_s for row in pending.rows for looked in decode(row.data)]
    assert found == [float(second) for second in range(10 * TOGETHER + 30)]


def test_silence_costs_next_to_nothing() -> None:
    """If broken, a rollout that waits for traffic over a weekend fills the disk."""
    sizes = {}
    for name, rate in (("silent", 0), ("busy", 50)):
        random = np.random.default_rng(1)
        recorder = Recorder()
        for second in range(TOGETHER):
            stable, candidate = (Version().serve(random, n) for n in (rate, rate // 10))
            recorder.add(look(stable, candidate, stage=1, at_s=1.8e9 + second), 1.8e9 + second + 1.06)
        pending = recorder.pending()
        assert pending is not None
        (row,) = pending.rows
        sizes[name] = len(row.data) / TOGETHER
    assert sizes["silent"] < 10
    assert sizes["busy"] < 150


@pytest.mark.parametrize("data", [b"", b"nonsense", zlib.compress(b"\x91\x01"), zlib.compress(b"\x90")[:-3]])
def test_damaged_rows_are_refused(data: bytes) -> None:
    """If broken, a damaged store ends a backtest in a stack trace."""
    with pytest.raises(ValueError, match="recorded slices cannot be read"):
        list(decode(data))
