"""When a proof will be there, by the planner: for as long as the evidence itself does not tell by its growth.

What is planned is an unchanged candidate at the traffic of this stage. A candidate that is close to its margin takes
longer, and one beyond it never gets there.
"""

from __future__ import annotations

from dataclasses import replace
from math import inf, isnan

from analysis.history import History
from analysis.plan import PAIRED, Gate, Plan
from analysis.planning import Baseline, counted_per_s, least_seconds, need, requests_for_quantile
from analysis.readings import MetricReading


def planned_seconds(
    gate: Gate, plan: Plan, reading: MetricReading, history: History, share: float, traffic_per_s: float
) -> float:
    """Seconds that the proof of a guardrail takes from nothing; infinite where nothing would prove it.

    Args:
        share: the candidate's share of the live traffic; NaN where it is not known.
        traffic_per_s: requests of both arms, or pairs, or truths, that come in a second.
    """
    if traffic_per_s <= 0 or isnan(share):
        return inf
    requests: float | None
    if gate.kind == "latency":
        if not 0 < share < 1:
            return inf
        margin = gate.margin_relative or 0.0
        requests = requests_for_quantile(history.stable(), plan.grid, gate.quantile, margin, share, plan.alpha_promote)
    else:
        effort = need(_as_measured(gate, reading), plan, share, _baseline(gate, reading)).prove
        requests = None if effort is None else effort.half
    dispersion = max(reading.n_candidate / reading.n_effective, 1.0) if reading.n_effective > 0 else 1.0
    if requests is None:
        return inf
    counted = counted_per_s(gate, traffic_per_s, plan.block_s)
    return max(requests * dispersion / counted, least_seconds(plan.alpha_promote, plan.block_s))


def _as_measured(gate: Gate, reading: MetricReading) -> Gate:
    """With the share of requests that stable is asked twice, where records tell of it and the plan does not."""
    if gate.kind != "pair" or gate.repeats or reading.stable is None or not reading.n_candidate:
        return gate
    return replace(gate, repeats=reading.n_stable / reading.n_candidate)


def _baseline(gate: Gate, reading: MetricReading) -> Baseline:
    """What the reading knows by now."""
    if gate.kind == "pair" and reading.stable is not None:
        return Baseline(noise=reading.stable)
    if gate.kind in PAIRED:
        return Baseline(disagreement=reading.candidate if gate.kind == "pair" else None)
    rate = reading.stable if reading.stable is not None else 0.5
    return Baseline(error_rate=rate, label_share=rate, wrong_rate=rate)
