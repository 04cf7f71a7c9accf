"""How rollouts look to people."""

from __future__ import annotations

import pytest

from analysis.summaries import ArmCounts
from config.values.matching import Match
from proxy.control.evidence.tracks import GRID
from proxy.control.views import routes as views
from proxy.ledger.layout import latency_bucket


def test_quantiles_are_exact_to_a_bucket() -> None:
    """Reports would show another latency than clients met."""
    sums = ArmCounts.empty(GRID)
    for milliseconds in range(1, 101):
        sums.latency[latency_bucket(milliseconds / 1000)] += 1
    found = views._latency(sums)
    assert found == {
        "p50": pytest.approx(50, rel=0.01),
        "p95": pytest.approx(95, rel=0.01),
        "p99": pytest.approx(99, rel=0.01),
    }
    assert views._latency(None) == {"p50": None, "p95": None, "p99": None}
    assert views._latency(ArmCounts.empty(GRID))["p50"] is None


def test_matches_are_told_in_words() -> None:
    """Nobody could see which requests a route takes."""
    match = Match.model_validate({"path": {"prefix": "/a"}, "method": "POST", "headers": {"x-tier": "gold"}})
    assert views._match(match) == "method POST and path prefix /a and header x-tier exact gold"
    assert views._match(Match()) == "everything"
