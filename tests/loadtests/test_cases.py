"""What is measured, and in which order."""

from loadtests.cases import Case, groups, order, plan


def test_a_peer_is_measured_in_the_modes_that_it_can_do():
    """A proxy that cannot mirror would be measured without copies under the name of mirroring."""
    assert plan([("a", ("plain", "mirror")), ("b", ("plain",))], ["plain", "mirror"]) == [
        Case("a", "plain"),
        Case("a", "mirror"),
        Case("b", "plain"),
    ]


def test_each_round_has_every_case_in_another_order():
    """One peer would always run after the same other one, in the heat or the caches that it left."""
    cases = [Case(str(number), "plain") for number in range(8)]
    first, second = order(cases, 1), order(cases, 2)
    assert sorted(first, key=cases.index) == sorted(second, key=cases.index) == cases
    assert first != second
    assert order(cases, 1) == first


def test_what_is_compared_takes_turns_together():
    """A ratio would be of two different minutes of a shared machine."""
    cases = [Case("a", "plain"), Case("a", "mirror"), Case("b", "predictions"), Case("b", "mirror")]
    assert groups(cases) == [[cases[0], cases[2]], [cases[1], cases[3]]]
