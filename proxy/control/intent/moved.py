"""Who is somewhere else after an edit of the configuration: shares of users and requests, before anything runs.

A user has a place on a circle of a million parts, and each version owns parts of it; both are known from the file, so
that what moves is a length, exact to one part. Where users are drawn anew (another seed, another key), a user is on the
same version afterwards with the chance that two independent draws agree. Routes that are renamed, added or removed are
told by who takes their requests (`heirs`).

The live weight of a rollout is no part of a file. Where it is not given (`Live`), a route with a strategy counts as
everything on stable, and that is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from config.reload import plan
from config.schema import Config, Route
from proxy.control.evidence import judging
from proxy.control.intent.heirs import heir, takes_all
from proxy.control.machine import swaps
from proxy.control.machine.rollout import TAKEN_OVER, TERMINAL, Phase
from proxy.control.routing import cohorts
from proxy.control.routing.compile import layout, segments, shared
from proxy.control.routing.matches import keys_of
from proxy.snapshot import CIRCLE

_STAYS = TERMINAL | TAKEN_OVER | swaps.HELD
"""Phases in which an edit of the steps changes nothing of what is decided (`machine.adopting`)."""


@dataclass(frozen=True, slots=True)
class Live:
    """How far the rollout of a route is: its versions, and the weight (percent) that each of those in `racing` has."""

    stable: str
    candidates: tuple[str, ...]
    racing: tuple[str, ...]
    phase: Phase
    weight: float

    @property
    def weight_ppm(self) -> int:
        """The weight in parts of the circle."""
        return round(self.weight * CIRCLE / 100)

    def is_of(self, route: Route) -> bool:
        """Whether it is the rollout that a file describes."""
        said = route.strategy is not None and (cohorts.stable_of(route), set(cohorts.candidates_of(route)))
        return said == (self.stable, set(self.candidates))


@dataclass(frozen=True, slots=True)
class Move:
    """A part of a route's users (percent) that goes from one version to another."""

    source: str
    target: str
    percent: float


@dataclass(frozen=True, slots=True)
class RouteMoves:
    """What an edit does to the users of a route. `redrawn` says why they are drawn anew, empty if they are not.

    `was` is the route that they were of before. Either is empty where no route takes the requests: they are answered
    404.
    """

    was: str
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


def difference(old: Config, new: Config, live: Mapping[str, Live] | None = None) -> Difference:
    """What going from one configuration to another means for users.

    Args:
        old: the configuration as it is.
        new: the configuration as it will be.
        live: how far rollouts are, by route; None where nobody was asked.
    """
    return Difference(str(plan(old, new)), tuple(_Edit(old, new, live).told()))


@dataclass(frozen=True, slots=True)
class _Edit:
    """Both sides of an edit, and what is live."""

    old: Config
    new: Config
    live: Mapping[str, Live] | None

    def told(self) -> Iterator[RouteMoves]:
        """Routes in their new order, then those that are gone."""
        was = {route.name: route for route in self.old.routes}
        stay = {route.name for route in self.new.routes}
        followed: set[str] = set()
        for route in self.new.routes:
            before = was.get(route.name)
            if before is not None:
                yield self._moves(before, route)
                continue
            found = heir(route, self.old.routes)
            if found.route is None:
                yield _nobody("", route.name, _unclaimed(f"{route.name} is added", found.before, "were"))
                continue
            back = heir(found.route, self.new.routes)
            if back.route is route:  # the same requests, seen from either side
                followed.add(found.route.name)
            yield self._moves(found.route, route, (*found.before, *(back.before if back.route is route else ())))
        for route in self.old.routes:
            if route.name not in stay | followed:
                found = heir(route, self.new.routes)
                if found.route is None:
                    yield _nobody(route.name, "", _unclaimed(f"{route.name} is removed", found.before, "are"))
                else:
                    yield self._moves(route, found.route, found.before)

    def _moves(self, old: Route, new: Route, before: Sequence[str] = ()) -> RouteMoves:
        live = self._live(old)
        goes_on = live is not None and self._goes_on(old, new, live)
        owners, after = _owners(old, live), _owners(new, live if goes_on else None)
        redrawn = _redrawn(old, new)
        flows = _independent(owners, after) if redrawn else _overlaid(owners, after)
        moves = tuple(
            Move(source, target, 100 * parts / CIRCLE)
            for (source, target), parts in sorted(flows.items())
            if source != target and parts
        )
        notes = [
            *(_handed(old, new, before) if old.name != new.name else ()),
            *self._progress(old, new, live, goes_on),
            *_notes(old, new, _new_versions(self.old, self.new)),
        ]
        return RouteMoves(
            old.name,
            new.name,
            sum(move.percent for move in moves),
            moves,
            redrawn,
            new.session_affinity is not None,
            tuple(dict.fromkeys(notes)),
        )

    def _live(self, old: Route) -> Live | None:
        found = (self.live or {}).get(old.name)
        return found if found is not None and found.is_of(old) else None

    def _goes_on(self, old: Route, new: Route, live: Live) -> bool:
        """Whether the rollout keeps its weight over the edit, as `machine.adopting` has it."""
        before, after = judging.plan(self.old, old), judging.plan(self.new, new)
        if old.name != new.name or before is None or after is None:
            return False
        same = (before.candidate, before.candidate_digest) == (after.candidate, after.candidate_digest)
        return same and (live.phase in _STAYS or (before.stable, before.digest) == (after.stable, after.digest))

    def _progress(self, old: Route, new: Route, live: Live | None, goes_on: bool) -> Iterator[str]:
        """What is known of rollouts, whose weights no file has."""
        before = "shares are those before its first step"
        if old.strategy is None:
            if new.strategy is not None:
                yield f"the strategy sets the weights: {before}"
        elif self.live is None:
            where = " of the old file" if new.strategy is None else ""
            yield f"the strategy{where} sets the weights: {before}; --live asks for them"
        elif live is None:
            yield f"no rollout of the old file is live for {old.name}: {before}"
        else:
            names = " and ".join(live.racing or live.candidates)
            each = " each" if len(live.racing) > 1 else ""
            yield f"live: {names} with {live.weight:g} % of the traffic{each}, {live.phase}"
            if new.strategy is not None and not goes_on and old.name == new.name:
                yield "its rollout begins anew, at the first step"


def _nobody(was: str, route: str, note: str) -> RouteMoves:
    return RouteMoves(was, route, 100.0 if was else 0.0, (), "", False, (note,))


def _unclaimed(what: str, before: Sequence[str], tense: str) -> str:
    """What becomes of requests that no route surely takes."""
    some = f"{' and '.join(before)} may take some of its requests, and all others {tense}" if before else ""
    return f"{what}: {some or f'no other route takes its requests, which {tense}'} answered 404"


def _handed(old: Route, new: Route, before: Sequence[str]) -> Iterator[str]:
    """What another route means for the requests of one."""
    whole = takes_all(new, old) and takes_all(old, new)
    yield f"{new.name} takes {'the' if whole else 'such'} requests {'that' if whole else 'as'} {old.name} took"
    if before:
        yield f"but for those that {' and '.join(dict.fromkeys(before))}, asked first, may take"
    if new.session_affinity is not None and not _redrawn(old, new):
        yield "users keep their places: their key and the seed are the same"
    if new.strategy is not None:
        yield f"a rollout belongs to its route: that of {new.name} begins at its first step"


def _owners(route: Route, live: Live | None) -> list[tuple[int, str]]:
    """The circle: where each version's part ends, and the version."""
    arms = layout(route, None).arms
    if live is not None:
        arms = shared(route, live.racing, live.weight_ppm, 0 if live.phase in TERMINAL else live.weight_ppm)
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
    if old.cohort_seed == new.cohort_seed:
        return ""
    renamed = old.name != new.name and new.seed is None
    remedy = f": it is the name of the route, and `seed: {old.cohort_seed}` in {new.name} keeps users where they are"
    return f"the seed is another one{remedy if renamed else ''}"


def _notes(old: Route, new: Route, versions: frozenset[str]) -> Iterator[str]:
    if old.match != new.match and old.name == new.name:
        yield "other requests match"
    copied = {
        mirror.backend for mirror in (*old.mirrors, *new.mirrors) if (mirror in old.mirrors) != (mirror in new.mirrors)
    }
    yield from (f"copies for {name} change" for name in sorted(copied))
    changed = versions & {ref.name for ref in new.backend_refs}
    yield from (f"{name} is another version: a rollout of it begins anew" for name in sorted(changed))


def _new_versions(old: Config, new: Config) -> frozenset[str]:
    was = {backend.name: backend.digest() for backend in old.backends}
    return frozenset(b.name for b in new.backends if was.get(b.name, b.digest()) != b.digest())
