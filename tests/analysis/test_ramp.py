"""The budget of a ramp: what it counts, what evidence allows, and that no candidate costs more than it may."""

from __future__ import annotations

from dataclasses import replace
from math import isclose

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.climbing import climb
from analysis.plan import Budget, Gate, Plan
from analysis.ramp import RUNGS_AT_ONCE, WORST, Spending, lines, with_chance
from analysis.summaries import Slice
from analysis.verdict import Judge
from tests.prove import ramp
from tests.prove.ramp import Candidate, costs, question, rollout
from tests.support.rollouts import limit
from tests.support.slices import arm, errors

REACTION_S = 10.0
SHARES = (0.001, 0.01, 0.05, 0.1, 0.5)
PLAN = Plan((Gate("errors", "errors", margin_absolute=0.002),), budget=Budget(50.0, SHARES, REACTION_S))
RISK = 0.1
"""Of spending more than the budget: alphaAbort, and a Poisson number beyond twice its root (2.3 % to 5 % of small
ones)."""


def after(plan: Plan, *slices: Slice) -> Spending:
    spending = Spending(plan)
    for slice_ in slices:
        spending.observe(slice_)
    return spending


def quiet(seconds: int, per_second: float, share: float = 0.0, stage: int = 0, failed: float = 0.0) -> list[Slice]:
    n_c = per_second * share
    return [errors(per_second - n_c, 0.0, n_c, failed, share=share, stage=stage) for _ in range(seconds)]


def test_without_evidence_all_may_be_bad_and_nothing_is_allowed_before_traffic_is_known():
    """Broken: a candidate gets traffic of which nobody knows how much it is."""
    found = Spending(PLAN).reading()
    assert (found.spent, found.worst, found.allowed, found.per_second) == (0.0, 1.0, 0.0, 0.0)
    assert after(PLAN, *quiet(9, 100.0)).reading().allowed == 0.0


def test_the_first_weight_is_the_highest_at_which_all_may_fail():
    """Broken: an outage from the first request on costs more than the budget, or the ramp begins slower than it may."""
    assert after(PLAN, *quiet(10, 100.0)).reading().allowed == 0.01  # 10 requests, 16 with chance; 5 % would be 50
    assert after(PLAN, *quiet(10, 1000.0)).reading().allowed == 0.001
    assert after(PLAN, *quiet(10, 1.0)).reading().allowed == 0.5
    too_much = after(PLAN, *quiet(10, 100_000.0)).reading()
    assert too_much.allowed == 0.0
    assert "raise maxBadRequests, or shorten timeouts.request" in too_much.text


def test_a_weight_lasts_its_time_and_rises_a_few_rungs_at_once():
    """Broken: rows of the ledger run out, or a candidate goes from 1 % to 50 % at once."""
    begun = quiet(10, 100.0)
    assert after(PLAN, *begun, *quiet(19, 100.0, 0.01, stage=1)).reading().allowed == 0.01
    assert RUNGS_AT_ONCE == 2
    small = replace(PLAN, budget=replace(PLAN.budget, max_bad=10_000.0))
    assert after(small, *begun, *quiet(20, 100.0, 0.001, stage=1)).reading().allowed == 0.05


def test_a_weight_needs_requests_of_its_own():
    """Broken: the weight rises on what another weight has shown, though the candidate may not bear this one."""
    calm = [*quiet(10, 100.0), *quiet(300, 100.0, 0.01, stage=1)]
    assert after(PLAN, *calm).reading().allowed > 0.01
    silent = [errors(99.0, 0.0, 0.0, 0.0, share=0.01, stage=2) for _ in range(60)]
    found = after(PLAN, *calm, *silent)
    assert found.reading().allowed == 0.01
    found.observe(errors(99.0, 0.0, 1.0, 0.0, share=0.01, stage=2))
    assert found.reading().allowed == 0.01  # one request is not enough


def test_silence_never_raises_the_weight():
    """Broken: the traffic of a route that sleeps is 0, and at that any weight would be without risk."""
    spending = after(PLAN, *quiet(10, 100.0), *quiet(19, 100.0, 0.01, stage=1))
    for _ in range(3600):
        spending.observe(errors(0.0, 0.0, 0.0, 0.0, share=0.01, stage=1))
        assert spending.reading().allowed == 0.01


def test_evidence_that_worsens_is_heard_after_a_long_calm():
    """Broken: an hour of good answers pays for a bad minute, and the weight goes on rising in it."""
    calm = after(PLAN, *quiet(10, 100.0), *quiet(3600, 100.0, 0.1, stage=1))
    assert calm.worst() < 0.01
    for _ in range(3):
        calm.observe(errors(90.0, 0.0, 10.0, 2.0, share=0.1, stage=1))
    assert calm.worst() > 0.1
    assert calm.reading().allowed == 0.1


def test_bad_requests_are_those_beyond_the_margin_in_the_same_slice():
    """Broken: what both versions suffer, or what the margin allows, is charged to the candidate."""
    both = after(PLAN, *[errors(900.0, 90.0, 100.0, 10.0, share=0.1) for _ in range(100)])
    assert both.reading().spent == 0.0
    one = after(PLAN, errors(900.0, 0.0, 100.0, 7.0, share=0.1))
    assert isclose(one.reading().spent, 7.0 - 0.2)


def test_good_times_are_no_credit():
    """Broken: a candidate may waste what it did not spend before."""
    calm = after(PLAN, *quiet(3600, 100.0, 0.1))
    calm.observe(errors(90.0, 0.0, 10.0, 5.0, share=0.1))
    assert isclose(calm.reading().spent, 5.0 - 0.02)


def test_requests_that_hang_count_against_the_bound():
    """Broken: the weight rises while requests of the candidate are waited for, which will all fail."""
    hanging = replace(arm(5.0), assigned=10.0)
    slices = [Slice(1, 0.0, 1.0, 0.1, arm(90.0), hanging, None, None, False) for _ in range(60)]
    found = after(PLAN, *quiet(10, 100.0), *slices).reading()
    assert found.worst > 0.5
    assert found.allowed == 0.1


def test_few_sticky_users_rule_out_little():
    """Broken: a thousand requests of three users pass for a thousand facts."""
    slices = [replace(each, users=(30, 3), sticky=True) for each in quiet(600, 100.0, 0.1, stage=1)]
    found = after(PLAN, *quiet(10, 100.0), *slices).reading()
    assert isclose(found.worst, 1 - 0.05 ** (1 / 3))
    assert "(63.2 % beyond its margin, since it has had 3 users;" in found.text


def test_a_few_users_who_always_fail_are_no_proof_against_the_version():
    """Broken: one client that sends nonsense, and keeps to the candidate, has it taken back."""

    def minute(groups: list[int]) -> Spending:
        spending = after(PLAN, *quiet(10, 100.0), *quiet(60, 100.0, 0.1, stage=1))
        each = np.zeros(64)
        for at in groups:
            each[at] += 1.0 / len(groups)
        candidate = replace(arm(10.0, 1.0), group_n=np.full(64, 10 / 64) + each, group_failed=each)
        stable = replace(arm(90.0), group_n=np.full(64, 90 / 64))
        for _ in range(60):
            spending.observe(Slice(1, 0.0, 1.0, 0.1, stable, candidate, None, (900, 100), True))
        return spending

    same, many = minute([3]).reading(), minute(list(range(0, 64, 2))).reading()
    assert same.spent == many.spent > 50
    assert same.evidence < same.evidence_needed < many.evidence


def test_after_the_promotion_nothing_is_counted():
    """Broken: what the bake finds is held against the budget of the ramp, with nothing to compare with."""
    spending = after(PLAN, *quiet(60, 100.0, 0.1))
    before = spending.reading()
    spending.observe(errors(0.0, 0.0, 100.0, 100.0, share=1.0, stage=9))
    assert spending.reading() == before


def test_a_budget_that_is_spent_ends_it_with_its_reason():
    """Broken: nobody learns why the candidate was taken back."""
    judge = Judge(replace(PLAN, breaker_above=None))
    for slice_ in (*quiet(10, 100.0), *quiet(30, 100.0, 0.1, stage=1)):
        judge.observe(slice_)
    assert not judge.verdict(40.0).abort
    for _ in range(60):
        judge.observe(errors(90.0, 0.0, 10.0, 1.0, share=0.1, stage=1))
    found = judge.verdict(100.0)
    assert (found.abort, found.decided_by) == (True, "budget")
    assert "of 50 bad requests are spent" in found.reason


def test_what_is_spent_outlives_the_controller():
    """Broken: kill -9 gives the candidate a new budget."""
    judge = Judge(PLAN)
    for slice_ in (
        *quiet(10, 100.0),
        *quiet(30, 100.0, 0.1, stage=1),
        errors(90.0, 0.0, 10.0, 3.0, share=0.1, stage=1),
    ):
        judge.observe(slice_)
    assert Judge.load(PLAN, judge.dump()).verdict(41.0) == judge.verdict(41.0)


def test_the_text_says_what_is_needed():
    """Broken: an operator cannot tell why the weight is what it is."""
    text = after(PLAN, *quiet(10, 100.0), *quiet(5, 100.0, 0.01, stage=1)).reading().text
    assert text.startswith("at 1 %: ")
    assert "of 50 bad requests would be spent if it fails as often as the evidence still allows" in text
    assert "; 5 % after about 15 s more, at" in text
    spent = after(PLAN, errors(9000.0, 100.0, 1000.0, 70.0, share=0.1)).reading().text
    assert spent == "at 10 %: 56.9 of 50 bad requests seem to be spent: the weight holds until that was chance"


def test_two_margins_allow_what_the_larger_allows():
    """Broken: what is within one of two margins costs the budget."""
    gate = Gate("errors", "errors", margin_relative=0.5, margin_absolute=0.01)
    assert lines((gate,)) == [(0.0, 1.5), (0.01, 1.0)]
    plan = replace(PLAN, gates=(gate,))
    assert after(plan, errors(900.0, 9.0, 100.0, 2.0, share=0.1)).reading().spent == 0.0


# --- laws

COUNTS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5), st.integers(0, 20)), min_size=1, max_size=60)


@settings(max_examples=60, deadline=None)
@given(COUNTS, st.integers(0, 59), st.integers(1, 10), st.sampled_from(SHARES))
def test_worse_evidence_never_allows_more(counts, place, more, share):
    """Broken: a candidate gets more traffic for failing more."""
    place %= len(counts)
    worse = [(n, x, c + more * (at == place)) for at, (n, x, c) in enumerate(counts)]

    def allowed(found: list[tuple[int, int, int]]) -> tuple[float, float, float]:
        slices = [errors(200.0, min(x, 200), 20.0 + n, min(c, 20.0 + n), share=share, stage=1) for n, x, c in found]
        reading = after(PLAN, *slices).reading()
        return reading.allowed, -reading.worst, -reading.spent

    assert all(bad <= good + 1e-9 for bad, good in zip(allowed(worse), allowed(counts), strict=True))


@settings(max_examples=60, deadline=None)
@given(COUNTS, st.sampled_from((0.0, *SHARES)))
def test_the_weight_neither_falls_nor_goes_beyond_its_last(counts, share):
    """Broken: users are taken from the candidate, or it has more than the file allows."""
    slices = [errors(50.0 + n, x, c * share, min(x, c * share), share=share, stage=1) for n, x, c in counts]
    assert share <= after(PLAN, *slices).reading().allowed <= SHARES[-1]


def test_what_a_budget_may_not_be():
    """Broken: a plan of nonsense is judged by."""
    for wrong in ({"max_bad": 0.0}, {"shares": (0.5, 0.1)}, {"shares": (0.5, 1.0)}, {"shares": ()}, {"alpha": 1.0}):
        with pytest.raises(ValueError, match=r"budget\."):
            replace(PLAN.budget, **wrong)
    assert WORST[0] < 1
    assert with_chance(0.0) == 0.0


# --- what it promises


@pytest.mark.slow
@pytest.mark.parametrize(("max_bad", "rate"), [(10, 10), (50, 100), (50, 1000)])
@pytest.mark.parametrize("candidate", [Candidate(1.0), Candidate(1.0, hangs=True), Candidate(0.5), Candidate(0.05)])
def test_no_constant_badness_costs_more_than_the_budget(candidate, max_bad, rate):
    """Broken: the promise. More runs than `limit` allows are beyond it once in a million if each is with RISK."""
    runs = 24
    spent = costs(11, runs, max_bad, rate, candidate)
    assert np.sum(spent > max_bad) <= limit(runs, RISK)
    assert spent.mean() <= max_bad


@pytest.mark.slow
@pytest.mark.parametrize("bad", [1.0, 0.5, 0.05])
def test_a_late_onset_costs_the_budget_and_what_comes_until_it_is_known(bad):
    """Broken: a candidate that turns bad at 20 % of the traffic is watched for minutes."""
    rate, weight, max_bad, runs = 100, 0.2, 50, 24
    late = costs(12, runs, max_bad, rate, Candidate(bad, from_weight=weight))
    until_known = with_chance(bad * rate * 0.5 * (1.0 + ramp.LOOK_AFTER_S + ramp.HEARD_AFTER_S))
    assert np.sum(late > max_bad + until_known) <= limit(runs, RISK)


@pytest.mark.slow
@pytest.mark.parametrize("more", [0.0, 0.002])
def test_a_candidate_within_its_margin_is_hardly_ever_stopped(more):
    """Broken: ramps end that should not, which the budget's alpha bounds."""
    random, plan, runs = np.random.default_rng(13), question(10.0), 16
    found = [rollout(random, plan, 100, Candidate(more), 0.01, 30, 600) for _ in range(runs)]
    assert sum(bool(run.stopped_by) for run in found) <= limit(runs, plan.budget.alpha + 0.001)


@pytest.mark.slow
def test_the_planner_says_what_a_ramp_takes():
    """Broken: `understudy plan` promises a ramp that takes much longer, or much less."""
    for rate, max_bad in ((10, 10), (100, 50), (1000, 50)):
        random, plan = np.random.default_rng(14), question(max_bad)
        ends = [rollout(random, plan, rate, Candidate(0.0), 0.01, 0).at_s[0.5] for _ in range(10)]
        assert 0.6 <= climb(plan, rate, 0.01, 86_400.0)[-1].at_s / np.median(ends) <= 1.4
