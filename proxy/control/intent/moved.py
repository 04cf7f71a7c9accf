"""Who is somewhere else after an edit of the configuration: shares of users and requests, before anything runs.

A user has a place on a circle of a million parts, and each version owns parts of it; both are known from the file, so
that what moves is a length, exact to one part. Where users are drawn anew (another seed, another key), a user is on the
same version afterwards with the chance that two independent draws agree. The live weight of a rollout is no part of a
file: a route with a strategy counts as everything on stable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from config.reload import plan
from config.schema import Config, Route
from proxy.control.routing.compile import layout, segments
from proxy.control.routing.matches import keys_of
from proxy.snapshot import CIRCLE


@dataclass(frozen=True, slots=True)
class Move:
    """A part of a route's users (percent) that goes from one version to another."""

    source: str
    target: str
    percent: float


@dataclass(frozen=True, slots=True)
class RouteMoves:
    """What an edit does to the users of a route. `redrawn` says why they are drawn anew, empty if they are not."""

    route: str
    percent: float
    moves: tuple[Move, ...]
    redrawn: str
    sticky: bool
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """What an edit does. `change` is what a reload would say."""

    change: str
    routes: tuple[RouteMoves, ...]


def difference(old: Config, new: Config) -> Difference:
    """What going from one configuration to another means for users."""
    was = {route.name: route for route in old.routes}
    versions = _new_versions(old, new)
    both = [(was[route.name], route) for route in new.routes if route.name in was]
    return Difference(str(plan(old, new)), tuple(_moves(before, after, versions) for before, after in both))


def _moves(old: Route, new: Route, versions: frozenset[str]) -> RouteMoves:
    before, after = _owners(old), _owners(new)
    redrawn = _redrawn(old, new)
    flows = _independent(before, after) if redrawn else _overlaid(before, after)
    moves = tuple(
        Move(source, target, 100 * parts / CIRCLE)
        for (source, target), parts in sorted(flows.items())
        if source != target and parts
    )
    return RouteMoves(
        new.name,
        sum(move.percent for move in moves),
        moves,
        redrawn,
        new.session_affinity is not None,
        tuple(_notes(old, new, versions)),
    )


def _owners(route: Route) -> list[tuple[int, str]]:
    """The circle: where each version's part ends, and the version."""
    arms = layout(route, None).arms
    return [(segment.upper, arms[segment.arm].backend) for segment in segments(arms)]


def _overlaid(before: Sequence[tuple[int, str]], after: Sequence[tuple[int, str]]) -> dict[tuple[str, str], float]:
    """What lies under what, where users keep their places."""
    flows: dict[tuple[str, str], float] = {}
    below = 0
    for bound in sorted({upper for upper, _ in (*before, *after)}):
        key = (_owner(before, below), _owner(after, below))
        flows[key] = flows.get(key, 0) + bound - below
        below = bound
    return flows


def _owner(owners: Sequence[tuple[int, str]], place: int) -> str:
    return next(name for upper, name in owners if place < upper)


def _independent(before: Sequence[tuple[int, str]], after: Sequence[tuple[int, str]]) -> dict[tuple[str, str], float]:
    """What is expected where users are drawn anew."""
    old, new = _parts(before), _parts(after)
    return {(a, b): old[a] * new[b] / CIRCLE for a in old for b in new}


def _parts(owners: Sequence[tuple[int, str]]) -> dict[str, float]:
    found: dict[str, float] = {}
    below = 0
    for upper, name in owners:
        found[name] = found.get(name, 0) + upper - below
        below = upper
    return found


def _redrawn(old: Route, new: Route) -> str:
    if old.session_affinity is None or new.session_affinity is None:
        return "" if old.session_affinity == new.session_affinity else "users are told apart on one side only"
    if keys_of(old.session_affinity) != keys_of(new.session_affinity):
        return "users are known by something else"
    return "the seed is another one" if old.cohort_seed != new.cohort_seed else ""


def _notes(old: Route, new: Route, versions: frozenset[str]) -> list[str]:
    notes = ["other requests match"] if old.match != new.match else []
    if new.strategy is not None:
        notes.append("the strategy sets the weights: shares are those before its first step")
    copied = {
        mirror.backend for mirror in (*old.mirrors, *new.mirrors) if (mirror in old.mirrors) != (mirror in new.mirrors)
    }
    notes += [f"copies for {name} change" for name in sorted(copied)]
    changed = versions & {ref.name for ref in new.backend_refs}
    notes += [f"{name} is another version: a rollout of it begins anew" for name in sorted(changed)]
    return list(dict.fromkeys(notes))


def _new_versions(old: Config, new: Config) -> frozenset[str]:
    was = {backend.name: backend.digest() for backend in old.backends}
    return frozenset(b.name for b in new.backends if was.get(b.name, b.digest()) != b.digest())
