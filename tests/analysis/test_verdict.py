"""The Judge: what it says of whole rollouts, and that it never says anything from nothing."""

from __future__ import annotations

from dataclasses import replace
from math import isfinite

import numpy as np
import pytest

from analysis.summaries import ArmCounts, Slice
from analysis.verdict import Gate, Judge, Plan, Verdict
from analysis.wording import duration
from tests.support.slices import Version, arm, errors, groups, look, whole

ERRORS = Gate("errors", "errors", margin_relative=0.2, margin_absolute=0.01)
LATENCY = Gate("latency.p95", "latency", quantile=0.95, margin_relative=0.15)
LABEL = Gate("prediction.label", "category", output="label", margin_absolute=0.03)
SCORE = Gate("prediction.score", "number", output="score", margin_sd=0.1)
PAIR = Gate("pair.label", "pair", output="label", margin_absolute=0.02)
PLAN = Plan((ERRORS, LATENCY, LABEL, SCORE), block_s=5.0, horizon_s=3600.0, breaker_above=0.2)
STABLE = Version()


def traffic(candidate: Version, seconds: int, seed: int = 1, share: float = 0.5, rate: float = 600.0) -> list[Slice]:
    random = np.random.default_rng(seed)
    slices = []
    for second in range(seconds):
        n = random.poisson(rate)
        n_c = random.binomial(n, share)
        arms = STABLE.serve(random, n - n_c), candidate.serve(random, n_c)
        slices.append(look(*arms, at_s=float(second), share=share))
    return slices


def run(judge: Judge, slices: list[Slice]) -> Verdict:
    for slice_ in slices:
        judge.observe(slice_)
    return judge.verdict(float(len(slices)))


def plain(value: object) -> bool:
    """Whether JSON can hold it, without NaN, infinity or numpy's types."""
    if isinstance(value, dict):
        return all(plain(each) for each in value.values())
    if isinstance(value, list | tuple):
        return all(plain(each) for each in value)
    return value is None or type(value) in {str, bool, int} or (type(value) is float and isfinite(value))


def test_an_equal_candidate_is_proven() -> None:
    """Broken: a candidate that is as good as the stable is never promoted."""
    verdict = run(Judge(PLAN), traffic(Version(), 100))
    assert verdict.proven, verdict.missing
    assert not verdict.abort
    assert not verdict.inconclusive
    assert verdict.missing == ()
    assert verdict.forecast_s == 0.0
    assert all(metric.passed and not metric.harmed for metric in verdict.metrics)
    assert plain(whole(verdict))


@pytest.mark.parametrize(
    ("candidate", "blamed"),
    [
        (Version(errors=0.06), "errors"),
        (Version(slower=1.5), "latency.p95"),
        (Version(labels=(0.5, 0.4, 0.1)), "prediction.label"),
        (Version(score=0.3), "prediction.score"),
        (Version(errors=0.9), "breaker"),
    ],
)
def test_a_worse_candidate_is_aborted_and_blamed_for_what_it_did(candidate: Version, blamed: str) -> None:
    """Broken: a bad version stays in traffic, or the wrong metric is named."""
    judge = Judge(PLAN)
    verdict = run(judge, traffic(candidate, 60))
    assert verdict.abort
    assert verdict.decided_by == blamed
    assert not verdict.proven
    assert "evidence" in verdict.reason
    assert plain(whole(verdict))


def test_one_block_does_not_abort_but_the_breaker_may() -> None:
    """Broken: a single incident decides, though no outage."""
    slices = traffic(Version(errors=0.1), 5)
    assert not run(Judge(PLAN), slices).abort
    outage = run(Judge(PLAN), traffic(Version(errors=1.0), 2))
    assert (outage.abort, outage.decided_by) == (True, "breaker")


def test_abort_is_latched() -> None:
    """Broken: a candidate that was shown to be worse is in again when its luck turns."""
    judge = Judge(PLAN)
    assert run(judge, traffic(Version(errors=0.06), 60)).abort
    later = run(judge, traffic(Version(), 200, seed=2))
    assert later.abort
    assert later.decided_by == "errors"
    assert not later.proven


def test_silence_proves_nothing() -> None:
    """Broken: no traffic, or an arm without traffic, is promoted."""
    fresh = Judge(PLAN).verdict(0.0)
    assert (fresh.proven, fresh.abort, fresh.inconclusive) == (False, False, False)
    assert (fresh.stage, fresh.slices) == (-1, 0)
    assert all("no data yet" in missing for missing in fresh.missing)
    assert plain(whole(fresh))
    random = np.random.default_rng(5)
    for slices in (
        [look(arm(), arm()) for _ in range(100)],
        [look(STABLE.serve(random, 500), arm()) for _ in range(100)],
        [look(arm(), STABLE.serve(random, 500)) for _ in range(100)],
    ):
        verdict = run(Judge(PLAN), slices)
        assert (verdict.proven, verdict.abort) == (False, False)
        assert verdict.slices == 100
        assert verdict.abort_evidence == pytest.approx(1.0)
        assert plain(whole(verdict))


def test_a_metric_without_data_blocks_the_others() -> None:
    """Broken: a prediction that was never read counts as unchanged."""
    slices = [
        replace(each, stable=replace(each.stable, labels={}), candidate=replace(each.candidate, labels={}))
        for each in traffic(Version(), 100)
    ]
    verdict = run(Judge(PLAN), slices)
    assert not verdict.proven
    assert [missing for missing in verdict.missing if "evidence" not in missing] == [
        "prediction.label: no data yet; silence proves nothing",
    ]


def test_without_a_guardrail_nothing_can_be_proven() -> None:
    """Broken: "every guardrail has passed" is true of none at all."""
    plan = Plan((replace(ERRORS, role="signal"), replace(LATENCY, role="info")), block_s=5.0)
    verdict = run(Judge(plan), traffic(Version(), 60))
    assert not verdict.proven
    assert "no metric is a guardrail" in verdict.missing[0]
    assert not run(Judge(Plan(())), traffic(Version(), 5)).proven


def test_info_never_aborts_and_signals_need_not_pass() -> None:
    """Broken: a metric that is only reported decides."""
    plan = Plan(
        (ERRORS, replace(LATENCY, role="info"), replace(LABEL, role="signal", margin_absolute=0.001)), block_s=5.0
    )
    verdict = run(Judge(plan), traffic(Version(slower=2.0), 100))
    assert not verdict.abort
    assert verdict.proven, verdict.missing
    shown = {metric.name: metric for metric in verdict.metrics}
    assert shown["latency.p95"].harmed
    assert shown["latency.p95"].weight == 0.0
    assert not shown["prediction.label"].passed


def test_what_is_proven_least_is_told_of_guardrails_alone() -> None:
    """Broken: a candidate is promoted before one that is proven better, for a signal that nobody needs to prove; or a
    margin that is hardly held is hidden by another one that is held well."""
    signal = replace(SCORE, margin_sd=0.001, role="signal")
    verdict = run(Judge(replace(PLAN, gates=(ERRORS, LABEL, signal))), traffic(Version(), 60))
    errors_, label, score = (metric.evidence_pass for metric in verdict.metrics)
    assert verdict.least_pass == min(errors_, label) > score
    assert errors_ != label
    assert run(Judge(replace(PLAN, gates=(signal,))), traffic(Version(), 5)).least_pass == 0


def test_no_errors_at_all_are_proven() -> None:
    """Broken: two perfect versions never get their proof, or NaN."""
    plan = Plan((ERRORS,), block_s=2.0)
    judge = Judge(plan)
    verdict = run(judge, [errors(100, 0, 100, 0) for _ in range(60)])
    assert verdict.proven, verdict.missing
    assert verdict.metrics[0].effect == 0.0
    assert verdict.metrics[0].evidence_harm < 1
    assert plain(whole(verdict))


def test_the_stage_alone_must_agree() -> None:
    """Broken: a slow leak that begins at a higher weight is promoted on the evidence of the earlier stages."""
    judge = Judge(replace(PLAN, gates=(ERRORS,)))
    assert run(judge, [errors(500, 5, 500, 5) for _ in range(100)]).proven
    verdict = run(judge, [errors(500, 5, 500, 11, stage=1) for _ in range(2)])
    assert not verdict.proven
    assert any("this stage alone is outside" in missing for missing in verdict.missing)
    assert (verdict.stage, verdict.stage_stable, verdict.stage_seconds) == (1, 1000.0, 2.0)


def test_a_wrong_split_blocks_but_does_not_blame() -> None:
    """Broken: the arms are not comparable, and the candidate is promoted (or aborted) all the same."""
    judge = Judge(replace(PLAN, gates=(ERRORS,)))
    verdict = run(judge, [errors(600, 6, 400, 4, share=0.5) for _ in range(100)])
    assert verdict.ratio.flagged
    assert (verdict.proven, verdict.abort) == (False, False)
    assert verdict.ratio.text in verdict.missing


def test_pairs_of_a_mirror_stage_count_in_later_stages() -> None:
    """Broken: the rehearsal's evidence is lost with the first percent of traffic."""
    plan = Plan((ERRORS, PAIR), block_s=5.0)
    judge = Judge(plan)
    rehearsal = run(judge, [errors(500, 5, 500, 5, share=0.0, pairs=(500.0, 2.0)) for _ in range(40)])
    assert rehearsal.stage_pairs == 20_000
    assert rehearsal.ratio.checked == "not checked"
    live = run(judge, [errors(500, 5, 500, 5, stage=1) for _ in range(80)])
    assert live.stage_pairs == 0
    assert live.proven, live.missing
    pair = live.metrics[1]
    assert (pair.stable, pair.candidate, pair.unit) == (None, pytest.approx(0.004), "%")
    assert pair.n_candidate == 20_000


def test_a_shadow_that_disagrees_is_aborted() -> None:
    """Broken: wrong predictions of a shadow are compared and then ignored."""
    plan = Plan((ERRORS, PAIR), block_s=5.0)
    verdict = run(Judge(plan), [errors(500, 5, 500, 5, share=0.0, pairs=(500.0, 40.0)) for _ in range(40)])
    assert verdict.decided_by == "pair.label"
    silent = run(Judge(plan), [errors(500, 5, 500, 5, share=0.0) for _ in range(100)])
    assert not silent.proven, "a guardrail on pairs needs pairs"


def test_sticky_users_raise_what_is_needed() -> None:
    """Broken: a handful of users who always fail count as thousands of independent failures."""
    random = np.random.default_rng(9)
    by_user = np.where(random.random(400) < 0.02, 0.5, 0.0)
    halves = by_user[:200], by_user[200:]
    plan = Plan((ERRORS,), block_s=5.0)

    def served(rates: np.ndarray) -> ArmCounts:
        n, x = groups(random, 300, rates)
        return replace(arm(n.sum(), x.sum()), group_n=n, group_failed=x)

    slices = [look(*(served(half) for half in halves), sticky=True, users=(200, 200)) for _ in range(100)]
    sticky = run(Judge(plan), slices).metrics[0]
    plainly = run(Judge(plan), [replace(each, sticky=False) for each in slices]).metrics[0]
    assert sticky.n_effective < plainly.n_effective / 3
    assert sticky.n_candidate == plainly.n_candidate


def test_missing_says_how_far_and_how_long() -> None:
    """Broken: "keep waiting" without a word about what for."""
    judge = Judge(replace(PLAN, gates=(ERRORS,)))
    verdict = run(judge, traffic(Version(), 30, rate=200.0))
    assert len(verdict.missing) == 1
    assert verdict.missing[0].startswith("errors: evidence that it is within +20 % or +1 pp, the larger is ")
    assert "20 : 1 needed" in verdict.missing[0]
    assert verdict.forecast_s is not None
    assert f"; about {duration(verdict.forecast_s)} more at the growth of the last blocks" in verdict.missing[0]


def test_the_horizon_and_futility_are_inconclusive() -> None:
    """Broken: a test that cannot decide promotes, aborts, or runs for ever."""
    plan = Plan((replace(ERRORS, margin_absolute=None),), block_s=5.0, horizon_s=400.0)
    judge = Judge(plan)
    early = run(judge, [errors(500, 0, 500, 0) for _ in range(100)])
    assert not early.inconclusive
    hopeless = run(judge, [errors(500, 0, 500, 0) for _ in range(150)])
    assert not hopeless.proven
    assert judge.verdict(250.0).inconclusive, "nothing grows, and half of the time is gone"
    assert judge.verdict(400.0).inconclusive
    proven = Judge(replace(PLAN, gates=(ERRORS,), horizon_s=60.0))
    assert not run(proven, [errors(500, 5, 500, 5) for _ in range(100)]).inconclusive


def test_verdict_is_a_pure_read() -> None:
    """Broken: looking at the dashboard changes the evidence."""
    judge = Judge(PLAN)
    slices = traffic(Version(), 20)
    run(judge, slices[:13])
    before = judge.dump()
    assert judge.verdict(13.0) == judge.verdict(13.0)
    assert judge.dump() == before


def test_dump_and_load_continue_bit_for_bit() -> None:
    """Broken: a crash of the controller changes a verdict."""
    plan = replace(PLAN, gates=(*PLAN.gates, PAIR))
    slices = [
        replace(each, pairs=look(arm(), arm(), pairs=(50.0, 1.0)).pairs) for each in traffic(Version(errors=0.02), 70)
    ]
    through, halves = Judge(plan), Judge(plan)
    for number, slice_ in enumerate(slices):
        slice_ = replace(slice_, stage=number // 40)
        through.observe(slice_)
        halves.observe(slice_)
        if number % 7 == 3:
            stored = halves.dump()
            halves = Judge.load(plan, stored)
            assert halves.dump() == stored
    assert halves.dump() == through.dump()
    assert halves.verdict(70.0) == through.verdict(70.0)


def test_foreign_evidence_is_refused() -> None:
    """Broken: evidence for other margins, or damaged evidence, goes on as if it were this plan's."""
    stored = Judge(PLAN).dump()
    with pytest.raises(ValueError, match="another plan"):
        Judge.load(replace(PLAN, gates=(replace(ERRORS, margin_absolute=0.02), *PLAN.gates[1:])), stored)
    for blob in (b"", b"nonsense", stored[:-20], stored[:50] + b"\0" + stored[51:]):
        with pytest.raises(ValueError, match="begin the rollout anew"):
            Judge.load(PLAN, blob)
    assert Judge.load(replace(PLAN, horizon_s=10.0, alpha_abort=0.01), stored).plan.horizon_s == 10.0


def test_merged_workers_give_identical_evidence_in_any_order() -> None:
    """Broken: the number of workers, or the order in which they are read, changes a verdict."""
    random = np.random.default_rng(3)
    plan = Plan((ERRORS, LATENCY, LABEL), block_s=5.0)
    judges = Judge(plan), Judge(plan), Judge(plan)
    for _ in range(30):
        stable, candidate = ([STABLE.serve(random, 100) for _ in range(3)] for _ in range(2))
        first, second, third = stable
        judges[0].observe(look(first + second + third, candidate[0] + candidate[1] + candidate[2]))
        judges[1].observe(look(third + first + second, candidate[2] + candidate[1] + candidate[0]))
        judges[2].observe(look(third + (second + first), candidate[1] + (candidate[2] + candidate[0])))
    assert judges[0].dump() == judges[1].dump() == judges[2].dump()


def test_a_damaged_slice_changes_nothing() -> None:
    """Broken: half of a refused slice is in the evidence."""
    judge = Judge(PLAN)
    run(judge, traffic(Version(), 3))
    before = judge.dump()
    with pytest.raises(ValueError, match="is not a count"):
        judge.observe(look(arm(10.0), arm(float("nan")), stage=7))
    assert judge.dump() == before


def test_blocks_follow_the_plan() -> None:
    """Broken: a rollout with blocks of two seconds waits for blocks of thirty."""
    slices = traffic(Version(errors=0.08), 14)
    assert run(Judge(replace(PLAN, block_s=2.0)), slices).abort
    assert not run(Judge(replace(PLAN, block_s=30.0)), slices).abort


def test_readings_are_sentences_with_all_that_is_known() -> None:
    """Broken: the question "why?" is answered with a bare number."""
    verdict = run(Judge(PLAN), traffic(Version(errors=0.03), 40))
    texts = {metric.name: metric.text for metric in verdict.metrics}
    for part in ("% failed against", "pp (between", "allowed +1 pp at the stable's", " : 1 that it is worse", "n = "):
        assert part in texts["errors"]
    assert "ms against" in texts["latency.p95"]
    assert "allowed +16.1 % for harm, +14.9 % for pass" in texts["latency.p95"]
    assert texts["prediction.label"].startswith("prediction.label: '")
    assert "sd, up or down" in texts["prediction.score"]


def test_errors_in_both_arms_or_in_neither_stay_finite() -> None:
    """Broken: extremes give NaN, or evidence out of rounding."""
    for counts in ((500, 500, 500, 500), (500, 0, 500, 500), (500, 500, 500, 0), (1, 0, 1e6, 0), (1e9, 1e7, 1e9, 1e7)):
        verdict = run(Judge(replace(PLAN, gates=(ERRORS,))), [errors(*counts) for _ in range(30)])
        assert plain(whole(verdict)), counts


STRICT = replace(ERRORS, name="strict", margin_absolute=None, margin_relative=0.18)
LENIENT = replace(STRICT, name="lenient", margin_relative=0.2)


def test_blame_is_weighted() -> None:
    """Broken: the metric that the user counts ten times as much has all but decided, and the page at three in the
    morning names another one, whose evidence stands a little higher and weighs a tenth."""
    plan = Plan((replace(STRICT, weight=0.1), LENIENT), block_s=5.0)
    judge = Judge(plan)
    verdict = run(judge, [errors(2500, 50, 2500, 80, duration_s=5.0) for _ in range(18)])
    strict, lenient = (metric.evidence_harm for metric in verdict.metrics)
    assert strict > 1.1 * lenient
    assert (verdict.abort, verdict.decided_by) == (True, "lenient")


def test_some_evidence_of_harm_holds_a_promotion_up() -> None:
    """Broken: a candidate is promoted while odds of ten to one stand against it, short of the twenty that abort."""
    plan = Plan((ERRORS, replace(STRICT, role="signal", margin_relative=0.0)), block_s=5.0)
    judge, held = Judge(plan), []
    assert run(judge, [errors(2500, 50, 2500, 50, duration_s=5.0) for _ in range(12)]).proven
    for _ in range(100):
        verdict = run(judge, [errors(2500, 50, 2500, 59, duration_s=5.0)])
        if verdict.abort:
            break
        if verdict.abort_evidence >= 3 and verdict.least_pass >= 20:
            held.append(verdict)
    assert held
    assert not any(verdict.proven for verdict in held)
    assert "evidence of harm over all metrics" in held[-1].missing[0]


def test_late_harm_is_found_by_a_bet_that_began_lately() -> None:
    """Broken: bets start anew every twenty minutes and not every five, and a version that turns bad after a quarter of
    an hour stays in traffic for as long again."""
    judge = Judge(Plan((LENIENT,), block_s=1.0))
    run(judge, [errors(5000, 100, 5000, 60) for _ in range(30)])
    blocks = 0
    while not run(judge, [errors(5000, 100, 5000, 200)]).abort:
        blocks += 1
        assert blocks <= 8
