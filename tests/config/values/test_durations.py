"""Durations: their notation, and that writing and reading are each other's reverse."""

import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.values import durations
from config.values.durations import duration, format_duration, parse_duration


@given(st.integers(0, 99_999 * 3_600_000))
def test_reading_undoes_writing(milliseconds: int) -> None:
    """A duration in a written-out revision would be another one when it is read."""
    assert parse_duration(format_duration(milliseconds / 1000)) == milliseconds / 1000


@given(st.text() | st.integers() | st.none() | st.booleans())
def test_only_the_notation_is_read(value: object) -> None:
    """Something that is no duration would be taken for one, or raise what nobody catches."""
    try:
        seconds = parse_duration(value)
    except ValueError:
        return
    assert isinstance(value, str)
    assert 0 <= seconds <= 4 * 99_999 * 3600


@pytest.mark.parametrize(("text", "seconds"), [("0s", 0.0), ("1h30m", 5400.0), ("1m1s1ms", 61.001), ("90m", 5400.0)])
def test_units_add_up(text: str, seconds: float) -> None:
    """Minutes would be taken for milliseconds, or parts of a duration be dropped."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "1.5s", "-1s", "1s ", "1d", "100000s", "1h1m1s1ms1h", "\uff11s"])
def test_what_is_no_duration(text: str) -> None:
    """The file would mean something else here than in other tools that read Gateway API durations."""
    with pytest.raises(ValueError):
        parse_duration(text)


def test_bounds_are_part_of_what_is_allowed() -> None:
    """The ends of the stated range would be refused."""
    within = duration(1, 60, whole=True)
    assert (within.parse("1s"), within.parse("1m")) == (1.0, 60.0)


def test_examples_in_docstrings() -> None:
    """The documentation of this module would show what it does not do."""
    assert doctest.testmod(durations).failed == 0
