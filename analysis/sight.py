"""What there is to be read of a rollout's evidence: of each metric its numbers, and what a promotion still lacks.

A look decides by the wealth of the metrics, and only where all of it suffices by what stands against a promotion
otherwise (`passed`, `doubts`). The rest is for people, and by far most looks change nothing and are read by nobody. So
a look leaves what it takes to read it later (`held`).
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, replace
from math import inf, log
from typing import Final, NamedTuple

import numpy as np

from analysis.forecast import planned_seconds
from analysis.history import History
from analysis.intervals import Estimate, evidence
from analysis.meter import Meter, Wealth
from analysis.pairs import Slowdown
from analysis.plan import PAIRED, TOLD_LATER, Gate, Plan
from analysis.progress import Progress
from analysis.readings import UNITS, Details, MetricReading, RatioReading
from analysis.stack import Stack
from analysis.still import still
from analysis.tally import Tally
from analysis.wording import duration, odds

HARM_UNSETTLED: Final = 3.0
"""Weighted evidence of harm from which on nothing is proven."""
_USERS_MATTER: Final = 2.0
"""Design effect from which on more users are what is lacking."""


@dataclass(frozen=True, slots=True)
class Sight:
    """The parts of a Judge that readings are made of, at one look."""

    plan: Plan
    weights: Mapping[str, float]
    """Each metric's part of the abort budget."""
    meters: Mapping[str, Meter]
    pairs: Mapping[str, Slowdown]
    """By metric; those that have no rows in the stack."""
    stack: Stack
    history: History
    progress: Progress
    tally: Tally
    wealth: Mapping[str, Wealth]
    harm: float
    """E of harm over all metrics."""
    ratio: RatioReading
    share: float
    """The candidate's configured share of the live traffic."""

    def held(self) -> Sight:
        """The same, and what the Judge sees from now on does not change it."""
        history, sticky = self.history.still(), self.tally.sticky
        return Sight(
            self.plan,
            self.weights,
            {name: meter.still(history, sticky) for name, meter in self.meters.items()},
            {name: still(pairs) for name, pairs in self.pairs.items()},
            self.stack.still(),
            history,
            still(self.progress),
            replace(self.tally),
            self.wealth,
            self.harm,
            self.ratio,
            self.share,
        )

    def details(self) -> Details:
        """All of it."""
        readings = {gate.name: self.reading(gate) for gate in self.plan.gates}
        waits = self.waits()
        missing = [
            self._lack(gate, readings[gate.name], wait)
            for gate, wait in zip(self.plan.guardrails, waits, strict=True)
            if not readings[gate.name].passed
        ]
        longest = max(waits, default=inf)
        silent = {name for name, reading in readings.items() if reading.candidate is None and not reading.passed}
        return Details(
            metrics=tuple(readings.values()),
            missing=(*missing, *self.doubts(silent)),
            forecast_s=longest if longest < inf else None,
        )

    def waits(self) -> list[float]:
        """Seconds until each guardrail is proven, at the growth of the last blocks."""
        log_e = np.array([self.wealth[gate.name].passing for gate in self.plan.guardrails])
        return self.progress.forecasts(log_e, log(1 / self.plan.alpha_promote))

    def passed(self, gate: Gate) -> bool:
        """Whether a metric is proven to be within its margin."""
        return self.wealth[gate.name].passing >= log(1 / self.plan.alpha_promote)

    def doubts(self, silent: Container[str] = ()) -> Iterator[str]:
        """What stands against a promotion beside evidence that is too small. Of the metrics in `silent` it is said
        already that they have no data."""
        if not self.plan.guardrails:
            yield "no metric is a guardrail, so nothing can prove this candidate; promote it by hand"
        if self.harm >= HARM_UNSETTLED:
            yield f"evidence of harm over all metrics is {odds(self.harm)}, it must be below {odds(HARM_UNSETTLED)}"
        if self.ratio.flagged:
            yield self.ratio.text
        for gate in self.plan.guardrails:
            pairs = self.pairs.get(gate.name)
            inside = self.meters[gate.name].inside(self.stack) if pairs is None else pairs.inside()
            if inside is False:
                yield f"{gate.name}: this stage alone is outside {self._facts(gate).margin}"
            elif inside is None and gate.kind not in (*PAIRED, *TOLD_LATER) and gate.name not in silent:
                # Pairs may all come from earlier stages, and so may truths, which are late.
                yield f"{gate.name}: this stage alone has no data yet"

    def reading(self, gate: Gate) -> MetricReading:
        """One metric."""
        harm, passing = self.wealth[gate.name]
        weight = self.weights[gate.name]
        found = self._facts(gate)
        estimate = found.estimate
        return MetricReading(
            name=gate.name,
            kind=gate.kind,
            role=gate.role,
            weight=weight,
            unit="pp" if gate.kind == "pair" and estimate.stable is not None else UNITS[gate.kind],
            stable=estimate.stable,
            candidate=estimate.candidate,
            effect=estimate.effect,
            low=estimate.low,
            high=estimate.high,
            margin=found.margin,
            effective_margin=found.effective_margin,
            evidence_harm=evidence(harm),
            evidence_pass=evidence(passing),
            needed_pass=1 / self.plan.alpha_promote,
            n_stable=found.n_stable,
            n_candidate=found.n_candidate,
            n_effective=found.n_candidate / found.phi,
            passed=self.passed(gate),
            harmed=harm + (log(weight) if weight else 0.0) >= log(1 / self.plan.alpha_abort),
            subject=estimate.subject,
            control="stable" if gate.kind in PAIRED else self.plan.control,
        )

    def _facts(self, gate: Gate) -> _Facts:
        if (pairs := self.pairs.get(gate.name)) is not None:
            n = pairs.samples()
            return _Facts(pairs.estimate(), n, n, pairs.phi(), pairs.margin_words(), pairs.effective_words())
        meter, stack = self.meters[gate.name], self.stack
        words = meter.margin_words(), meter.effective_words(stack)
        return _Facts(meter.estimate(stack), *meter.samples(stack), meter.phi(stack), *words)

    def _lack(self, gate: Gate, reading: MetricReading, wait_s: float) -> str:
        """How far one guardrail is from its proof."""
        if reading.candidate is None:
            what = "no truth of both versions" if gate.kind in TOLD_LATER else "no data"
            return f"{reading.name}: {what} yet; silence proves nothing"
        far = f"evidence that it is within {reading.margin} is {odds(reading.evidence_pass)}"
        far += f", {odds(reading.needed_pass)} needed"
        if wait_s < inf:
            return f"{reading.name}: {far}; about {duration(wait_s)} more at the growth of the last blocks"
        meter = self.meters.get(reading.name)
        few_users = self.tally.sticky and meter is not None and float(meter.design_effects().max()) >= _USERS_MATTER
        remedy = "; more time will not help, more users will" if few_users else ""
        equal_s = self._planned_s(gate, reading)
        traffic = "these truths" if gate.kind in TOLD_LATER else "this traffic"
        plan = f"; an equal candidate takes about {duration(equal_s)} at {traffic}" if equal_s < inf else ""
        return f"{reading.name}: {far}; it does not grow now{remedy or plan}"

    def _planned_s(self, gate: Gate, reading: MetricReading) -> float:
        tally = self.tally
        counted = tally.stage_stable + tally.stage_candidate
        if gate.kind in PAIRED:
            counted = tally.stage_pairs
        elif gate.kind in TOLD_LATER:
            counted = tally.stage_truths
        traffic = counted / tally.stage_s if tally.stage_s > 0 else 0.0
        return planned_seconds(gate, self.plan, reading, self.history, self.share, traffic)


class _Facts(NamedTuple):
    """What a metric tells of itself, whichever way it is measured."""

    estimate: Estimate
    n_stable: float
    n_candidate: float
    phi: float
    margin: str
    effective_margin: str
