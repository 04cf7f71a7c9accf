"""Margins as numbers, held to the words that the engine writes."""

from __future__ import annotations

import doctest
from dataclasses import asdict

import numpy as np
import pytest

from analysis.verdict import Gate, Judge, Plan
from proxy.control.views import bounds as module
from proxy.control.views.bounds import all_bounds, bounds
from tests.support.slices import Version, look


@pytest.mark.parametrize(
    ("kind", "unit", "text", "low", "high"),
    [
        ("errors", "pp", "+0.24 pp at the stable's 1.2 %", None, 0.24),
        ("errors", "pp", "+20 % or +0.2 pp, the larger", None, 0.2),
        ("errors", "pp", "+20 %", None, None),
        ("latency", "%", "+10.5 % for harm, +9.37 % for pass", None, 10.5),
        ("latency", "%", "+10 %", None, 10.0),
        ("category", "pp", "2 pp for each label, up or down", -2.0, 2.0),
        ("number", "sd", "0.05 sd, up or down (sd 1,234)", -0.05, 0.05),
        ("number", "sd", "0.05 sd, down", -0.05, None),
        ("number", "sd", "0.05 sd, up (sd 0.3)", None, 0.05),
        ("pair", "%", "1 % of the pairs", None, 1.0),
        ("pair", "pp", "1 % of the pairs beyond the stable's own noise", None, 1.0),
        ("slowdown", "%", "+12.5 % for harm, +8.16 % for pass", None, 12.5),
        ("accuracy", "pp", "+0.7 pp at the stable's 9.1 %", None, 0.7),
        ("loss", "sd", "+0.05 sd (sd 0.4)", None, 0.05),
        ("unread", "pp", "+2 pp missing or invalid", None, 2.0),
        ("errors", "pp", "+1,200 pp at the stable's 1e-05 %", None, 1200.0),
        ("number", "sd", "", None, None),
    ],
)
def test_every_kind_of_margin(kind, unit, text, low, high):
    """Broken: a picture shows harm where there is none, or none where it is."""
    metric = {"name": "m", "kind": kind, "unit": unit, "effectiveMargin": text}
    assert bounds(metric) == {"low": low, "high": high}
    assert all_bounds([metric]) == {"m": {"low": low, "high": high}}


def test_every_meter_writes_what_is_read_here():
    """Broken: the engine has other words, and pictures have no margins any more."""
    gates = (
        Gate("errors", "errors", margin_relative=0.2, margin_absolute=0.01),
        Gate("latency.p95", "latency", quantile=0.95, margin_relative=0.15),
        Gate("prediction.label", "category", output="label", margin_absolute=0.03),
        Gate("prediction.score", "number", output="score", margin_sd=0.1),
        Gate("pair.label", "pair", output="label", margin_absolute=0.02),
    )
    judge, random = Judge(Plan(gates, block_s=5.0, horizon_s=3600.0, breaker_above=0.2)), np.random.default_rng(1)
    for second in range(20):
        arms = (Version().serve(random, 300) for _ in range(2))
        judge.observe(look(*arms, at_s=float(second), share=0.5))
    found = all_bounds(
        [{**asdict(each), "effectiveMargin": each.effective_margin} for each in judge.verdict(20.0).metrics]
    )
    assert found["errors"]["high"] == pytest.approx(1.0, rel=0.3)
    assert found["latency.p95"]["high"] == pytest.approx(16.1)
    assert found["prediction.label"] == {"low": -3.0, "high": 3.0}
    assert found["prediction.score"] == {"low": -0.1, "high": 0.1}
    assert found["pair.label"]["high"] == 2.0


def test_the_examples_are_true():
    """Broken: the docstring shows something else than what happens."""
    assert doctest.testmod(module).failed == 0
