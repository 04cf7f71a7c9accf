"""Pairs: one request, answered by the stable and by its shadow. Exact mixtures on how many disagree.

The wealth is the mean likelihood ratio over alternatives drawn from Beta(a, b), cut to the alternative; disagreements
must be independent given the past. Source: Robbins 1970; Howard et al., arXiv 1810.08240. McNemar's test is the same
mixture at 1/2 on the pairs where just one side is wrong. The block cap and the restarts are those of all tests; a
dispersion is not known for single counts.
"""

from __future__ import annotations

from math import log
from typing import Final, Literal

import numpy as np
from scipy.special import betainc, betaincc, betaln

from analysis.intervals import Estimate, half_width, rate_variance
from analysis.meter import Wealth
from analysis.plan import Gate
from analysis.robustness import BLOCK_CAP, restart_weight
from analysis.summaries import FloatArray, Slice
from analysis.wording import percent

RESTARTS: Final = 9
"""Banks of the harm test, started one after the other; their weights are 1/(j(j+1)), the last has what is left."""
_FLOOR: Final = -600.0
"""ln E is kept above this: beyond it the incomplete beta function has no digits. Adds e^-600 to an e-value."""
_TUNED_FOR: Final = 1000.0
"""Pairs at which the interval shown is narrowest."""
_BURN_IN: Final = 100.0

Side = Literal["above", "below", "either"]


def log_mixture(x: FloatArray, n: FloatArray, p0: float, a: float, b: float, side: Side) -> FloatArray:
    """ln E of x out of n against "the share is p0" (either), "at most p0" (above) or "at least p0" (below).

    >>> log_mixture(np.array([25.0]), np.array([35.0]), 0.5, 5.0, 5.0, "above").round(6).tolist()
    [2.518628]
    """
    log_e = betaln(a + x, b + n - x) - betaln(a, b) - x * log(p0) - (n - x) * np.log1p(-p0)
    if side != "either":
        part = betaincc if side == "above" else betainc
        now, before = part(a + x, b + n - x, p0), part(a, b, p0)
        # A part that has vanished belongs to a wealth that has vanished.
        log_e = np.where(now > 1e-290, log_e + np.log(np.maximum(now, 1e-290)) - np.log(before), _FLOOR)
    kept: FloatArray = np.maximum(log_e, _FLOOR)
    return kept


class Pairs:
    """The meter of disagreement of one output. It has no rows in the stack: its wealth comes from its counts alone."""

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self._banks: FloatArray = np.zeros((4, RESTARTS + 1))
        """Of each bank of harm, and last that of pass: n and x at its start, ln E closed, ln E as the block began."""
        self._totals: FloatArray = np.zeros((2, 2))
        """n and x, of all stages and of this one."""
        self._starts: FloatArray = np.ones(1)

    def state(self) -> dict[str, FloatArray]:
        """All that changes, by name."""
        return {"banks": self._banks, "totals": self._totals, "starts": self._starts}

    def begin_stage(self) -> None:
        """Forget the counts of the stage before."""
        self._totals[1] = 0.0

    def observe(self, slice_: Slice) -> bool:
        """Add one slice and tell if it held any pair."""
        n, x = slice_.pairs.disagreed.get(self.gate.output, (0.0, 0.0)) if slice_.pairs is not None else (0.0, 0.0)
        self._totals += (n, min(x, n))
        return n > 0

    def wealth(self) -> Wealth:
        """The restarted banks of harm by their weights, and the one of pass."""
        wealth = self._wealth(self._log_e())
        return Wealth(float(np.logaddexp.reduce(wealth[:-1] + _LOG_WEIGHTS)), float(wealth[-1]))

    def close(self) -> None:
        """End the block."""
        log_e = self._log_e()
        self._banks[2], self._banks[3] = self._wealth(log_e), log_e

    def restart(self) -> None:
        """Start the next bank, as long as there is one; only between two blocks."""
        start = int(self._starts[0])
        if start < RESTARTS:
            self._banks[:2, start] = self._totals[0]
            self._banks[2:, start] = 0.0
            self._starts += 1

    def _log_e(self) -> FloatArray:
        n, x = self._totals[0][:, None] - self._banks[:2]
        limit = self.gate.limit
        log_e = log_mixture(x, n, limit, 1.0, 1 / limit, "above")
        log_e[-1:] = log_mixture(x[-1:], n[-1:], limit, 1.0, 1 / limit, "below")
        waiting = slice(int(self._starts[0]), RESTARTS)
        log_e[waiting] = 0.0
        return log_e

    def _wealth(self, log_e: FloatArray) -> FloatArray:
        wealth: FloatArray = self._banks[2] + np.minimum(log_e - self._banks[3], BLOCK_CAP)
        return wealth

    def samples(self) -> float:
        """Pairs so far."""
        return float(self._totals[0, 0])

    def estimate(self) -> Estimate:
        """The share of pairs that disagree: as a fraction, and as the effect in percent."""
        n, x = self._totals[0]
        if n <= 0:
            return Estimate()
        rate, limit = float(x / n), self.gate.limit
        if n < _BURN_IN:
            return Estimate(None, rate, rate).scaled(100.0)
        v_opt = _TUNED_FOR * limit * (1 - limit)
        width = float(half_width(float(n), float(n) * rate_variance(rate, float(n)), v_opt))
        return Estimate(None, rate, rate, max(0.0, rate - width), min(1.0, rate + width)).scaled(100.0)

    def inside(self) -> bool | None:
        """The share of this stage's pairs within the limit; None without pairs."""
        n, x = self._totals[1]
        return None if n <= 0 else bool(x <= self.gate.limit * n)

    def margin_words(self) -> str:
        """As it was written."""
        return f"{percent(self.gate.limit)} of the pairs"


_LOG_WEIGHTS: Final[FloatArray] = np.log([*(restart_weight(j) for j in range(1, RESTARTS)), 1 / RESTARTS])
