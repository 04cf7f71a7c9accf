"""What a route's configuration means for its rollout and for its judge. Pure.

A rollout is of one version of the candidate under one plan. The plan's digest covers all that the evidence depends
upon: if any of it changes, what was collected answers another question, and the rollout begins anew.
"""

from __future__ import annotations

import hashlib
import json
from typing import Final, assert_never

from analysis.plan import Gate
from analysis.plan import Plan as Question
from config import schema, strategy
from config.metrics import Metric
from proxy.control import steps
from proxy.control.evidence import GRID
from proxy.snapshot import CIRCLE

_PER_PERCENT: Final = CIRCLE // 100


def plan(config: schema.Config, route: schema.Route) -> steps.Plan | None:
    """What the rollout of a route is to do; None for a route without a strategy."""
    if route.strategy is None or route.strategy.canary is None:
        return None
    stable = next(ref.name for ref in route.backend_refs if ref.role == "stable")
    candidate = next(ref.name for ref in route.backend_refs if ref.role == "canary")
    backends = {backend.name: backend for backend in config.backends}
    analysis = route.analysis
    return steps.Plan(
        route=route.name,
        stable=stable,
        candidate=candidate,
        candidate_digest=backends[candidate].digest(),
        digest=_digest(route, backends[stable].version),
        steps=tuple(_step(step) for step in route.strategy.canary.steps),
        min_samples=analysis.min_samples,
        min_duration_s=analysis.min_duration,
        max_duration_s=analysis.max_duration,
        on_inconclusive=analysis.on_inconclusive,
    )


def question(route: schema.Route) -> Question:
    """What is asked of the route's judge."""
    analysis = route.analysis
    outputs = route.predictions.outputs if route.predictions else ()
    kinds = {output.name: output.kind for output in outputs}
    repeats = _repeats(route)
    return Question(
        gates=tuple(_gate(metric, kinds.get(metric.output, "category"), repeats) for metric in analysis.metrics),
        alpha_abort=analysis.alpha_abort,
        alpha_promote=analysis.alpha_promote,
        block_s=analysis.block,
        horizon_s=analysis.max_duration,
        breaker_above=analysis.breaker.errors_above.amount if analysis.breaker else None,
        grid=GRID,
    )


def _digest(route: schema.Route, stable_version: str | None) -> str:
    """Of stable only what is deployed counts: that it gets another instance does not begin a rollout anew."""
    facts = route.model_dump(mode="json", by_alias=True, include={"strategy", "analysis", "predictions"})
    facts["analysis"].pop("expectedRate", None)  # it is of the traffic, and asks nothing
    facts["stableVersion"] = stable_version
    if _repeats(route):  # how often is a matter of speed, and that it is done a matter of what is asked
        facts["repeats"] = True
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _repeats(route: schema.Route) -> float:
    """The share of the candidate's copies whose request stable is asked twice."""
    candidates = {ref.name for ref in route.backend_refs if ref.role == "canary"}
    given = (mirror.repeat for mirror in route.mirrors if mirror.backend in candidates)
    return next((repeat.percent / 100 for repeat in given if repeat is not None), 0.0)


def _step(step: strategy.SetMirror | strategy.SetWeight | strategy.Pause | strategy.AnalysisStep) -> steps.Step:
    match step:
        case strategy.SetMirror(percent):
            return steps.SetMirror(round(percent * _PER_PERCENT))
        case strategy.SetWeight(percent):
            return steps.SetWeight(round(percent * _PER_PERCENT))
        case strategy.Pause(duration_s):
            return steps.Pause(duration_s)
        case strategy.AnalysisStep(min_samples, duration_s):
            return steps.Analysis(min_samples, duration_s)
        case _:
            assert_never(step)


def _gate(metric: Metric, output_kind: str, repeats: float) -> Gate:
    sizes = {bound.unit: bound.amount for bound in metric.margin}
    relative, absolute, sd = sizes.get("%"), sizes.get("pp"), sizes.get("sd")
    match metric.family:
        case "errors":
            return Gate(metric.name, "errors", margin_relative=relative, margin_absolute=absolute,
                        weight=metric.weight, role=metric.role)  # fmt: skip
        case "latency":
            return Gate(metric.name, "latency", quantile=metric.quantile, margin_relative=relative,
                        weight=metric.weight, role=metric.role)  # fmt: skip
        case "prediction" if output_kind == "category":
            return Gate(metric.name, "category", metric.output, margin_absolute=absolute,
                        weight=metric.weight, role=metric.role)  # fmt: skip
        case "prediction":
            return Gate(metric.name, "number", metric.output, margin_sd=sd,
                        weight=metric.weight, role=metric.role)  # fmt: skip
        case "pair":
            limit = max(size for size in (relative, absolute) if size is not None)
            return Gate(metric.name, "pair", metric.output, margin_absolute=limit,
                        weight=metric.weight, role=metric.role, repeats=repeats)  # fmt: skip
        case "slowdown":
            return Gate(metric.name, "slowdown", margin_relative=relative, weight=metric.weight, role=metric.role)
        case "accuracy":
            return Gate(metric.name, "accuracy", margin_relative=relative, margin_absolute=absolute,
                        weight=metric.weight, role=metric.role)  # fmt: skip
        case "loss":
            return Gate(metric.name, "loss", margin_sd=sd, weight=metric.weight, role=metric.role)
        case _:
            assert_never(metric.family)
