"""Statistics of rounds."""

import pytest

from loadtests.summary import Goal, added, against, judged, medians, middle, ratio

CPU = "cpuMicroseconds"


def rounds(*values: float, name: str = CPU) -> dict[int, dict[str, float]]:
    return {number: {name: value} for number, value in enumerate(values, start=1)}


def test_medians_are_taken_figure_by_figure():
    """A figure that one round lacks would hide the others, or drag a zero in."""
    assert medians({1: {"a": 1.0, "b": 7.0}, 2: {"a": 9.0}, 3: {"a": 2.0}}) == {"a": 2.0, "b": 7.0}


def test_a_ratio_is_taken_within_rounds():
    """A round in which the whole machine was slow would look like a slow proxy."""
    assert ratio(rounds(10, 30, 10), rounds(20, 60, 20), CPU) == 0.5


def test_a_ratio_needs_a_round_that_has_both():
    """Figures of different rounds would be compared, or zero divided by."""
    assert ratio({1: {CPU: 1.0}}, {2: {CPU: 1.0}}, CPU) is None
    assert ratio(rounds(1), rounds(0), CPU) is None
    assert ratio(rounds(1), rounds(1), "another") is None


def test_added_latency_is_against_the_direct_way_of_the_same_round():
    """The upstream's own latency would be counted as the proxy's."""
    found = added(rounds(300, 500, name="latencyP50Microseconds"), rounds(100, 400, name="latencyP50Microseconds"))
    assert [one["addedP50Microseconds"] for one in found.values()] == [200, 100]


def test_added_latency_is_absent_without_a_direct_measurement():
    """A whole latency would pass for an added one."""
    assert added(rounds(300, name="latencyP50Microseconds"), {}) == {1: {"latencyP50Microseconds": 300}}


@pytest.mark.parametrize(("ours", "holds"), [(6.0, True), (6.1, False)])
def test_a_goal_holds_up_to_its_bound(ours, holds):
    """A missed goal would be reported as held."""
    goal = Goal("", ("us", "plain"), ("them", "plain"), 0.6)
    (found,) = judged({("us", "plain"): rounds(ours), ("them", "plain"): rounds(10)}, [goal])
    assert found["holds"] is holds


def test_a_goal_without_figures_is_neither_held_nor_missed():
    """A peer that could not be measured would count as beaten."""
    (found,) = judged({}, [Goal("", ("us", "plain"), ("them", "plain"), 0.6)])
    assert (found["ratio"], found["holds"]) == (None, None)


def test_predictions_are_compared_with_plain_forwarding_of_the_peers():
    """The mode that no peer has would be left without any comparison."""
    cases = {("us", "predictions"): rounds(30), ("them", "plain"): rounds(60)}
    assert against(cases, ["them", "absent"], {"predictions": "plain"})["us", "predictions"] == {"them": 0.5}


def test_the_middle_half_needs_some_values():
    """The noise of two or three values would pass for a range."""
    assert middle([1.0, 2.0, 3.0]) is None
    assert middle([4.0, 1.0, 2.0, 3.0, 5.0]) == (2.0, 4.0)
