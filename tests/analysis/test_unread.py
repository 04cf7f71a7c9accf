"""Outputs that are missing or invalid: a version that answers no number at all is found, and said to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.plan import Gate, Plan
from analysis.summaries import ArmCounts, Moments
from analysis.verdict import Judge
from tests.support.slices import arm, look

SCORE = Gate("prediction.score", "number", output="score", margin_sd=0.05, weight=0.9)
WATCH = Gate("prediction.score.invalid", "unread", output="score", margin_absolute=0.02, weight=0.1)
PLAN = Plan((Gate("errors", "errors", margin_absolute=0.01), SCORE, WATCH), breaker_above=0.2)


def scored(random: np.random.Generator, n: int, missing: float = 0.0, invalid: float = 0.0) -> ArmCounts:
    """An arm whose answers hold a score, but for shares of them."""
    absent, wrong = random.binomial(n, missing), random.binomial(n, invalid)
    values = random.standard_normal(max(n - absent - wrong, 0))
    numbers = Moments(float(len(values)), float(values.sum()), float((values * values).sum()))
    made = arm(float(n), numbers=numbers)
    return replace(made, missing={"score": float(absent)}, invalid={"score": float(wrong)})


def judged(seconds: int, per_s: int, stable: dict[str, float], candidate: dict[str, float]) -> Judge:
    random, judge = np.random.default_rng(7), Judge(PLAN)
    for _ in range(seconds):
        judge.observe(look(scored(random, per_s, **stable), scored(random, per_s, **candidate)))
    return judge


@pytest.mark.parametrize(("how", "word"), [("invalid", "invalid"), ("missing", "missing")])
def test_a_candidate_without_any_number_is_aborted(how: str, word: str) -> None:
    """Broken: a model whose scores are all NaN is neither promoted nor aborted, for as long as its time lasts."""
    verdict = judged(300, 50, {}, {how: 1.0}).verdict(300.0)
    assert verdict.abort
    assert verdict.decided_by == "prediction.score.invalid"
    assert f"100 % of the candidate's values are {word} against 0 % of stable's" in verdict.reason


def test_what_stable_lacks_as_often_is_no_harm() -> None:
    """Broken: a model with an optional output is aborted, or never proven, for what its stable does as well."""
    verdict = judged(900, 400, {"missing": 0.3}, {"missing": 0.3}).verdict(900.0)
    assert verdict.proven, verdict.missing
    watch = next(metric for metric in verdict.metrics if metric.kind == "unread")
    assert watch.stable == pytest.approx(0.3, abs=0.01)
    assert watch.effective_margin == "+2 pp at the stable's 30 %"


def test_a_score_that_is_lost_too_often_is_not_promoted() -> None:
    """Broken: a shift hides in answers that have no number."""
    verdict = judged(400, 300, {}, {"invalid": 0.05}).verdict(400.0)
    assert verdict.abort
    assert not verdict.proven
    assert verdict.decided_by == "prediction.score.invalid"


def test_labels_are_counted_too() -> None:
    """Broken: an output that only pairs compare is watched as if nobody ever had answered with it."""
    judge = Judge(Plan((Gate("prediction.label.invalid", "unread", output="label", margin_absolute=0.02),)))
    for _ in range(60):
        judge.observe(look(arm(90.0, labels={"a": 60.0, "b": 29.0}, missing=1.0), arm(10.0, labels={"a": 10.0})))
    reading = judge.verdict(60.0).metrics[0]
    assert (reading.stable, reading.candidate) == (pytest.approx(1 / 90), 0.0)
    assert (reading.n_stable, reading.n_candidate) == (5400.0, 600.0)
