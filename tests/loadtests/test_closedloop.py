"""wrk's output."""

from loadtests.closedloop import Load, parse


def test_the_figures_are_those_of_the_last_line():
    """wrk's own summary would be taken for the figures."""
    output = 'Running 2s test @ http://127.0.0.1\n  10 requests in 2.00s\n{"requests":10,"seconds":2.5,"errors":1}\n'
    assert parse(output) == Load(10, 2.5, 1)
