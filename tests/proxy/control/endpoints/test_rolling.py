"""The hands of a rolling update: what is told of each part, by health, workers and hook that are played."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

from config.rollouts.recreate import SwapHook
from config.rollouts.takeover import SmokeRequest
from proxy.control.endpoints import rolling as shell
from proxy.control.endpoints.health import Condition
from proxy.control.endpoints.ordering import Order
from proxy.control.endpoints.rolling import Roller
from proxy.control.machine.places import Place, Places, Rolling, initial, turned
from proxy.control.machine.rollout import Applied, Phase, State, Swapped
from proxy.snapshot import Backend, Endpoint, Snapshot
from tests.proxy.control.machine.test_state_codec import STATE

A, B, C = (Endpoint("h", port) for port in (1, 2, 3))
ROLLING = Rolling((str(A), str(B)), (str(A), str(C)), 1, 0, 5.0, 60.0)
BACKENDS = (Backend("v1", (A, B)), Backend("v2", (A, C)))
HOOK = SwapHook.model_validate({"url": "http://h/hook"})
WELL = Condition(healthy=True, asked_s=100.0)
DOWN = Condition(healthy=False, reason="status 503", since_s=90.0, asked_s=100.0)


@dataclass
class World:
    """Everything that a roller looks at."""

    state: State
    snapshot: Snapshot | None = field(default_factory=lambda: Snapshot(3, BACKENDS))
    health: dict[tuple[str, Endpoint], Condition] = field(default_factory=dict)
    held: bool = True
    busy: int = 0
    yes: bool = True
    said: str = ""
    now_s: float = 100.0
    orders: list[Order] = field(default_factory=list)
    smoked: list[tuple[str, ...]] = field(default_factory=list)
    smoke: str | None = ""
    generation: int = 3

    def condition(self, backend: str, endpoint: Endpoint) -> Condition | None:
        return self.health.get((backend, endpoint), WELL)

    def holds(self, generation: int) -> bool:
        return self.held and generation == 3

    def alive(self) -> frozenset[int]:
        return frozenset({0})

    def done(self, state: State, hook: SwapHook, order: Order) -> tuple[bool, str]:
        self.orders.append(order)
        return self.yes, self.said

    def ask(self, key: object, backend: Backend, requests: object, known: Sequence[Condition | None]) -> str | None:
        self.smoked.append(tuple(map(str, backend.endpoints)))
        return self.smoke

    def forget(self, route: str) -> None:
        """Orders and smoke requests have nothing to remember here."""


def at(doing: str, places: Places | None = None, **changes: Any) -> World:
    begun = {
        "phase": Phase.PROGRESSING,
        "doing": doing,
        "doing_since_s": 50.0,
        "ended_s": None,
        "reason": "",
        "step": 0,
    }
    return World(replace(STATE, places=initial(ROLLING) if places is None else places, **{**begun, **changes}))


def event(world: World, *smoke: SmokeRequest) -> Applied | Swapped | None:
    return roller(world).event(cast("Any", world), HOOK, smoke)


def roller(world: World) -> Roller:
    played = cast("Any", world)
    return Roller(played, played, played, played, played, lambda: world.now_s)


@pytest.fixture(autouse=True)
def requests_under_way(monkeypatch: pytest.MonkeyPatch) -> list[set[tuple[str, str]]]:
    asked: list[set[tuple[str, str]]] = []

    def in_flight(known: object, wanted: set[tuple[str, str]], reader: Any, workers: object) -> int:
        asked.append(wanted)
        return cast("World", reader).busy

    monkeypatch.setattr(shell, "in_flight", in_flight)
    return asked


STARTING = turned(turned(initial(ROLLING), [Place("stable", str(A), "serving")], "stopped"),
                  [Place("candidate", str(A), "stopped")], "starting")  # fmt: skip
LEAVING = turned(initial(ROLLING), [Place("stable", str(A), "serving")], "leaving")
ONE_IN = turned(STARTING, [Place("candidate", str(A), "starting")], "serving")


@pytest.mark.parametrize("doing", ["out", "in"])
def test_all_workers_have_to_know(doing: str) -> None:
    """Broken: an endpoint would be stopped while a worker still sends requests there."""
    world = at(doing)
    assert event(world) == Applied(world.state.stage)
    world.held = False
    assert event(world) is None


def test_nothing_is_taken_out_of_a_route_that_is_short_already() -> None:
    """Broken: a batch would begin while another endpoint is down, and capacity fall below what the file allows."""
    world = at("ready")
    assert event(world) == Swapped(world.state.stage, "ready")
    world.health["v1", B] = DOWN
    assert event(world) == Swapped(world.state.stage, "ready", "http://h:2 of v1: status 503")
    world.health = {("v2", C): DOWN}
    assert event(world) == Swapped(world.state.stage, "ready"), "who does not serve does not count"


def test_a_drain_waits_for_the_last_request(requests_under_way: list[set[tuple[str, str]]]) -> None:
    """Broken: requests would be cut though there was time, or the gauge of a second ago be believed."""
    world = at("drain", LEAVING, doing_since_s=99.0)
    assert event(world) is None
    assert requests_under_way == [], "workers may not have told yet"
    world.now_s, world.busy = 101.0, 1
    assert event(world) is None
    world.busy = 0
    assert event(world) == Swapped(world.state.stage, "drain")
    assert requests_under_way[-1] == {("v1", "http://h:1")}


def test_the_hook_is_told_of_each_endpoint() -> None:
    """Broken: it would not know which one, or be told of one that is to stay."""
    world = at("stop", LEAVING)
    assert event(world) == Swapped(world.state.stage, "stop")
    assert world.orders == [Order("stop", "v1", "http://h:1")]
    world = at("start", STARTING)
    world.yes, world.said = False, "the hook answered 500"
    assert event(world) == Swapped(world.state.stage, "start", "http://h:1: the hook answered 500")
    assert world.orders == [Order("start", "v2", "http://h:1")]
    world.state = replace(world.state, reason="batch 1: starts it: http://h:1: the hook answered 500")
    assert event(world) is None, "it is said once"


def test_after_an_edit_the_version_that_runs_is_stopped(requests_under_way: list[set[tuple[str, str]]]) -> None:
    """Broken: the hook would stop the version that the file has now, which does not run, and its requests be cut."""
    places = turned(initial(ROLLING), [Place("candidate", str(A), "stopped")], "leaving")
    world = at("stop", places, phase=Phase.REVERTING, former="v2-old")
    assert event(world) == Swapped(world.state.stage, "stop")
    assert world.orders == [Order("stop", "v2-old", "http://h:1")]
    world = at("drain", places, phase=Phase.REVERTING, former="v2-old")
    assert event(world) == Swapped(world.state.stage, "drain")
    assert requests_under_way[-1] == {("v2", "http://h:1"), ("v2-old", "http://h:1")}


def test_health_counts_from_the_order_on() -> None:
    """Broken: the old version, which answered at the same address a second ago, would vouch for the new one."""
    world = at("check", STARTING, doing_since_s=100.5)
    assert event(world) == Swapped(world.state.stage, "check", "http://h:1 was not asked yet")
    world.health["v2", A] = replace(WELL, asked_s=100.6)
    assert event(world) == Swapped(world.state.stage, "check")
    world.health["v2", A] = replace(DOWN, asked_s=100.6)
    assert event(world) == Swapped(world.state.stage, "check", "http://h:1 of v2: status 503")


def test_smoke_requests_go_to_those_that_are_started() -> None:
    """Broken: endpoints that serve would be asked, or one that answers nonsense be let in."""
    request = SmokeRequest.model_validate({"path": "/infer"})
    world = at("check", STARTING)
    world.smoke = None
    assert event(world, request) is None
    world.smoke = "http://h:1: GET /infer: status 500, expected 200"
    assert event(world, request) == Swapped(world.state.stage, "check", world.smoke)
    world.smoke = ""
    assert event(world, request) == Swapped(world.state.stage, "check")
    assert set(world.smoked) == {("http://h:1",)}


def test_time_and_pauses_are_not_for_it_to_tell() -> None:
    """Broken: a paused rollout would go on, or a slow start end at once."""
    assert event(at("warm")) is None
    assert event(at("stop", LEAVING, phase=Phase.PAUSED)) is None
    world = at("stop", LEAVING)
    world.snapshot = None
    assert event(world) is None


def test_a_version_that_falls_over_is_taken_back() -> None:
    """Broken: its part of the users would get errors until somebody wakes up, or one failed probe take it back."""
    world = at("", ONE_IN)
    assert roller(world).fallen(cast("Any", world), ROLLING) is None
    world.health["v2", A] = DOWN
    assert roller(world).fallen(cast("Any", world), ROLLING) == Swapped(
        world.state.stage, "watch", "no endpoint of v2 is well: http://h:1: status 503"
    )
    both = turned(ONE_IN, [Place("candidate", str(C), "stopped")], "serving")
    world.state = replace(world.state, places=both)
    assert roller(world).fallen(cast("Any", world), ROLLING) is None, "the other one serves on"
    world.now_s = 151.0
    assert roller(world).fallen(cast("Any", world), ROLLING) == Swapped(
        world.state.stage, "watch", "endpoints of v2 are not well for 60 s: http://h:1: status 503"
    )
    world.state = replace(world.state, phase=Phase.REVERTING)
    assert roller(world).fallen(cast("Any", world), ROLLING) is None
