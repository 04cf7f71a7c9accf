"""Distances: the numbers of scipy, and none that is not finite."""

from __future__ import annotations

from math import isfinite

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy, ks_2samp, wasserstein_distance

from analysis.distances import jensen_shannon, ks, of_labels, of_values, psi, wasserstein

COUNTS = st.lists(st.integers(0, 10_000), min_size=2, max_size=40)


def test_they_are_those_of_scipy() -> None:
    """Broken: a distance that people compare with that of their notebook is another one."""
    random = np.random.default_rng(5)
    values = np.sort(random.normal(0, 3, 30))
    s, c = random.integers(0, 20, 30).astype(float), random.integers(0, 20, 30).astype(float)
    assert jensen_shannon(s, c) == pytest.approx(jensenshannon(s, c, base=2), rel=1e-12)
    assert wasserstein(s, c, values) == pytest.approx(wasserstein_distance(values, values, s, c), rel=1e-12)
    samples = [np.repeat(values, arm.astype(int)) for arm in (s, c)]
    assert ks(s, c) == pytest.approx(ks_2samp(*samples).statistic, rel=1e-12)
    shared = (s > 0) & (c > 0)
    p, q = s[shared] / s[shared].sum(), c[shared] / c[shared].sum()
    assert psi(s[shared], c[shared]) == pytest.approx(entropy(p, q) + entropy(q, p), rel=1e-12)


def test_a_shift_of_half_an_sd_is_half_an_sd() -> None:
    """Broken: the size that is shown is not that of the shift."""
    random = np.random.default_rng(6)
    values = np.linspace(-8, 8, 321)
    s, c = (np.histogram(random.normal(at, 1, 200_000), 321, (-8.025, 8.025))[0].astype(float) for at in (0.0, 0.5))
    found = of_values(s, c, values)
    assert found is not None
    assert found.wasserstein == pytest.approx(0.5, abs=0.02)
    assert found.ks == pytest.approx(0.197, abs=0.01)
    assert found.psi == pytest.approx(0.24, abs=0.03), "a shift of d sd has a PSI near d²"
    assert 0 < found.jensen_shannon < 0.3


def test_labels_have_no_order() -> None:
    """Broken: a distance between the names of labels."""
    found = of_labels({"a": 50.0, "b": 50.0}, {"a": 60.0, "b": 40.0})
    assert found is not None
    assert (found.wasserstein, found.ks) == (None, None)
    assert found.psi == pytest.approx(0.1 * np.log(1.2) - 0.1 * np.log(0.8), rel=1e-12)
    assert of_labels({}, {"a": 1.0}) is None
    assert of_values(np.zeros(3), np.ones(3), np.arange(3.0)) is None


@given(COUNTS, st.data())
def test_they_are_finite_and_0_for_the_same(stable: list[int], data: st.DataObject) -> None:
    """Broken: NaN in a report, or two equal versions that are apart."""
    s = np.array(stable, dtype=float)
    c = np.array(data.draw(st.lists(st.integers(0, 10_000), min_size=len(s), max_size=len(s))), dtype=float)
    found = of_values(s, c, np.arange(float(len(s))))
    if s.sum() == 0 or c.sum() == 0:
        assert found is None
        return
    assert found is not None
    told = (found.psi, found.jensen_shannon, found.ks, found.wasserstein or 0.0)
    assert all(isfinite(each) and each >= -1e-12 for each in told)
    same = of_values(s, 3 * s, np.arange(float(len(s))))
    assert same is not None
    assert max(same.psi, same.jensen_shannon, same.ks or 0.0) < 1e-7
