"""The hands of a rolling update (`machine.rolls`): who is told to stop and start endpoints, and how it is seen
that they have.

What it does may be done twice: a controller that starts anew goes on with the part at which the rollout stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Literal

from msgspec.structs import replace as changed

from config.rollouts.recreate import SwapHook
from config.rollouts.takeover import SmokeRequest
from proxy.control.endpoints.health import Checks, Condition, doubt
from proxy.control.endpoints.ordering import Order, Orders
from proxy.control.endpoints.smoke import Smokes
from proxy.control.endpoints.standing import in_flight
from proxy.control.evidence.subject import Subject
from proxy.control.machine import rolls
from proxy.control.machine.places import Place, Rolling
from proxy.control.machine.rollout import Applied, Phase, State, Swapped
from proxy.control.routing.fleet import Fleet
from proxy.ledger.reader import Reader
from proxy.snapshot import Backend, Endpoint

TOLD_AFTER_S: Final = 1.5
"""Workers tell once a second what endpoints have under way: from then on it is what they have since they know."""
_WATCHED: Final = frozenset({Phase.PROGRESSING, Phase.PAUSED, Phase.PROMOTING, Phase.BAKING})
Served = Sequence[tuple[Place, Endpoint]]


class Roller:
    """The replacements of all routes. `clock` is steady; `orders` are those to their hooks."""

    def __init__(
        self, checks: Checks, fleet: Fleet, reader: Reader, orders: Orders, smokes: Smokes, clock: Callable[[], float]
    ) -> None:
        self._checks, self._fleet, self._reader, self._clock = checks, fleet, reader, clock
        self._orders, self._smokes = orders, smokes

    def event(self, subject: Subject, hook: SwapHook, smoke: Sequence[SmokeRequest]) -> Applied | Swapped | None:
        """What is to be told of the part at which a replacement stands; None while there is nothing new."""
        state, snapshot = subject.state, self._fleet.snapshot
        if state is None or snapshot is None or not rolls.is_under_way(state):
            return None
        backends = {backend.name: backend for backend in snapshot.backends}
        match state.doing:
            case "out" | "in":
                return Applied(state.stage) if self._fleet.holds(subject.generation) else None
            case "ready":
                serving = [place for place in state.places if place.serves]
                failure = self._unwell(state, _at(state, serving, backends), since_s=0.0)
            case "drain":
                failure = self._busy(state, snapshot.backends)
            case "stop" | "start":
                failure = self._ordered(state, hook)
            case "check":
                failure = self._unfit(state, backends, smoke)
            case _:
                return None  # time alone goes on
        if failure is None:
            if state.doing in ("stop", "start"):
                self._orders.forget(state.route)
            self._smokes.forget(state.route)
            return Swapped(state.stage, state.doing)
        return Swapped(state.stage, state.doing, failure) if failure and failure not in state.reason else None

    def fallen(self, subject: Subject, rolling: Rolling) -> Swapped | None:
        """Why the candidate is to be taken back: none of its endpoints that serve is well, or one has not been for as
        long as a batch may take."""
        state, snapshot = subject.state, self._fleet.snapshot
        if state is None or snapshot is None or state.phase not in _WATCHED:
            return None
        backends = {backend.name: backend for backend in snapshot.backends}
        serving = [place for place in state.places if place.serves and place.side == "candidate"]
        known = [(at, self._checks.condition(state.candidate, at)) for _, at in _at(state, serving, backends)]
        down = [(at, condition) for at, condition in known if condition is not None and not condition.usable]
        late = [at for at, condition in down if self._clock() - condition.since_s >= rolling.deadline_s]
        if not late and (not down or len(down) < len(known)):
            return None
        reasons = "; ".join(f"{at}: {condition.reason}" for at, condition in down)
        how = f"endpoints of {state.candidate} are not well for {rolling.deadline_s:g} s"
        text = how if late else f"no endpoint of {state.candidate} is well"
        return Swapped(state.stage, "watch", f"{text}: {reasons}")

    # Each of these says why a part is not done yet: None where it is, "" where there is nothing to be said.

    def _busy(self, state: State, backends: Sequence[Backend]) -> str | None:
        if self._clock() - state.doing_since_s < TOLD_AFTER_S:
            return ""
        going = [place for place in state.places if place.status == "leaving"]
        leaving = {(name(state, place), place.address) for place in going for name in (rolls.runs_at, _listed)}
        busy = in_flight(backends, leaving, self._reader, sorted(self._fleet.alive()))
        return "" if busy else None

    def _ordered(self, state: State, hook: SwapHook) -> str | None:
        kind: Literal["stop", "start"] = "stop" if state.doing == "stop" else "start"
        wanted = "leaving" if kind == "stop" else "starting"
        orders = [
            Order(kind, rolls.runs_at(state, place), place.address) for place in state.places if place.status == wanted
        ]
        answers = [self._orders.done(state, hook, order) for order in orders]
        if all(done for done, _ in answers):
            return None
        failures = [f"{order.endpoint}: {told}" for order, (_, told) in zip(orders, answers, strict=True) if told]
        return "; ".join(failures)

    def _unfit(self, state: State, backends: Mapping[str, Backend], smoke: Sequence[SmokeRequest]) -> str | None:
        starting = [place for place in state.places if place.status == "starting"]
        found = _at(state, starting, backends)
        if (failure := self._unwell(state, found, state.doing_since_s)) is not None:
            return failure
        new = [endpoint for place, endpoint in found if place.side == "candidate"]
        if not smoke or not new:
            return None
        backend = changed(backends[state.candidate], endpoints=tuple(new))
        known: list[Condition | None] = [self._checks.condition(state.candidate, endpoint) for endpoint in new]
        answer = self._smokes.ask((state.route, state.stage, state.step), backend, smoke, known)
        return "" if answer is None else answer or None

    def _unwell(self, state: State, found: Served, since_s: float) -> str | None:
        """Why the first of these endpoints is not known to be well since then."""
        for place, endpoint in found:
            name = rolls.name_of(state, place.side)
            if why := doubt(endpoint, self._checks.condition(name, endpoint), since_s, of=f" of {name}"):
                return why
        return None


def _listed(state: State, place: Place) -> str:
    """The version that the file has there."""
    return rolls.name_of(state, place.side)


def _at(state: State, places: Iterable[Place], backends: Mapping[str, Backend]) -> Served:
    """The endpoints of places, of those that are in the snapshot."""
    found = []
    for place in places:
        backend = backends.get(rolls.name_of(state, place.side))
        endpoints = () if backend is None else backend.endpoints
        found += [(place, endpoint) for endpoint in endpoints if str(endpoint) == place.address]
    return found
