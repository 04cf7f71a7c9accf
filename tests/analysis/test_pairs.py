"""Pairs: beta-binomial mixtures against closed forms, and the meter of disagreement."""

from __future__ import annotations

from math import log

import numpy as np
import pytest
from scipy.special import gammaln

from analysis.pairs import RESTARTS, Pairs, log_mixture
from analysis.plan import Gate
from analysis.robustness import BLOCK_CAP
from tests.support.slices import arm, look

GATE = Gate("pair.label", "pair", output="label", margin_absolute=0.005)


@pytest.mark.parametrize(
    ("x", "n", "p0", "a", "b", "side", "log_e"),
    [
        (25, 35, 0.5, 1, 1, "either", 1.6484745736),
        (8, 10, 0.5, 1, 1, "either", log(1024 / 495)),
        (25, 35, 0.5, 5, 5, "above", 2.5186284045),
        (12, 2000, 0.002, 1, 500, "above", 4.0747595310),
        (2, 5000, 0.005, 1, 200, "below", 16.4293368411),
    ],
)
def test_mixtures_match_closed_forms(x: int, n: int, p0: float, a: float, b: float, side: str, log_e: float) -> None:
    """Broken: McNemar's test or the one-sample test is not what 40-digit arithmetic gives."""
    found = log_mixture(np.array([float(x)]), np.array([float(n)]), p0, a, b, side)  # type: ignore[arg-type]
    assert found[0] == pytest.approx(log_e, abs=1e-9)


@pytest.mark.parametrize("side", ["above", "below"])
def test_mixture_has_mean_of_at_most_one_under_the_null(side: str) -> None:
    """Broken: pairs gain evidence under the limit itself."""
    n, p0 = 400, 0.02
    x = np.arange(n + 1.0)
    log_chance = gammaln(n + 1) - gammaln(x + 1) - gammaln(n - x + 1) + x * log(p0) + (n - x) * log(1 - p0)
    log_e = log_mixture(x, np.full_like(x, n), p0, 1.0, 1 / p0, side)  # type: ignore[arg-type]
    assert 0.5 < float(np.exp(log_chance + log_e).sum()) <= 1 + 1e-9


def test_mixture_is_finite_far_from_the_limit() -> None:
    """Broken: NaN, or evidence from the digits that the incomplete beta function does not have."""
    n = np.array([1e7, 1e7, 1e7])
    x = np.array([0.0, 5e6, 1e7])
    above = log_mixture(x, n, 0.005, 1.0, 200.0, "above")
    below = log_mixture(x, n, 0.005, 1.0, 200.0, "below")
    assert np.isfinite(above).all()
    assert np.isfinite(below).all()
    assert (np.sign(above).tolist(), np.sign(below).tolist()) == ([-1, 1, 1], [1, -1, -1])


def run(pairs: Pairs, blocks: int, n: float, x: float) -> None:
    for _ in range(blocks):
        pairs.observe(look(arm(), arm(), pairs=(n, x)))
        pairs.close()


def test_agreement_is_proven_and_disagreement_is_harm() -> None:
    """Broken: a shadow that agrees is never proven, or one that disagrees goes by."""
    good, bad = Pairs(GATE), Pairs(GATE)
    run(good, 20, 500, 0)
    run(bad, 20, 500, 10)
    assert good.wealth().passing > log(20)
    assert good.wealth().harm < 0
    assert good.inside() is True
    assert bad.wealth().harm > log(120)
    assert bad.wealth().passing < 0
    assert bad.inside() is False
    estimate = bad.estimate()
    assert estimate.effect == pytest.approx(2.0)
    assert estimate.low is not None
    assert estimate.low > 0.5


def test_one_block_of_disagreement_does_not_decide() -> None:
    """Broken: one burst of odd inputs aborts a rollout."""
    pairs = Pairs(GATE)
    run(pairs, 1, 500, 500)
    assert pairs.wealth().harm <= BLOCK_CAP + 1e-9


def test_late_disagreement_is_found_through_restarts() -> None:
    """Broken: hours of agreement hide a shadow that begins to disagree."""
    pairs = Pairs(GATE)
    for _ in range(RESTARTS + 3):
        run(pairs, 10, 500, 0)
        pairs.restart()
    assert pairs.wealth().harm > log(1 / RESTARTS) - 60
    blocks = 0
    while pairs.wealth().harm < log(120):
        run(pairs, 1, 500, 50)
        blocks += 1
    assert blocks < 40


def test_a_limit_of_nothing_is_harmed_by_any_pair() -> None:
    """Broken: a signal with a limit of 0 divides by zero."""
    pairs = Pairs(Gate("pair.label", "pair", output="label", margin_absolute=0.0, role="signal"))
    run(pairs, 6, 100, 1)
    assert pairs.wealth().harm > log(120)
    assert np.isfinite(pairs.wealth().passing)


def test_stages_without_pairs_say_nothing() -> None:
    """Broken: evidence is lost, or made, in stages that mirror nothing."""
    pairs = Pairs(GATE)
    run(pairs, 20, 500, 0)
    before = pairs.wealth()
    pairs.begin_stage()
    assert pairs.observe(look(arm(), arm())) is False
    assert pairs.inside() is None
    assert pairs.wealth() == before
