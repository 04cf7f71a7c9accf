"""`make prove` in small: every kind of simulation, with fewer rollouts and looks, under the same kind of limit.

Each check fails a build that is right at most once in a million; with few rollouts it finds gross faults alone.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from tests.prove import hazards, margins, peeking, power, shown, whole
from tests.prove.streams import METRICS, WEIGHTS

pytestmark = pytest.mark.slow


def holds(found: list[dict[str, Any]]) -> None:
    assert [one for one in found if not one["holds"]] == []


@pytest.mark.parametrize(("table", "share"), list(product(margins.TABLES, (0.01, 0.50))))
def test_the_engine_keeps_its_promise_on_the_margin(table: str, share: float) -> None:
    """Broken: a candidate on its margin is aborted or promoted too often, at a small or at an equal weight."""
    holds(margins.bare(np.random.default_rng(201), table, share, runs=100, looks=150))


@pytest.mark.parametrize(("law", "share"), list(product(("normal", "exponential"), WEIGHTS)))
def test_means_keep_their_promise_on_the_margin(law: str, share: float) -> None:
    """Broken: Engine B's approximation fails for skewed values or at a small weight."""
    holds(margins.means(np.random.default_rng(202), law, share, runs=200, looks=200))


@pytest.mark.parametrize("metric", METRICS)
def test_the_judge_neither_aborts_nor_promotes_on_the_margin(metric: str) -> None:
    """Broken: the Judge answers where the truth lies exactly on the margin (of 12 rollouts, 8 may be wrong)."""
    holds(margins.judged(np.random.default_rng(203), metric, 0.10, runs=12, looks=60))


@pytest.mark.parametrize("case", ["errors, 0 and 1 %", "missing values, 0 and 0.5 %", "latency p99", "pairs, 0.2 %"])
def test_what_is_shown_holds_the_truth(case: str) -> None:
    """Broken: the interval of a reading is not of what is said to be shown (of 6 rollouts, 4 may be wrong)."""
    holds(shown.missed(np.random.default_rng(212), case, shown.CASES[case].shares[0], runs=6, looks=40))


def test_a_right_split_is_not_flagged() -> None:
    """Broken: good rollouts are called unreliable."""
    holds(margins.split(np.random.default_rng(204), 0.05, runs=30, looks=60))


def test_naive_tests_fail_on_streams_that_ours_passes() -> None:
    """Broken: the streams do not tempt, and prove nothing (a z-test looked at so often alarms in 30 %, at least)."""
    found = peeking.equal(np.random.default_rng(205), 0.5, runs=16, looks=80)
    holds(found)
    assert sum(one["count"] for one in found if one["risk"] is None) >= 4


def test_users_who_stay_do_not_abort() -> None:
    """Broken: a few heavy users decide."""
    holds(hazards.sticky(np.random.default_rng(206), 5000, 0.5, runs=12, looks=100))


def test_drift_and_bursts_stay_within_what_was_measured() -> None:
    """Broken: load that changes for both, or bursts of one, abort equal versions."""
    holds(hazards.drift(np.random.default_rng(207), runs=100, seconds=300))
    holds(hazards.bursts(np.random.default_rng(208), 0.05, runs=100, seconds=300))


@pytest.mark.parametrize("case", ["errors 1 → 5 %, harm, +20 %", "label 30 % unchanged, pass, 2 pp",
                                  "score +0.05 sd, harm, no margin"])  # fmt: skip
def test_decisions_take_the_traffic_that_the_design_measured(case: str) -> None:
    """Broken: the engine lost power."""
    holds(power.measure(np.random.default_rng(209), case, 0.5, runs=80))


def test_a_whole_rollout_ends_as_it_should() -> None:
    """Broken: a good candidate is aborted, or a slow tail gets through (seeded, so always alike)."""
    good = whole.verdicts(np.random.default_rng(210), "nothing differs", runs=2)[0]
    assert good["ends"] == {"aborted": 0, "promoted": 2, "inconclusive": 0}
    slow = whole.verdicts(np.random.default_rng(211), "p99 +50 %, the tail alone", runs=3)[0]
    assert slow["ends"]["aborted"] == 3
    assert slow["blamed"] == ["latency.p99"]
