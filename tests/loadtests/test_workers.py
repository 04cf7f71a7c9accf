"""Two workers beside one."""

from loadtests.workers import CPU, judged


def test_the_price_of_a_second_worker_is_taken_within_rounds():
    """A round in which the whole machine was slow would be charged to the second worker."""
    (goal,) = judged({1: {1: {CPU: 50.0}, 2: {CPU: 100.0}}, 2: {1: {CPU: 54.0}, 2: {CPU: 108.0}}})
    assert (round(goal["value"], 6), goal["holds"]) == (1.08, True)
