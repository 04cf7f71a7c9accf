"""Margins carry their unit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.values.margins import Bound, margin_in


@given(st.decimals(0, 1000, places=3), st.sampled_from(["%", "pp", "sd"]))
def test_what_is_written_is_what_is_read(size: object, unit: str) -> None:
    """A margin in a written-out revision would be another one when it is read."""
    kind = margin_in("%", "pp", "sd")
    read = kind.parse(f"{size}{unit}")
    assert read[0].unit == unit
    assert kind.parse(kind.show(read)) == read


def test_amounts_are_plain_factors() -> None:
    """A margin of 0.2 points would be judged as 20."""
    amounts = [Bound(10.0, "%").amount, Bound(20.0, "pp").amount, Bound(0.05, "sd").amount]
    assert amounts == pytest.approx([0.1, 0.2, 0.05])


def test_a_list_keeps_its_order_and_reports_every_bad_part() -> None:
    """Of several bad bounds only the first would be told."""
    kind = margin_in("%", "pp")
    assert [str(bound) for bound in kind.parse(("20%", "0.2pp"))] == ["20%", "0.2pp"]
    with pytest.raises(ValueError) as caught:
        kind.parse(("20", "5sd"))
    assert str(caught.value).startswith("2 ")
    with pytest.raises(ValueError, match="one unit twice"):
        kind.parse(("20%", "10%"))
