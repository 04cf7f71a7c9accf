"""The cap, the dispersion and the restarts."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from analysis.engine import HARM, POINTS, Table
from analysis.robustness import BLOCK_CAP, MIN_BLOCKS, Bank, Dispersion, restart_weight
from tests.support.rollouts import Runs, drawn


def ratios(value: float, rows: int = 1) -> np.ndarray:
    return np.full((rows, POINTS), value)


def test_without_cap_dispersion_and_restarts_it_is_the_raw_bank() -> None:
    """Broken: the robustness layer changes evidence where nothing asks it to."""
    random = np.random.default_rng(3)
    bank = Bank(np.array([False]), cap=np.inf)
    total = np.zeros((1, POINTS))
    for step in range(20):
        increment = random.normal(0.0, 0.3, (1, POINTS))
        bank.add(increment)
        total += increment
        if step % 5 == 4:
            bank.close(np.ones(1))
        assert bank.log_evidence()[0] == pytest.approx(log(np.exp(total).mean()), abs=1e-12)


def test_a_block_counts_at_most_four_to_one_at_once_and_later() -> None:
    """Broken: one incident decides a rollout; or the open block is not seen until it ends."""
    bank = Bank(np.array([False]))
    bank.add(ratios(50.0))
    assert bank.log_evidence()[0] == pytest.approx(BLOCK_CAP)
    bank.close(np.ones(1))
    assert bank.log_evidence()[0] == pytest.approx(BLOCK_CAP)
    bank.add(ratios(-50.0))
    assert bank.log_evidence()[0] == pytest.approx(BLOCK_CAP - 50), "losses are not capped"


def test_dispersion_divides_only_the_next_block() -> None:
    """Broken: phi is applied to the block it was measured in, which is not predictable."""
    bank = Bank(np.array([False]))
    bank.add(ratios(1.0))
    bank.close(np.array([2.0]))
    assert bank.log_evidence()[0] == pytest.approx(1.0)
    bank.add(ratios(1.0))
    assert bank.log_evidence()[0] == pytest.approx(1.5)


def test_restart_weights_sum_to_one() -> None:
    """Broken: more than the whole wealth is bet, and the false alarm rate with it."""
    for starts in (1, 8, 300):
        placed = sum(restart_weight(start) for start in range(1, starts + 1))
        assert placed + 1 / (starts + 1) == pytest.approx(1.0, abs=1e-12)


def test_restarts_are_the_weighted_sum_of_banks() -> None:
    """Broken: the one recursion is not the sum over all restarted banks, held singly."""
    random = np.random.default_rng(5)
    blocks = random.normal(-0.2, 1.0, (40, POINTS))
    bank = Bank(np.array([True]))
    singles: list[np.ndarray] = [np.zeros(POINTS)]
    for number, block in enumerate(blocks, start=1):
        bank.add(block[None, :])
        bank.close(np.ones(1))
        singles = [single + np.minimum(block, BLOCK_CAP) for single in singles]
        weights = [restart_weight(start) for start in range(1, len(singles) + 1)]
        expected = sum(w * np.exp(single).mean() for w, single in zip(weights, singles, strict=True))
        expected += 1 / (len(singles) + 1)
        assert bank.log_evidence()[0] == pytest.approx(log(expected), abs=1e-10)
        if number % 5 == 0:
            bank.restart()
            singles.append(np.zeros(POINTS))
            assert bank.log_evidence()[0] == pytest.approx(log(expected), abs=1e-10), "a restart makes evidence"


def test_restarts_find_a_late_regression_soon() -> None:
    """Broken: a version that was fine for hours may fail for hours before it is aborted."""
    bank = Bank(np.array([True, False]))
    for number in range(300):
        bank.add(ratios(-1.0, rows=2))
        bank.close(np.ones(2))
        if number % 10 == 9:
            bank.restart()
    blocks = 0
    while bank.log_evidence()[0] < log(120):
        bank.add(ratios(2.0, rows=2))
        bank.close(np.ones(2))
        blocks += 1
    assert blocks <= 16
    assert bank.log_evidence()[1] < -200, "one bank alone is still far away"


def test_dispersion_is_one_for_chance_and_large_for_noise_of_one_arm() -> None:
    """Broken: real noise (a slow instance) is taken for evidence, or chance for noise."""
    random = np.random.default_rng(11)
    dispersion = Dispersion(np.ones(2))
    variance = np.array([4.0, 4.0])
    for second in range(512):
        gust = 6.0 * np.sin(second / 10) if second % 64 < 32 else 0.0
        u = random.normal(0, 2.0, 2) + np.array([0.0, gust])
        dispersion.add(u, variance)
    calm, windy = dispersion.phi()
    assert 1.0 <= calm < 2.0
    assert windy > 10


def test_dispersion_is_centred_at_the_effect() -> None:
    """Broken: a true regression looks like noise and hides itself."""
    random = np.random.default_rng(12)
    dispersion = Dispersion(np.ones(1))
    for _ in range(512):
        dispersion.add(random.normal(6.0, 2.0, 1), np.array([4.0]))
    assert dispersion.phi()[0] < 2.0


def test_dispersion_waits_for_enough_spans_and_ignores_empty_ones() -> None:
    """Broken: phi is made from a handful of slices, or NaN from slices without failures."""
    dispersion = Dispersion(np.ones(1))
    for _ in range(MIN_BLOCKS - 1):
        dispersion.add(np.array([100.0]), np.array([1.0]))
        dispersion.add(np.array([0.0]), np.array([0.0]))
    assert dispersion.phi()[0] == 1.0
    silent = Dispersion(np.ones(1))
    for _ in range(300):
        silent.add(np.zeros(1), np.zeros(1))
    assert silent.phi()[0] == 1.0


def late(change: float, *, worse: float = 1.0, blocks: int = 12) -> Dispersion:
    """50 blocks of 30 slices without an effect, then some with one of `change` standard deviations a slice."""
    random, dispersion = np.random.default_rng(13), Dispersion(np.array([worse, 0.0]))
    for number in range((50 + blocks) * 30):
        u = random.normal(change if number >= 50 * 30 else 0.0, 1.0)
        dispersion.add(np.full(2, u), np.ones(2))
        if number % 30 == 29:
            dispersion.close_block()
    return dispersion


def test_a_late_regression_is_no_noise_for_harm() -> None:
    """Broken: a version that turns bad after a calm time hides behind the surprise, for longer than people wait."""
    harm, passing = late(1.0).phi()
    assert passing > 10.0, "a proof may not be quickened by that"
    assert harm < passing / 3, "what is left is of the spans that hold the change itself"
    lower, _ = late(-1.0, worse=-1.0).phi()
    assert lower < passing / 3, "lower numbers can be the harm as well"


def test_a_late_improvement_is_noise_for_harm() -> None:
    """Broken: any change is taken out of the noise, so that wandering rates look calm."""
    better, _ = late(-1.0).phi()
    assert better > 5.0


def test_a_change_within_the_noise_changes_nothing() -> None:
    """Broken: the best of several marks makes phi smaller where nothing happened."""
    calm = late(0.0)
    assert calm.phi()[0] == calm.phi()[1]


def test_marks_are_remembered() -> None:
    """Broken: after a crash a late regression hides again."""
    before = late(1.0)
    after = Dispersion(np.array([1.0, 0.0]))
    for name, array in before.state().items():
        after.state()[name][:] = array
    assert after.phi().tolist() == before.phi().tolist()


@pytest.mark.slow
def test_what_a_bad_version_varies_by_itself_is_no_noise() -> None:
    """Broken: of rare failures it has the larger part, which varies more than that of an equal one, and its evidence is
    divided by that: by 3.6 at this traffic, so that it was found in 160 s and not in 104 (median of 100 rollouts)."""
    random, runs = np.random.default_rng(4), 60
    rollouts = Runs(runs, Table(0.0, 1.2, HARM, 0.01, 50.0), robust=True, block=30)
    for _ in range(300):
        n_c, n_s = (random.poisson(100 * share, runs).astype(float) for share in (0.05, 0.95))
        rollouts.look(n_c, drawn(random, n_c, 0.05), n_s, drawn(random, n_s, 0.01))
    assert np.median(rollouts.stack.bank.phi) < 1.6
    assert rollouts.alarmed.all()
    assert np.median(rollouts.first[0]) < 130
