"""Pairs: one request, answered by the stable and by its shadow. Exact mixtures on how many disagree.

The wealth is the mean likelihood ratio over alternatives drawn from Beta(a, b), cut to the alternative; disagreements
must be independent given the past. Source: Robbins 1970; Howard et al., arXiv 1810.08240. McNemar's test is the same
mixture at 1/2 on the pairs where just one side is wrong, and so is the sign test of the two latencies of a pair. The
block cap, the dispersion from finished blocks and the restarts are those of all tests. What a limit means where the
stable was asked twice is for `analysis.excess` to say.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from math import ceil, floor, log
from typing import Final, Literal

import numpy as np
from scipy.special import betainc, betaincc, betaln

from analysis.bursts import Bursts
from analysis.intervals import INTERVAL_ALPHA, Estimate
from analysis.limits import log_wealth, share
from analysis.meter import Wealth
from analysis.plan import Gate
from analysis.robustness import BLOCK_CAP, restart_weight
from analysis.summaries import RATIO_BASE, RATIO_BUCKETS, FloatArray, PairCounts, Repeats, Slice
from analysis.wording import percent, signed

RESTARTS: Final = 9
"""Banks of the harm test, started one after the other; their weights are 1/(j(j+1)), the last has what is left."""
_FLOOR: Final = -600.0
"""ln E is kept above this: beyond it the incomplete beta function has no digits. Adds e^-600 to an e-value."""
_BURN_IN: Final = 100.0
_HALF: Final = 5.0
"""Both parameters of the prior of a test at 1/2: alternatives from hardly to grossly beyond."""

Side = Literal["above", "below", "either"]


def log_mixture(x: FloatArray, n: FloatArray, p0: float, a: float, b: float, side: Side) -> FloatArray:
    """ln E of x out of n against "the share is p0" (either), "at most p0" (above) or "at least p0" (below).

    >>> log_mixture(np.array([25.0]), np.array([35.0]), 0.5, 5.0, 5.0, "above").round(6).tolist()
    [2.518628]
    """
    whole, log_before, log_kept = _prior(p0, a, b, side)
    log_e = betaln(a + x, b + n - x) - whole - x * log(p0) - (n - x) * log_kept
    if side != "either":
        part = betaincc if side == "above" else betainc
        now = part(a + x, b + n - x, p0)
        # A part that has vanished belongs to a wealth that has vanished.
        log_e = np.where(now > 1e-290, log_e + np.log(np.maximum(now, 1e-290)) - log_before, _FLOOR)
    kept: FloatArray = np.maximum(log_e, _FLOOR)
    return kept


@cache
def _prior(p0: float, a: float, b: float, side: Side) -> tuple[float, float, float]:
    """What a mixture needs of its prior: ln B(a, b), ln of the part of it that is the alternative, ln(1 - p0)."""
    part = {"above": betaincc, "below": betainc}.get(side)
    return betaln(a, b), 0.0 if part is None else np.log(part(a, b, p0)), np.log1p(-p0)


def mcnemar(worse: float, better: float, side: Side = "above") -> float:
    """ln E of pairs where the candidate alone is wrong, and of pairs where the stable alone is.

    Against "no worse than the stable" (above), "no better" (below) or "alike" (either). Pairs where both are right or
    both are wrong say nothing. Source: McNemar, Psychometrika 12 (1947); as a mixture, Robbins 1970.

    >>> round(mcnemar(25.0, 10.0), 10), mcnemar(0.0, 0.0)
    (2.5186284045, 0.0)
    """
    return float(log_mixture(np.array([worse]), np.array([worse + better]), 0.5, _HALF, _HALF, side)[0])


class Pairs(ABC):
    """How many pairs are bad. It has no rows in the stack: its wealth comes from its counts alone."""

    def __init__(self, gate: Gate, limit: float, prior: tuple[float, float]) -> None:
        self.gate = gate
        self._limit, self._prior = limit, prior
        self._banks: FloatArray = np.zeros((4, RESTARTS + 1))
        """Of each bank of harm, and last that of pass: n and x at its start, ln E closed, ln E as the block began."""
        self._totals: FloatArray = np.zeros((2, 3))
        """n, and x as harm and as pass count it, of all stages and of this one."""
        self._starts: FloatArray = np.ones(1)
        self._phi: FloatArray = np.ones(2)
        """The dispersion that divides this block, of harm and of pass."""
        self._bursts = Bursts(2)

    @abstractmethod
    def count(self, pairs: PairCounts) -> tuple[float, float, float]:
        """Pairs of a slice, and how many are bad by the margin of harm and by that of pass."""

    def state(self) -> dict[str, FloatArray]:
        """All that changes, by name."""
        own = {"banks": self._banks, "totals": self._totals, "starts": self._starts, "phi": self._phi}
        return own | {f"bursts {name}": array for name, array in self._bursts.state().items()}

    def begin_stage(self) -> None:
        """Forget the counts of the stage before."""
        self._totals[1] = 0.0

    def observe(self, slice_: Slice) -> bool:
        """Add one slice and tell if it held any pair."""
        n, harmful, unproven = self.count(slice_.pairs) if slice_.pairs is not None else (0.0, 0.0, 0.0)
        self._totals += (n, harmful, unproven)
        self._bursts.add(n, np.array([harmful, unproven]))
        return n > 0

    def wealth(self) -> Wealth:
        """The restarted banks of harm by their weights, and the one of pass."""
        wealth = self._wealth(self._log_e())
        return Wealth(float(np.logaddexp.reduce(wealth[:-1] + _LOG_WEIGHTS)), float(wealth[-1]))

    def close(self) -> None:
        """End the block; the dispersion known by now divides the next."""
        log_e = self._log_e()
        self._banks[2], self._banks[3] = self._wealth(log_e), log_e
        self._bursts.close()
        self._phi[:] = self._bursts.phi()

    def restart(self) -> None:
        """Start the next bank, as long as there is one; only between two blocks."""
        start = int(self._starts[0])
        if start < RESTARTS:
            self._banks[:2, start] = self._totals[0, :2]
            self._banks[2:, start] = 0.0
            self._starts += 1

    def _log_e(self) -> FloatArray:
        n, harmful, unproven = self._totals[0]
        started = int(self._starts[0])
        past_n, past_x = self._banks[:2, :started]
        log_e = np.zeros(RESTARTS + 1)
        log_e[:started] = log_mixture(harmful - past_x, n - past_n, self._limit, *self._prior, "above")
        log_e[-1:] = log_mixture(np.array([unproven]), np.array([n]), self._limit, *self._prior, "below")
        return log_e

    def _wealth(self, log_e: FloatArray) -> FloatArray:
        phi = self._phi[_OF_BANK]
        wealth: FloatArray = self._banks[2] + np.minimum((log_e - self._banks[3]) / phi, BLOCK_CAP)
        return wealth

    def samples(self) -> float:
        """Pairs so far."""
        return float(self._totals[0, 0])

    def phi(self) -> float:
        """How much less a pair says than an independent one."""
        return float(self._phi.max())

    def inside(self) -> bool | None:
        """The bad pairs of this stage within the limit; None without pairs."""
        n, _, x = self._totals[1]
        return None if n <= 0 else bool(x <= self._limit * n)


class Disagreement(Pairs):
    """Pairs that disagree about one output."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate, gate.limit, (1.0, 1 / gate.limit))

    def count(self, pairs: PairCounts) -> tuple[float, float, float]:
        """Those where both gave the output, and those of them that differ."""
        n, x = pairs.disagreed.get(self.gate.output, (0.0, 0.0))
        return n, min(x, n), min(x, n)

    def estimate(self) -> Estimate:
        """The share of pairs that disagree: as a fraction, and as the effect in percent."""
        n, x, _ = self._totals[0]
        if n <= 0:
            return Estimate()
        rate = float(x / n)
        if n < _BURN_IN:
            return Estimate(None, rate, rate).scaled(100.0)
        found = share(rate, n, INTERVAL_ALPHA, self.phi())
        return Estimate(None, rate, rate, found.low, found.high).scaled(100.0)


class Alone(Pairs):
    """McNemar's test, of requests that the stable was asked twice: does the candidate differ more often than it does?

    Of the requests where one of the two answers alone differs from the stable's first, no more than half are the
    candidate's where both come from one law. Only for a margin of nothing.
    """

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate, 0.5, (_HALF, _HALF))

    def count(self, pairs: PairCounts) -> tuple[float, float, float]:
        """Requests where one of both differs, and those where it is the candidate's."""
        found = pairs.repeated.get(self.gate.output, Repeats())
        return found.candidate + found.stable, found.candidate, found.candidate


class Slowdown(Pairs):
    """The candidate's latency over the stable's on the same request: is its median at most 1 + margin?

    The sign test (Conover, Practical Nonparametric Statistics, section 3.4): under "the median is at most r" no more
    than half of the pairs are above r. The margin is moved to the edge of a bucket, up for harm and down for pass.
    """

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate, 0.5, (_HALF, _HALF))
        self._harm_shift, self._pass_shift = slowdown_shifts(gate.margin_relative or 0.0)
        self._ratio: FloatArray = np.zeros(RATIO_BUCKETS)

    def state(self) -> dict[str, FloatArray]:
        """All that changes, by name."""
        return {**super().state(), "ratio": self._ratio}

    def count(self, pairs: PairCounts) -> tuple[float, float, float]:
        """Those above the margin, by its two roundings."""
        self._ratio += pairs.ratio
        above = [float(pairs.ratio[RATIO_BUCKETS // 2 + at :].sum()) for at in (self._harm_shift, self._pass_shift)]
        return float(pairs.ratio.sum()), above[0], above[1]

    def estimate(self) -> Estimate:
        """The median ratio: as a factor, and as a change in percent, to 4 % of it."""
        n = float(self._ratio.sum())
        if n <= 0:
            return Estimate()
        above = 1 - np.concatenate(((0.0,), np.cumsum(self._ratio))) / n  # share at or above the edge of each bucket
        median = int(np.searchsorted(-above, -0.5, side="right")) - 1
        inside = float(self._ratio[median])
        part = (above[median] - 0.5) * n / inside if inside > 0 else 0.0
        middle = _factor(median + part)
        # The ends are the nearest edges that are proven to be no median: more, or less, than half is above them.
        kept = n / self.phi()
        beyond = log_wealth(np.full_like(above, 0.5), above * kept, kept) >= log(1 / INTERVAL_ALPHA)
        beyond &= n >= _BURN_IN
        lower, higher = np.flatnonzero(beyond & (above > 0.5)), np.flatnonzero(beyond & (above < 0.5))
        low = _factor(float(lower[-1])) - 1 if lower.size else None
        high = _factor(float(higher[0])) - 1 if higher.size else None
        return Estimate(None, middle, middle - 1, low, high).scaled(100.0)

    def margin_words(self) -> str:
        """As it was written."""
        return f"+{percent(self.gate.margin_relative or 0.0)} in the median pair"

    def effective_words(self) -> str:
        """In whole buckets: the margin of harm and that of pass."""
        harm, passing = (
            signed(100 * (_factor(RATIO_BUCKETS // 2 + at) - 1)) for at in (self._harm_shift, self._pass_shift)
        )
        return f"{harm} %" if harm == passing else f"{harm} % for harm, {passing} % for pass"


def slowdown_shifts(margin: float) -> tuple[int, int]:
    """A relative margin in whole buckets of the ratios: rounded up, for harm, and down, for pass.

    >>> slowdown_shifts(0.1), slowdown_shifts(0.04)
    ((3, 2), (1, 1))
    """
    buckets = log(1 + margin) / log(RATIO_BASE)
    return ceil(buckets - 1e-9), floor(buckets + 1e-9)


def _factor(bucket: float) -> float:
    """The ratio at the lower edge of a bucket."""
    return float(RATIO_BASE ** (bucket - RATIO_BUCKETS // 2))


_LOG_WEIGHTS: Final[FloatArray] = np.log([*(restart_weight(j) for j in range(1, RESTARTS)), 1 / RESTARTS])
_OF_BANK: Final = np.array([0] * RESTARTS + [1])
"""Which dispersion divides it: that of harm, or that of pass."""
