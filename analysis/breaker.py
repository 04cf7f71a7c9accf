"""The breaker: outages in seconds, where capped tests need blocks.

Engine A on errors against a wide absolute margin (20 pp), with no cap and no dispersion, and an alpha of its own.
Noise between instances short of an outage does not reach that margin.

It bets only while it is alarmed: at the start, and after a look in which the candidate failed more than it may, until
CALM requests came in looks where it did not. Whether it bets on a look is known before that look, so this is a choice
of stakes, and all that holds of an e-process holds; in calm times it has nothing to lose. Each alarm places a new
stake, with weights 1/(j(j+1)), which sum to 1, so that an outage costs what the alarms before it cost, and not what the
hours before it do. At 5 % of 50 requests/s a candidate that fails all of its requests is out after a median of 9
failures, one that fails half of them after 22; after an hour with 1 % of errors in both versions after 15 and 45. The
second of a look is in that (`python -m tests.prove.outage`).

Where stable has no traffic, live or copied, there is one sample only: it is held against the highest rate of errors
that stable may have had before (99.9 %, of the last ten minutes or so). That promise is weaker: what befalls both
versions at once counts against the candidate then.
"""

from __future__ import annotations

from math import log
from typing import Final

import numpy as np
from scipy.special import betaincinv, expit, logit

from analysis.engine import log_ratios
from analysis.intervals import evidence
from analysis.rates import error_counts
from analysis.robustness import restart_weight
from analysis.summaries import FloatArray, Slice
from analysis.wording import count, odds, percent

BETS: Final[FloatArray] = np.array([0.7, 1.5, 3.0, 4.5])
"""How far beyond the margin the candidate's rates are that it bets on, in log odds: with stable at 0 and a margin of
20 pp 33, 53, 83 and 96 %. It is for outages: few bets, since each costs a part of the stake."""
CALM: Final = 4.0
"""Requests in looks within the margin that end an alarm. A candidate that fails half of them ends it once in 16."""
_MEMORY: Final = 0.998
"""What a look keeps of stable's past: half after 346 looks of a second."""
_HIGHEST: Final = 0.999


class Breaker:
    """Watches one candidate; costs one row a look."""

    def __init__(self, above: float, alpha: float) -> None:
        self._above = above
        self._alpha = alpha
        self._stable: FloatArray = np.array([50.0, 0.5])
        """Requests and failures of stable in past looks, from a first guess of 1 % on."""
        self._wealth: FloatArray = np.full(len(BETS), log(0.5))
        self._alarms: FloatArray = np.array([1.0, 1.0, 0.0])
        """Stakes placed so far, whether there is an alarm (1 or 0), requests in looks within the margin since the last
        one beyond it."""
        self._recent: FloatArray = np.zeros(4)
        self._before: FloatArray = np.zeros(2)
        """Of stable while it had live traffic: requests and failures, the older the less."""

    def state(self) -> dict[str, FloatArray]:
        """All that changes, by name."""
        past = {"stable": self._stable, "recent": self._recent, "before": self._before}
        return {**past, "wealth": self._wealth, "alarms": self._alarms}

    def observe(self, slice_: Slice) -> str:
        """Add one slice; the reason if the breaker trips with it, else nothing."""
        counts = error_counts(slice_)[0]
        n_c, x_c, n_s, x_s = counts
        if slice_.share < 1:
            self._before *= _MEMORY
            self._before += (n_s, x_s)
        alone = n_s == 0
        if n_c == 0 or (alone and (slice_.share < 1 or self._before[0] == 0)):
            return ""
        if self._alarms[1]:
            self._wealth += self._against_before(n_c, x_c) if alone else self._against_stable(counts)
        self._stable += (n_s, x_s)
        self._recent *= 0.9
        self._recent += counts
        found = self._reason(alone) if self._log_evidence() >= log(1 / self._alpha) else ""
        self._look_out(n_c, x_c)
        return found

    def _log_evidence(self) -> float:
        waiting = -np.log1p(self._alarms[0])  # the stakes not yet placed
        bets = np.logaddexp.reduce(self._wealth) - log(len(self._wealth))
        return float(np.logaddexp(bets, waiting))

    def _against_before(self, n: float, x: float) -> FloatArray:
        """Log likelihood ratios of the candidate's requests alone, to the highest rate that is allowed."""
        of, failed = self._before
        edge = float(betaincinv(failed + 1, max(of - failed, 1e-9), _HIGHEST)) + self._above
        if edge >= 1:
            return np.zeros_like(self._wealth)
        rates = expit(logit(edge) + BETS)
        ratios: FloatArray = x * np.log(rates / edge) + (n - x) * (np.log1p(-rates) - log(1 - edge))
        return ratios

    def _against_stable(self, counts: FloatArray) -> FloatArray:
        """Log likelihood ratios of one look of both versions."""
        rate = self._stable[1] / self._stable[0]
        if rate + self._above >= 1:
            return np.zeros_like(self._wealth)
        rates = expit(logit(rate + self._above) + BETS)
        n_c, x_c, n_s, x_s, t_s, a, b = (np.full(len(BETS), each) for each in (*counts, rate, self._above, 1.0))
        return log_ratios(n_c, x_c, n_s, x_s, rates, t_s, a, b)

    def _look_out(self, n_c: float, x_c: float) -> None:
        """Whether there is an alarm from the next look on."""
        starts, alarmed, calm = self._alarms
        if x_c > n_c * (self._stable[1] / self._stable[0] + self._above):
            if not alarmed:
                starts += 1
                self._wealth[:] = np.logaddexp(self._wealth, log(restart_weight(int(starts))))
            alarmed, calm = 1.0, 0.0
        else:
            calm += n_c
            alarmed = float(bool(alarmed) and calm < CALM)
        self._alarms[:] = starts, alarmed, calm

    def _reason(self, alone: bool) -> str:
        n_c, x_c, n_s, x_s = self._recent
        if alone:
            before = self._before[1] / self._before[0]
            other = f"{percent(before)} of the stable's before it had no traffic"
        else:
            other = f"{percent(x_s / n_s)} of the stable's"
        return (
            f"the breaker: {percent(x_c / n_c)} of the candidate's recent requests failed, {other}, which is more than "
            f"{percent(self._above)[:-2]} pp above; evidence {odds(evidence(self._log_evidence()))}, "
            f"{count(1 / self._alpha)} : 1 trips it"
        )
