"""What a candidate costs, and how long one without fault takes, where its weight rises by evidence (`canary.ramp`).

    python -m tests.prove.ramp

Requests arrive at random; each second is judged when all of it is answered, 0.06 s after its end, and what is decided
holds 0.02 s later, as the controller does it (measured by `tests/system/test_outage.py`). Requests that fail fail at
once, or hang until their time is over: then a second is known when the time of its last request is. Counted are the
requests that fail beyond stable's rate, up to the moment in which the last worker has heard that it is over.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, product
from math import ceil

import numpy as np

from analysis.breaker import Breaker
from analysis.climbing import climb
from analysis.plan import Budget, Gate, Plan
from analysis.ramp import Spending
from analysis.summaries import ArmCounts, Grid, Slice
from analysis.wording import duration, percent

RUNGS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
LOOK_AFTER_S, HEARD_AFTER_S = 0.06, 0.02
TIMEOUT_S = 10.0
REACTION_S = 1.0 + TIMEOUT_S + LOOK_AFTER_S + 1.0 + 0.25
"""As `proxy.control.evidence.judging` has it, with the default of `timeouts.request`."""
LONGEST_S = 3 * 3600
NOTHING = ArmCounts.empty(Grid(buckets=4))


@dataclass(frozen=True)
class Candidate:
    """Fails `bad` of its requests beyond what stable fails, from a weight on; those that fail may hang before."""

    bad: float
    from_weight: float = 0.0
    hangs: bool = False


@dataclass
class Run:
    """What came of one rollout."""

    bad: int = 0
    stopped_by: str = ""
    weight: float = 0.0
    at_s: dict[float, float] | None = None
    """When each weight began."""


def question(max_bad: float, last: float = 0.5, reaction_s: float = REACTION_S) -> Plan:
    """The plan of a route with default settings."""
    gate = Gate("errors", "errors", margin_relative=0.2, margin_absolute=0.002)
    rungs = (*(rung for rung in RUNGS if rung < last), last)
    return Plan((gate,), breaker_above=0.2, budget=Budget(max_bad, rungs, reaction_s))


def rollout(
    random: np.random.Generator,
    plan: Plan,
    rate: float,
    candidate: Candidate,
    errors: float = 0.0,
    stays_s: int = 600,
    most_s: int = LONGEST_S,
) -> Run:
    """One rollout, until it is stopped, or so many seconds after it has the last weight, or so many in all."""
    spending, breaker, run = Spending(plan), Breaker(plan.breaker_above, 0.001), Run(at_s={})
    late = ceil(TIMEOUT_S) if candidate.hangs else 0
    open_: deque[Slice] = deque()
    stage, until = 0, most_s
    for second in range(most_s):
        share = run.weight
        bad = candidate.bad if share and share >= candidate.from_weight else 0.0
        n_c, n_s = random.poisson(rate * share), random.poisson(rate * (1 - share))
        x_bad = random.binomial(n_c, bad)
        x_c, x_s = x_bad + random.binomial(n_c - x_bad, errors), random.binomial(n_s, errors)
        run.bad += int(x_bad)
        open_.append(_second(stage, share, n_c, x_c, n_s, x_s))
        if len(open_) <= late and bad:
            continue
        while open_ and (len(open_) > late or not bad):
            looked = open_.popleft()
            tripped = breaker.observe(looked)
            spent = spending.observe(looked)
            if tripped or spent:
                run.stopped_by = "breaker" if tripped else "budget"
                run.bad += int(random.poisson(rate * share * bad * (LOOK_AFTER_S + HEARD_AFTER_S)))
                return run
        found = spending.reading()
        if looked.stage == stage and found.allowed > share:
            run.weight, stage = found.allowed, stage + 1
            run.at_s[found.allowed] = second + 1 + LOOK_AFTER_S + HEARD_AFTER_S
            until = second + stays_s if found.allowed == plan.budget.shares[-1] else until
        if second >= until:
            return run
    return run


def _second(stage: int, share: float, n_c: float, x_c: float, n_s: float, x_s: float) -> Slice:
    stable, candidate = _arm(n_s, x_s), _arm(n_c, x_c)
    return Slice(stage, 0.0, 1.0, share, stable, candidate, None, None, False)


def _arm(n: float, x: float) -> ArmCounts:
    return replace(NOTHING, assigned=float(n), recorded=float(n), answered=float(n), failed=float(x))


def costs(
    seed: int, runs: int, max_bad: float, rate: float, candidate: Candidate, errors: float = 0.0, stays_s: int = 600
) -> np.ndarray:
    """Bad requests of so many rollouts."""
    random, plan = np.random.default_rng(seed), question(max_bad)
    return np.array([rollout(random, plan, rate, candidate, errors, stays_s).bad for _ in range(runs)])


RATES, BUDGETS, USUAL = (10, 100, 1000), (10, 50, 200), 0.01


def speed(runs: int = 20) -> Iterator[str]:
    """How long candidates without fault take, where both versions fail 1 %; beside it what the planner says."""
    random = np.random.default_rng(7)
    yield "| requests/s | maxBadRequests | first weight | 50 % after: half | nine of ten | planned |"
    yield "| ---: | ---: | ---: | ---: | ---: | ---: |"
    for rate, max_bad in product(RATES, BUDGETS):
        plan = question(max_bad)
        found = [rollout(random, plan, rate, Candidate(0.0), USUAL, 0) for _ in range(runs)]
        half, most = np.quantile([run.at_s.get(0.5, np.inf) for run in found], (0.5, 0.9))
        first = np.quantile([min(run.at_s) for run in found], 0.5)
        planned = climb(plan, rate, USUAL, 86_400.0)[-1].at_s
        times = " | ".join(duration(each) for each in (half, most, planned))
        yield f"| {rate:,} | {max_bad} | {percent(first)} | {times} |"


BAD = {
    "fails all": (Candidate(1.0), 0.0),
    "all hang for 10 s and fail": (Candidate(1.0, hangs=True), 0.0),
    "fails half": (Candidate(0.5), 0.0),
    "half hang and fail": (Candidate(0.5, hangs=True), 0.0),
    "fails 5 %": (Candidate(0.05), 0.0),
    "fails 5 % beyond 1 % of both": (Candidate(0.05), USUAL),
    "fails all from 20 % on": (Candidate(1.0, from_weight=0.2), 0.0),
    "fails 5 % from 20 % on": (Candidate(0.05, from_weight=0.2), 0.0),
}


def cost(runs: int = 20) -> Iterator[str]:
    """Bad requests until all workers have heard that it is over: the mean, and nine of ten."""
    columns = [f"{max_bad} at {rate:,}/s" for max_bad, rate in product(BUDGETS, RATES)]
    yield f"| the candidate | {' | '.join(columns)} |"
    yield f"| --- |{' ---: |' * len(columns)}"
    for name, (candidate, errors) in BAD.items():
        cells = []
        for max_bad, rate in product(BUDGETS, RATES):
            found = costs(7, runs, max_bad, rate, candidate, errors)
            cells.append(f"{found.mean():.0f} ({np.quantile(found, 0.9):.0f})")
        yield f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """The tables of docs/statistics.md."""
    for line in chain(speed(), ("",), cost()):
        print(line, flush=True)


if __name__ == "__main__":
    main()
