"""Counts merge by addition, and what no count can be is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.summaries import ArmCounts, Moments
from tests.support.slices import GRID, Version, arm, errors, look


def test_merging_is_addition_in_any_order() -> None:
    """Broken: what workers report depends on which of them is read first."""
    random = np.random.default_rng(1)
    parts = [Version().serve(random, n) for n in (100, 200, 300)]
    parts = [
        replace(part, numbers={"score": Moments(part.answered, 2.0, 3.0)}, missing={"label": 1.0}) for part in parts
    ]
    first = parts[0] + parts[1] + parts[2]
    second = parts[2] + (parts[1] + parts[0])
    assert first.answered == second.answered == 600
    assert first.labels == second.labels
    assert first.numbers == second.numbers == {"score": Moments(600, 6, 9)}
    assert first.missing == second.missing == {"label": 3.0}
    np.testing.assert_array_equal(first.latency, second.latency)
    assert (ArmCounts.empty(GRID) + parts[0]).labels == parts[0].labels


@pytest.mark.parametrize(
    "broken",
    [
        arm(-1.0),
        arm(float("nan")),
        arm(float("inf")),
        arm(1.0, latency=np.zeros(3)),
        arm(1.0, latency=np.full(1620, np.nan)),
        arm(1.0, latency=-np.eye(1620)[0]),
        arm(1.0, labels={"a": -1.0}),
        arm(1.0, numbers=Moments(1.0, float("nan"), 1.0)),
        arm(1.0, missing=float("nan")),
    ],
)
def test_what_cannot_be_a_count_is_refused(broken: ArmCounts) -> None:
    """Broken: one damaged cell turns the evidence of a rollout into NaN."""
    with pytest.raises(ValueError, match=r"slice\.candidate"):
        look(arm(), broken).check(GRID)


def test_lengths_and_pairs_are_checked() -> None:
    """Broken: a slice of negative length never lets a block end."""
    with pytest.raises(ValueError, match="duration_s"):
        errors(1, 0, 1, 0, duration_s=-1.0).check(GRID)
    with pytest.raises(ValueError, match="pairs"):
        look(arm(), arm(), pairs=(10.0, float("nan"))).check(GRID)


def test_scatter_has_no_rounding_of_its_own() -> None:
    """Broken: constant values get a spread of 1e-17, and any shift is then a billion standard deviations."""
    values = np.full(1000, 0.1)
    assert Moments(1000.0, float(values.sum()), float(values @ values)).scatter == 0.0
    assert Moments(1.0, 5.0, 25.0).scatter == 0.0
