"""What a route's configuration means for its rollout and for its judge. Pure.

A rollout is of one version of the candidate under one plan. The plan's digest covers all that the evidence depends
upon: if any of it changes, what was collected answers another question, and the rollout begins anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, Literal, assert_never

from pydantic.alias_generators import to_camel

from analysis.contest import Bench
from analysis.panel import Panel
from analysis.plan import Budget, Gate, Goal
from analysis.plan import Plan as Question
from config import schema
from config.rollouts import steps as given
from config.rollouts.contest import Primary
from config.rollouts.metrics import Metric
from config.rollouts.ramp import Ramp
from config.rollouts.steps import Look
from config.rollouts.strategy import Strategy
from config.rollouts.takeover import BakeTime
from proxy.control.evidence.lending import QUARANTINE_S
from proxy.control.evidence.tracks import GRID, TICK_AFTER_S
from proxy.control.machine import steps
from proxy.control.machine.places import Rolling, batches, weight_ppm
from proxy.control.machine.state import Runner, State
from proxy.control.routing import cohorts
from proxy.ledger import layout as at
from proxy.snapshot import CIRCLE

_STEPS: Final = frozenset({"confirm-rollout", "pre-rollout", "confirm-traffic-increase", "confirm-promotion"})
_PUSH_S: Final = 0.25
"""Until the last worker has heard of a decision (`tests/system/test_outage.py`)."""
_PER_PERCENT: Final = CIRCLE // 100
_OF_UNREAD: Final = 0.1
"""The part of a metric's weight that goes to the watch over what its output lacks."""


def plan(config: schema.Config, route: schema.Route) -> steps.Plan | None:
    """What the rollout of a route is to do; None for a route without a strategy."""
    if route.strategy is None:
        return None
    stable = cohorts.stable_of(route)
    backends = {backend.name: backend for backend in config.backends}
    versions = [Runner(name, backends[name].digest()) for name in cohorts.candidates_of(route)]
    analysis = route.analysis
    ending = _ending(route.strategy)
    gates = frozenset(hook.type for hook in route.webhooks if not hook.told)
    ends_itself = isinstance(ending, steps.Report | steps.Contest)
    return steps.Plan(
        route=route.name,
        stable=stable,
        candidate=versions[0].name,
        candidate_digest=_digest_of(versions),
        digest=_digest(route, backends),
        steps=plan_steps(route, config.backends),
        min_samples=analysis.min_samples,
        min_duration_s=analysis.min_duration,
        max_duration_s=analysis.max_duration,
        on_inconclusive=analysis.on_inconclusive or ("abort" if ends_itself else "pause"),
        strategy=to_camel(route.strategy.only),
        ending=ending,
        bake=_bake(route.strategy.bake),
        progress_deadline_s=analysis.progress_deadline,
        on_no_traffic=analysis.on_no_traffic,
        on_ratio=analysis.on_srm,
        gates=gates,
        baseline=cohorts.baseline_of(route),
        rivals=tuple(versions) if len(versions) > 1 else (),
        rolling=_rolling(route, config.backends),
    )


def plan_steps(route: schema.Route, backends: Sequence[schema.Backend]) -> tuple[steps.Step, ...]:
    """What the rollout of a route does up to its ending; nothing for a route without a strategy."""
    if route.strategy is None:
        return ()
    gates = frozenset(hook.type for hook in route.webhooks)
    if (rolling := _rolling(route, backends)) is not None and (given := route.strategy.rolling_update) is not None:
        return steps.gated(tuple(_batches(rolling, given.analysis)), gates, asks_at_end=False)
    switch = route.strategy.blue_green
    first = () if switch is None else (steps.Smoke(len(switch.smoke)),)
    ending = _ending(route.strategy)
    unasked = isinstance(ending, steps.Swap) or (isinstance(ending, steps.Promotion) and not ending.proof)
    ramp = () if (given_ramp := route.strategy.ramp) is None else (_ramp(given_ramp),)
    return steps.gated([*first, *map(_step, route.strategy.steps), *ramp], gates, asks_at_end=unasked)


def _rolling(route: schema.Route, backends: Sequence[schema.Backend]) -> Rolling | None:
    """How endpoints are replaced; None where they are not."""
    given = route.strategy.rolling_update if route.strategy else None
    if given is None or not backends:
        return None
    of = {backend.name: backend for backend in backends}
    stable, candidate = of[cohorts.stable_of(route)], of[cohorts.candidates_of(route)[0]]
    slow = candidate.load_balancer.slow_start
    return Rolling(
        stable=tuple(map(str, stable.endpoints)),
        candidate=tuple(map(str, candidate.endpoints)),
        max_unavailable=given.max_unavailable,
        max_surge=given.max_surge,
        drain_s=given.drain_timeout,
        deadline_s=given.deadline,
        warm_s=0.0 if slow is None else slow.window,
        warm_share=0.1 if slow is None else slow.min_weight_percent / 100,
    )


def _batches(rolling: Rolling, look: Look) -> Iterator[steps.Step]:
    """Each batch but the last is watched; what comes before the last one is the proof, as nothing of stable is left to
    compare with after it."""
    found = batches(rolling)
    for number, places in enumerate(found, 1):
        yield steps.Replace(weight_ppm(places), number, len(found))
        if number < len(found):
            yield steps.Analysis(look.min_samples, look.duration, proof=number == len(found) - 1)


def question(route: schema.Route) -> Question:
    """What is asked of the route's judge."""
    analysis = route.analysis
    test = route.strategy.ab_test if route.strategy else None
    return Question(
        gates=_gates(route),
        alpha_abort=analysis.alpha_abort,
        alpha_promote=analysis.alpha_promote,
        block_s=analysis.block,
        horizon_s=analysis.max_duration,
        breaker_above=analysis.breaker.errors_above.amount if analysis.breaker else None,
        grid=GRID,
        goal=None if test is None else _goal(test.primary),
        budget=_budget(route),
        control="baseline" if cohorts.baseline_of(route) else "stable",
        rivals=rivals if len(rivals := cohorts.candidates_of(route)) > 1 else (),
    )


def reaction_s(route: schema.Route) -> float:
    """From a request's arrival until a decision that knows what became of it has reached all workers, at most: its
    slice, the time that it is given, the tick, the look, and the way to the workers."""
    return at.SLICE_S + route.timeouts.request + TICK_AFTER_S + route.analysis.interval + _PUSH_S


def bench(judge: Bench, state: State | None) -> Bench:
    """The judge of a state: of several candidates those count that are in the race, with the evidence of all."""
    return judge.among(state.racing) if isinstance(judge, Panel) and state is not None else judge


def _digest_of(versions: Sequence[Runner]) -> str:
    """Of one candidate the digest of its version, of several one for all."""
    if len(versions) == 1:
        return versions[0].digest
    return hashlib.sha256("".join(version.digest for version in versions).encode()).hexdigest()[:16]


def _digest(route: schema.Route, backends: Mapping[str, schema.Backend]) -> str:
    """Of stable only what is deployed counts: that it gets another instance does not begin a rollout anew, except where
    its instances are what is replaced. A baseline is what evidence compares with: another one is another question."""
    stable = backends[cohorts.stable_of(route)]
    facts = route.model_dump(mode="json", by_alias=True, include={"strategy", "analysis", "predictions"})
    facts["analysis"].pop("expectedRate", None)  # it is of the traffic, and asks nothing
    facts["stableVersion"] = stable.version
    if route.strategy is not None and route.strategy.rolling_update is not None:
        facts["stableEndpoints"] = list(map(str, stable.endpoints))
    if baseline := cohorts.baseline_of(route):
        facts["baseline"] = [baseline, backends[baseline].version]
    for output in (facts["predictions"] or {}).get("outputs", ()):
        if output["privacy"] == "keep":  # labels are what they were before there was a choice
            del output["privacy"]
    if _repeats(route):  # how often is a matter of speed, and that it is done a matter of what is asked
        facts["repeats"] = True
    if route.strategy is not None and route.strategy.ramp is not None:
        facts["reaction"] = reaction_s(route)  # what is at stake at a weight follows from it
    if stands := sorted({hook.type for hook in route.webhooks} & _STEPS):
        facts["gates"] = stands  # they are steps: others would be at their places
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def _repeats(route: schema.Route) -> float:
    """The share of the candidate's copies whose request stable is asked twice."""
    candidates = cohorts.candidates_of(route)
    given = (mirror.repeat for mirror in route.mirrors if mirror.backend in candidates)
    return next((repeat.percent / 100 for repeat in given if repeat is not None), 0.0)


def _ending(given: Strategy) -> steps.Ending:
    if (swap := given.recreate) is not None:
        return steps.Swap(swap.drain_timeout, swap.deadline, len(swap.smoke))
    if given.ab_test is not None:
        return steps.Contest(given.ab_test.on_winner)
    if given.mirror is not None:
        return steps.Report()
    asked = given.blue_green is None and given.rolling_update is None
    return steps.Promotion(proof=asked)  # what a switch asks for is asked by its steps


def _bake(given: BakeTime | None) -> steps.Bake | None:
    return None if given is None else steps.Bake(given.duration_s, round(given.mirror_percent * _PER_PERCENT))


def _ramp(given: Ramp) -> steps.Ramp:
    return steps.Ramp(tuple(round(rung * _PER_PERCENT) for rung in given.rungs), given.max_bad_requests)


def _budget(route: schema.Route) -> Budget | None:
    given = None if route.strategy is None else route.strategy.ramp
    if given is None:
        return None
    shares = tuple(rung / CIRCLE for rung in _ramp(given).rungs)
    return Budget(float(given.max_bad_requests), shares, reaction_s(route), QUARANTINE_S)


def _step(step: given.SetMirror | given.SetWeight | given.Pause | given.AnalysisStep) -> steps.Step:
    match step:
        case given.SetMirror(percent):
            return steps.SetMirror(round(percent * _PER_PERCENT))
        case given.SetWeight(percent):
            return steps.SetWeight(round(percent * _PER_PERCENT))
        case given.Pause(duration_s):
            return steps.Pause(duration_s)
        case given.AnalysisStep(min_samples, duration_s, proof):
            return steps.Analysis(min_samples, duration_s, proof)
        case _:
            assert_never(step)


def _goal(primary: Primary) -> Goal:
    kinds: dict[str, Literal["errors", "latency", "number"]] = {"errors": "errors", "latency": "latency"}
    return Goal(
        name=primary.name,
        kind=kinds.get(primary.family, "number"),
        output=primary.output,
        quantile=primary.quantile,
        least=primary.min_improvement.amount,
        relative=primary.min_improvement.unit == "%",
        higher=primary.better == "higher",
    )


def _gates(route: schema.Route) -> tuple[Gate, ...]:
    """The metrics of the file, each followed by the watch over what its output lacks, once for each output.

    Labels need none: in the shares of the labels, what has no label is one.
    """
    outputs = {output.name: output for output in route.predictions.outputs} if route.predictions else {}
    repeats, gates = _repeats(route), []
    metrics = route.analysis.metrics
    shares = [each.output for each in metrics if each.family == "prediction" and each.role != "info"]
    watched = {name for name in shares if outputs[name].kind == "category"}
    for metric in metrics:
        output = outputs.get(metric.output)
        gate = _gate(metric, output.kind if output else "category", repeats)
        gates.append(gate)
        if output is None or output.name in watched or metric.role == "info":
            continue
        watched.add(output.name)
        gates[-1] = replace(gate, weight=(1 - _OF_UNREAD) * gate.weight)
        gates.append(
            Gate(f"prediction.{output.name}.invalid", "unread", output.name, role=gate.role,
                 margin_absolute=output.max_invalid.amount, weight=_OF_UNREAD * gate.weight)
        )  # fmt: skip
    return tuple(gates)


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
