"""How traffic is divided between several versions beside stable."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from pydantic.alias_generators import to_camel

from config.rollouts.steps import SetWeight
from config.schema import Route
from config.values.problems import Finding

MOST: Final = 90
"""Percent that the versions beside stable have together, where there are several: stable is what all their users go
back to, and must not be found cold."""


def roles(route: Route) -> Iterator[Finding]:
    """A baseline is a part in a canary, and in nothing else."""
    places = [place for place, ref in enumerate(route.backend_refs) if ref.role == "baseline"]
    for place in places[1:]:
        yield Finding(("backendRefs", place), "is a second baseline", "keep one: all candidates are compared with it")
    if places and (route.strategy is None or route.strategy.canary is None):
        what = "a route without a strategy has" if route.strategy is None else f"{to_camel(route.strategy.only)} has"
        message = f"is a baseline, and {what} nothing to compare with it"
        remedy = "take it away, or give the route the strategy `canary`"
        yield Finding(("backendRefs", places[0], "role"), message, remedy)


def weights(route: Route) -> Iterator[Finding]:
    """What each of several versions is given must leave something for stable."""
    if route.strategy is None or route.strategy.canary is None:
        return
    candidates = sum(ref.role == "canary" for ref in route.backend_refs)
    baselines = sum(ref.role == "baseline" for ref in route.backend_refs)
    versions = candidates + baselines
    if versions < 2:
        return
    if route.strategy.canary.ramp is not None:
        who = f"{candidates} candidates" if candidates > 1 else "a candidate and a baseline"
        message = f"is of one candidate beside stable, and the route has {who}"
        remedy = "write `steps` in its place, or leave one version beside stable"
        yield Finding(("strategy", "canary", "ramp"), message, remedy)
    for place, step in enumerate(route.strategy.canary.steps or ()):
        if isinstance(step, SetWeight) and step.percent < 100 and versions * step.percent > MOST:
            who = f"{candidates} candidate{'s' * (candidates != 1)}" + " and the baseline" * bool(baselines)
            given, left = f"{versions * step.percent:g} %", f"{100 - MOST} %"
            message = f"{who} at {step.percent:g} each come to {given}, which leaves stable less than {left}"
            remedy = f"give each {MOST / versions:.4g} at most, or take a version out"
            yield Finding(("strategy", "canary", "steps", place, "setWeight"), message, remedy)
