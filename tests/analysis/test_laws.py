"""Laws that the Judge keeps for any counts: found by hypothesis, each a property of whole verdicts."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.plan import Gate, Plan
from analysis.summaries import ArmCounts, ArmTruths, Moments, PairCounts, Slice, TruthCounts
from analysis.verdict import Judge, Verdict
from tests.support.slices import arm, look, whole

GATES = (
    Gate("errors", "errors", margin_relative=0.2, margin_absolute=0.002),
    Gate("latency.p50", "latency", quantile=0.5, margin_relative=0.1),
    Gate("latency.p99", "latency", quantile=0.99, margin_relative=0.1),
    Gate("prediction.label", "category", output="label", margin_absolute=0.02),
    Gate("prediction.score", "number", output="score", margin_sd=0.1),
    Gate("pair.label", "pair", output="label", margin_absolute=0.01),
    Gate("pair.latency", "slowdown", margin_relative=0.1),
    Gate("feedback.accuracy", "accuracy", margin_relative=0.05, margin_absolute=0.01),
    Gate("feedback.logLoss", "loss", margin_sd=0.1),
)
PLAN = Plan(GATES, block_s=2.0, breaker_above=0.2)
ALL = replace(
    PLAN,
    gates=(
        *GATES,
        Gate("prediction.up", "number", output="score", margin_sd=0.1, direction=1),
        Gate("prediction.score.invalid", "unread", output="score", margin_absolute=0.02),
        Gate("pair.again", "pair", output="label", margin_absolute=0.01, repeats=0.5),
    ),
)
"""A metric of every kind."""
EQUAL = Plan((Gate("errors", "errors", margin_absolute=0.0, role="signal"),), block_s=2.0)

COUNT = st.one_of(st.just(0), st.integers(1, 20), st.integers(100, 100_000))


@st.composite
def arms(draw: st.DrawFn) -> ArmCounts:
    """An arm of any size, with anything in it that counts can be."""
    n = draw(COUNT)
    latency = np.zeros(1620)
    for bucket in draw(st.lists(st.integers(0, 1619), min_size=1, max_size=4)):
        latency[bucket] += n / 4
    values = draw(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=3))
    moments = Moments(float(n), n * values[0], sum(n * value * value for value in values))
    labels = {label: float(draw(COUNT)) for label in draw(st.sets(st.sampled_from("abcdefgh"), max_size=4))}
    return arm(float(n), float(draw(st.integers(0, n))), latency, labels, moments, float(draw(COUNT)))


@st.composite
def truths(draw: st.DrawFn, stage: int) -> TruthCounts:
    """Truths of any number, of which any number says that the prediction was wrong."""
    of_arms = []
    for _ in range(2):
        n, value = draw(COUNT), draw(st.floats(0.001, 6.9))
        loss = Moments(float(n), n * value, n * value * value)
        of_arms.append(ArmTruths(float(n), float(draw(st.integers(0, n))), loss))
    return TruthCounts(stage, *of_arms)


@st.composite
def slices(draw: st.DrawFn) -> Slice:
    """A look with anything in it."""
    n = draw(COUNT)
    ratio = np.zeros(256)
    ratio[draw(st.integers(0, 255))] = float(n)
    pairs = PairCounts(float(n), {"label": (float(n), float(draw(st.integers(0, n))))}, ratio)
    share = draw(st.sampled_from((0.0, 0.01, 0.5, 0.99)))
    made = look(draw(arms()), draw(arms()), stage=draw(st.integers(0, 1)), share=share, sticky=draw(st.booleans()))
    told = tuple(draw(truths(stage)) for stage in draw(st.lists(st.integers(0, 2), max_size=3, unique=True)))
    return replace(made, pairs=draw(st.sampled_from((None, pairs))), truths=told)


def run(plan: Plan, made: list[Slice]) -> Judge:
    judge = Judge(plan)
    for slice_ in made:
        judge.observe(slice_)
    return judge


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [each for one in value.values() for each in numbers(one)]
    if isinstance(value, list | tuple):
        return [each for one in value for each in numbers(one)]
    return [float(value)] if isinstance(value, int | float) else []


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(slices(), min_size=1, max_size=12))
def test_nothing_is_ever_nan(made: list[Slice]) -> None:
    """Broken: some counts turn a verdict into NaN or infinity, and every comparison with it is false."""
    verdict = run(PLAN, made).verdict(float(len(made)))
    assert all(map(isfinite, numbers(whole(verdict))))
    for metric in verdict.metrics:
        assert metric.n_effective <= metric.n_candidate + 1e-9
        if metric.low is not None and metric.high is not None and metric.effect is not None:
            assert metric.low <= metric.effect + 1e-6 * abs(metric.effect) + 1e-9
            assert metric.effect <= metric.high + 1e-6 * abs(metric.effect) + 1e-9


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(slices(), min_size=1, max_size=8), st.booleans())
def test_no_verdict_comes_from_one_side(made: list[Slice], candidate_alone: bool) -> None:
    """Broken: a version is promoted or aborted while nothing was there to compare it with."""
    nothing = arm()
    missing = {"stable": nothing} if candidate_alone else {"candidate": nothing}
    untold = {"stable": ArmTruths()} if candidate_alone else {"candidate": ArmTruths()}
    one_sided = [
        replace(each, pairs=None, truths=tuple(replace(told, **untold) for told in each.truths), **missing)
        for each in made
    ]
    verdict = run(PLAN, one_sided).verdict(float(len(made)))
    assert not verdict.abort
    assert not verdict.proven
    assert verdict.abort_evidence <= 1.0 + 1e-9
    assert all(metric.evidence_pass <= 1.0 + 1e-9 for metric in verdict.metrics)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(slices(), min_size=2, max_size=10), st.integers(1, 9))
def test_a_crash_at_any_point_changes_nothing(made: list[Slice], at: int) -> None:
    """Broken: what is kept is not all that counts; bit for bit, for any counts."""
    judge = run(PLAN, made[:at])
    again = Judge.load(PLAN, judge.dump())
    assert again.dump() == judge.dump()
    for slice_ in made[at:]:
        judge.observe(slice_)
        again.observe(slice_)
    assert again.verdict(10.0) == judge.verdict(10.0)
    assert again.dump() == judge.dump()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(slices(), min_size=2, max_size=12), st.integers(1, 11), st.integers(0, 9))
def test_a_verdict_that_is_read_late_is_that_of_its_look(made: list[Slice], at: int, seed: int) -> None:
    """Broken: a report, a message or the journal has numbers of another moment than the decision that it tells of."""
    random = np.random.default_rng(seed)
    made = [
        replace(each, **{name: with_users(random, getattr(each, name)) for name in ("stable", "candidate")})
        for each in made
    ]
    judge = run(ALL, made[:at])
    first, late = judge.verdict(10.0), judge.verdict(10.0)
    found = whole(first)
    for slice_ in made[at:]:
        judge.observe(slice_)
    assert late.details() is not first.details()
    assert whole(late) == found
    assert late == first
    assert late.details() is late.details()


def with_users(random: np.random.Generator, counts: ArmCounts) -> ArmCounts:
    """Requests of an arm and its failures, each by some group of users."""
    n, x = (np.bincount(random.integers(0, 64, min(int(each), 500)), minlength=64).astype(float) for each in
            (counts.answered, counts.failed))  # fmt: skip
    return replace(counts, group_n=n + x, group_failed=x)


ERRORS = st.tuples(st.integers(50, 5000), st.integers(0, 25), st.integers(50, 5000), st.integers(0, 25))


def of_errors(counts: list[tuple[int, int, int, int]]) -> list[Slice]:
    return [look(arm(float(n_s), float(x_s)), arm(float(n_c), float(x_c))) for n_s, x_s, n_c, x_c in counts]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(ERRORS, min_size=1, max_size=6), st.integers(1, 20))
def test_more_failures_are_never_less_harm(counts: list[tuple[int, int, int, int]], more: int) -> None:
    """Broken: a candidate looks better by failing more often in the last slice."""
    n_s, x_s, n_c, x_c = counts[-1]
    worse = [*counts[:-1], (n_s, x_s, n_c, x_c + more)]
    plan = Plan(GATES[:1], block_s=1e6)  # within one block: between blocks noise may count against evidence
    before, after = (run(plan, of_errors(each)).verdict(1.0).metrics[0] for each in (counts, worse))
    assert after.evidence_harm >= before.evidence_harm * (1 - 1e-9)
    assert after.evidence_pass <= before.evidence_pass * (1 + 1e-9)
    assert (after.effect or 0.0) > (before.effect or 0.0)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(ERRORS, min_size=1, max_size=6))
def test_swapping_the_versions_turns_the_effect_round(counts: list[tuple[int, int, int, int]]) -> None:
    """Broken: which version is called stable decides what the difference is."""
    swapped = [(n_c, x_c, n_s, x_s) for n_s, x_s, n_c, x_c in counts]
    one, other = (run(EQUAL, of_errors(each)).verdict(1.0).metrics[0] for each in (counts, swapped))
    assert one.effect is not None
    assert other.effect is not None
    assert abs(one.effect + other.effect) < 1e-9
    assert (one.n_stable, one.n_candidate) == (other.n_candidate, other.n_stable)


LABELS = st.lists(
    st.tuples(*[st.dictionaries(st.sampled_from("abcd"), st.integers(0, 2000), min_size=1) for _ in range(2)]),
    min_size=2, max_size=6,
)  # fmt: skip


@settings(max_examples=60, deadline=None, derandomize=True)
@given(LABELS)
def test_the_names_of_labels_say_nothing(counts: list[tuple[dict[str, int], dict[str, int]]]) -> None:
    """Broken: a verdict depends on how the classes of a model are called."""

    def verdict(name: str) -> Verdict:
        made = [
            look(*(arm(labels={name + label: float(n) for label, n in side.items()}) for side in sides))
            for sides in counts
        ]
        return run(Plan(GATES[3:4], block_s=2.0), made).verdict(1.0)

    one, other = verdict(""), verdict("class ")
    assert one.abort_evidence == other.abort_evidence
    assert one.metrics[0].evidence_pass == other.metrics[0].evidence_pass
    assert one.metrics[0].effect == other.metrics[0].effect


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.permutations(range(3)))
def test_workers_may_be_read_in_any_order(seed: int, order: list[int]) -> None:
    """Broken: which worker is read first changes a verdict. Sums of halves are exact in floating point."""
    random = np.random.default_rng(seed)

    def part() -> ArmCounts:
        n = int(random.integers(0, 400))
        scores = random.integers(-8, 9, n) / 2
        labels = {label: float(random.integers(0, 100)) for label in random.permutation(list("abc"))[:2]}
        moments = Moments(float(n), float(scores.sum()), float(scores @ scores))
        latency = random.multinomial(n, np.full(1620, 1 / 1620)).astype(float)
        return arm(float(n), float(random.integers(0, n + 1)), latency, labels, moments)

    parts = [[part() for _ in range(3)] for _ in range(6)]
    stable = [part() for _ in parts]
    one = [look(s, a + b + c) for s, (a, b, c) in zip(stable, parts, strict=True)]
    other = [look(s, p[order[0]] + (p[order[1]] + p[order[2]])) for s, p in zip(stable, parts, strict=True)]
    assert run(PLAN, one).dump() == run(PLAN, other).dump()
