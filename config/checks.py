"""What parts of the file must agree upon: names, roles, weights, metrics and the outputs that they compare."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from difflib import get_close_matches
from typing import Final

from pydantic.alias_generators import to_camel

from config import dividing, placing
from config.rollouts.metrics import Metric
from config.rollouts.steps import AnalysisStep, Pause, SetMirror
from config.routes import capture
from config.schema import BackendRef, Route
from config.sketch import RouteSketch, Sketch
from config.values.addresses import Address, SocketPath
from config.values.durations import format_duration
from config.values.problems import Finding, Loc, shown

_ALL_INTERFACES: Final = {"0.0.0.0", "::"}  # noqa: S104  # compared with, not bound to

Check = Callable[[Route], Iterable[Finding]]


def findings_in(sketch: Sketch) -> list[Finding]:
    """All disagreements between parts that are themselves valid; places count from the top of the file."""
    found = [*_addresses(sketch), *_names(sketch), *_reachable(sketch)]
    known = set(sketch.backends.values()) if sketch.all_backends else None
    for item in sketch.routes:
        of_route = [*_known(item, known), *_awaited(item, sketch.unchecked), *placing.findings(item, sketch)]
        for needs, check in _CHECKS:
            if needs.isdisjoint(item.damaged):
                of_route += check(item.route)
        found += [replace(finding, loc=("routes", item.index, *finding.loc)) for finding in of_route]
    return found


# --- the file as a whole


def _addresses(sketch: Sketch) -> Iterator[Finding]:
    taken: list[tuple[str, Address | SocketPath]] = [("the admin API", sketch.admin.address)] if sketch.admin else []
    for place, listen in enumerate(sketch.listen):
        by = next((name for name, other in taken if _clash(listen.address, other)), None)
        if by is not None:
            message = f"{listen.address} is taken by {by}"
            own = "path" if isinstance(listen.address, SocketPath) else "port"
            yield Finding(("listen", place, "address"), message, f"give each its own {own}")
        taken.append((f"listen[{place}]", listen.address))


def _clash(one: Address | SocketPath, other: Address | SocketPath) -> bool:
    if isinstance(one, SocketPath) or isinstance(other, SocketPath):
        return one == other
    if one.port != other.port or not one.port:
        return False
    return one.host == other.host or bool(_ALL_INTERFACES & {one.host, other.host})


def _names(sketch: Sketch) -> Iterator[Finding]:
    routes = {item.index: item.route.name for item in sketch.routes if "name" not in item.damaged}
    for kind, names in (("backends", sketch.backends), ("routes", routes)):
        first: dict[str, int] = {}
        for place, name in names.items():
            if name in first:
                message = f"{shown(name)} is the name of {kind}[{first[name]}] already"
                yield Finding((kind, place, "name"), message, "give each its own name")
            first.setdefault(name, place)


def _reachable(sketch: Sketch) -> Iterator[Finding]:
    taken_by: RouteSketch | None = None
    for item in sketch.routes:
        if "match" in item.damaged:
            continue
        if taken_by is not None:
            name = taken_by.route.name if "name" not in taken_by.damaged else f"routes[{taken_by.index}]"
            remedy = f"move it above {name}, or give {name} a `match`"
            yield Finding(("routes", item.index), f"is never reached: {name} before it takes every request", remedy)
        elif not item.route.match or any(match.everything for match in item.route.match):
            taken_by = item


# --- one route


def _known(item: RouteSketch, known: set[str] | None) -> Iterator[Finding]:
    route, places = item.route, list[tuple[Loc, str]]()
    if "backendRefs" not in item.damaged:
        places += [(("backendRefs", place, "name"), ref.name) for place, ref in enumerate(route.backend_refs)]
    places += [(("mirrors", place, "backend"), mirror.backend) for place, mirror in enumerate(route.mirrors)]
    for loc, name in places:
        if known is not None and name not in known:
            close = get_close_matches(name, known, 1)
            remedy = f"did you mean {close[0]}?" if close else f"the backends are {', '.join(sorted(known)[:8])}"
            yield Finding(loc, f"no backend has the name {shown(name)}", remedy)


def _awaited(item: RouteSketch, unchecked: frozenset[str]) -> Iterator[Finding]:
    """A version that is started has to say when it is there."""
    if not item.damaged.isdisjoint({"backendRefs", "strategy"}):
        return
    if item.route.strategy is None or item.route.strategy.hook is None:
        return
    for ref in item.route.backend_refs:
        if ref.role != "shadow" and ref.name in unchecked:
            message = f"nobody can tell when {ref.name} is there again: it has no health check"
            yield Finding(
                ("strategy", to_camel(item.route.strategy.only)),
                message,
                f"give the backend {ref.name} a `healthCheck`",
            )


def _once(route: Route) -> Iterator[Finding]:
    """A version plays one part, but `mirrors` may say how copies for the versions of a strategy are made."""
    seen: set[str] = set()
    for place, ref in enumerate(route.backend_refs):
        if ref.name in seen:
            yield _second_part(("backendRefs", place, "name"), ref.name)
        seen.add(ref.name)
    copied = set() if route.strategy is None else {"canary"} if route.strategy.bake is None else {"canary", "stable"}
    candidates = {ref.name for ref in route.backend_refs if ref.role in copied}
    mirrored: set[str] = set()
    for place, mirror in enumerate(route.mirrors):
        if mirror.backend in mirrored or mirror.backend in seen - candidates:
            yield _second_part(("mirrors", place, "backend"), mirror.backend)
        elif mirror.backend in candidates and mirror.percent != 100:
            message = f"the strategy sets how much is copied to {mirror.backend}"
            yield Finding(("mirrors", place, "percent"), message, "take it away, and say it in the strategy")
        mirrored.add(mirror.backend)


def _second_part(loc: Loc, name: str) -> Finding:
    return Finding(loc, f"{shown(name)} plays a part in this route already", "name each backend once")


def _roles(route: Route) -> Iterator[Finding]:
    if route.strategy is None:
        return
    refs = list(enumerate(route.backend_refs))
    stable = [place for place, ref in refs if ref.role == "stable"]
    canary = [place for place, ref in refs if ref.role == "canary"]
    if not stable:
        yield Finding(
            ("backendRefs",),
            "a strategy needs a stable version, and none is",
            "give the one that serves now `role: stable`",
        )
    if not canary:
        yield Finding(
            ("backendRefs",), "a strategy needs a canary version, and none is", "give the candidate `role: canary`"
        )
    for place in stable[1:]:
        loc = ("backendRefs", place)
        yield Finding(loc, "is a second stable version", "give the candidate `role: canary`, and keep one stable")
    if route.strategy.canary is None:
        for place in canary[1:]:
            message = f"is a second canary, and {to_camel(route.strategy.only)} takes one"
            yield Finding(("backendRefs", place), message, "keep one, or give the route the strategy `canary`")


def _weights(route: Route) -> Iterator[Finding]:
    live: list[tuple[int, BackendRef]] = []
    for place, ref in enumerate(route.backend_refs):
        loc = ("backendRefs", place, "weight")
        if ref.role != "shadow":
            live.append((place, ref))
        elif ref.weight is not None:
            yield Finding(loc, "a shadow has no weight: its answers reach nobody", "take it away")
        if route.strategy is not None and ref.role != "shadow" and ref.weight is not None:
            yield Finding(loc, "the steps of the strategy set the weights", "take it away")
    if not live:
        yield Finding(("backendRefs",), "no version is there to answer: all are shadows", "give one `role: stable`")
    if route.strategy is not None or not live:
        return
    if len(live) > 1:
        remedy = "give it one, such as `weight: 10`, or the route a `strategy`"
        for place, ref in live:
            if ref.weight is None:
                yield Finding(("backendRefs", place), "has no weight beside other versions", remedy)
    if all(ref.weight == 0 for _, ref in live):
        yield Finding(("backendRefs",), "all weights are 0, so that no version answers", "give one a weight above 0")


def _metrics(route: Route) -> Iterator[Finding]:
    given = route.predictions.outputs if route.predictions else ()
    outputs = {output.name: output.kind for output in given}
    dropped = {output.name for output in given if output.privacy == "drop"}
    for place, metric in enumerate(route.analysis.metrics):
        loc = ("analysis", "metrics", place)
        if not metric.output:
            continue
        if metric.output not in outputs:
            yield _unknown_output((*loc, "name"), metric, list(outputs))
        elif metric.family == "prediction" and metric.output in dropped:
            message = f"{metric.name} compares labels, and `privacy: drop` has them counted nowhere"
            remedy = f"write `privacy: hash` for the output {metric.output}, or compare pair.{metric.output} instead"
            yield Finding((*loc, "name"), message, remedy)
        elif metric.family == "prediction":
            unit, kind = ("pp", "a category") if outputs[metric.output] == "category" else ("sd", "a number")
            if any(bound.unit != unit for bound in metric.margin):
                example = "2pp" if unit == "pp" else "0.05sd"
                message = f"{metric.output} is {kind}, and its shift is measured in {unit}"
                yield Finding((*loc, metric.margin_key), message, f"write it in {unit}, such as {example}")


def _repeats(route: Route) -> Iterator[Finding]:
    """What is asked twice is compared by what is read from answers."""
    for place, mirror in enumerate(route.mirrors):
        if mirror.repeat is not None and mirror.repeat.percent and route.predictions is None:
            message = "asks stable twice to compare its answers, and nothing is read from answers"
            remedy = "add `predictions` to the route, or take it away"
            yield Finding(("mirrors", place, "repeat"), message, remedy)


def _captures(route: Route) -> Iterable[Finding]:
    """What is compared must be read, and what is private of a label stays so."""
    return capture.findings(route.capture, route.predictions)


def _unknown_output(loc: Loc, metric: Metric, outputs: list[str]) -> Finding:
    close = get_close_matches(metric.output, outputs, 1)
    if close:
        remedy = f"did you mean {metric.family}.{close[0]}?"
    elif outputs:
        remedy = f"the outputs are {', '.join(outputs)}"
    else:
        remedy = "add `predictions` to the route, to say how outputs are read from answers"
    return Finding(loc, f"{shown(metric.name)} compares an output that the route does not have", remedy)


def _guardrails(route: Route) -> Iterator[Finding]:
    if route.strategy is None or not route.strategy.wants_proof:
        return
    guardrails = [item for item in enumerate(route.analysis.metrics) if item[1].role == "guardrail"]
    if not guardrails:
        remedy = "give one metric at least `role: guardrail`"
        yield Finding(
            ("analysis", "metrics"), "no guardrail is among them, so that nothing would hold a bad version back", remedy
        )
    if any(isinstance(step, SetMirror) and step.percent > 0 for step in route.strategy.steps):
        return
    for place, metric in guardrails:
        if metric.family in ("pair", "slowdown"):
            message = f"{metric.name} compares pairs, and no step mirrors traffic, so that it can never be passed"
            yield Finding(
                ("analysis", "metrics", place, "name"),
                message,
                "add the step `- setMirror: {percent: 100}` before the first weight"
                if route.strategy.canary and not route.strategy.ramp
                else "make it a `role: signal`, or compare something else",
            )


def _truths(route: Route) -> Iterator[Finding]:
    """Clients tell what was true of the answers that they got, and so of both versions only where both answer some."""
    strategy = route.strategy
    if strategy is None or strategy.only not in ("mirror", "blue_green", "recreate"):
        return
    name = to_camel(strategy.only)
    for place, metric in enumerate(route.analysis.metrics):
        if metric.role == "guardrail" and metric.family in ("accuracy", "loss"):
            message = f"{metric.name} can never be passed: with {name} clients do not have answers of both versions"
            remedy = "take it away, or use `canary`, `rollingUpdate` or `abTest`, where both versions answer clients"
            yield Finding(("analysis", "metrics", place, "name"), message, remedy)


def _time(route: Route) -> Iterator[Finding]:
    if route.strategy is None:
        return
    steps = route.strategy.steps
    waits_s = sum(step.duration_s or 0.0 for step in steps if isinstance(step, Pause | AnalysisStep))
    limit_s = route.analysis.max_duration
    if waits_s >= limit_s:
        message = (
            f"the waits of the steps come to {format_duration(waits_s)}, and maxDuration is {format_duration(limit_s)}"
        )
        place = ("strategy", "canary", "steps") if route.strategy.canary else ("strategy", "blueGreen", "pause")
        yield Finding(place, message, "shorten them, or raise `analysis.maxDuration`")


def _primary(route: Route) -> Iterator[Finding]:
    """An A/B test can be about a number that is read, and about nothing else that is predicted."""
    test = route.strategy.ab_test if route.strategy else None
    if test is None or not test.primary.output:
        return
    outputs = {output.name: output.kind for output in route.predictions.outputs} if route.predictions else {}
    if outputs.get(test.primary.output) != "number":
        numbers = ", ".join(f"prediction.{name}" for name, kind in outputs.items() if kind == "number")
        remedy = f"name one of {numbers}" if numbers else "declare it under `predictions` as `kind: number`"
        message = f"{shown(test.primary.name)} is no number of this route"
        yield Finding(("strategy", "abTest", "primary", "name"), message, remedy)


def _tries(route: Route) -> Iterator[Finding]:
    one_s, all_s = route.retries.per_try_timeout if route.retries else None, route.timeouts.request
    if one_s is not None and one_s >= all_s:
        message = f"{format_duration(one_s)} leaves nothing of timeouts.request, {format_duration(all_s)}, for a retry"
        yield Finding(("retries", "perTryTimeout"), message, "lower it, or raise `timeouts.request`")


def _fault(route: Route) -> Iterator[Finding]:
    """Faults are injected where clients are answered."""
    name = route.fault.backend if route.fault else None
    live = [ref.name for ref in route.backend_refs if ref.role != "shadow"]
    if name is not None and name not in live:
        message = f"{shown(name)} answers no client of this route"
        yield Finding(("fault", "backend"), message, f"name one that does, of {', '.join(live)}, or none")


def _limits(route: Route) -> Iterator[Finding]:
    """The same limit twice would be one bucket, from which each request takes twice."""
    for place, limit in enumerate(route.rate_limits):
        first = route.rate_limits.index(limit)
        if first < place:
            yield Finding(("rateLimits", place), f"is the same as rateLimits[{first}]", "keep one of them")


def _webhooks(route: Route) -> Iterator[Finding]:
    """Without a strategy they have nothing to say: they may stay where a promotion takes the strategy away."""
    names = [hook.name for hook in route.webhooks]
    for place, hook in enumerate(route.webhooks):
        if (first := names.index(hook.name)) < place:
            message = f"{shown(hook.name)} is the name of webhooks[{first}] already"
            yield Finding(("webhooks", place, "name"), message, "give each its own name")


_CHECKS: Final[tuple[tuple[frozenset[str], Check], ...]] = (
    (frozenset({"backendRefs", "mirrors", "strategy"}), _once),
    (frozenset({"backendRefs", "strategy"}), _roles),
    (frozenset({"backendRefs", "strategy"}), dividing.roles),
    (frozenset({"backendRefs", "strategy"}), _weights),
    (frozenset({"backendRefs", "strategy"}), dividing.weights),
    (frozenset({"analysis", "predictions"}), _metrics),
    (frozenset({"mirrors", "predictions"}), _repeats),
    (frozenset({"capture", "predictions"}), _captures),
    (frozenset({"analysis", "strategy"}), _guardrails),
    (frozenset({"analysis", "strategy"}), _truths),
    (frozenset({"analysis", "strategy"}), _time),
    (frozenset({"predictions", "strategy"}), _primary),
    (frozenset({"retries", "timeouts"}), _tries),
    (frozenset({"backendRefs", "fault"}), _fault),
    (frozenset({"rateLimits"}), _limits),
    (frozenset({"webhooks"}), _webhooks),
)
"""Each check with the keys of a route that must be valid for it."""
