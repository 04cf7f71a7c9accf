"""Engine A and B against closed forms, published numbers, and the inequality that everything rests on."""

from __future__ import annotations

from itertools import product
from math import exp, log

import numpy as np
import pytest
from scipy.special import comb, expit, logit

from analysis.engine import (
    DRIFTS,
    HARM,
    LOG_ODDS,
    PASS,
    POINTS,
    Binary,
    Table,
    alternatives,
    gaussian_log_ratios,
    log_ratios,
)
from analysis.projection import project


def one(*values: float) -> list[np.ndarray]:
    return [np.array([[value]], dtype=float) for value in values]


def binomial(n: int, p: float) -> np.ndarray:
    x = np.arange(n + 1)
    return comb(n, x) * np.power(p, x) * np.power(1 - p, n - x)


@pytest.mark.parametrize(
    ("counts", "rates", "line", "log_e", "null"),
    [
        ((50, 3, 950, 9), (0.02, 0.01), (0.0, 1.0), 1.5159140618, 0.0105),
        ((50, 3, 950, 9), (0.02, 0.01), (0.0, 1.2), 1.0832945768, 0.01039682388),
        ((50, 3, 950, 9), (0.02, 0.01), (0.002, 1.0), 1.1052002107, 0.01033855646),
        ((500, 4, 500, 9), (0.006, 0.01), (0.002, 1.0), 1.3544475824, 0.00735603945),
        ((1, 1, 1, 0), (0.9, 0.1), (0.0, 1.0), 1.1755733298, 0.5),
    ],
)
def test_safe_2x2_matches_closed_forms(
    counts: tuple[int, ...], rates: tuple[float, float], line: tuple[float, float], log_e: float, null: float
) -> None:
    """Broken: the evidence of a single slice is not what 40-digit arithmetic gives."""
    n_c, x_c, n_s, x_s = counts
    assert log_ratios(*one(n_c, x_c, n_s, x_s, *rates, *line)).item() == pytest.approx(log_e, abs=1e-9)
    assert project(*one(n_c, n_s, *rates, *line)).item() == pytest.approx(null, abs=1e-10)


def test_the_nearest_null_point_lies_on_the_margin() -> None:
    """Broken: the candidate's rate that the bets are measured by is not 1.2 times the stable's, to the last digits."""
    assert 1.2 * project(*one(50, 950, 0.02, 0.01, 0.0, 1.2)).item() == pytest.approx(0.01247618866, abs=5e-12)


def test_bank_of_twelve_matches_closed_form() -> None:
    """Broken: the alternatives, what is remembered of the stable, or the mean over the bank are not as specified."""
    engine = Binary([Table(0.0, 1.2, HARM, 0.01, 50.0)])
    total = np.zeros((1, POINTS))
    cumulative = []
    for counts in [(50, 1, 950, 8), (48, 3, 952, 10), (55, 4, 945, 11)]:
        total += engine.observe(*(np.array([float(count)]) for count in counts))
        cumulative.append(log(np.exp(total).mean()))
    assert cumulative == pytest.approx([-0.0805840957, 0.8212609602, 2.9323019634], abs=1e-9)


@pytest.mark.parametrize(
    ("ya", "yb", "evidence"),
    [("1111110111", "0010100000", 11.150294884812), ("1010001", "1011101", 1.095504619758)],
)
def test_pairs_with_plug_ins_match_published_examples(ya: str, yb: str, evidence: float) -> None:
    """Broken: the safe 2x2 test differs from the one published with the R package safestats (blocks of one pair)."""
    log_e, past = 0.0, [0, 0]
    for n, (a, b) in enumerate(zip(map(int, ya), map(int, yb), strict=True)):
        t_a, t_b = ((0.18 + x) / (0.36 + n) for x in past)
        log_e += log_ratios(*one(1, b, 1, a, t_b, t_a, 0.0, 1.0)).item()
        past = [past[0] + a, past[1] + b]
    assert exp(log_e) == pytest.approx(evidence, rel=1e-11)


LINES = [(0.0, 1.0), (0.0, 1.2), (0.002, 1.0), (0.2, 1.0), (0.05, 1.3)]


@pytest.mark.parametrize(("line", "side"), list(product(LINES, (HARM, PASS))))
def test_no_null_point_gains(line: tuple[float, float], side: float) -> None:
    """Broken: some truth inside the null makes evidence grow on average, and every guarantee falls with it."""
    n_c, n_s = 5, 20
    x_c, x_s = (each.ravel() for each in np.meshgrid(np.arange(n_c + 1), np.arange(n_s + 1), indexing="ij"))
    a, b = line
    worst = worst_capped = 0.0
    for t_s in (0.01, 0.1, 0.5):
        edge = a + b * t_s
        t_c = alternatives(np.array(edge), np.array(t_s), np.array(side))
        columns = [
            np.asarray(each, dtype=float)[:, None]
            for each in (np.full(len(x_c), n_c), x_c, np.full(len(x_c), n_s), x_s)
        ]
        e = np.exp(log_ratios(*columns, t_c[None, :], np.array([[t_s]]), np.array([[a]]), np.array([[b]])))
        for p_s in np.linspace(0.0, 1.0, 41):
            limit = a + b * p_s
            inside = np.linspace(0.0, min(limit, 1.0), 5) if side == HARM else np.linspace(limit, 1.0, 5)
            for p_c in inside if limit <= 1 or side == HARM else ():
                chance = (binomial(n_c, p_c)[:, None] * binomial(n_s, p_s)[None, :]).ravel()
                worst = max(worst, float((chance @ e).max()))
                worst_capped = max(worst_capped, float((chance @ np.minimum(e, 4.0)).max()))
    assert worst_capped <= worst <= 1 + 1e-9
    assert worst > 0.9, "the bound is far from tight: the projection is not the nearest null point"


def test_pass_where_no_candidate_can_break_the_margin_is_still_an_e_value() -> None:
    """Broken: a stable whose label share is near 100 % would hand out proofs (or false aborts) for nothing."""
    n_c, n_s, a = 4, 12, 0.02
    t_s = 0.995
    t_c = alternatives(np.array(t_s + a), np.array(t_s), np.array(PASS))
    x_c, x_s = (
        each.ravel()[:, None].astype(float)
        for each in np.meshgrid(np.arange(n_c + 1), np.arange(n_s + 1), indexing="ij")
    )
    line = np.array([[a]]), np.array([[1.0]])
    e = np.exp(
        log_ratios(np.full_like(x_c, n_c), x_c, np.full_like(x_s, n_s), x_s, t_c[None], np.array([[t_s]]), *line)
    )
    for p_s in np.linspace(0.5, 1 - a, 50):
        chance = (binomial(n_c, p_s + a)[:, None] * binomial(n_s, p_s)[None, :]).ravel()
        assert float((chance @ e).max()) <= 1 + 1e-9
    rows = Binary([Table(a, 1.0, HARM, t_s, 1e6), Table(a, 1.0, PASS, t_s, 1e6)])
    counts = [np.full(2, value) for value in (1000.0, 1000.0, 1000.0, 1000.0)]
    harm, passing = rows.observe(*counts)
    assert not harm.any(), "evidence of harm where none is possible"
    assert np.log(np.exp(passing).mean()) > 3, "a share of 100 % in both arms is never proven equal"


def test_splitting_a_slice_keeps_the_mean_below_one() -> None:
    """Broken: looking more often would create evidence."""
    first, second = (1, 3), (2, 3)
    mean = 0.0
    p = 0.3
    for x in product(range(first[0] + 1), range(first[1] + 1), range(second[0] + 1), range(second[1] + 1)):
        engine = Binary([Table(0.0, 1.0, HARM, 0.2, 5.0)])
        total = np.zeros((1, POINTS))
        for (n_c, n_s), (x_c, x_s) in ((first, x[:2]), (second, x[2:])):
            total += engine.observe(*(np.array([float(each)]) for each in (n_c, x_c, n_s, x_s)))
        sizes = (*first, *second)
        chance = np.prod([binomial(n, p)[each] for n, each in zip(sizes, x, strict=True)])
        mean += float(chance * np.exp(total).mean())
    assert 0.5 < mean <= 1 + 1e-9


def test_swapping_arms_or_outcomes_maps_harm_to_pass() -> None:
    """Broken: one direction of the test is treated unlike the other."""
    counts = (40.0, 7.0, 60.0, 5.0)
    complement = (40.0, 33.0, 60.0, 55.0)
    swapped = one(60, 5, 40, 7, 0.1, 0.15, 0.0, 1.0)
    assert log_ratios(*one(*counts, 0.15, 0.1, 0.0, 1.0)).item() == pytest.approx(
        log_ratios(*swapped).item(), abs=1e-12
    )
    harm = Binary([Table(0.0, 1.0, HARM, 0.1, 50.0)]).observe(*(np.array([each]) for each in counts))
    passing = Binary([Table(0.0, 1.0, PASS, 0.9, 50.0)]).observe(*(np.array([each]) for each in complement))
    np.testing.assert_allclose(harm, passing, rtol=0, atol=1e-9)


def test_projection_is_exact_at_all_rates_and_sizes() -> None:
    """Broken: quick steps stop beside the root where rates are tiny or arms unequal; the derivative changes its sign at
    the root and nowhere else, and there by one part in 10^11."""
    random = np.random.default_rng(8)
    n = 20_000
    a, b = random.choice([0.0, 0.002, 0.02, 0.2], n), random.choice([0.8, 1.2, 1.5], n)
    t_s, side = 10.0 ** random.uniform(-5, -0.4, n), random.choice([HARM, PASS], n)
    t_c = alternatives(a + b * t_s, t_s, side)
    n_c, n_s = (np.floor(10.0 ** random.uniform(0, 6, n)) for _ in range(2))
    root = project(n_c, n_s, t_c, t_s, a, b)

    def slope(s: np.ndarray) -> np.ndarray:
        c = a + b * s
        return n_c * b * (c - t_c) / (c * (1 - c)) + n_s * (s - t_s) / (s * (1 - s))

    inside = a + b * root * (1 + 1e-11) < 1
    assert (slope(root * (1 - 1e-11)) <= 0).all()
    assert (slope(root * (1 + 1e-11))[inside] >= 0).all()


def test_projection_is_as_exact_where_nearly_all_is_so() -> None:
    """Broken: a label that hardly any prediction lacks is compared with a point beside the null. That a row and its
    complement (rates, sides and line turned round) have complementary roots is all there is to it."""
    random = np.random.default_rng(9)
    n = 20_000
    rare, side = 10.0 ** random.uniform(-5, -1, n), random.choice([HARM, PASS], n)
    margin, ones = random.choice([0.002, 0.02], n), np.ones(n)
    n_c, n_s = (np.floor(10.0 ** random.uniform(0, 6, n)) for _ in range(2))
    candidate = alternatives(rare + margin, rare, side)
    root = project(n_c, n_s, candidate, rare, margin, ones)
    turned = project(n_c, n_s, 1 - candidate, 1 - rare, -margin, ones)
    assert np.abs((1 - turned) - root).max() < 1e-13, "1 - rate has no more than 16 digits after the point"


def test_projection_is_the_minimum() -> None:
    """Broken: the root is not found for some boundary, and the inequality above holds only by luck."""
    random = np.random.default_rng(7)
    for _ in range(200):
        t_s = random.uniform(1e-4, 0.6)
        a, b = random.choice([0.0, 0.001, 0.1]), random.choice([0.8, 1.0, 1.2, 2.0])
        edge = a + b * t_s
        if edge >= 1:
            continue
        side = random.choice([HARM, PASS])
        t_c = float(expit(logit(edge) + side * random.choice(LOG_ODDS)))
        n_c, n_s = float(random.integers(1, 1000)), float(random.integers(1, 100_000))
        q = project(*one(n_c, n_s, t_c, t_s, a, b)).item()
        low, high = max(0.0, -a / b), min(1.0, (1 - a) / b)
        grid = np.linspace(low, high, 2001)[1:-1]
        best = min(cost(n_c, n_s, t_c, t_s, a, b, grid))
        assert low < q < high
        assert cost(n_c, n_s, t_c, t_s, a, b, np.array([q]))[0] <= best + 1e-9


def cost(n_c: float, n_s: float, t_c: float, t_s: float, a: float, b: float, q_s: np.ndarray) -> np.ndarray:
    def divergence(t: float, q: np.ndarray) -> np.ndarray:
        return t * np.log(t / q) + (1 - t) * np.log((1 - t) / (1 - q))

    return n_c * divergence(t_c, a + b * q_s) + n_s * divergence(t_s, q_s)


def test_no_failures_at_all_prove_an_absolute_margin_only() -> None:
    """Broken: two versions without a single error are never told to be alike, or give NaN."""
    engine = Binary([Table(0.002, 1.0, PASS, 0.01, 50.0), Table(0.0, 1.2, PASS, 0.01, 50.0)])
    total = np.zeros((2, POINTS))
    for _ in range(100):
        total += engine.observe(np.full(2, 100.0), np.zeros(2), np.full(2, 100.0), np.zeros(2))
    assert np.isfinite(total).all()
    absolute, relative = np.log(np.exp(total).mean(axis=1))
    assert absolute > log(1000)
    assert relative < log(20), "20 % more than nothing cannot be proven from nothing"


def test_an_empty_arm_is_no_evidence_but_is_remembered() -> None:
    """Broken: slices before the canary has traffic count against it, or teach nothing about the stable."""
    engine = Binary([Table(0.0, 1.0, HARM, 0.01, 50.0)])
    assert not engine.observe(np.zeros(1), np.zeros(1), np.array([950.0]), np.array([19.0])).any()
    assert engine.stable()[0] == pytest.approx((0.5 + 19) / 1000)


def test_gaussian_increments() -> None:
    """Broken: Engine B does not compare the shift with its margin, in its direction, on its side."""
    u, i = np.array([3.0, 3.0, 3.0]), np.array([20.0, 20.0, 0.0])
    log_e = gaussian_log_ratios(
        u * (i > 0), i, np.array([1.0, -1.0, 1.0]), np.full(3, 0.05), np.array([HARM, PASS, HARM])
    )
    np.testing.assert_allclose(log_e[0], DRIFTS * (3 - 0.05 * 20) - DRIFTS**2 * 10)
    np.testing.assert_allclose(log_e[1], DRIFTS * (3 + 0.05 * 20) - DRIFTS**2 * 10)
    assert not log_e[2].any()
