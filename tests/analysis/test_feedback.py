"""Truths that come later: accuracy and log-loss, in strata of the stage that the predictions were made in."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import log

import numpy as np
import pytest
from scipy.special import comb

from analysis.engine import HARM, LOG_ODDS, PASS, Table, alternatives, log_ratios
from analysis.feedback import Accuracy, LogLoss, log_loss
from analysis.plan import Gate, Plan
from analysis.planning import Baseline, need
from analysis.projection import project
from analysis.stack import Stack
from analysis.summaries import GROUPS, ArmTruths, Moments, Slice, TruthCounts
from analysis.verdict import Judge, Verdict
from tests.support.rollouts import Runs, drawn, limit
from tests.support.slices import GRID, arm, hearing, look, told

ACCURACY = Gate("feedback.accuracy", "accuracy", margin_absolute=0.02)
LOSS = Gate("feedback.logLoss", "loss", margin_sd=0.1)
PLAN = Plan((ACCURACY,), block_s=5.0)


def one(*values: float) -> list[np.ndarray]:
    return [np.array([[value]], dtype=float) for value in values]


def run(plan: Plan, slices: list[Slice]) -> Judge:
    judge = Judge(plan)
    for slice_ in slices:
        judge.observe(slice_)
    return judge


def truths(
    random: np.random.Generator, wrong: tuple[float, float], n: int = 400, share: float = 0.5, stage: int = 0
) -> TruthCounts:
    """A slice's truths, of which stable and candidate were wrong at these rates."""
    n_c = int(random.binomial(n, share))
    x_s, x_c = random.binomial(n - n_c, wrong[0]), random.binomial(n_c, wrong[1])
    return told(float(n - n_c), float(x_s), float(n_c), float(x_c), stage)


def verdict(wrong: tuple[float, float], gate: Gate = ACCURACY, seconds: int = 60) -> Verdict:
    random = np.random.default_rng(4)
    return run(Plan((gate,), block_s=5.0), [hearing(truths(random, wrong)) for _ in range(seconds)]).verdict(1.0)


def test_a_candidate_that_is_wrong_more_often_is_aborted() -> None:
    """Broken: a worse model is promoted though the truth is known."""
    found = verdict((0.10, 0.16))
    assert (found.abort, found.decided_by) == (True, "feedback.accuracy")
    assert "feedback.accuracy: wrong 16" in found.reason
    assert "% against 10" in found.reason


def test_an_equal_candidate_is_proven() -> None:
    """Broken: truths prove nothing, and a rollout with feedback waits until its horizon."""
    found = verdict((0.10, 0.10))
    assert found.proven, found.missing
    metric = found.metrics[0]
    assert (metric.stable, metric.candidate) == (pytest.approx(0.1, abs=0.01), pytest.approx(0.1, abs=0.01))
    assert metric.margin == "accuracy -2 pp"
    assert metric.effective_margin.startswith("+2 pp at the stable's")


def test_a_relative_margin_is_one_of_the_accuracy() -> None:
    """Broken: `maxDecrease: 5%` of an accuracy of 90 % allows 0.5 pp more wrong predictions, or 5 pp, and not 4.5."""
    relative = replace(ACCURACY, margin_absolute=None, margin_relative=0.05)
    assert [(table.a, table.b) for table in Accuracy(relative).tables] == [(0.05, 0.95)] * 2
    assert verdict((0.10, 0.12), relative, 200).proven
    assert verdict((0.10, 0.19), relative, 200).decided_by == "feedback.accuracy"
    metric = verdict((0.10, 0.10), relative).metrics[0]
    assert metric.margin == "accuracy -5 %"
    assert metric.effective_margin == "+4.49 pp at the stable's 10.2 %"
    with pytest.raises(ValueError, match="more than all"):
        replace(relative, margin_relative=1.0)


@pytest.mark.parametrize(
    ("counts", "rates", "line", "log_e", "null"),
    [
        ((50, 3, 950, 9), (0.02, 0.01), (0.002, 1.0), 1.1052002107, 0.0103385565),
        ((200, 31, 800, 82), (0.15, 0.10), (0.02, 0.98), 0.8503132163, 0.1056565381),
        ((500, 48, 500, 52), (0.10, 0.10), (0.02, 0.98), 0.8588196397, 0.0917356049),
    ],
)
def test_evidence_is_that_of_the_closed_forms(
    counts: tuple[float, ...], rates: tuple[float, float], line: tuple[float, float], log_e: float, null: float
) -> None:
    """Broken: the line of a relative margin is not what 50-digit arithmetic gives."""
    n_c, x_c, n_s, x_s = counts
    assert log_ratios(*one(*counts, *rates, *line)).item() == pytest.approx(log_e, abs=1e-9)
    assert project(*one(n_c, n_s, *rates, *line)).item() == pytest.approx(null, abs=1e-9)
    margins = {"margin_absolute": line[0]} if line[1] == 1.0 else {"margin_relative": line[0]}
    meter = Accuracy(Gate("feedback.accuracy", "accuracy", **margins))
    assert meter.counts(hearing(told(n_s, x_s, n_c, x_c))).tolist() == [[*map(float, counts)]] * 2
    assert {(table.a, table.b) for table in meter.tables} == {line}


@pytest.mark.parametrize("side", [HARM, PASS])
@pytest.mark.parametrize("line", [(0.05, 0.95), (0.02, 1.0)])
def test_two_stages_in_one_slice_are_worth_one_at_most(side: float, line: tuple[float, float]) -> None:
    """Broken: two tables of a slice make evidence out of nothing. By enumeration, at every point of the null."""
    (a, b), worst = line, 0.0
    sizes = ((2, 5), (3, 3))
    for p_one, p_two in product((0.02, 0.2, 0.6), repeat=2):
        mean = np.ones(len(LOG_ODDS))
        for (n_c, n_s), p_s in zip(sizes, (p_one, p_two), strict=True):
            t_s = np.array(0.2)
            t_c = alternatives(a + b * t_s, t_s, np.array(side))
            p_c, factor = a + b * p_s, np.zeros(len(LOG_ODDS))
            for x_c, x_s in product(range(n_c + 1), range(n_s + 1)):
                chance = comb(n_c, x_c) * p_c**x_c * (1 - p_c) ** (n_c - x_c)
                chance *= comb(n_s, x_s) * p_s**x_s * (1 - p_s) ** (n_s - x_s)
                ratio = log_ratios(*one(n_c, x_c, n_s, x_s), t_c, t_s, *one(a, b))
                factor += chance * np.exp(ratio[0])
            mean *= factor
        worst = max(worst, float(mean.max()))
    assert worst <= 1 + 1e-12


def test_tables_of_a_slice_add_as_slices_do() -> None:
    """Broken: the truth about an earlier stage is dropped, counted twice, or pooled with that of this one."""
    tables = [Table(0.02, 1.0, side, 0.01, 50.0) for side in (HARM, PASS)]
    first, second = np.tile([300.0, 40.0, 700.0, 60.0], (2, 1)), np.tile([50.0, 12.0, 950.0, 230.0], (2, 1))
    together, apart, pooled = (Stack(tables, []) for _ in range(3))
    together.observe(first, np.zeros(0), [second])
    apart.observe(first, np.zeros(0))
    apart.observe(second, np.zeros(0))
    pooled.observe(first + second, np.zeros(0))
    np.testing.assert_array_equal(together.bank.open, apart.bank.open)
    np.testing.assert_array_equal(together.binary.past_x, apart.binary.past_x)
    assert together.differences.levels(0) == apart.differences.levels(0)
    assert np.abs(together.bank.open - pooled.bank.open).max() > 1
    assert (together.dispersion._slices[0], apart.dispersion._slices[0]) == (1, 2), "one slice is one step"


def test_the_order_of_stages_says_nothing() -> None:
    """Broken: which stage's truths are listed first changes a verdict."""
    random = np.random.default_rng(5)
    parts = [[truths(random, (0.1, 0.13), stage=stage) for stage in range(4)] for _ in range(12)]
    one_way = run(PLAN, [hearing(*each, stage=2) for each in parts])
    other = run(PLAN, [hearing(*reversed(each), stage=2) for each in parts])
    assert one_way.dump() == other.dump()


def test_a_late_truth_leaves_the_present_stage_as_it_is() -> None:
    """Broken: a truth about an old stage begins that stage anew, and the last one never lasts long enough."""
    judge = Judge(PLAN)
    judge.observe(look(arm(1000.0), arm(1000.0), stage=0))
    for _ in range(20):
        slice_ = hearing(told(500.0, 50.0, 500.0, 300.0, stage=0), stage=1)
        judge.observe(replace(slice_, stable=arm(900.0), candidate=arm(100.0)))
    found = judge.verdict(21.0)
    assert (found.stage, found.stage_stable, found.stage_candidate, found.stage_seconds) == (1, 18_000.0, 2000.0, 20.0)
    assert found.metrics[0].n_candidate == 10_000.0
    assert found.metrics[0].candidate == pytest.approx(0.6)
    assert found.abort, "it counts for the stage that it belongs to"


def test_only_its_own_truths_speak_of_the_present_stage() -> None:
    """Broken: the stage that decides is called outside its margin for what an earlier one did, or inside."""
    bad, good = told(200.0, 20.0, 200.0, 40.0, stage=0), told(200.0, 20.0, 200.0, 20.0, stage=1)
    for slice_, inside in (
        (hearing(bad, good, stage=1), True),
        (hearing(replace(bad, stage=1), replace(good, stage=0), stage=1), False),
        (hearing(bad, stage=1), None),
    ):
        judge = run(PLAN, [slice_])
        assert judge._meters[0].inside(judge._stack) is inside


def test_a_rollout_may_rest_on_the_truths_of_earlier_stages() -> None:
    """Broken: a last stage would have to last until its own truths are there, days perhaps, for no more certainty."""
    random = np.random.default_rng(6)
    slices = [hearing(truths(random, (0.1, 0.1), stage=0), stage=1) for _ in range(60)]
    assert run(PLAN, slices).verdict(60.0).proven


def test_truths_of_one_version_are_no_evidence() -> None:
    """Broken: a candidate is judged by truths that only its predecessor got, or the reverse."""
    for counts in ((500.0, 50.0, 0.0, 0.0), (0.0, 0.0, 500.0, 400.0)):
        found = run(PLAN, [hearing(told(*counts)) for _ in range(40)]).verdict(40.0)
        assert not found.abort
        assert not found.proven
        assert found.missing[0] == "feedback.accuracy: no truth of both versions yet; silence proves nothing"


def test_whoever_waits_for_truths_is_not_futile() -> None:
    """Broken: truths that come once a night leave a rollout inconclusive at half of its time."""
    gates = (Gate("errors", "errors", margin_absolute=0.05), ACCURACY)
    plan = Plan(gates, block_s=5.0, horizon_s=400.0)
    quiet = run(plan, [look(arm(500.0, 5.0), arm(500.0, 5.0)) for _ in range(300)])
    assert not quiet.verdict(399.0).inconclusive
    assert quiet.verdict(400.0).inconclusive
    assert quiet.verdict(400.0).missing[0].startswith("feedback.accuracy: no truth of both versions yet")
    random = np.random.default_rng(7)
    for _ in range(40):
        quiet.observe(hearing(truths(random, (0.1, 0.1), 1000)))
    assert quiet.verdict(340.0).proven


def losses(random: np.random.Generator, n: int, scale: float) -> Moments:
    values = np.minimum(scale * random.exponential(0.3, n), log_loss(0.0))
    return Moments(float(n), float(values.sum()), float(values @ values))


def heard_losses(scale: float, stage: int = 0) -> Verdict:
    random = np.random.default_rng(8)
    slices = []
    for _ in range(80):
        pair = losses(random, 300, 1.0), losses(random, 300, scale)
        slices.append(hearing(told(0.0, 0.0, 0.0, 0.0, 0, pair), stage=stage))
    return run(Plan((LOSS,), block_s=5.0), slices).verdict(80.0)


@pytest.mark.parametrize("stage", [0, 3])
def test_log_loss_may_fall_and_not_rise(stage: int) -> None:
    """Broken: probabilities that got worse go by, or better ones are held against a candidate."""
    worse, equal, better = (heard_losses(scale, stage) for scale in (1.3, 1.0, 0.6))
    assert (worse.decided_by, worse.abort) == ("feedback.logLoss", True)
    assert "log-loss 0.39" in worse.reason
    assert equal.proven, equal.missing
    assert better.proven, better.missing
    assert better.metrics[0].evidence_harm < 1
    assert better.metrics[0].margin == "+0.1 sd"


def test_log_loss_needs_a_bound() -> None:
    """Broken: one answer that was sure and wrong decides, or makes the loss infinite."""
    assert log_loss(0.0) == log_loss(0.001) == pytest.approx(-log(0.001))
    assert log_loss(1.0) == pytest.approx(-log(0.999))
    assert log_loss(0.25) == pytest.approx(log(4))


def test_the_spread_of_losses_is_that_within_stages() -> None:
    """Broken: stages that differ in level make the standard deviation large, and a rise small."""
    meter = LogLoss(LOSS)
    stack = Stack([], list(meter.drifts))
    random = np.random.default_rng(9)
    low, high = (
        told(0.0, 0.0, 0.0, 0.0, stage, (losses(random, 500, scale), losses(random, 500, scale)))
        for stage, scale in ((0, 0.1), (1, 0.9))
    )
    slice_ = hearing(low, high, stage=1)
    stack.observe(meter.counts(slice_), meter.variance(), [meter.counts_of(low)])
    meter.learn(slice_, stack)
    pooled = low.stable.loss + high.stable.loss
    assert meter.variance()[0] < 0.85 * pooled.scatter / (pooled.n - 1)
    assert meter._past[:, 0].tolist() == [1000.0, 1000.0]


def test_users_whose_truths_are_alike_say_less() -> None:
    """Broken: sticky users, each of them always right or always wrong, count as so many independent truths."""
    group_n, group_wrong = np.full(GROUPS, 10.0), np.zeros(GROUPS)
    group_wrong[: GROUPS // 8] = 10.0
    of_arm = ArmTruths(640.0, 80.0, Moments(640.0, 80.0, 80.0), group_n, group_wrong, np.stack((group_n, group_wrong)))
    counts = TruthCounts(0, of_arm, of_arm)
    slice_ = look(arm(), arm(), sticky=True)
    slices = [replace(slice_, truths=(counts, replace(counts, stage=1))) for _ in range(10)]
    plan = Plan((ACCURACY, LOSS), block_s=5.0)
    for metric in run(plan, slices).verdict(10.0).metrics:
        assert metric.n_candidate > 8 * metric.n_effective, metric.name
    assert run(plan, [replace(each, sticky=False) for each in slices]).verdict(10.0).metrics[0].n_effective > 12_000


def test_counts_that_cannot_be_are_refused() -> None:
    """Broken: a damaged count becomes evidence, or one stage is counted twice."""
    good = told(10.0, 2.0, 10.0, 3.0)
    hearing(good, replace(good, stage=1)).check(GRID)
    for bad, message in (
        ((good, good), r"of stages \[0, 0\], one comes twice"),
        ((told(10.0, 11.0, 10.0, 0.0),), r"truths\[stage 0\].stable .n, right, wrong"),
        ((told(10.0, 1.0, float("nan"), 0.0, stage=7),), r"truths\[stage 7\].candidate"),
        ((told(1.0, 1.0, 1.0, 1.0, 0, (Moments(1.0, 1.0, -1.0), Moments(0.0, 0.0, 0.0))),), "loss"),
    ):
        with pytest.raises(ValueError, match=message):
            hearing(*bad).check(GRID)


@pytest.mark.parametrize(
    ("gate", "share", "median"),
    [
        (replace(ACCURACY, margin_absolute=0.01), 0.05, 141_000),
        (replace(ACCURACY, margin_absolute=0.01), 0.1, 90_000),
        (replace(ACCURACY, margin_absolute=0.01), 0.5, 35_000),
        (replace(ACCURACY, margin_absolute=None, margin_relative=0.01 / 0.9), 0.5, 35_000),
        (replace(LOSS, margin_sd=0.05), 0.5, 11_000),
    ],
)
def test_proofs_are_planned_near_the_simulated_medians(gate: Gate, share: float, median: float) -> None:
    """Broken: people wait for truths that will never be enough. Medians by simulation, at 10 % wrong predictions."""
    found = need(gate, Plan((gate,)), share, Baseline()).prove
    assert found is not None
    assert 0.6 < found.half / median < 1.6


class Delays:
    """Predictions at 5 % and then 50 % weight, whose truth comes after a time that depends on what is true.

    Hard cases (30 %, of which both versions get 40 % wrong) show within seconds, easy ones (5 % wrong) take a minute.
    """

    SWITCH, LOOKS = 100, 240
    SHARES = (0.05, 0.5)
    CLASSES = ((120, 0.4, np.full(4, 0.25)), (280, 0.05, np.concatenate((np.zeros(40), np.full(20, 0.05)))))
    """Predictions a look, how many are wrong, the law of the delay in looks."""

    def __init__(self, runs: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        self.tables = np.zeros((self.LOOKS + 60, 2, 4, runs))
        """By look, by stage of the prediction: nC, xC, nS, xS."""
        for at in range(self.LOOKS):
            stage = int(at >= self.SWITCH)
            for n, wrong, law in self.CLASSES:
                n_c = drawn(random, np.full(runs, n), self.SHARES[stage])
                for column, of_arm in ((0, n_c), (2, n - n_c)):
                    arrived = random.multinomial(of_arm.astype(int), law).T
                    self.tables[at : at + len(law), stage, column] += arrived
                    self.tables[at : at + len(law), stage, column + 1] += random.binomial(arrived, wrong)


@pytest.mark.slow
def test_delays_that_depend_on_the_truth_raise_no_false_alarm() -> None:
    """Broken: the candidate is blamed for being new: its hard cases are known before its easy ones.

    150 runs at 240 looks, uncapped; a build with exactly the promised risk fails once in a million. Beside it the same
    counts pooled over stages, as a dashboard sums them: candidate of today against stable of yesterday.
    """
    runs = 150
    table = Table(0.0, 1.0, HARM, 0.1, 50.0)
    apart, pooled = Runs(runs, table, robust=False), Runs(runs, table, robust=False)
    delays = Delays(runs, 201)
    for first, second in delays.tables[: Delays.LOOKS]:
        apart.look(*second, tuple(first))
        pooled.look(*(first + second))
    assert apart.alarmed.sum() <= limit(runs)
    assert pooled.alarmed.mean() > 0.9, "the delays do not tempt"
    assert pooled.naive.mean() > 0.9


@pytest.mark.slow
def test_on_the_margin_it_is_rarely_promoted() -> None:
    """Broken: a candidate that is 2 pp worse is promoted on truths that trickle in by stages. 60 runs of the whole
    judge; a build with exactly the promised risk fails once in a million."""
    runs, proven, aborted = 60, 0, 0
    for seed in range(runs):
        random = np.random.default_rng([202, seed])
        judge = Judge(PLAN)
        promoted = False
        for second in range(60):
            of_old = truths(random, (0.1, 0.12), 200, 0.1, stage=0)
            judge.observe(hearing(of_old, truths(random, (0.1, 0.12), 200, 0.5, stage=1), stage=1))
            promoted |= second % 5 == 4 and judge.verdict(second).proven
        proven += promoted
        aborted += judge.verdict(60.0).abort
    assert proven <= limit(runs)
    assert aborted <= limit(runs)


def test_what_it_says_has_the_numbers() -> None:
    """Broken: an operator at night reads that it failed, and not by how much, of how many."""
    text = verdict((0.10, 0.10)).metrics[0].text
    assert text.startswith("feedback.accuracy: wrong ")
    for part in (" % against ", " pp (between ", "; allowed +2 pp at the stable's ", " stable and ", " candidate"):
        assert part in text
