"""Numbers in words."""

from __future__ import annotations

import doctest

import pytest

from proxy.admin import words
from tests.support.fake_controller import metric


def test_the_examples_of_the_docstrings_hold():
    """Broken: reports print numbers in another way than documented."""
    results = doctest.testmod(words)
    assert results.attempted >= 7
    assert results.failed == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"harmed": True, "passed": True}, "worse than its margin"),
        ({"passed": True}, "within its margin"),
        ({"nCandidate": 0.0}, "no data yet"),
        ({"role": "signal"}, "not shown to be worse"),
        ({}, "open: 4.2 : 1 of 20 : 1"),
    ],
)
def test_a_metric_has_one_verdict(changes, said):
    """Broken: a metric without data, or with harm, reads as fine."""
    assert words.verdict(metric("errors", "errors", "pp", **changes)) == said


@pytest.mark.parametrize("evidence", [0.0, 1e-300, 1e300, 0.999, 1.0, 9.96, 999_999.9])
def test_odds_never_fail(evidence):
    """Broken: a report fails on extreme evidence, which is when people read it."""
    assert " : " in words.odds(evidence)
    assert "e" not in words.odds(evidence).replace("over", "")
