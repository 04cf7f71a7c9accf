"""How much traffic a plan needs before it can answer. Within 0.6 to 1.4 times the simulated medians."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil, log, sqrt
from typing import Final, assert_never

from scipy.special import ndtr, ndtri, rel_entr

from analysis.history import exceeds, tail, threshold_of
from analysis.latency import shifts
from analysis.pairs import slowdown_shifts
from analysis.plan import PAIRED, Gate, Plan
from analysis.robustness import BLOCK_CAP
from analysis.summaries import RATIO_BASE, FloatArray, Grid
from analysis.windows import kept


def doubt(alpha: float) -> float:
    """ln(1/alpha) and what a mixture over alternatives costs.

    For harm `alpha` is alphaAbort times the metric's part of the weights, for pass alphaPromote.
    """
    return log(1 / alpha) + 2.5


def requests_for_rate(rate: float, distance: float, share: float, alpha: float) -> float:
    """Requests of both arms until a rate is told from its margin.

    Args:
        rate: the rate, as a fraction (errors; 1 - q for a latency quantile; a label's share).
        distance: of the true rate from the margin, as a fraction.
        share: the candidate's share of the traffic.
        alpha: the risk of that test.

    >>> round(requests_for_rate(0.01, 0.002, 0.05, 0.05), -3)
    573000.0
    """
    return 2 * rate * (1 - rate) * doubt(alpha) / (share * (1 - share) * distance**2)


def requests_for_mean(distance_sd: float, share: float, alpha: float) -> float:
    """Requests of both arms until a mean is told from its margin, at a distance in standard deviations.

    >>> round(requests_for_mean(0.05, 0.5, 0.05))
    17586
    """
    return 2 * doubt(alpha) / (share * (1 - share) * distance_sd**2)


def requests_for_quantile(
    histogram: FloatArray, grid: Grid, quantile: float, margin: float, share: float, alpha: float
) -> float | None:
    """Requests of both arms until an unchanged latency quantile is proven within a relative margin.

    Read off the stable's histogram: the distance is what lies between the quantile and the margin above it. None if the
    histogram is empty or nothing lies between.
    """
    if histogram.sum() <= 0:
        return None
    at = threshold_of(histogram, quantile)
    tails = tail(histogram)
    _, passing = shifts(margin, grid.base)
    distance = 1 - quantile - exceeds(tails, at, passing) / float(tails[0])
    return requests_for_rate(1 - quantile, distance, share, alpha) if distance > 1e-9 else None


def seconds_for(requests: float, requests_per_s: float) -> float | None:
    """The time that takes; None without traffic.

    >>> seconds_for(573_000.0, 1000.0)
    573.0
    """
    return requests / requests_per_s if requests_per_s > 0 else None


def counted_per_s(gate: Gate, per_s: float, block_s: float) -> float:
    """What of so many requests, pairs or truths a second is evidence: where they are few, some meet no other arm.

    Pairs of which the stable is asked once are one sample, and lose nothing.
    """
    whole = gate.kind in PAIRED and not gate.repeats
    return per_s if whole else per_s * kept(per_s, block_s)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What is known of the stable version, or assumed of it."""

    error_rate: float = 0.01
    wrong_rate: float = 0.1
    """Share of predictions that turn out wrong."""
    label_share: float = 0.5
    """The share of the label that is nearest to a half: the hardest to tell."""
    latency_spread: Mapping[float, float] = field(default_factory=dict)
    """By quantile: how far the logarithm of the latency spreads there, as the sd of a lognormal with that tail."""
    disagreement: float | None = None
    """Share of pairs that disagree; half of the limit where it is not known."""
    noise: float = 0.01
    """How often the stable differs from itself, where it is asked twice."""
    pair_spread: float = 0.3
    """The sd of the logarithm of the ratio of a pair's latencies."""

    def spread(self, quantile: float) -> float:
        """Of the nearest quantile that is known, else 0.5."""
        if not self.latency_spread:
            return 0.5
        return self.latency_spread[min(self.latency_spread, key=lambda known: abs(known - quantile))]


@dataclass(frozen=True, slots=True)
class Effort:
    """Requests of both arms (of pairs: pairs; of accuracy and log-loss: truths) that an answer takes: in half of the
    rollouts, and in nine of ten."""

    half: float
    most: float


@dataclass(frozen=True, slots=True)
class Need:
    """What one metric needs at one share. None: it cannot be told at any traffic."""

    prove: Effort | None
    """That an unchanged candidate is within the margin."""
    find: Effort | None
    """A candidate whose effect is some times the margin."""


def need(gate: Gate, plan: Plan, share: float, baseline: Baseline, times: float = 2.0) -> Need:
    """What a metric of a plan needs.

    Args:
        share: the candidate's share of the traffic; of pairs only that there are any counts.
        times: the regression to be found, in margins.
    """
    weight = dict(zip((each.name for each in plan.gates), plan.abort_weights(), strict=True))[gate.name]
    if gate.kind in PAIRED:
        return _need_of_pairs(gate, plan, plan.alpha_abort * weight, baseline, times)
    told = _distances(gate, plan, baseline, times)
    to_prove, to_find = (share * (1 - share) * distance * abs(distance) / (2 * variance) for variance, distance in told)
    alpha_harm = plan.alpha_abort * weight / (_LABEL_TABLES if gate.kind == "category" else 1)
    prove = _effort(to_prove, doubt(plan.alpha_promote)) if gate.role == "guardrail" else None
    return Need(prove, _effort(to_find, doubt(alpha_harm)) if weight else None)


def least_seconds(alpha: float, block_s: float) -> float:
    """No answer comes before so many blocks are full: each multiplies the evidence by four at most.

    >>> least_seconds(0.05, 30.0), least_seconds(0.05 / 6, 30.0)
    (90.0, 120.0)
    """
    return ceil(log(1 / alpha) / BLOCK_CAP) * block_s


def spread_between(lower: tuple[float, float], upper: tuple[float, float]) -> float | None:
    """The sd of the lognormal through two quantiles, each (quantile, latency); None where they are one.

    >>> round(spread_between((0.5, 0.05), (0.95, 0.05 * 2.718281828 ** (0.4 * 1.644854))), 4)
    0.4
    """
    (q, low), (r, high) = lower, upper
    if not (0 < low < high and q < r):
        return None
    return log(high / low) / float(ndtri(r) - ndtri(q))


_LABEL_TABLES: Final = 8.0
"""Harm of a category is split over its labels, both ways: so many tables for a handful of labels."""
_Z90: Final = 1.2815515655


def _effort(growth: float, needed: float) -> Effort | None:
    """Requests until the log evidence, which grows by so much with each, is what is needed.

    The evidence of n requests is near N(I, 2 I) with I = n growth, as any log likelihood ratio of small effects (Wald,
    Sequential Analysis, 1947, appendix A.3).
    """
    if growth <= 1e-15:
        return None
    most = ((_Z90 * sqrt(2) + sqrt(2 * _Z90 * _Z90 + 4 * needed)) / 2) ** 2
    return Effort(needed / growth, most / growth)


def _need_of_pairs(gate: Gate, plan: Plan, alpha_harm: float, baseline: Baseline, times: float) -> Need:
    """Where stable is asked twice, pass is the mean of two tests, so that one of them is enough at twice the odds."""
    to_prove, to_find = _of_pairs(gate, baseline, times)
    ways, find = [_effort(to_prove, log(1 / plan.alpha_promote))], _effort(to_find, log(1 / max(alpha_harm, 1e-300)))
    if gate.repeats:
        noisy = replace(baseline, disagreement=baseline.noise)
        proven, found = _beyond(gate, baseline, times)
        ways = [
            _effort(_of_pairs(gate, noisy, times)[0], log(2 / plan.alpha_promote)),
            _effort(proven, doubt(plan.alpha_promote / 2)),
        ]
        find = _effort(found, doubt(max(alpha_harm, 1e-300)))
    prove = min((way for way in ways if way is not None), key=lambda way: way.half, default=None)
    return Need(prove if gate.role == "guardrail" else None, find if alpha_harm else None)


def _of_pairs(gate: Gate, baseline: Baseline, times: float) -> tuple[float, float]:
    """Growth with each pair, of an unchanged candidate and of one that is worse: the Kullback-Leibler distance."""
    if gate.kind == "pair":
        limit = gate.limit
        known = baseline.disagreement if baseline.disagreement is not None else limit / 2
        return _divergence(known, limit, known < limit), _divergence(min(times * limit, 1.0), limit, times > 1)
    margin, spread = gate.margin_relative or 0.0, baseline.pair_spread
    harm, passing = (each * log(RATIO_BASE) for each in slowdown_shifts(margin))
    proven, found = float(ndtr(-passing / spread)), float(ndtr((log(1 + times * margin) - harm) / spread))
    return _divergence(proven, 0.5, proven < 0.5), _divergence(found, 0.5, found > 0.5)


def _beyond(gate: Gate, baseline: Baseline, times: float) -> tuple[float, float]:
    """The same of the two samples, the candidate's pairs and the repeated ones, by the variance of their difference."""
    control = min(gate.repeats, 0.5)
    noise = min(max(baseline.noise, gate.share / 10, 1e-6), 1 - 1e-6)  # a few repeats may say none at all, or all

    def growth(margins: float) -> float:
        rate = min(noise + margins * gate.share, 1.0)
        variance = rate * (1 - rate) / (1 - control) + noise * (1 - noise) / control
        return ((margins - 1) * gate.share) ** 2 / (2 * variance)

    return growth(0.0), growth(times) if times > 1 else 0.0


def _divergence(truth: float, limit: float, told: bool) -> float:
    """KL(truth || limit) of yes and no; 0 where the truth is on the wrong side of the limit."""
    return float(rel_entr(truth, limit) + rel_entr(1 - truth, 1 - limit)) if told else 0.0


def _distances(
    gate: Gate, plan: Plan, baseline: Baseline, times: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """(variance of one value, distance from the margin), of an unchanged candidate and of one that is worse."""
    beyond = times - 1
    match gate.kind:
        case "errors":
            rate = baseline.error_rate
            margin = max(gate.margin_absolute or 0.0, (gate.margin_relative or 0.0) * rate)
            return _rate(rate, margin, 0.0), _rate(rate, margin, times)
        case "unread":
            margin = gate.margin_absolute or 0.0
            return _rate(0.0, margin, 0.0), _rate(0.0, margin, times)
        case "accuracy":
            rate = baseline.wrong_rate
            margin = max(gate.margin_absolute or 0.0, (gate.margin_relative or 0.0) * (1 - rate))
            return _rate(rate, margin, 0.0), _rate(rate, margin, times)
        case "category":
            margin = gate.margin_absolute or 0.0
            return _rate(baseline.label_share, margin, 0.0), _rate(baseline.label_share, margin, times)
        case "number" | "loss":
            margin = gate.margin_sd or 0.0
            return (1.0, margin), (1.0, margin * beyond)
        case "latency":
            margin = gate.margin_relative or 0.0
            harm, passing = (each * log(plan.grid.base) for each in shifts(margin, plan.grid.base))
            tail_share, spread = 1 - gate.quantile, baseline.spread(gate.quantile)
            at = float(ndtri(gate.quantile))
            proven = tail_share - float(ndtr(-(at + passing / spread)))
            found = float(ndtr(-(at + (harm - log(1 + times * margin)) / spread))) - tail_share
            variance = tail_share * (1 - tail_share)
            return (variance, proven), (variance, found)
        case "pair" | "slowdown":
            raise AssertionError("pairs are one sample")
        case _:
            assert_never(gate.kind)


def _rate(rate: float, margin: float, times: float) -> tuple[float, float]:
    """Between the truth and the margin, with the variance halfway."""
    middle = min(max(rate + margin * (1 + times) / 2, 1e-9), 1 - 1e-9)
    return middle * (1 - middle), abs(times - 1) * margin
