"""The sample ratio: does the split of the traffic that is compared follow the configured share?

If it does not, the arms are not comparable (requests lost on one side alone make that side look better), so a flag
blocks a promotion; it says nothing against the candidate. Dirichlet-multinomial wealth (Lindon, Malek, arXiv
2011.03567), the mean of a concentration of 100 (large faults) and of 10,000 (small ones), of requests that arrived
and of those accounted for; evidence of stages adds. With sticky routing requests are no sample of their own: there
distinct users are checked, stage by stage (they come back in the next stage), as long as the slots that count them
hardly collide; else it is not checked.
"""

from __future__ import annotations

from math import exp, isnan, lgamma, log, log1p
from typing import Final, Literal

import numpy as np
from scipy.special import gammaln

from analysis.intervals import evidence
from analysis.readings import RatioReading
from analysis.summaries import FloatArray, Slice
from analysis.wording import count, odds, percent

FLAG_AT: Final = 1000.0
"""Evidence that flags: a chance of 0.001 where the split is right."""
USERS_MAX: Final = 3000
"""Users of both arms: with 3,000 of 32,768 slots in use, under 5 % of them share one."""
_CONCENTRATIONS: Final = (100.0, 10_000.0)


def log_ratio(counts: FloatArray, shares: FloatArray, concentration: FloatArray) -> float:
    """ln of the Dirichlet-multinomial likelihood of counts over that of fixed shares.

    >>> half = np.array([0.5, 0.5])
    >>> round(log_ratio(np.array([5200.0, 4800.0]), half, 100 * half), 9)
    5.613613412
    """
    total = gammaln(concentration.sum()) - gammaln(concentration.sum() + counts.sum())
    each = gammaln(concentration + counts) - gammaln(concentration) - counts * np.log(shares)
    return float(total + each.sum())


def log_evidence(candidate: float, stable: float, share: float) -> float:
    """ln of the evidence that the candidate's share of these is not the configured one.

    >>> round(log_evidence(600.0, 9400.0, 0.05), 4), round(log_evidence(500.0, 9500.0, 0.05), 4)
    (6.7906, -0.9102)
    """
    if candidate + stable <= 0:
        return 0.0
    arms = (candidate, share), (stable, 1 - share)
    found = [
        lgamma(k) - lgamma(k + candidate + stable)
        + sum(lgamma(k * of_arm + n) - lgamma(k * of_arm) - n * log(of_arm) for n, of_arm in arms)
        for k in _CONCENTRATIONS
    ]  # fmt: skip
    return _mean(found[0], found[1])


class Ratio:
    """The check over the stages of a rollout."""

    def __init__(self) -> None:
        self._share: FloatArray = np.zeros(1)
        self._counts: FloatArray = np.zeros((3, 2))
        """Arrived, accounted for, distinct users of this stage; of candidate and stable."""
        self._sticky: FloatArray = np.zeros(1)
        self._settled: FloatArray = np.zeros(1)
        """ln E of the stages before."""

    def state(self) -> dict[str, FloatArray]:
        """All that changes, by name."""
        return {"share": self._share, "counts": self._counts, "sticky": self._sticky, "settled": self._settled}

    @property
    def share(self) -> float:
        """The candidate's configured share of this stage."""
        return float(self._share[0])

    def begin_stage(self) -> None:
        """Keep the evidence of the stage before, and count anew."""
        self._settled += self._of_requests()
        self._counts[:] = 0.0

    def observe(self, slice_: Slice) -> None:
        """Add one slice."""
        if slice_.share != self._share[0] or slice_.sticky != bool(self._sticky[0]):
            self.begin_stage()
            self._share[0], self._sticky[0] = slice_.share, slice_.sticky
        arms = slice_.candidate, slice_.stable
        self._counts[0] += [arm.assigned for arm in arms]
        self._counts[1] += [max(arm.recorded, float(arm.latency.sum())) for arm in arms]
        if slice_.users is not None:
            self._counts[2] = slice_.users[::-1]

    def reading(self) -> RatioReading:
        """The check as it stands."""
        share = float(self._share[0])
        if not 0 < share < 1:
            why = "the candidate's share is not known" if isnan(share) else "the candidate is only mirrored"
            return RatioReading(1.0, False, None, None, "not checked", f"no split to check: {why}")
        if not self._sticky[0]:
            return self._of_lost() or self._reading("requests", self._counts[0], self._of_all())
        users = self._counts[2]
        if not 0 < users.sum() < USERS_MAX:
            why = (
                "users are not known"
                if users.sum() == 0
                else f"over {count(USERS_MAX)} users can no longer be told apart"
            )
            return RatioReading(1.0, False, share, None, "not checked", f"routing is sticky and {why}")
        return self._reading("users", users, log_evidence(float(users[0]), float(users[1]), share))

    def _reading(self, unit: Literal["requests", "users"], counts: FloatArray, log_e: float) -> RatioReading:
        share, total = float(self._share[0]), float(counts.sum())
        found, flagged = evidence(log_e), log_e >= log(FLAG_AT)
        observed = float(counts[0]) / total if total > 0 else None
        said = f"{percent(observed)} of {count(total)} {unit}" if observed is not None else f"no {unit} yet"
        earlier = ", most of it of stages before this one" if self._settled[0] > log_e - self._settled[0] else ""
        against = f"evidence against the split {odds(found)}, {count(FLAG_AT)} : 1 flags it{earlier}"
        text = f"{said} met the candidate, {percent(share)} expected; {against}"
        if flagged:
            text = f"comparison unreliable: {text}"
        return RatioReading(found, flagged, share, observed, unit, text)

    def _of_lost(self) -> RatioReading | None:
        """The reading where it is flagged for requests that have no outcome, and not for how they were split."""
        share, log_e = self.share, self._of_all()
        arrived, known = self._counts[:2].tolist()
        split = log_evidence(arrived[0], arrived[1], share)
        if log_e < log(FLAG_AT) or log_evidence(known[0], known[1], share) <= max(split, 0.0):
            return None
        outcomes = "; ".join(
            f"{count(known[arm])} of {count(arrived[arm])} of the {whose} requests"
            for arm, whose in enumerate(("candidate's", "stable's"))
        )
        observed = known[0] / sum(known)
        text = (
            f"comparison unreliable: the versions do not lose the same share of their requests: outcomes are known of "
            f"{outcomes}; so {percent(observed)} of what is compared is the candidate's, {percent(share)} expected; "
            f"evidence against the split {odds(evidence(log_e))}, {count(FLAG_AT)} : 1 flags it"
        )
        return RatioReading(evidence(log_e), True, share, observed, "requests", text)

    def _of_all(self) -> float:
        """ln E of all stages."""
        return float(self._settled[0]) + self._of_requests()

    def _of_requests(self) -> float:
        """ln E of this stage: the mean of what arrived and what is accounted for, 0 where requests are no sample."""
        share = float(self._share[0])
        if self._sticky[0] or not 0 < share < 1:
            return 0.0
        found = [log_evidence(float(counts[0]), float(counts[1]), share) for counts in self._counts[:2]]
        return _mean(found[0], found[1])


def _mean(one: float, other: float) -> float:
    """ln of the mean of two e-values."""
    return max(one, other) + log1p(exp(-abs(one - other))) - log(2)
