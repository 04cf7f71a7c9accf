"""What the endpoints of two versions must have in common where one replaces the other endpoint by endpoint."""

from __future__ import annotations

from collections.abc import Iterator

from config.rollouts.rolling import RollingUpdate
from config.sketch import RouteSketch, Sketch
from config.values.durations import format_duration
from config.values.problems import Finding


def findings(item: RouteSketch, sketch: Sketch) -> Iterator[Finding]:
    """What keeps a `rollingUpdate` from replacing the endpoints of a route; places count from the route."""
    if (versions := _versions(item)) is None or item.route.strategy is None:
        return
    rolling, (stable, candidate) = item.route.strategy.rolling_update, versions
    yield from _shared(item, sketch, stable, candidate)
    if rolling is None or stable not in sketch.endpoints or candidate not in sketch.endpoints:
        return
    old, new = sketch.endpoints[stable], sketch.endpoints[candidate]
    loc = ("strategy", "rollingUpdate")
    for name, endpoints in ((stable, old), (candidate, new)):
        if len(set(endpoints)) < len(endpoints):
            yield Finding(loc, f"the backend {name} lists an endpoint twice", "list each once")
    if len(old) != len(new):
        message = f"{stable} has {len(old)} and {candidate} {len(new)}: each endpoint of one takes the place of another"
        yield Finding(loc, message, f"list as many `endpoints` of {candidate} as of {stable}")
    yield from _limits(rolling, old, new, stable, candidate)
    if "analysis" not in item.damaged:
        yield from _time(rolling, len(old), item.route.analysis.max_duration)


def _versions(item: RouteSketch) -> tuple[str, str] | None:
    """The names of stable and of the candidate, where endpoints are replaced and both are known."""
    strategy = item.route.strategy
    if strategy is None or strategy.rolling_update is None or not item.damaged.isdisjoint({"backendRefs", "strategy"}):
        return None
    names = [[ref.name for ref in item.route.backend_refs if ref.role == role] for role in ("stable", "canary")]
    return (names[0][0], names[1][0]) if all(len(found) == 1 for found in names) else None


def _shared(item: RouteSketch, sketch: Sketch, *names: str) -> Iterator[Finding]:
    earlier = [(other.route.name, _versions(other)) for other in sketch.routes if other.index < item.index]
    for name in names:
        first = next((route for route, theirs in earlier if theirs is not None and name in theirs), None)
        if first is not None:
            message = f"the endpoints of {name} are replaced by the route {first} already"
            remedy = "let one route replace them: what it does holds in every route to them"
            yield Finding(("strategy", "rollingUpdate"), message, remedy)


def _limits(
    rolling: RollingUpdate, old: tuple[str, ...], new: tuple[str, ...], stable: str, candidate: str
) -> Iterator[Finding]:
    loc = ("strategy", "rollingUpdate", "maxUnavailable")
    if rolling.max_unavailable >= len(old):
        message = f"{rolling.max_unavailable} leaves none of the {len(old)} endpoints of {stable} to serve"
        few = "use `recreate`, or give it 0, `maxSurge` 1, and the candidate an address of its own"
        yield Finding(loc, message, few if len(old) == 1 else f"give it {len(old) - 1} at most")
    elif not rolling.max_unavailable and set(new) <= set(old):
        message = f"0 lets none be away, and every endpoint of {candidate} is where one of {stable} is"
        yield Finding(loc, message, f"give it 1, or {candidate} an address that {stable} does not have")


def _time(rolling: RollingUpdate, endpoints: int, limit_s: float) -> Iterator[Finding]:
    """At least so many waits there are: each batch is watched but the last."""
    at_once = rolling.max_unavailable + rolling.max_surge
    waits_s = (rolling.analysis.duration or 0.0) * (-(-endpoints // at_once) - (0 if rolling.max_surge else 1))
    if waits_s >= limit_s:
        message = f"the waits after batches come to {format_duration(waits_s)}, and maxDuration is "
        message += format_duration(limit_s)
        loc = ("strategy", "rollingUpdate", "analysis", "duration")
        yield Finding(loc, message, "shorten them, or raise `analysis.maxDuration`")
