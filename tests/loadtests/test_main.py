"""The command line of the bench."""

import pytest

from loadtests.__main__ import chosen, parser
from loadtests.document import MEASUREMENTS


def test_a_measurement_is_made_alone_by_its_name():
    """`make bench ARGS=idle` would take half an hour."""
    assert chosen(["idle", "--connections", "5"]) == [("idle", ["--connections", "5"])]


def test_options_alone_are_those_of_the_comparison():
    """The options of the comparison would be refused, or given to measurements that do not know them."""
    assert chosen(["--rounds", "5", "--strict"]) == [("compare", ["--rounds", "5", "--strict"])]


@pytest.mark.parametrize("argv", [[], ["--strict"], ["--strict", "--out", "folder"]])
def test_all_measurements_are_made_without_options(argv):
    """`make bench` would leave some out, or fail in the last of them after half an hour."""
    found = chosen(argv)
    assert [name for name, _ in found] == list(MEASUREMENTS)
    assert [parser(name).parse_args(options).strict for name, options in found] == [bool(argv)] * len(found)
    assert parser("soak").parse_args(dict(found)["soak"]).minutes == 1
