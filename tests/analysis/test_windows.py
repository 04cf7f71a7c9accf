"""Thin traffic: what is gathered over which windows, and what that may never change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from math import inf, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import nchypergeom_fisher

from analysis.engine import HARM, PASS, Table
from analysis.plan import Gate, Plan
from analysis.stack import _hypergeometric
from analysis.summaries import Moments, Repeats, Slice
from analysis.verdict import Judge
from analysis.windows import FULL, Pace, Windows
from tests.support.rollouts import limit
from tests.support.slices import GRID, arm, hearing, look, told
from tests.support.thin import thin

ERRORS = Gate("errors", "errors", margin_absolute=0.01)
GATES = (
    ERRORS,
    Gate("latency.p50", "latency", quantile=0.5, margin_relative=0.1),
    Gate("prediction.label", "category", output="label", margin_absolute=0.02),
    Gate("prediction.score", "number", output="score", margin_sd=0.1),
    Gate("pair.label", "pair", output="label", margin_absolute=0.01, repeats=0.5),
    Gate("pair.latency", "slowdown", margin_relative=0.1),
    Gate("feedback.accuracy", "accuracy", margin_absolute=0.01),
)
PLAN = Plan(GATES, breaker_above=0.2)


def served(random: np.random.Generator, n: int, failing: float = 0.02) -> object:
    """An arm with n requests, of which every output is known."""
    latency = np.bincount(random.integers(600, 660, n), minlength=GRID.buckets).astype(float)
    values = random.standard_normal(n)
    labels = {"a": float(n // 2), "b": float(n - n // 2)}
    moments = Moments(float(n), float(values.sum()), float((values * values).sum()))
    return arm(float(n), float(random.binomial(n, failing)), latency, labels, moments)


def traffic(random: np.random.Generator, per_s: float, seconds: int, stage: int = 0, share: float = 0.3) -> list[Slice]:
    """Slices of a second with requests, pairs (half of them repeated) and truths in each."""
    made = []
    for _ in range(seconds):
        n_c, n_s = (int(random.poisson(per_s * each)) for each in (share, 1 - share))
        n = float(n_c + n_s)
        one = look(served(random, n_s), served(random, n_c), stage=stage, share=share, pairs=(n, float(n_c // 9)))
        again = Repeats(n // 2, float(n > 9), float(n > 12), 0.0)
        assert one.pairs is not None
        made.append(
            replace(
                one,
                pairs=replace(one.pairs, repeated={"label": again}),
                truths=(told(n_s, n_s // 5, n_c, n_c // 5, stage),),
            )
        )
    return made


def judged(plan: Plan, slices: Iterable[Slice]) -> Judge:
    judge = Judge(plan)
    for slice_ in slices:
        judge.observe(slice_)
    return judge


def everything(judge: Judge) -> dict[str, list[float]]:
    return {name: array.tolist() for name, array in judge._state().items()}


def sliced(windows: Windows, slice_: Slice, left_s: float) -> Slice:
    """Every slice by itself."""
    return slice_


def test_where_slices_are_filled_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: evidence of busy routes is another than without windows, in whatever digit."""
    made = traffic(np.random.default_rng(1), 60.0, 150)
    found = everything(judged(PLAN, made))
    monkeypatch.setattr(Windows, "take", sliced)
    assert everything(judged(PLAN, made)) == found


def test_thin_traffic_is_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: at a request a second two thirds of what is learnt are thrown away."""
    plan, made = Plan((ERRORS,)), traffic(np.random.default_rng(2), 1.0, 1500)
    row = judged(plan, made)._stack.differences.information(0)
    monkeypatch.setattr(Windows, "take", sliced)
    assert row > 2.0 * judged(plan, made)._stack.differences.information(0)
    assert row > 0.85 * 0.3 * 0.7 * sum(each.stable.answered + each.candidate.answered for each in made)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.floats(0.0, 30.0), st.sampled_from((0.5, 1.0, 2.5, 5.0)), st.integers(1, 15)),
        min_size=1,
        max_size=6,
    ),
    st.integers(0, 9),
)
def test_no_window_crosses_a_stage_or_loses_a_count(spans: list[tuple[int, float, float, int]], seed: int) -> None:
    """Broken: requests of two weights are compared with each other, or some with none."""
    random, windows, left_s = np.random.default_rng(seed), Windows(GRID), 30.0
    wanted: dict[int, np.ndarray] = {}
    found: dict[int, np.ndarray] = {}

    def take(one: Slice) -> None:
        pairs = 0.0 if one.pairs is None else one.pairs.compared
        counted = np.array([one.stable.answered, one.candidate.failed, one.duration_s, pairs, one.present.stable.n])
        assert one.present.stable.n == sum(each.stable.n for each in one.truths)
        found[one.stage] = found.get(one.stage, 0.0) + counted

    for stage, per_s, length_s, slices in spans:
        for made in traffic(random, per_s * length_s, slices, stage):
            slice_ = replace(made, duration_s=length_s)
            if windows.are_broken_by(slice_):
                take(windows.flush())
            assert slice_.pairs is not None
            counted = [slice_.stable.answered, slice_.candidate.failed, length_s, slice_.pairs.compared]
            wanted[stage] = wanted.get(stage, 0.0) + np.array([*counted, slice_.present.stable.n])
            take(windows.take(slice_, left_s))
            left_s = left_s - length_s if left_s > length_s else 30.0
            assert windows._open == {} or left_s < 30.0, "a window outlives its block"
    take(windows.flush())
    for stage in {*found, *wanted}:
        assert found.get(stage, np.zeros(5)).tolist() == pytest.approx(wanted.get(stage, np.zeros(5)).tolist())


@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.floats(0.1, 15.0), st.integers(2, 38), st.integers(0, 9), st.integers(10, 30))
def test_a_crash_inside_a_window_changes_nothing(per_s: float, at: int, seed: int, begins: int) -> None:
    """Broken: what was gathered is lost, or counted twice, when the controller restarts."""
    random = np.random.default_rng(seed)
    made = [*traffic(random, per_s, begins), *traffic(random, per_s, 40 - begins, stage=1)]
    # The presumption of full slices fades only slowly; a quiet minute ends it.
    plan, quiet = replace(PLAN, block_s=10.0), traffic(random, 0.0, 90)
    whole = judged(plan, [*quiet, *made])
    loaded = Judge.load(plan, judged(plan, [*quiet, *made[:at]]).dump())
    for slice_ in made[at:]:
        loaded.observe(slice_)
    assert everything(loaded) == everything(whole)
    assert loaded.verdict(1.0) == whole.verdict(1.0)
    assert loaded.dump() == whole.dump()


def test_a_window_is_fixed_when_it_begins_and_by_nothing_but_traffic() -> None:
    """Broken: whoever looks at failures decides when to look, and the promise is worth nothing."""
    ends = []
    for failing in (0.0, 0.9):
        random, windows, left_s = np.random.default_rng(5), Windows(GRID), 30
        ends.append([])
        for slice_ in traffic(random, 2.0, 400):
            failed = replace(slice_.candidate, failed=slice_.candidate.answered * failing)
            ends[-1].append(windows.take(replace(slice_, candidate=failed), left_s).duration_s)
            left_s = left_s - 1 if left_s > 1 else 30
    assert ends[0] == ends[1]
    assert set(ends[0][-300:]) >= {0.0}
    pace = Pace()
    lengths = [pace.length_s for second in range(600) if pace.ends(2.0, 1.0, 30.0 - second % 30)]
    assert lengths[0] == 1.0, "what is not known to be thin is not gathered"
    assert lengths[-1] == 10.0, "two requests a second fill a third of a block"
    assert FULL == 20.0


def test_truths_and_requests_have_windows_of_their_own() -> None:
    """Broken: rare truths of a busy route hold its requests back, or are compared one by one."""
    windows, truths = Windows(GRID), []
    for second in range(300):
        busy = look(arm(900.0, 9.0), arm(100.0, 1.0))
        slice_ = replace(busy, truths=hearing(told(1.0, 0.0, 1.0, 0.0)).truths if second % 5 == 0 else ())
        window = windows.take(slice_, 30.0 - second % 30)
        assert window.stable is slice_.stable
        truths += [each.stable.n for each in window.truths]
    assert truths[-1] == 6.0, "a truth in five seconds has the whole block to gather"
    assert sum(truths) == 60.0


@pytest.mark.slow
@pytest.mark.parametrize("side", [HARM, PASS])
@pytest.mark.parametrize(("rate", "weight", "hours"), [(0.5, 0.5, 6.0), (1.0, 0.1, 6.0), (10.0, 0.05, 1.0)])
def test_on_the_margin_thin_traffic_is_rarely_misjudged(rate: float, weight: float, hours: float, side: float) -> None:
    """Broken: gathering requests aborts candidates within their margin, or promotes such as are beyond it."""
    random = np.random.default_rng([round(10 * rate), round(100 * weight), round(side + 2)])
    rollouts = thin(random, rate, weight, Table(0.01, 1.0, side, 0.01, 50.0), 0.01, hours, runs=100)
    assert rollouts.alarmed.sum() <= limit(100)


@pytest.mark.slow
def test_thin_traffic_is_judged_sooner_by_windows() -> None:
    """Broken: a candidate that fails five times as often is found no sooner than by slices of a second."""
    table, took = Table(0.01, 1.0, HARM, 0.01, 50.0), []
    for gather in (True, False):
        first = thin(np.random.default_rng(9), 1.0, 0.1, table, 0.045, hours=2.0, runs=60, gather=gather).first[0]
        took.append(np.median(np.where(first > 0, first, inf)))
    windows, slices = took
    assert windows < 0.75 * slices


@pytest.mark.parametrize(("odds", "n_c", "n_s", "x"), [(5.0, 30, 270, 6), (2.0, 50, 50, 20), (9.0, 100, 900, 25)])
def test_a_worse_candidate_varies_more_and_by_how_much(odds: float, n_c: int, n_s: int, x: int) -> None:
    """Broken: the share of failures of a bad version is taken for noise between instances, and divides its evidence."""
    exact = nchypergeom_fisher(n_c + n_s, n_c, x, odds).var() / nchypergeom_fisher(n_c + n_s, n_c, x, 1.0).var()
    counts = np.array([[n_c, 0.0, n_s, float(x)]] * 2)
    _, (alike, apart) = _hypergeometric(counts, np.array([1.0, odds]))
    assert alike == pytest.approx(nchypergeom_fisher(n_c + n_s, n_c, x, 1.0).var(), rel=1e-9)
    assert apart / alike == pytest.approx(max(exact, 1.0), rel=0.03)


def test_evidence_of_a_window_is_that_of_its_sum() -> None:
    """Broken: a window is more, or less, than the slice of its length would be."""
    random = np.random.default_rng(6)
    quiet = [look(arm(), arm()) for _ in range(120)]
    parts = [look(arm(4.0, float(random.binomial(4, 0.1))), arm(1.0, float(random.binomial(1, 0.1)))) for _ in range(3)]
    judge = judged(Plan((ERRORS,), block_s=30.0), [*quiet, *parts])
    assert judge._stack.differences.samples(0) == (0.0, 0.0), "the window is open"
    for slice_ in (look(arm(), arm()) for _ in range(27)):
        judge.observe(slice_)
    assert judge._stack.differences.samples(0) == (12.0, 3.0)
    n_c, n_s = 3.0, 12.0
    assert judge._stack.differences.information(0) == n_c * n_s / (n_c + n_s)
    assert judge.verdict(0.0).abort_evidence < log(20)


def test_a_pause_is_no_thin_traffic() -> None:
    """Broken: after some seconds of silence a busy route is compared by half minutes, in which what befell both
    versions for a second may have met one of them alone."""
    pace = Pace()
    for second in range(120):
        pace.ends(30.0 if second < 112 else 0.0, 1.0, 30.0 - second % 30)
    pace.ends(30.0, 1.0, 30.0)
    assert pace.length_s <= 2.0
    for second in range(1, 300):
        pace.ends(1.0, 1.0, 30.0 - second % 30)
    assert pace.length_s > 10.0, "but thin traffic is known within minutes"
