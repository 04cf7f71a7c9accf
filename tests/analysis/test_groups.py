"""The design effect of sticky users: for errors, latency, labels and numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from analysis.groups import Groups, design_effects
from analysis.summaries import GROUPS, ArmCounts, GroupCounts, Moments, Slice
from analysis.verdict import Gate, Judge, Plan
from tests.support.slices import arm, groups, histogram, look

USERS = 200
GATES = {
    "errors": Gate("errors", "errors", margin_relative=0.5),
    "latency.p95": Gate("latency.p95", "latency", quantile=0.95, margin_relative=0.2),
    "prediction.label": Gate("prediction.label", "category", output="label", margin_absolute=0.05),
    "prediction.score": Gate("prediction.score", "number", output="score", margin_sd=0.2),
}


def test_design_effect_of_clustered_users() -> None:
    """Broken: a few users that fail all the time count as many independent failures."""
    random = np.random.default_rng(13)
    alike, clustered = Groups(1), Groups(1)
    rates = np.where(random.random(500) < 0.02, 0.5, 0.0)
    for sums, by_user in ((alike, np.full(500, 0.01)), (clustered, rates)):
        n_c, x_c = groups(random, 5000, by_user[:250])
        n_s, x_s = groups(random, 5000, by_user[250:])
        sums.add(n_c, x_c, n_s, x_s)
    assert alike.effects()[0] < 1.6
    assert clustered.effects()[0] > 5


def test_design_effect_is_one_where_it_cannot_be_told() -> None:
    """Broken: a division by zero where users are unknown, few, or nothing failed."""
    nothing = np.zeros((1, GROUPS))
    many = np.ones((1, GROUPS)) * 10
    assert design_effects(nothing, nothing, nothing, nothing) == 1.0
    assert design_effects(nothing, nothing, many, many / 10) == 1.0
    assert design_effects(many, nothing, many, nothing) == 1.0


def test_requests_of_a_single_group_are_worth_one() -> None:
    """Broken: a candidate with one user is judged as if a thousand users had asked."""
    single, many = np.eye(GROUPS)[:1] * 1000, np.ones((1, GROUPS)) * 10
    for x in (single, single * 0):
        assert design_effects(single, x, many, many / 10) == 1000.0
        assert design_effects(many, many / 10, single, x) == 1000.0


@pytest.mark.parametrize("heavy", [0.0, 0.2, 0.5])
def test_the_design_effect_is_that_of_users_who_ask_unevenly(heavy: float) -> None:
    """Broken: a user with half of the requests makes the level of an arm, and is taken for no noise at all."""
    random, users, requests = np.random.default_rng(6), 40, 20_000.0
    parts = np.r_[heavy, np.full(users - 1, (1 - heavy) / (users - 1))] if heavy else np.full(users, 1 / users)
    n = np.zeros((1, GROUPS))
    n[0, :users] = requests * parts
    off, effects, levels = np.zeros(400), np.zeros(400), np.zeros(400)
    for run in range(400):
        x_c, x_s = n.copy(), n.copy()
        for x in (x_c, x_s):
            x[0, :users] *= random.beta(2, 18, users)
        effects[run] = design_effects(n, x_c, n, x_s)[0]
        off[run], levels[run] = (x_c - x_s).sum() / requests, (x_c + x_s).sum() / requests / 2
    true = np.mean(off**2) / np.mean(2 * levels * (1 - levels) / requests)
    assert np.mean(effects) > 0.8 * true, "400 draws: the standard error of either is 7 %"


def test_design_effect_is_the_variance_between_over_the_variance_within() -> None:
    """Broken: the ratio of variances is not the one of the definition, for means as for rates."""
    n_c, n_s = np.full((1, 4), 10.0), np.full((1, 4), 20.0)
    x_c, x_s = np.array([[12.0, 8.0, 10.0, 10.0]]), np.array([[20.0, 20.0, 26.0, 14.0]])
    # candidate: 4/3 * 8 / 1600, stable: 4/3 * 72 / 6400; of single values: 2/40 and 0.5/80
    expected = (4 / 3 * 8 / 1600 + 4 / 3 * 72 / 6400) / (0.3 / 40 + 0.08 / 80)
    assert design_effects(n_c, x_c, n_s, x_s, np.array([[0.3], [0.08]]))[0] == pytest.approx(expected, rel=1e-12)


def test_sums_of_a_stage_are_taken_as_they_are_and_stages_add() -> None:
    """Broken: a controller that reads the same sums again counts them twice, or a new memory forgets the users."""
    nothing, ten = np.zeros((1, GROUPS)), np.full((1, GROUPS), 10.0)
    one_group = np.eye(GROUPS)[:1] * 10
    sums, once = Groups(1), design_effects(2 * ten, 2 * one_group, 2 * ten, nothing)
    for _ in range(3):
        sums.set(ten, one_group, ten, nothing)
    assert sums.effects()[0] == pytest.approx(design_effects(ten, one_group, ten, nothing)[0])
    sums.begin_stage()
    sums.set(ten, one_group, ten, nothing)
    assert sums.effects()[0] == pytest.approx(once[0])
    sums.set(ten / 2, one_group / 2, ten / 2, nothing)
    sums.set(ten, one_group, ten, nothing)
    assert sums.effects()[0] == pytest.approx(design_effects(3 * ten, 3 * one_group, 3 * ten, nothing)[0], rel=0.2)


class Served:
    """An arm of users, of whom some differ from the others in everything; all of its stage so far."""

    def __init__(self, random: np.random.Generator, alike: bool) -> None:
        self.random = random
        self.odd = np.zeros(USERS, dtype=bool) if alike else random.random(USERS) < 0.1
        self.sums = GroupCounts(np.zeros((203, GROUPS)), {}, {})

    def second(self, n: int) -> ArmCounts:
        """What becomes of n requests; a tenth of them is odd, spread over all users or over a few."""
        users = self.random.integers(0, USERS, n)
        odd = self.odd[users] if self.odd.any() else self.random.random(n) < 0.1
        failed = odd & (self.random.random(n) < 0.3)
        seconds = np.where(odd, 0.2, 0.05) * np.exp(self.random.normal(0, 0.1, n))
        scores = np.where(odd, 2.0, 0.0) + self.random.normal(0.0, 1.0, n)
        of = users % GROUPS
        latency = np.zeros((203, GROUPS))
        buckets = np.floor(np.log(seconds / 1e-4) / np.log(1.01)).astype(int)
        np.add.at(latency, (buckets >> 3, of), 1.0)
        counted = {"odd": by_group(of, odd), "even": by_group(of, ~odd)}
        sums = np.stack((by_group(of), np.bincount(of, scores, GROUPS)))
        self.sums += GroupCounts(latency, {"label": counted}, {"score": sums})
        labels = {"odd": float(odd.sum()), "even": float((~odd).sum())}
        moments = Moments(float(n), float(scores.sum()), float(scores @ scores))
        served = arm(float(n), float(failed.sum()), histogram(seconds), labels, moments)
        return replace(served, group_n=by_group(of), group_failed=by_group(of, failed))


def by_group(of: np.ndarray, which: np.ndarray | None = None) -> np.ndarray:
    return np.bincount(of if which is None else of[which], minlength=GROUPS).astype(float)


def slices(alike: bool, seconds: int = 60) -> list[Slice]:
    random = np.random.default_rng(17)
    stable, candidate = Served(random, alike), Served(random, alike)
    found = []
    for second in range(seconds):
        made = look(stable.second(300), candidate.second(300), sticky=True, users=(USERS, USERS))
        sums = (stable.sums, candidate.sums) if second % 10 == 9 else None
        found.append(replace(made, groups=sums))
    return found


def observed(gate: Gate, made: list[Slice]) -> Judge:
    judge = Judge(Plan((gate,), block_s=5.0))
    for slice_ in made:
        judge.observe(slice_)
    return judge


@pytest.mark.parametrize("name", GATES)
def test_users_who_differ_are_worth_less_in_every_metric(name: str) -> None:
    """Broken: a few odd users decide over latency, labels or scores as if each request were of a user of its own."""
    few, many = (observed(GATES[name], slices(alike)).verdict(60.0).metrics[0] for alike in (False, True))
    assert few.n_effective < few.n_candidate / 3
    assert many.n_effective > many.n_candidate / 3.5
    assert many.n_effective > 2 * few.n_effective


@pytest.mark.parametrize("name", GATES)
def test_users_outlive_a_crash(name: str) -> None:
    """Broken: after a restart of the controller the same users count as new ones."""
    made = slices(alike=False, seconds=40)
    judge = observed(GATES[name], made[:25])
    again = Judge.load(judge.plan, judge.dump())
    for slice_ in made[25:]:
        judge.observe(slice_)
        again.observe(slice_)
    assert again.verdict(40.0) == judge.verdict(40.0)
    assert again.dump() == judge.dump()


def test_what_users_did_must_be_counts() -> None:
    """Broken: one damaged cell of a group turns the evidence of a route into NaN."""
    broken = GroupCounts(np.full((203, GROUPS), np.nan), {}, {})
    judge = Judge(Plan((GATES["errors"],)))
    with pytest.raises(ValueError, match="groups"):
        judge.observe(replace(look(arm(), arm(), sticky=True), groups=(broken, broken)))


def test_groups_merge_in_any_order() -> None:
    """Broken: what groups did depends on which worker is read first."""
    random = np.random.default_rng(2)

    def part(labels: Callable[[], dict[str, np.ndarray]]) -> GroupCounts:
        numbers = {"score": random.integers(0, 9, (2, GROUPS)).astype(float)}
        return GroupCounts(random.integers(0, 9, (203, GROUPS)).astype(float), {"label": labels()}, numbers)

    parts = [part(lambda name=name: {name: np.ones(GROUPS)}) for name in ("a", "b", "a")]
    one, other = parts[0] + parts[1] + parts[2], parts[2] + (parts[1] + parts[0])
    np.testing.assert_array_equal(one.latency, other.latency)
    np.testing.assert_array_equal(one.numbers["score"], other.numbers["score"])
    assert {name: counts.sum() for name, counts in one.labels["label"].items()} == {"a": 128.0, "b": 64.0}
    assert {name: counts.sum() for name, counts in other.labels["label"].items()} == {"a": 128.0, "b": 64.0}
