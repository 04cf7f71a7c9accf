"""Disagreement beyond the noise of the model itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.engine import HARM, log_ratios
from analysis.plan import Gate, Plan
from analysis.summaries import PairCounts, Slice
from analysis.verdict import Judge, Verdict
from tests.support.slices import arm, look

GATE = Gate("pair.label", "excess", output="label", margin_absolute=0.02)
PLAN = Plan((GATE,), block_s=5.0)


def slices(random: np.random.Generator, noise: float, own: float, seconds: int) -> list[Slice]:
    """1,000 copies a second, of which a tenth is repeated; answers are odd by chance, the candidate's more often."""
    found = []
    for _ in range(seconds):
        first, again = random.random(1000) < noise, random.random(1000) < noise
        candidate = random.random(1000) < noise + own
        repeated = slice(0, 100)
        pairs = PairCounts(
            1000.0,
            {"label": (1000.0, float((first != candidate).sum()))},
            np.zeros(256),
            {"label": (100.0, float((first != again)[repeated].sum()))},
        )
        found.append(replace(look(arm(100.0), arm(100.0), share=0.0), pairs=pairs))
    return found


def verdict(noise: float, own: float, seconds: int = 120, seed: int = 3) -> Verdict:
    judge = Judge(PLAN)
    for slice_ in slices(np.random.default_rng(seed), noise, own, seconds):
        judge.observe(slice_)
    return judge.verdict(float(seconds))


def test_a_noisy_model_is_not_blamed_for_its_noise() -> None:
    """Broken: a model that samples its answers can never have a successor."""
    metric = verdict(noise=0.05, own=0.0).metrics[0]
    assert metric.passed, metric.text
    assert metric.stable == pytest.approx(0.095, abs=0.02)
    assert metric.effect == pytest.approx(0.0, abs=1.5)
    assert "of the pairs disagree against" in metric.text


def test_what_differs_beyond_the_noise_is_harm() -> None:
    """Broken: a candidate hides behind the noise of its predecessor."""
    assert verdict(noise=0.05, own=0.1).decided_by == "pair.label"


def test_on_the_margin_it_rarely_alarms() -> None:
    """Broken: the answer that both pairs share is taken for two. 60 runs; a correct build fails once in a million."""
    own = 0.02 / (1 - 2 * 0.05)
    alarms = sum(verdict(0.05, own, 40, seed).abort for seed in range(60))
    assert alarms <= 14


def test_evidence_is_that_of_the_closed_form() -> None:
    """Broken: another table is compared than (candidate, stable) pairs with the margin added to the stable's."""
    one = np.ones(1)
    found = log_ratios(50 * one, 3 * one, 950 * one, 9 * one, 0.02 * one, 0.01 * one, 0.002 * one, one).item()
    assert found == pytest.approx(1.1052002107, abs=1e-9)
    meter = Judge(PLAN)._meters[0]
    pairs = PairCounts(50.0, {"label": (50.0, 3.0)}, np.zeros(256), {"label": (950.0, 9.0)})
    counts = meter.counts(replace(look(arm(), arm()), pairs=pairs))
    assert counts.tolist() == [[50.0, 3.0, 950.0, 9.0]] * 2
    assert [(table.a, table.b) for table in meter.tables] == [(0.02, 1.0)] * 2
    assert meter.tables[0].side == HARM


def test_pairs_without_repeats_say_nothing() -> None:
    """Broken: without a control the noise of the model is the candidate's fault."""
    judge = Judge(PLAN)
    for _ in range(50):
        judge.observe(look(arm(), arm(), pairs=(1000.0, 300.0)))
    found = judge.verdict(50.0)
    assert not found.abort
    assert found.abort_evidence <= 1.0 + 1e-9
