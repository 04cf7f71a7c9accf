"""How long a rollout will take, before it begins: what each metric needs at the traffic of its route. Pure.

A plan is of one traffic and of what is known of stable; where nothing is known, the assumption is named. A warning
is given only where a margin cannot be proven in `maxDuration` even with all of that time spent at the best weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from analysis.climbing import climb
from analysis.plan import PAIRED, TOLD_LATER, Gate, Plan
from analysis.planning import Baseline, Effort, counted_per_s, least_seconds, need, spread_between
from analysis.wording import count, duration, number, percent
from config import schema
from proxy.control.evidence import judging
from proxy.control.machine.steps import Ramp, Replace, SetMirror, SetWeight
from proxy.snapshot import CIRCLE

Json = dict[str, Any]
TIMES: Final = 2.0
"""The regression that is to be found, in margins."""
_QUANTILES: Final = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))


def outlook(
    route: schema.Route,
    rate_per_s: float,
    known: Json | None = None,
    times: float = TIMES,
    backends: Sequence[schema.Backend] = (),
) -> Json:
    """What each metric of a route needs at so many requests per second.

    `known` is the route as the admin API tells of it, from which the errors, latencies and labels of stable are taken.
    Of `backends` the endpoints are counted, where they are replaced one by one.
    """
    question = judging.question(route)
    baseline = _baseline(known)
    weights, mirror = shares(route, backends)
    return {
        "route": route.name,
        "ratePerSecond": rate_per_s,
        "maxDurationSeconds": question.horizon_s,
        "weights": [100 * weight for weight in weights],
        "mirror": 100 * mirror,
        "times": times,
        "assumed": [
            *_assumptions(known, any(gate.repeats for gate in question.gates)),
            *_assumed_of_truths(question),
        ],
        "metrics": [
            _metric(gate, question, _places(gate, weights, mirror, question), rate_per_s, baseline, times)
            for gate in question.gates
        ],
        "ramp": _ramp(route, question, rate_per_s, baseline),
        "warnings": warnings(route, rate_per_s, known, backends),
    }


def warnings(
    route: schema.Route,
    rate_per_s: float | None,
    known: Json | None = None,
    backends: Sequence[schema.Backend] = (),
) -> list[str]:
    """Margins that can never be proven in time, in plain words."""
    if not rate_per_s or route.strategy is None or not route.strategy.wants_proof:
        return []
    question, baseline = judging.question(route), _baseline(known)
    weights, mirror = shares(route, backends)
    found = _short_ramp(route, question, rate_per_s, baseline)
    for gate in question.gates:
        places = _places(gate, weights, mirror, question)
        if gate.role != "guardrail" or not places:
            continue
        _, share, part = max(places, key=lambda place: place[1] * (1 - place[1]) * place[2])
        effort = need(gate, question, share, baseline).prove
        name = f"route {route.name}: {gate.name}"
        if effort is None:
            found.append(f"{name} can never be proven: nothing lies between what is usual and its margin; widen it")
            continue
        counted = counted_per_s(gate, rate_per_s * part, question.block_s)
        if _seconds(effort.half, counted, question.alpha_promote, question) > question.horizon_s:
            takes_s = effort.half / counted
            found.append(
                f"{name} needs about {count(effort.half)} {_unit(gate)} until its margin is proven; at "
                f"{number(rate_per_s)} requests/s that takes {duration(takes_s)}, and maxDuration is "
                f"{duration(question.horizon_s)}; widen the margin, raise weight or maxDuration, or make it a signal"
            )
    return found


def shares(route: schema.Route, backends: Sequence[schema.Backend] = ()) -> tuple[list[float], float]:
    """The weights that a rollout goes through, and the largest part of the traffic that is copied."""
    plan = judging.plan_steps(route, backends)
    weights = {step.ppm / CIRCLE for step in plan if isinstance(step, SetWeight | Replace) and 0 < step.ppm < CIRCLE}
    weights |= {step.top / CIRCLE for step in plan if isinstance(step, Ramp)}  # where it is proven
    mirror = max((step.ppm / CIRCLE for step in plan if isinstance(step, SetMirror)), default=0.0)
    return sorted(weights), mirror


def measured_rate(known: Json, started_s: float, now_s: float) -> float | None:
    """Requests per second of stable and candidate since the rollout (or the process) began; None without any."""
    begun = known.get("startedAt") or started_s
    until = known.get("endedAt") or now_s
    requests = sum(arm["requests"] for arm in known["arms"] if arm["role"] != "shadow")
    return requests / (until - begun) if requests and until > begun else None


def _ramp(route: schema.Route, question: Plan, rate_per_s: float, baseline: Baseline) -> Json | None:
    """When a candidate without fault has each weight of its ramp, and what one costs at most until it is known that it
    has turned bad at the last one: where its requests fail at once, and where they hang. None without a ramp."""
    if question.budget is None:
        return None
    rungs = climb(question, rate_per_s, baseline.error_rate, question.horizon_s)
    per_second = rate_per_s * question.budget.shares[-1]
    return {
        "budget": question.budget.max_bad,
        "reactionSeconds": question.budget.reaction_s,
        "lateOutage": {
            "failing": per_second * (question.budget.reaction_s - route.timeouts.request),
            "hanging": per_second * question.budget.reaction_s,
        },
        "weights": [{"weight": 100 * rung.share, "seconds": rung.at_s} for rung in rungs],
    }


def _short_ramp(route: schema.Route, question: Plan, rate_per_s: float, baseline: Baseline) -> list[str]:
    """A ramp that does not get to its last weight in time."""
    budget = question.budget
    if budget is None:
        return []
    rungs = climb(question, rate_per_s, baseline.error_rate, question.horizon_s)
    if rungs and rungs[-1].share == budget.shares[-1]:
        return []
    name = f"route {route.name}: canary.ramp"
    remedy = "raise maxBadRequests, or shorten timeouts.request"
    if not rungs:
        requests = rate_per_s * budget.shares[0] * budget.reaction_s
        return [
            f"{name} never begins: at {number(rate_per_s)} requests/s its lowest weight, {percent(budget.shares[0])}, "
            f"gets {number(requests)} requests in the {number(budget.reaction_s)} s until it is known what became of "
            f"them, and maxBadRequests is {count(budget.max_bad)}; {remedy}"
        ]
    return [
        f"{name} gets no further than {percent(rungs[-1].share)} of {percent(budget.shares[-1])} within maxDuration "
        f"({duration(question.horizon_s)}) at {number(rate_per_s)} requests/s; {remedy}, or lower maxWeight"
    ]


def _places(gate: Gate, weights: Sequence[float], mirror: float, question: Plan) -> list[tuple[float, float, float]]:
    """(candidate's weight, its share of what is compared, part of the traffic that is) where a metric is looked at."""
    if gate.kind in PAIRED:
        return [(0.0, 0.5, mirror)] if mirror else []
    if question.control == "baseline":
        return [(weight, 0.5, 2 * weight) for weight in weights]
    parts = [(weight, 1.0 - weight * max(0, len(question.rivals) - 1)) for weight in weights]  # less that of the others
    return [(weight, weight / part, part) for weight, part in parts]


def _metric(
    gate: Gate,
    question: Plan,
    places: Sequence[tuple[float, float, float]],
    rate_per_s: float,
    baseline: Baseline,
    times: float,
) -> Json:
    weight = dict(zip((each.name for each in question.gates), question.abort_weights(), strict=True))[gate.name]
    found = []
    for at, share, part in places:
        needed = need(gate, question, share, baseline, times)
        counted = counted_per_s(gate, rate_per_s * part, question.block_s)
        found.append({
            "weight": None if gate.kind in PAIRED else 100 * at,
            "prove": _answer(needed.prove, counted, question.alpha_promote, question),
            "find": _answer(needed.find, counted, question.alpha_abort * weight, question),
        })  # fmt: skip
    return {"name": gate.name, "role": gate.role, "unit": _unit(gate), "at": found}


def _answer(effort: Effort | None, counted: float, alpha: float, question: Plan) -> Json | None:
    if effort is None:
        return None
    return {
        "requests": round(effort.half),
        "seconds": _seconds(effort.half, counted, alpha, question),
        "requests90": round(effort.most),
        "seconds90": _seconds(effort.most, counted, alpha, question),
    }


def _seconds(requests: float, counted: float, alpha: float, question: Plan) -> float:
    return max(requests / counted, least_seconds(alpha, question.block_s))


def _unit(gate: Gate) -> str:
    if gate.kind in TOLD_LATER:
        return "truths"
    return "pairs" if gate.kind in PAIRED else "requests"


def _stable(known: Json | None) -> Json | None:
    arms = [] if known is None else known["arms"]
    return next((arm for arm in arms if arm["role"] == "stable" and arm["requests"]), None)


def _baseline(known: Json | None) -> Baseline:
    arm = _stable(known)
    if known is None or arm is None:
        return Baseline()
    shares = [share for labels in arm["labels"].values() for share in labels.values()]
    pairs = (known.get("pairs") or {}).get("outputs", {})
    disagreed = [pair["disagreed"] / pair["compared"] for pair in pairs.values() if pair["compared"] >= _ENOUGH]
    noise = _noise(known)
    return Baseline(
        error_rate=arm["failed"] / arm["requests"] if arm["requests"] >= _ENOUGH else Baseline().error_rate,
        label_share=min(shares, key=lambda share: abs(share - 0.5)) if shares else Baseline().label_share,
        latency_spread=_spreads(arm["latencyMs"]),
        disagreement=max(disagreed, default=None),
        noise=Baseline().noise if noise is None else noise,
    )


def _noise(known: Json | None) -> float | None:
    """How often stable differs from itself, in the output where it does so most; None where that is not known."""
    pairs = {} if known is None else (known.get("pairs") or {}).get("outputs", {})
    asked = [(pair.get("stableDisagreed", 0), pair.get("repeated", 0)) for pair in pairs.values()]
    return max((differs / repeated for differs, repeated in asked if repeated >= _ENOUGH), default=None)


_ENOUGH: Final = 1000
"""Requests from which on a share of them is taken for what is usual."""


def _spreads(latency_ms: Mapping[str, float | None]) -> dict[float, float]:
    """Around each quantile, from the next lower one (the median: from the next higher one)."""
    known = [(quantile, latency) for name, quantile in _QUANTILES if (latency := latency_ms.get(name))]
    found: dict[float, float] = {}
    for lower, upper in pairwise(known):
        spread = spread_between(lower, upper)
        if spread:
            found.setdefault(lower[0], spread)
            found[upper[0]] = spread
    return found


def _assumed_of_truths(question: Plan) -> list[str]:
    """Nothing is known of them before they come: neither how many will, nor when."""
    if not any(gate.kind in TOLD_LATER for gate in question.gates):
        return []
    wrong = f"{percent(Baseline().wrong_rate)} of the predictions are wrong"
    return [wrong, "the truth of every request is told, and as soon as it is answered"]


def _assumptions(known: Json | None, repeats: bool) -> list[str]:
    arm = _stable(known)
    usual = Baseline()
    noise = [f"stable differs from itself in {percent(usual.noise)} of the requests that it is asked twice"]
    unknown = noise if repeats and _noise(known) is None else []
    if arm is None:
        return [
            *unknown,
            f"stable fails {percent(usual.error_rate)} of its requests",
            "latency is lognormal with a spread of 0.5",
            f"the hardest label has a share of {percent(usual.label_share)}",
            "half as many pairs disagree as may",
        ]
    found = [] if arm["requests"] >= _ENOUGH else [f"stable fails {percent(usual.error_rate)} of its requests"]
    found += unknown
    if not _spreads(arm["latencyMs"]):
        found.append("latency is lognormal with a spread of 0.5")
    return found
