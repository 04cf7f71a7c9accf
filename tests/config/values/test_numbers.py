"""Numbers within bounds, and percents as fine as the circle of users."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from config.values.numbers import Percent, number, show_number, whole

PERCENT = TypeAdapter(Percent)


@given(st.integers(0, 1_000_000))
def test_every_part_of_a_million_can_be_written(ppm: int) -> None:
    """A weight that the circle can express would be refused, or be another one after reading."""
    read = PERCENT.validate_python(ppm / 10_000)
    assert round(read * 10_000) == ppm
    assert PERCENT.dump_python(read) == ppm / 10_000


@pytest.mark.parametrize("value", [-1, 100.0001, 0.00001, True, "5%", "5", None, float("nan"), float("inf"), ()])
def test_what_is_no_percent(value: object) -> None:
    """A share outside of 0 to 100 would reach the data plane."""
    with pytest.raises(ValidationError):
        PERCENT.validate_python(value)


@given(st.integers() | st.floats() | st.text() | st.booleans() | st.none())
def test_whole_numbers_are_within_their_bounds(value: object) -> None:
    """A number out of range, or `true` as 1, would be taken."""
    limits = whole(1, 256, "auto")
    try:
        taken = limits.parse(value)
    except ValueError:
        return
    assert taken == "auto" or (type(taken) is int and 1 <= taken <= 256)


def test_an_open_end_is_left_out() -> None:
    """An alpha of zero would be taken, with which nothing is ever decided."""
    alpha = number(0, 0.5, above=True)
    assert alpha.parse(0.5) == 0.5
    with pytest.raises(ValueError, match="0 is not above 0"):
        alpha.parse(0)


def test_whole_amounts_are_shown_without_a_point() -> None:
    """The reference and written-out files would say 5.0 where people write 5."""
    assert [repr(show_number(value)) for value in (5.0, 0.5)] == ["5", "0.5"]
