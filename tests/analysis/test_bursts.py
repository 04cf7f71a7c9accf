"""The dispersion of pairs."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.bursts import Bursts


def run(bursts: Bursts, shares: list[float], slices: int = 30, n: float = 200.0, seed: int = 1) -> float:
    random = np.random.default_rng(seed)
    for share in shares:
        for _ in range(slices):
            bursts.add(n, np.array([float(random.binomial(int(n), share))]))
        bursts.close()
    return float(bursts.phi()[0])


def test_chance_is_one() -> None:
    """Broken: independent pairs are taken for bursts, and rollouts last longer than they must."""
    assert run(Bursts(1), [0.05] * 60) < 1.4
    assert run(Bursts(1), [0.0] * 60) == 1.0


def test_within_and_between_by_hand() -> None:
    """Broken: the measures are not those of their definition."""
    bursts = Bursts(1)
    for _ in range(6):
        for x in (1.0, 3.0):
            bursts.add(10.0, np.array([x]))
        bursts.close()
    # each block: x²/n sums to 1.0, 4²/20 is 0.8: X² = 0.2; chance gives 0.2 * 0.8 of one degree of freedom
    assert bursts.phi()[0] == pytest.approx(0.2 / 0.16, rel=1e-12)


def test_bursts_longer_than_a_block_are_seen() -> None:
    """Broken: a minute of odd requests now and then counts as hundreds of independent ones."""
    assert run(Bursts(1), ([0.01] * 4 + [0.3]) * 6) > 10


def test_a_version_that_begins_to_differ_does_not_hide_itself() -> None:
    """Broken: the step from agreement to disagreement is taken for noise, and the version stays in traffic."""
    assert run(Bursts(1), [0.001] * 40 + [0.1] * 20) < 2.0


def test_nothing_is_told_from_little() -> None:
    """Broken: a dispersion from two blocks, or NaN from none."""
    bursts = Bursts(2)
    bursts.close()
    assert bursts.phi().tolist() == [1.0, 1.0]
    for share in (0.0, 50.0):
        bursts.add(100.0, np.array([share, 0.0]))
        bursts.close()
    assert bursts.phi().tolist() == [1.0, 1.0]
