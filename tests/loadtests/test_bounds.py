"""Figures with a bound."""

import pytest

from loadtests.bounds import bound, growth, missed


@pytest.mark.parametrize(("value", "holds"), [(16.0, True), (16.1, False), (None, None)])
def test_a_bound_is_judged(value, holds):
    """A missed goal would be told as held, or one that was not measured as either."""
    assert bound("growth", value, 16.0, "MiB")["holds"] is holds


def test_growth_is_relative():
    """A large process would fail, and a small one pass, by their size alone."""
    assert growth(200.0, 206.0) == pytest.approx(0.03)


def test_only_measured_goals_can_be_missed():
    """`--strict` would fail where a peer is not installed, or pass where a goal is missed."""
    results = {"idle": {"goals": [bound("a", 2.0, 1.0, ""), bound("b", 1.0, 1.0, ""), bound("c", None, 1.0, "")]}}
    assert missed(results) == ["idle: a"]
