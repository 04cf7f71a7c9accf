"""What users of other systems reported of theirs, and the answer that they needed.

Named by the thread: spinnaker/kayenta, fluxcd/flagger, argoproj/argo-rollouts, evidentlyai/evidently.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.plan import Gate, Plan
from analysis.summaries import Moments
from analysis.verdict import Judge
from tests.support.slices import arm, errors, histogram, look

ERRORS = Gate("errors", "errors", margin_relative=0.2, margin_absolute=0.002)
SCORE = Gate("score", "number", output="score", margin_sd=0.05)


def test_rare_errors_over_a_zero_baseline_abort() -> None:
    """kayenta 426, 799: the baseline had no errors at all, the canary had some, and the judgement was Pass."""
    judge = Judge(Plan((ERRORS,)))
    for _ in range(20):
        judge.observe(errors(9000, 0, 1000, 10, duration_s=30.0))
    verdict = judge.verdict(600.0)
    assert verdict.abort
    assert verdict.decided_by == "errors"


def test_seven_of_ten_points_at_a_hundred_times_abort() -> None:
    """kayenta 780: seven of ten minutes at 100 against 1 passed a rank test of ten points."""
    judge = Judge(Plan((Gate("latency.p50", "latency", quantile=0.5, margin_relative=0.1),)))
    for minute in range(10):
        slow = 100.0 if minute % 10 < 7 else 1.0
        stable, candidate = histogram(np.full(500, 0.01)), histogram(np.full(500, 0.01 * slow))
        judge.observe(look(arm(500, latency=stable), arm(500, latency=candidate), duration_s=60.0))
    verdict = judge.verdict(600.0)
    assert verdict.abort
    assert not verdict.proven


def test_one_failure_of_twenty_does_not_abort() -> None:
    """suna 3403: one 500 at low traffic aborted releases, until a minimum of requests was built in by hand."""
    judge = Judge(Plan((ERRORS,), breaker_above=0.2))
    for number in range(20):
        judge.observe(errors(19, 0, 1, float(number == 7), duration_s=30.0))
    verdict = judge.verdict(600.0)
    assert not verdict.abort
    assert not verdict.proven


def test_eight_samples_are_no_drift_and_no_proof() -> None:
    """evidently 509: a drift was found in eight samples."""
    judge = Judge(Plan((SCORE,)))
    values = np.array([0.1, 0.9, 0.4, 0.5, 0.2, 0.8, 0.7, 0.3])
    stable, candidate = (
        arm(8, numbers=Moments(8.0, float(each.sum()), float((each**2).sum()))) for each in (values, values + 0.5)
    )
    judge.observe(look(stable, candidate, duration_s=30.0))
    verdict = judge.verdict(30.0)
    assert not verdict.abort
    assert not verdict.proven


def test_three_million_rows_do_not_make_a_drift_of_nothing() -> None:
    """evidently 50, 1526: with enough rows everything drifts; a shift of a hundredth of a spread is nothing."""
    random, judge = np.random.default_rng(11), Judge(Plan((SCORE,)))
    for _ in range(30):
        n = 50_000
        arms = []
        for shift in (0.0, 0.01):
            total = float(random.normal(n * shift, np.sqrt(n)))
            arms.append(arm(n, numbers=Moments(float(n), total, n + total * total / n)))
        judge.observe(look(*arms, duration_s=30.0))
    verdict = judge.verdict(900.0)
    assert not verdict.abort
    assert verdict.proven


def test_no_data_waits_and_says_so() -> None:
    """flagger 1035, argo-rollouts 1905: no values meant a rollback, and the cure was synthetic load."""
    judge = Judge(Plan((ERRORS,)))
    for _ in range(50):
        judge.observe(errors(1000, 10, 0, 0, duration_s=30.0))
    verdict = judge.verdict(1500.0)
    assert not verdict.abort
    assert not verdict.proven
    assert any("no data yet; silence proves nothing" in each for each in verdict.missing)


def test_not_a_number_is_refused_and_changes_nothing() -> None:
    """One NaN among the outputs of a model must not poison all evidence that comes after it."""
    good = look(arm(900.0, 9.0, numbers=Moments(900.0, 0.0, 900.0)), arm(100.0, 1.0, numbers=Moments(100.0, 0.0, 99.0)))
    judge = Judge(Plan((ERRORS, SCORE)))
    for _ in range(5):
        judge.observe(good)
    before = judge.verdict(5.0)
    bad = replace(good, candidate=replace(good.candidate, numbers={"score": Moments(100.0, float("nan"), 1.0)}))
    with pytest.raises(ValueError, match="numbers"):
        judge.observe(bad)
    assert judge.verdict(5.0) == before


@pytest.mark.parametrize(("unread", "proven"), [(0.0, True), (0.01, True), (0.3, False)])
def test_a_candidate_that_answers_nan_is_not_proven(unread: float, proven: bool) -> None:
    """A version whose scores are NaN in three of ten answers was within its margin: those that are left look alike."""
    random, judge = np.random.default_rng(5), Judge(Plan((SCORE,)))
    for _ in range(30):
        arms = []
        for share in (0.0, unread):
            n = 5000.0
            kept = n * (1 - share)
            total = float(random.normal(0.0, np.sqrt(kept)))
            counts = arm(n, numbers=Moments(kept, total, kept + total * total / kept))
            arms.append(replace(counts, invalid={"score": n * share}))
        judge.observe(look(*arms, duration_s=30.0))
    verdict = judge.verdict(900.0)
    assert verdict.proven is proven
    assert not verdict.abort
    assert Judge.load(judge.plan, judge.dump()).verdict(900.0) == verdict
