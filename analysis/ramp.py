"""How much of the traffic a candidate may have by what it could cost: the weight that rises by evidence.

A *bad request* is one that failed at the candidate beyond what the margin of `errors` allows, against stable in the
same slice (without such a metric: beyond stable). Three numbers follow from the slices:

- spent: bad requests so far, as the worst of all stretches that end now: a cumulative sum that never falls below 0
  (Page, Biometrika 41, 1954), so that good times before are no credit for bad ones.
- worst: the largest share of bad requests that evidence still allows, 1 as long as there is none. For each of a grid of
  shares d a bank of bets is held against "it fails by d or more beyond the margin" (Engine A, exact for any weight and
  base rate); d is ruled out at 1/alphaAbort. What a bank may win is bounded, so that it speaks of the last requests and
  not of a calm past: a few failures are enough to put d back. A request that is not answered within its grace counts
  as failed here. With sticky users d is also bounded by how many there were, since each of them is one fact.
- at stake: what a weight could cost before a decision about it takes effect, `worst` of the requests that come in the
  reaction time, and twice the root of that, which a Poisson number exceeds once in forty times.

A weight is allowed where spent and at stake are within the budget together. It rises once the present weight was there
for long enough, and has had as many requests as the next one's bound rests on. It never falls. The candidate is stopped
when the budget would not bear what is at stake and an e-process proves that it fails more than its margin allows (no
blocks, no cap; a stake for every look, so that a late onset is found as well): within the margin that happens with a
chance of at most the budget's alpha, ever. Of sticky users it is divided by the design effect, as all evidence is.

So a candidate whose share of bad requests is constant, or falls, spends more than the budget with a chance of at most
alphaAbort and that of the Poisson number, whatever the share is, if it can be told from chance by then: for errors of
p in both versions that is from 14 p (1 + w/(1-w)) / budget on. One that turns bad later spends what is left of the
budget, and what comes in one reaction time at the weight that it has. `tests/analysis/test_ramp.py` holds both.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isnan, log, log1p, sqrt
from typing import Final

import numpy as np
from scipy.special import expit, logit, rel_entr

from analysis.engine import log_ratios
from analysis.groups import Groups
from analysis.intervals import evidence
from analysis.plan import Gate, Plan
from analysis.rates import error_counts
from analysis.readings import RampReading
from analysis.robustness import restart_weight
from analysis.summaries import FloatArray, Slice
from analysis.wording import count, duration, number, odds, percent

BUDGET: Final = "budget"
"""What decides when a budget is spent."""
WORST: Final[FloatArray] = 0.95 * np.sqrt(0.5) ** np.arange(34)
"""The shares that are ruled out one after the other, from 95 % down to 0.001 %."""
FIRST_S: Final = 10.0
"""How long the traffic is measured before the candidate gets any."""
RUNGS_AT_ONCE: Final = 2
"""A candidate that bears 2 % has not shown that it bears 50 %."""
_BETWEEN: Final[FloatArray] = np.array([0.0, 0.25, 0.5])
"""Bets of each share: where the candidate's rate is, between stable's and the share in question."""
_BEYOND: Final[FloatArray] = np.array([0.7, 1.5, 3.0, 4.5])
"""Bets on failures beyond the margin, in log odds from its edge."""
_MEMORY: Final = 3.0
"""How far, as a logarithm, a bank may win beyond what rules its share out: it is put back by chance once in twenty
looks, and by two failures in a row where the share is 5 % and failures are rare."""
_GUESS: Final = (50.0, 0.5)
"""Requests and failures of stable, from a first guess of 1 % on."""
_RATES: Final = np.array([0.98, 0.5])
"""What a second leaves of the traffic before: a mean of a minute and one of seconds, of which the larger counts."""
_Z: Final = 2.0


class Spending:
    """Watches what one candidate costs; a few dozen array operations a look, whatever the traffic."""

    def __init__(self, plan: Plan) -> None:
        assert plan.budget is not None
        self._budget = plan.budget
        self._lines = np.array(lines(plan.gates))
        self._needed = log(1 / plan.alpha_abort)
        self._alpha = plan.alpha_abort
        shape = (len(self._lines), len(WORST), len(_BETWEEN))
        self._cap = self._needed + _MEMORY + log(shape[0] * shape[2])
        a, b = self._lines.T
        far = (a[:, None] + WORST).repeat(len(_BETWEEN), axis=1)
        self._a = np.concatenate((far.ravel(), a.repeat(len(_BEYOND))))
        self._b = np.concatenate((b.repeat(far.shape[1]), b.repeat(len(_BEYOND))))
        self._past: FloatArray = np.array(_GUESS)
        self._passing: FloatArray = np.zeros(shape)
        self._harm: FloatArray = np.full((len(self._lines), len(_BEYOND)), -inf)
        self._spent: FloatArray = np.zeros(len(self._lines))
        self._traffic: FloatArray = np.zeros((2, len(_RATES)))  # requests, seconds
        self._groups = Groups(1)
        self._facts: FloatArray = np.array([-1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
        """Stage, seconds of it, the candidate's requests in it, its share, users, requests of the candidate in the last
        slice, looks with the candidate, requests of the route in this stage."""

    def state(self) -> dict[str, FloatArray]:
        """All that changes, by name."""
        return {
            "past": self._past,
            "passing": self._passing,
            "harm": self._harm,
            "spent": self._spent,
            "traffic": self._traffic,
            "facts": self._facts,
            **self._groups.state(),
        }

    def observe(self, slice_: Slice) -> str:
        """Add one slice; the reason if the budget is spent with it, else nothing.

        What comes after the promotion is nobody's budget: `bake` and the breaker watch it.
        """
        if slice_.share == 1:
            return ""
        self._count(slice_)
        edges = self._lines[:, 0] + self._lines[:, 1] * self._stable()
        known = error_counts(slice_)[0]
        n_c, x_c, n_s, x_s = known
        if n_c > 0:
            rate = x_s / n_s if n_s else self._stable()
            allowed = np.minimum(self._lines[:, 0] + self._lines[:, 1] * rate, 1.0)
            self._spent[:] = np.maximum(0.0, self._spent + x_c - n_c * allowed)
        open_c, open_s = (max(0.0, arm.assigned - arm.recorded) for arm in (slice_.candidate, slice_.stable))
        if n_c + open_c > 0 and n_s + open_s > 0:
            self._bet(edges, known, known + np.array((open_c, open_c, open_s, open_s)))
        self._past += (n_s, x_s)
        return self._reason()

    def reading(self) -> RampReading:
        """What may be said now; changes nothing."""
        budget, share = self._budget, self._share()
        above = [rung for rung in budget.shares if rung > share * (1 + 1e-6)]
        worst, spent, traffic = self.worst(), float(self._spent.min()), self.per_second()
        next_ = above[0] if above else None
        needed = None if next_ is None else self._needed_for(next_, spent, traffic)
        wait_s = None if next_ is None or needed is None else self._wait_s(needed, share, traffic)
        at_stake = spent + with_chance(worst * traffic * share * budget.reaction_s)
        return RampReading(
            budget=budget.max_bad,
            spent=spent,
            worst=worst,
            at_stake=at_stake,
            allowed=self._allowed(above, share, spent, worst, traffic),
            next=next_,
            needed=needed,
            wait_s=wait_s,
            per_second=traffic,
            evidence=evidence(self._log_harm()),
            evidence_needed=1 / budget.alpha,
            text=self._text(share, spent, worst, at_stake, next_, needed, wait_s),
        )

    def worst(self) -> float:
        """The largest share of the candidate's requests that may be bad, as far as evidence tells."""
        ruled_out = self._log_passing() >= self._needed
        kept = np.flatnonzero(~ruled_out)
        first = int(kept[0]) if kept.size else len(WORST)
        found = 1.0 if first == 0 else float(WORST[first - 1])
        users = self._facts[4]
        return max(found, 1 - self._alpha ** (1 / users)) if users else found

    def per_second(self) -> float:
        """Requests of the route."""
        requests, seconds = self._traffic
        return float(np.divide(requests, seconds, out=np.zeros(len(_RATES)), where=seconds > 0).max())

    # --- evidence in
    def _count(self, slice_: Slice) -> None:
        requests = slice_.stable.assigned + slice_.candidate.assigned
        self._traffic *= _RATES**slice_.duration_s
        self._traffic += np.array([[requests], [slice_.duration_s]])
        facts = self._facts
        if slice_.stage != facts[0]:
            facts[:4], facts[7] = (slice_.stage, 0.0, 0.0, 0.0), 0.0
            self._groups.begin_stage()
        if slice_.sticky:
            arms = (slice_.candidate, slice_.stable)
            self._groups.add(*(counts for arm in arms for counts in (arm.group_n, arm.group_failed)))
        facts[1] += slice_.duration_s
        facts[2] += slice_.candidate.answered
        facts[3] = slice_.share
        facts[4] = max(facts[4], slice_.users[1]) if slice_.users is not None else facts[4]
        facts[5] = slice_.candidate.answered
        facts[6] += slice_.candidate.answered > 0
        facts[7] += requests

    def _bet(self, edges: FloatArray, known: FloatArray, feared: FloatArray) -> None:
        """All bets of a slice, as one array. `feared` counts requests without an answer as failed."""
        stable, settled = self._stable(), known[0] > 0 and known[2] > 0
        far = np.minimum(edges[:, None] + WORST, (1 + stable + edges[:, None]) / 2 - 1e-9)
        near = np.minimum(stable + _BETWEEN * (far[:, :, None] - stable), 1 - 1e-9)
        beyond = expit(logit(np.minimum(edges, 1 - 1e-9))[:, None] + _BEYOND)
        rates = np.concatenate((near.ravel(), beyond.ravel()))
        on_worst = np.arange(rates.size) < near.size
        n_c, x_c, n_s, x_s = np.where(on_worst | (not settled), feared[:, None], known[:, None])
        ratios = log_ratios(n_c, x_c, n_s, x_s, rates, np.full_like(rates, stable), self._a, self._b)
        self._passing += ratios[on_worst].reshape(self._passing.shape)
        np.minimum(self._passing, self._cap, out=self._passing)
        if settled:
            self._harm[:] = np.logaddexp(self._harm, log(restart_weight(int(self._facts[6]))))
            self._harm += np.where((edges < 1)[:, None], ratios[~on_worst].reshape(self._harm.shape), 0.0)

    # --- answers out
    def _stable(self) -> float:
        return float(self._past[1] / self._past[0])

    def _share(self) -> float:
        """The candidate's; as counted in this stage where the slices do not know it."""
        share, n, of = self._facts[3], self._facts[2], self._facts[7]
        return float(share) if not isnan(share) else float(min(n / of, 1.0)) if of else 0.0

    def _log_passing(self) -> FloatArray:
        """ln E against each share: with two margins, of which the larger counts, either may rule it out."""
        sums: FloatArray = np.logaddexp.reduce(self._passing, axis=(0, 2))
        return sums - log(self._passing.shape[0] * self._passing.shape[2])

    def _log_harm(self) -> float:
        """ln E of failing beyond the margin, over the design effect: what sticks to few users is no fault of it."""
        waiting = -log1p(self._facts[6])  # the stakes not yet placed
        bets = np.logaddexp.reduce(self._harm, axis=1) - log(len(_BEYOND))
        return float(np.logaddexp(bets, waiting).min()) / float(self._groups.effects()[0])

    def _needed_for(self, rung: float, spent: float, traffic: float) -> float | None:
        """How low `worst` must be for a weight; None where nothing is left for it."""
        left = self._budget.max_bad - spent
        if left <= 0:
            return None
        requests = traffic * rung * self._budget.reaction_s
        mean = (sqrt(_Z * _Z / 4 + left) - _Z / 2) ** 2
        return min(1.0, mean / requests) if requests > 0 else 1.0

    def _allowed(self, above: Sequence[float], share: float, spent: float, worst: float, traffic: float) -> float:
        stage_s, n_c, of_stage = (float(self._facts[place]) for place in (1, 2, 7))
        if share <= 0:
            measured = stage_s >= FIRST_S and of_stage > 0
            fits = [rung for rung in above if measured and (self._needed_for(rung, spent, traffic) or 0.0) >= 1.0]
            return max(fits, default=0.0)
        if stage_s < self._budget.stage_s or self._facts[5] <= 0:
            return share
        allowed = share
        for rung in above[:RUNGS_AT_ONCE]:
            needed = self._needed_for(rung, spent, traffic)
            if needed is not None and worst <= needed and n_c >= self._confirmed_by(needed):
                allowed = rung
        return allowed

    def _confirmed_by(self, needed: float) -> float:
        """Requests without a failure that rule a share out: a stage has to have so many of its own."""
        return 1.0 if needed >= 1 else max(1.0, self._needed / -log1p(-needed))

    def _wait_s(self, needed: float, share: float, traffic: float) -> float | None:
        """About how long it takes until the next weight is allowed, if nothing fails that would not at stable."""
        stage_s, n_c, of_stage = (float(self._facts[place]) for place in (1, 2, 7))
        if share <= 0:
            return max(0.0, FIRST_S - stage_s) if of_stage and needed >= 1 else None
        per_second = traffic * share
        if per_second <= 0 or needed < WORST[-1]:
            return None
        place = int(np.flatnonzero(needed + 1e-12 >= WORST)[0])
        stable = self._stable()
        edge = float((self._lines[:, 0] + self._lines[:, 1] * stable).max())
        limit = min(edge + float(WORST[place]), 1 - 1e-9)
        growth = (rel_entr(stable, limit) + rel_entr(1 - stable, 1 - limit)) * (1 - share)
        missing = self._needed - float(self._log_passing()[: place + 1].min())
        requests = max(missing / growth if missing > 0 else 0.0, self._confirmed_by(needed) - n_c, 0.0)
        return max(requests / per_second, self._budget.stage_s - stage_s, 0.0)

    def _reason(self) -> str:
        """Why the candidate is stopped: the budget would not bear more, and the failures are no chance."""
        if self._log_harm() < log(1 / self._budget.alpha):
            return ""
        found = self.reading()
        if found.at_stake <= found.budget:
            return ""
        return (
            f"the budget: {number(found.spent)} of {count(found.budget)} bad requests are spent, and with those under "
            f"way it may be {number(found.at_stake)}; evidence {odds(found.evidence)} that the candidate fails more "
            f"than its margin allows, {count(found.evidence_needed)} : 1 is enough"
        )

    def _text(
        self, share: float, spent: float, worst: float, at_stake: float, next_: float | None, needed: float | None,
        wait_s: float | None,
    ) -> str:  # fmt: skip
        of = f"of {count(self._budget.max_bad)} bad requests"
        then = f"{percent(next_)} " if next_ is not None else ""
        if share <= 0:
            if needed is None or needed >= 1 or not self._facts[7]:
                return f"at 0 %: measures the traffic of the route for {duration(FIRST_S)} before the first weight"
            return (f"at 0 %: already {then}of this traffic could cost more than {count(self._budget.max_bad)} bad "
                    "requests before it is known; raise maxBadRequests, or shorten timeouts.request")  # fmt: skip
        here = f"at {percent(share)}: {number(at_stake)} {of} would be spent if it fails as often as the evidence "
        users = self._facts[4]
        few = f", since it has had {count(users)} users" if users and worst == 1 - self._alpha ** (1 / users) else ""
        here += f"still allows ({percent(worst)} beyond its margin{few}; {number(spent)} spent so far)"
        if next_ is None:
            return f"{here}; this is the last weight"
        if needed is None:
            return f"at {percent(share)}: {number(spent)} {of} seem to be spent: the weight holds until that was chance"
        if wait_s is None:
            return f"{here}; {then}once that is at most {percent(needed)}"
        after = f"after about {duration(wait_s)} more" if wait_s >= 1 else "with the next requests"
        return f"{here}; {then}{after}, at {percent(needed)} or less"


def lines(gates: Sequence[Gate]) -> list[tuple[float, float]]:
    """The margins of errors as lines (a, b): the candidate may fail a + b times stable's rate; of several the larger.

    >>> lines([Gate("errors", "errors", margin_relative=0.2, margin_absolute=0.002)]), lines([])
    ([(0.0, 1.2), (0.002, 1.0)], [(0.0, 1.0)])
    """
    gate = next((gate for gate in gates if gate.kind == "errors"), None)
    found = []
    if gate is not None and gate.margin_relative is not None:
        found.append((0.0, 1 + gate.margin_relative))
    if gate is not None and gate.margin_absolute is not None:
        found.append((gate.margin_absolute, 1.0))
    return found or [(0.0, 1.0)]


def with_chance(mean: float) -> float:
    """What a number of that mean exceeds once in forty times, at most.

    >>> with_chance(25.0)
    35.0
    """
    return mean + _Z * sqrt(max(mean, 0.0))
