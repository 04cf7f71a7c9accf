"""The breaker: outages in seconds, where capped tests need blocks.

Engine A on errors against a wide absolute margin (20 pp), with no cap and no dispersion, and an alpha of its own.
Noise between instances short of an outage does not reach that margin. The wealth is split over a bet that starts at
each slice, with weights 1/(j(j+1)): without that, an hour of "all fine" would have to be lost before an outage shows.
"""

from __future__ import annotations

from math import inf, log

import numpy as np

from analysis.engine import HARM, Binary, Table
from analysis.intervals import evidence
from analysis.rates import error_counts
from analysis.robustness import Bank
from analysis.summaries import FloatArray, Slice
from analysis.wording import count, odds, percent


class Breaker:
    """Watches one candidate; costs one row a look."""

    def __init__(self, above: float, alpha: float) -> None:
        self._above = above
        self._alpha = alpha
        self._binary = Binary([Table(above, 1.0, HARM, 0.01, 50.0)])
        self._bank = Bank(np.array([True]), cap=inf)
        self._recent: FloatArray = np.zeros(4)

    def state(self) -> dict[str, FloatArray]:
        """All that changes, by name."""
        past = {"past_n": self._binary.past_n, "past_x": self._binary.past_x, "recent": self._recent}
        return {**past, **self._bank.state()}

    def observe(self, slice_: Slice) -> str:
        """Add one slice; the reason if the breaker trips with it, else nothing."""
        counts = error_counts(slice_)
        if not (counts[0, 0] > 0 and counts[0, 2] > 0):
            return ""
        self._bank.add(self._binary.observe(*counts.T))
        log_e = float(self._bank.log_evidence()[0])
        self._bank.close(np.ones(1))
        self._bank.restart()
        self._recent *= 0.9
        self._recent += counts[0]
        if log_e < log(1 / self._alpha):
            return ""
        n_c, x_c, n_s, x_s = self._recent
        return (
            f"the breaker: {percent(x_c / n_c)} of the candidate's recent requests failed, {percent(x_s / n_s)} of the "
            f"stable's, which is more than {percent(self._above)[:-2]} pp above; evidence {odds(evidence(log_e))}, "
            f"{count(1 / self._alpha)} : 1 trips it"
        )
