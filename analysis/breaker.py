"""The breaker: outages in seconds, where capped tests need blocks.

Engine A on errors against a wide absolute margin (20 pp), with no cap and no dispersion, and an alpha of its own.
Noise between instances short of an outage does not reach that margin.

Guarantee: a candidate that is never more than the margin above stable is ever tripped on with a chance of at most alpha
(0.001), exactly at the margin and for ever too, at whatever moments one looks. Why:

- Request by request. The evidence is the lesser of two gamblers' wealth, who place the same bets. The null point of one
  is projected with the counts that came, which is Engine A as it is; it needs no more than that a look is seen as a
  whole. That of the other is projected with the configured share of the traffic, so it is fixed before the look begins,
  as the bets are: one request meets the candidate with that share, and so its factor has a mean of at most 1 for every
  point of the null (Engine A, for a look of one request; looks in which an arm is empty are no exception). The product
  of these is a supermartingale after every request, and what is less never reaches what it does not: a look may be cut
  short at any moment, and because of what is in it (Ville 1939; Turner, Ly, Grunwald, arXiv 2106.02693). Where the
  share is not what was configured (few sticky users, requests that are lost), what holds is what holds of whole looks.
- In flight. Failures may come sooner than successes, so who cuts a look short counts what is not answered yet as well
  for the candidate and as failed for stable. Evidence grows with the candidate's failures and falls with stable's, so
  that is never more than what the same requests say once they are answered (`trips`).
- Two looks of one slice. After a calm, failures come in the first second of an outage, and an alarm that begins with
  the next slice spends all of them. So a look may end, and the next begin, at a moment in a slice that is chosen
  because of what has come by then (`Slice.cut`, `alarms`): the bets on what comes later are fixed by then. What raised
  the alarm is no evidence, what follows it is. What was in flight at that moment is of the first look, and how it
  ended is known only together with the second, so that each takes the least that the counts leave open: of k of the
  candidate's in flight and F failures since, the second has max(0, F - k), of stable's F, and as many requests as came
  since. Evidence of as many requests grows with the candidate's failures and falls with stable's, so neither finds
  more than its own requests say. One such moment is enough: there is an alarm from then until the slice ends. Limits:
  where more is in flight than fails, the second look finds nothing, and where answers take a second an alarm begins
  with the next slice; the counts of a moment are read one after the other, and what comes in these ten microseconds or
  so may be of either look.
- Stakes. It bets only while it is alarmed: at the start, and from when failures come faster than the margin allows
  until they do not. Calm has nothing to lose then. Each alarm places a part of what is left, by weights that sum to 1.
  Whether and how much it bets is known before each look, so all of it is a gambler's wealth; an outage costs what the
  alarms before it cost, and not what the hours before it do. (Detectors that restart at every look, as in Shin,
  Ramdas, Rinaldo, arXiv 2203.03532, bound the mean time to a false alarm. That is not enough here: a rollout at the
  margin would be aborted sooner or later.)

What it finds, and how soon: `python -m tests.prove.outage` and docs/rollout.md. The two bets are made for outages:
against a version that fails 30 % of its requests it has no power to speak of, that is for the metric `errors`.

Where stable has no traffic, live or copied, there is one sample only: it is held against the highest rate of errors
that stable may have had before (99.9 %, of the last ten minutes or so). That promise is weaker: what befalls both
versions at once counts against the candidate then.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log
from typing import Final

import numpy as np
from scipy.special import betaincinv, expit, logit

from analysis.engine import against
from analysis.intervals import evidence
from analysis.memory import refill
from analysis.projection import project
from analysis.rates import error_counts
from analysis.summaries import Cut, FloatArray, Slice
from analysis.wording import count, odds, percent

BETS: Final[FloatArray] = np.array([1.4, 5.0])
"""How far beyond the margin the candidate's rates are that it bets on, in log odds: with stable at 0 and a margin of
20 pp 50 and 97 %."""
PRIOR: Final[FloatArray] = np.array([0.7, 0.3])
"""How a stake is shared out to the bets. Few bets, since each costs a part of the stake."""
START: Final = 0.2
"""The stake of the start, where most outages begin. Of the rest alarm j stakes 6/((2j + 1)(2j + 3)), which sums to 1:
much of it early, since within an hour of 1 % of errors there is one false alarm, or two."""
ALARM: Final = 1.25
"""The score from which on there is an alarm: a failure adds 1, and a success takes so much off that the score stays
where it is while failures are as frequent as the margin allows. Two failures among four or five requests alarm."""
HIGHEST_SCORE: Final = 2.5
"""An alarm ends at 0: after ten successes with a margin of 20 pp."""
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
        self._wealth: FloatArray = np.log(START * np.tile(PRIOR, (2, 1)))
        """Of the two gamblers, by bet: whose null point is fixed by the counts of a look, and by the share."""
        self._alarms: FloatArray = np.array([0.0, 1.0, HIGHEST_SCORE])
        """Alarms so far but for the start, whether there is one (1 or 0), and the score."""
        self._recent: FloatArray = np.zeros(4)
        """Counts (nC, xC, nS, xS) of the looks that the last alarm has bet on."""
        self._before: FloatArray = np.zeros(2)
        """Of stable while it had live traffic: requests and failures, the older the less."""

    def state(self) -> dict[str, FloatArray]:
        """All that changes, by name."""
        past = {"stable": self._stable, "recent": self._recent, "before": self._before}
        return {**past, "wealth": self._wealth, "alarms": self._alarms}

    def trips(self, slices: Sequence[Slice]) -> bool:
        """Whether it would trip with one of these, which are left to be observed: nothing is changed."""
        if not self._alarms[1] and len(slices) < 2 and not any(slice_.cut for slice_ in slices):
            return False  # an alarm begins with the next look
        other = self._copy()
        return any(other.observe(slice_) for slice_ in slices)

    def alarms(self, slices: Sequence[Slice]) -> bool:
        """Whether an alarm would begin if the last of these ended as it stands: nothing is changed."""
        if not slices or (self._alarms[1] and len(slices) < 2):
            return False  # it has begun
        other = self._copy()
        for slice_ in slices[:-1]:
            other.observe(slice_)
        before = float(other._alarms[0])
        other.observe(slices[-1])
        return bool(other._alarms[0] > before)

    def _copy(self) -> Breaker:
        other = Breaker(self._above, self._alpha)
        refill(other.state(), self.state())
        return other

    def observe(self, slice_: Slice) -> str:
        """Add one slice; the reason if the breaker trips with it, else nothing."""
        counts = error_counts(slice_)[0]
        if slice_.share < 1:
            self._before *= _MEMORY
            self._before += counts[2:]
        alone = slice_.share == 1 and counts[2] == 0
        if not counts[0] + counts[2] or (alone and self._before[0] == 0):
            return ""
        reasons = [self._look(look, slice_.share, alone) for look in _looks(counts, slice_.cut) if look.any()]
        self._stable += counts[2:]
        return next(filter(None, reasons), "")

    def _look(self, counts: FloatArray, share: float, alone: bool) -> str:
        n_c, x_c = counts[:2]
        alarmed = bool(self._alarms[1])
        if alarmed:
            self._wealth += self._against_before(n_c, x_c) if alone else self._against_stable(counts, share)
            self._recent += counts
        found = self._reason(alone) if alarmed and self._log_evidence() >= log(1 / self._alpha) else ""
        self._look_out(n_c, x_c)
        return found

    def _log_evidence(self) -> float:
        waiting = (1 - START) * 3 / (2 * self._alarms[0] + 3)  # the stakes not yet placed
        return float(np.logaddexp(np.logaddexp.reduce(self._wealth, axis=1), log(waiting)).min())

    def _against_before(self, n: float, x: float) -> FloatArray:
        """Log likelihood ratios of the candidate's requests alone, to the highest rate that is allowed."""
        of, failed = self._before
        edge = float(betaincinv(failed + 1, max(of - failed, 1e-9), _HIGHEST)) + self._above
        if edge >= 1:
            return np.zeros_like(self._wealth)
        rates = expit(logit(edge) + BETS)
        ratios: FloatArray = x * np.log(rates / edge) + (n - x) * (np.log1p(-rates) - log(1 - edge))
        return ratios

    def _against_stable(self, counts: FloatArray, share: float) -> FloatArray:
        """Log likelihood ratios of one look of both versions: of the look as a whole, and of requests one by one."""
        edge = self._edge()
        if edge >= 1:
            return np.zeros_like(self._wealth)
        splits = [(counts[0], counts[2]), (share, 1 - share) if 0 < share < 1 else (counts[0], counts[2])]
        t_c = np.tile(expit(logit(edge) + BETS), (len(splits), 1))
        w_c, w_s = (np.array(each)[:, None] + 0 * t_c for each in zip(*splits, strict=True))
        n_c, x_c, n_s, x_s, t_s, a, b = (
            np.full(t_c.shape, each) for each in (*counts, edge - self._above, self._above, 1.0)
        )
        return against((n_c, x_c, n_s, x_s), t_c, t_s, project(w_c, w_s, t_c, t_s, a, b), a, b)

    def _edge(self) -> float:
        """The highest rate of errors that the candidate may have."""
        return float(self._stable[1] / self._stable[0]) + self._above

    def _look_out(self, n_c: float, x_c: float) -> None:
        """Whether there is an alarm from the next look on."""
        number, alarmed, score = self._alarms
        edge = min(self._edge(), 0.99)
        score = min(max(score + x_c - (n_c - x_c) * edge / (1 - edge), 0.0), HIGHEST_SCORE)
        if not alarmed and score >= ALARM:
            number, alarmed = number + 1, 1.0
            stake = (1 - START) * 6 / ((2 * number + 1) * (2 * number + 3))
            self._wealth[:] = np.logaddexp(self._wealth, np.log(stake * PRIOR))
            self._recent[:] = 0.0
        elif score == 0:
            alarmed = 0.0
        self._alarms[:] = number, alarmed, score

    def _reason(self, alone: bool) -> str:
        n_c, x_c, n_s, x_s = self._recent
        if alone:
            before = self._before[1] / self._before[0]
            other = f"{percent(before)} of the stable's before it had no traffic"
        else:
            other = f"{percent(x_s / n_s if n_s else 0.0)} of the stable's"
        return (
            f"the breaker: {percent(x_c / n_c)} of the candidate's last {count(n_c)} requests failed, {other}, which "
            f"is more than {percent(self._above)[:-2]} pp above; evidence {odds(evidence(self._log_evidence()))}, "
            f"{count(1 / self._alpha)} : 1 trips it"
        )


def _looks(counts: FloatArray, cut: Cut | None) -> list[FloatArray]:
    """The looks of a slice with these counts (nC, xC, nS, xS), each in its own.

    How those ended that were in flight when it was cut is known only together with the others: in the second look too
    their outcomes are those that find least.
    """
    if cut is None:
        return [counts]
    ours, theirs = cut.candidate, cut.stable
    n_c, x_c, n_s, x_s = counts - (ours.met, ours.failed + ours.in_flight, theirs.met, theirs.failed)
    first = np.array([ours.met, ours.failed, theirs.met, theirs.failed + theirs.in_flight])
    return [first, np.maximum([n_c, min(x_c, n_c), n_s, min(x_s, n_s)], 0.0)]
