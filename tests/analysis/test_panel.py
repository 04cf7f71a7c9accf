"""Several candidates in one race: each by its own evidence, and all of them as one answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from analysis.contest import begin, resume
from analysis.panel import Panel, best
from analysis.plan import Gate, Goal, Plan
from analysis.summaries import Slice
from analysis.verdict import Judge
from tests.support.rollouts import ALPHA, limit
from tests.support.slices import errors

PLAN = Plan((Gate("errors", "errors", margin_absolute=0.03),), block_s=1.0, rivals=("a", "b", "c"))
ALONE = replace(PLAN, rivals=())


def seconds(rates: dict[str, float], looks: int, n: int = 200, seed: int = 1) -> list[Slice]:
    """Slices of candidates with these error rates against one stable at 2 %, whose requests they share."""
    random = np.random.default_rng(seed)
    found = []
    for second in range(looks):
        of_stable = random.binomial(n, 0.02)
        for name, rate in rates.items():
            one = errors(n, of_stable, n, random.binomial(n, rate), at_s=float(second))
            found.append(replace(one, rival=name))
    return found


def shown(slices: list[Slice], plan: Plan = PLAN) -> Panel:
    panel = begin(plan)
    assert isinstance(panel, Panel)
    for slice_ in slices:
        panel.observe(slice_)
    return panel


RATES = {"a": 0.3, "b": 0.02, "c": 0.02}


def test_nobody_touches_the_evidence_of_another() -> None:
    """Broken: a bad candidate drags a good one down, or is hidden by it."""
    slices = seconds(RATES, 40)
    found = dict(shown(slices).verdict(40.0).candidates)
    for name in PLAN.rivals:
        judge = Judge(ALONE)
        for slice_ in slices:
            if slice_.rival == name:
                judge.observe(slice_)
        assert found[name] == judge.verdict(40.0), name
    assert (found["a"].abort, found["b"].proven) == (True, True)


def test_those_that_left_change_nothing_of_the_others() -> None:
    """Broken: dropping one candidate begins, loses or shifts the evidence of those that go on."""
    panel = shown(seconds(RATES, 10))
    others = panel.among(("b", "c"))
    for slice_ in seconds({"b": 0.02, "c": 0.02}, 30, seed=2):
        others.observe(slice_)
    assert panel.among(("b", "c")) is not panel
    assert panel.shares(others)
    assert dict(panel.verdict(40.0).candidates) == dict(others.verdict(40.0).candidates)
    assert panel.among(PLAN.rivals) is panel


def test_all_of_them_as_one() -> None:
    """Broken: a rollout ends while somebody is still good, goes on with nobody, or waits for the wrong one."""
    panel = shown(seconds({"a": 0.3, "b": 0.3, "c": 0.02}, 40))
    whole = panel.verdict(40.0)
    assert (whole.abort, whole.proven, whole.missing) == (False, True, ())
    assert whole.metrics == dict(whole.candidates)["c"].metrics, "the front is who is proven"
    assert panel.among("ab").verdict(40.0).abort
    assert panel.among("ab").verdict(40.0).reason.startswith("a: ")
    left = panel.among("b").verdict(40.0)
    assert replace(left, candidates=()) == dict(whole.candidates)["b"], "one that is left is all there is"


def test_of_those_that_are_proven_the_best_is_in_front() -> None:
    """Broken: whoever the file names first is promoted before one that is proven better; or a margin that is hardly
    held is hidden by another one that is held well."""
    whole = shown(seconds({"a": 0.025, "b": 0.005, "c": 0.02}, 20)).verdict(20.0)
    found = dict(whole.candidates)
    assert [found[name].proven for name in "abc"] == [True] * 3
    assert found["b"].least_pass == max(each.least_pass for each in found.values()) > found["a"].least_pass
    assert whole.metrics == found["b"].metrics
    assert best(dict.fromkeys("ca", found["b"])) == "c", "of equals the first"
    weak, even = (replace(found["b"], least_pass=least) for least in (30.0, 31.0))
    assert best({"a": weak, "b": even}) == "b"


def test_the_fewest_samples_count() -> None:
    """Broken: a step goes on while one candidate was hardly seen."""
    slices = [*seconds({"a": 0.045, "b": 0.045}, 5), *seconds({"c": 0.02}, 1)]
    whole = shown(slices).verdict(5.0)
    assert (whole.stage_candidate, whole.abort, whole.proven, whole.inconclusive) == (200, False, False, False)
    assert {text.partition(":")[0] for text in whole.missing} == {"a", "b", "c"}
    nothing = shown(seconds({"a": 0.02}, 3)).verdict(3.0)
    assert (nothing.stage, nothing.stage_candidate) == (-1, 0)


def test_it_is_undecided_when_all_are() -> None:
    """Broken: one candidate that gets nowhere ends the race of the others."""
    slices = seconds({"a": 0.045, "b": 0.045, "c": 0.045}, 3)
    assert shown(slices).verdict(PLAN.horizon_s).inconclusive
    assert not shown(slices).verdict(3.0).inconclusive


def test_its_memory_is_whole_to_the_bit() -> None:
    """Broken: a restart changes who is in the race, or what was seen of whom."""
    panel = shown(seconds(RATES, 20)).among(("b", "c"))
    again = resume(PLAN, panel.dump())
    assert isinstance(again, Panel)
    assert (again.racing, again.dump()) == (("b", "c"), panel.dump())
    for slice_ in seconds({"b": 0.02, "c": 0.05}, 10, seed=3):
        panel.observe(slice_)
        again.observe(slice_)
    assert again.dump() == panel.dump()
    assert again.verdict(30.0) == panel.verdict(30.0)


@pytest.mark.parametrize(
    ("plan", "data", "message"),
    [
        (replace(PLAN, rivals=("a", "b")), None, "is of a, b, c"),
        (PLAN, b"", "another plan"),
        (PLAN, Judge(ALONE).dump(), "another plan"),
        (replace(PLAN, gates=(Gate("errors", "errors", margin_absolute=0.1),)), None, "another plan"),
    ],
)
def test_memory_of_another_race_is_refused(plan: Plan, data: bytes | None, message: str) -> None:
    """Broken: evidence of one candidate is taken for that of another."""
    with pytest.raises(ValueError, match=message):
        Panel.load(plan, shown([]).dump() if data is None else data)


def test_what_makes_no_race_is_refused() -> None:
    """Broken: a slice of nobody is evidence of somebody."""
    with pytest.raises(ValueError, match="none of a, b, c"):
        shown([replace(errors(1, 0, 1, 0), rival="x")])
    with pytest.raises(ValueError, match="none of a, b, c"):
        shown([errors(1, 0, 1, 0)])
    with pytest.raises(ValueError, match="several candidates"):
        Panel(replace(PLAN, rivals=("a",)))
    with pytest.raises(ValueError, match="between two"):
        replace(PLAN, goal=Goal("errors", "errors", 0.01, False))


@pytest.mark.slow
def test_each_keeps_its_own_budget() -> None:
    """Broken: the more candidates there are, the more often one that is as it should be is thrown out."""
    runs, thrown = 120, dict.fromkeys(PLAN.rivals, 0)
    for seed in range(runs):
        panel = shown(seconds(dict.fromkeys(PLAN.rivals, 0.05), 25, n=100, seed=seed))  # exactly on the margin
        for name, verdict in panel.verdict(25.0).candidates:
            thrown[name] += verdict.abort
    assert max(thrown.values()) <= limit(runs, ALPHA), thrown
