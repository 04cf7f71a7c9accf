"""The analysis against other people's code: GrowthBook's gbstats, and the published numbers of confseq.

Same quantity: the anytime-valid interval of a difference of means (Waudby-Smith et al., arXiv 2103.06476, which is the
normal mixture of Robbins), and its e-value. Where gbstats differs: it tunes for a number of samples with the variance
of now, we freeze the tuning at the burn-in; it pools all of the past, we add up differences within slices, so that
drift and ramps cannot fool us; its sample-ratio check is a chi-square test for one look, ours holds at every look.

`gbstats.json` is written by `build/prove/bin/python -m tests.prove.gbstats_numbers`: gbstats itself needs numpy 1.
"""

from __future__ import annotations

import json
from math import exp, log
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq

from analysis.intervals import Differences, bound, log_mixture, tuning
from analysis.pairs import log_mixture as log_beta_mixture
from analysis.ratio import FLAG_AT, log_evidence

GBSTATS: dict[str, Any] = json.loads(Path(__file__).with_name("gbstats.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("one", GBSTATS["intervals"], ids=lambda one: str(one.get("rates") or one.get("moments")))
def test_intervals_are_those_of_gbstats(one: dict[str, Any]) -> None:
    """Broken: our interval is not the asymptotic confidence sequence that others publish."""
    given = one.get("rates") or one["moments"]
    (n_s, sum_s), (n_c, sum_c) = (given[0], given[1]), (given[len(given) // 2], given[len(given) // 2 + 1])
    differences = Differences(1)
    differences.add(*(np.array([float(each)]) for each in (n_c, sum_c / n_c, n_s, sum_s / n_s, 1.0)))
    if "rates" in one:
        variances = [(x / n) * (1 - x / n) for x, n in ((sum_c, n_c), (sum_s, n_s))]
    else:
        variances = [(q - x * x / n) / (n - 1) for x, n, q in ((sum_c, n_c, given[5]), (sum_s, n_s, given[2]))]
    information = differences.information(0)
    of_sum = differences.variance(0, *variances)
    assert of_sum / information**2 == pytest.approx(one["variance"], rel=1e-9)
    rho = tuning(of_sum * GBSTATS["tunedFor"] / (n_c + n_s), GBSTATS["alpha"])
    width = float(bound(of_sum, rho, GBSTATS["alpha"])) / information
    assert [one["effect"] - width, one["effect"] + width] == pytest.approx(one["interval"], rel=1e-9)
    e_value = exp(log_mixture(one["effect"] * information, of_sum, rho))
    assert min(1.0, 1 / e_value) == pytest.approx(one["p"], rel=1e-9)


def test_the_split_is_judged_more_slowly_than_by_a_single_look() -> None:
    """Broken: our check of the split raises an alarm that a chi-square test of one look would not."""
    for one in GBSTATS["splits"]:
        flagged = log_evidence(*map(float, one["counts"]), one["share"]) >= log(FLAG_AT)
        assert not flagged or one["p"] < 1 / FLAG_AT


def beta_mixture(s: float, v: float, g: float, r: float, side: str) -> float:
    """confseq's beta-binomial mixture, for g + h = 1: successes of probability g, S = sum of (x - g), v = n g h."""
    h = 1 - g
    x, n = v / h + s, v / (g * h)
    return float(log_beta_mixture(np.array([x]), np.array([n]), g, r / h, r / g, side)[0])  # type: ignore[arg-type]


def test_beta_binomial_mixture_matches_published_numbers() -> None:
    """Broken: the mixture behind all pair tests differs from that of confseq (Howard et al. 2021)."""
    both, one = (tuning(100.0, 0.05, sides) - 0.16 for sides in (2, 1))  # type: ignore[arg-type]
    assert beta_mixture(10.0, 100.0, 0.2, both, "either") == pytest.approx(-0.6941012, abs=5e-7)
    assert beta_mixture(10.0, 100.0, 0.2, one, "above") == pytest.approx(-0.07134019, abs=5e-8)
    assert beta_mixture(31.4308, 100.0, 0.2, both, "either") == pytest.approx(log(20), abs=2e-5)
    assert beta_mixture(28.41238, 100.0, 0.2, one, "above") == pytest.approx(log(20), abs=2e-5)


@pytest.mark.parametrize(
    ("x", "n", "t_opt", "low", "high"), [(700, 1000, 100, 0.651629, 0.745949), (15, 50, 50, 0.129556, 0.511896)]
)
def test_bernoulli_confidence_sequence_matches_published_numbers(
    x: int, n: int, t_opt: int, low: float, high: float
) -> None:
    """Broken: inverting our mixture does not give confseq's interval of a share."""

    def excess(p: float) -> float:
        spread = p * (1 - p)
        r = max(tuning(t_opt * spread, 0.05) - spread, 1e-3 * spread)
        return beta_mixture(x - n * p, n * spread, p, r, "either") - log(20)

    rate = x / n
    assert brentq(excess, 1e-6, rate) == pytest.approx(low, abs=2e-6)
    assert brentq(excess, rate, 1 - 1e-6) == pytest.approx(high, abs=2e-6)
