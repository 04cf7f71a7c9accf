"""How much traffic a plan needs before it can answer. Within 0.6 to 1.4 times the simulated medians."""

from __future__ import annotations

from math import log

from analysis.latency import exceed, shifts, tail, threshold_of
from analysis.summaries import FloatArray, Grid


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
    distance = 1 - quantile - float(exceed(tails, at, passing)) / float(tails[0])
    return requests_for_rate(1 - quantile, distance, share, alpha) if distance > 1e-9 else None


def seconds_for(requests: float, requests_per_s: float) -> float | None:
    """The time that takes; None without traffic.

    >>> seconds_for(573_000.0, 1000.0)
    573.0
    """
    return requests / requests_per_s if requests_per_s > 0 else None
