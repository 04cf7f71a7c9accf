"""Pairs: beta-binomial mixtures against closed forms, and the meter of disagreement."""

from __future__ import annotations

from dataclasses import replace
from math import log

import numpy as np
import pytest
from scipy.special import gammaln

from analysis.intervals import INTERVAL_ALPHA, bound
from analysis.pairs import RESTARTS, Disagreement, Pairs, Slowdown, log_mixture, mcnemar
from analysis.plan import Gate
from analysis.robustness import BLOCK_CAP
from analysis.summaries import PairCounts
from tests.analysis.test_intervals import width_of
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
    good, bad = Disagreement(GATE), Disagreement(GATE)
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
    pairs = Disagreement(GATE)
    run(pairs, 1, 500, 500)
    assert pairs.wealth().harm <= BLOCK_CAP + 1e-9


def test_late_disagreement_is_found_through_restarts() -> None:
    """Broken: hours of agreement hide a shadow that begins to disagree."""
    pairs = Disagreement(GATE)
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
    pairs = Disagreement(Gate("pair.label", "pair", output="label", margin_absolute=0.0, role="signal"))
    run(pairs, 6, 100, 1)
    assert pairs.wealth().harm > log(120)
    assert np.isfinite(pairs.wealth().passing)


def test_stages_without_pairs_say_nothing() -> None:
    """Broken: evidence is lost, or made, in stages that mirror nothing."""
    pairs = Disagreement(GATE)
    run(pairs, 20, 500, 0)
    before = pairs.wealth()
    pairs.begin_stage()
    assert pairs.observe(look(arm(), arm())) is False
    assert pairs.inside() is None
    assert pairs.wealth() == before


SLOWDOWN = Gate("pair.latency", "slowdown", margin_relative=0.1)


def ratios(random: np.random.Generator, n: int, factor: float) -> np.ndarray:
    """Latency ratios of n pairs around a factor, in buckets."""
    logs = np.floor(np.log(factor * np.exp(random.normal(0, 0.5, n))) / np.log(1.04)).astype(int) + 128
    return np.bincount(np.clip(logs, 0, 255), minlength=256).astype(float)


def paired(pairs: Pairs, factor: float, blocks: int, seed: int = 4) -> Pairs:
    random = np.random.default_rng(seed)
    for _ in range(blocks):
        for _ in range(5):
            counts = PairCounts(100.0, {}, ratios(random, 100, factor))
            pairs.observe(replace(look(arm(), arm()), pairs=counts))
        pairs.close()
    return pairs


def test_mcnemar_compares_who_alone_is_wrong() -> None:
    """Broken: the paired test of accuracy is not what 40-digit arithmetic gives, or a side is taken for the other."""
    assert mcnemar(25, 10) == pytest.approx(2.5186284045, abs=1e-9)
    assert mcnemar(10, 25, "below") == pytest.approx(2.5186284045, abs=1e-9)
    assert mcnemar(10, 25) < -1
    assert mcnemar(25, 10, "either") == pytest.approx(mcnemar(10, 25, "either"), abs=1e-12)
    assert mcnemar(0, 0) == 0.0


def test_paired_latency_is_proven_or_harm() -> None:
    """Broken: a candidate as fast as the stable is not proven, or one a third slower on the same requests goes by."""
    equal, slower = paired(Slowdown(SLOWDOWN), 1.0, 12), paired(Slowdown(SLOWDOWN), 1.33, 12)
    assert equal.wealth().passing > log(20)
    assert equal.wealth().harm < 0
    assert equal.inside() is True
    assert slower.wealth().harm > log(20)
    assert slower.wealth().passing < 0
    assert slower.inside() is False
    estimate = slower.estimate()
    assert estimate.effect == pytest.approx(33, abs=4)
    assert estimate.low is not None
    assert estimate.high is not None
    assert 10 < estimate.low < 33 < estimate.high < 60


def test_the_margin_of_paired_latency_is_in_whole_buckets() -> None:
    """Broken: the margin tested is not the one that is stated, or harm is found inside the margin."""
    pairs = Slowdown(SLOWDOWN)
    assert pairs.margin_words() == "+10 % in the median pair"
    assert pairs.effective_words() == "+12.5 % for harm, +8.16 % for pass"
    inside = np.zeros(256)
    inside[128 + 2] = 50.0  # 8.16 % to 12.5 % slower: neither harm nor proven
    assert pairs.count(PairCounts(50.0, {}, inside)) == (50.0, 0.0, 50.0)


def test_paired_latency_on_its_margin_rarely_alarms() -> None:
    """Broken: the sign test gains evidence at its own limit. 200 runs; a correct build fails once in a million."""
    alarms = 0
    for seed in range(200):
        at_limit = paired(Slowdown(SLOWDOWN), 1.04**3, 4, seed)
        alarms += at_limit.wealth().harm >= log(20)
    assert alarms <= 29


def test_bursts_of_odd_requests_count_for_less() -> None:
    """Broken: disagreements that come together count as independent ones."""
    even, bursts = Disagreement(GATE), Disagreement(GATE)
    for block in range(20):
        for second in range(10):
            even.observe(look(arm(), arm(), pairs=(100.0, 1.0)))
            odd = 100.0 if block % 5 == 0 and second == 0 else 0.0
            bursts.observe(look(arm(), arm(), pairs=(100.0, odd)))
        even.close()
        bursts.close()
    assert even.phi() == 1.0
    assert bursts.phi() > 10
    assert bursts.wealth().harm < even.wealth().harm


def together(size: float, blocks: int = 30) -> Disagreement:
    """Ten pairs of each thousand disagree, in slices that hold so many of them; the limit is 2 %."""
    pairs = Disagreement(replace(GATE, margin_absolute=0.02))
    for _ in range(blocks):
        for second in range(10):
            pairs.observe(look(arm(), arm(), pairs=(100.0, size if second < 10 / size else 0.0)))
        pairs.close()
    return pairs


def test_pairs_that_disagree_together_prove_less() -> None:
    """Broken: ten odd answers to one client count as ten facts, and a candidate is promoted on a few clients' word."""
    even, bursts = together(1.0), together(10.0)
    assert even.phi() == 1.0
    assert bursts.wealth().passing < even.wealth().passing / 2


def test_pairs_that_disagree_together_widen_the_interval() -> None:
    """Broken: the share that is shown of odd requests that come together looks far surer than it is."""
    even, bursts = together(1.0).estimate(), together(10.0).estimate()
    assert even.effect == bursts.effect == pytest.approx(1.0)
    assert 2.0 < width_of(bursts) / width_of(even) < 4.0, "by about the root of the dispersion, which is nine"


def test_disagreement_bets_near_its_limit() -> None:
    """Broken: the test of pairs spreads its bets over all shares up to 1, and takes times the pairs that it could. The
    limit is 0.5 % of the pairs; 40-digit arithmetic for 2 of 5,000."""
    pairs = Disagreement(GATE)
    for block in range(20):
        run(pairs, 1, 250.0, float(block in {9, 13}))
    assert pairs.phi() == 1.0
    assert pairs.wealth().passing == pytest.approx(16.4293368411, abs=1e-8)


def test_the_interval_of_pairs_is_narrowest_at_a_thousand() -> None:
    """Broken: the interval of a rehearsal is tuned for as many pairs as it never sees, and says less than it could."""
    pairs = Disagreement(replace(GATE, margin_absolute=0.5))
    run(pairs, 10, 100.0, 50.0)
    found, variance = pairs.estimate(), 1000 / 4
    best = min(float(bound(variance, rho, INTERVAL_ALPHA)) for rho in np.geomspace(variance / 100, variance, 200))
    assert width_of(found) / 200 == pytest.approx(best / 1000, rel=0.05), "in percent, and both sides"
