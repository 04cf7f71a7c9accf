"""Configurations that would give clients to a version which was stopped."""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from config.loader import loads
from proxy.control.intent import vacated
from proxy.control.machine import rollout
from proxy.control.machine.places import Place
from proxy.control.machine.rollout import Abort, Applied, IllegalEvent, Phase, State, Swapped, Undo
from proxy.snapshot import CIRCLE
from tests.proxy.control.machine import test_rolls, test_swaps
from tests.proxy.control.machine.test_rollout import plan as plan_of
from tests.support.control_plane import STEPS, World, config

HOOK = {"hook": {"url": "http://127.0.0.1:1/"}}
CANARY: dict[str, Any] = {"canary": {"steps": STEPS[:2]}}
RECREATE: dict[str, Any] = {"recreate": {**HOOK, "bake": "10m"}}


def document(stable: str, candidate: str = "", strategy: dict[str, Any] | None = None) -> dict[str, Any]:
    found = config(*STEPS[:2])
    for backend in found["backends"]:
        backend["healthCheck"] = {"path": "/ready"}
    route = found["routes"][0]
    route["backendRefs"] = [{"name": stable, "role": "stable"}]
    if candidate:
        route["backendRefs"].append({"name": candidate, "role": "canary"})
        route["strategy"] = copy.deepcopy(strategy or CANARY)
        if "recreate" in route["strategy"] or "rollingUpdate" in route["strategy"]:
            route["hold"] = {"timeout": "60s"}
            route["analysis"].pop("metrics", None)
    else:
        del route["strategy"], route["analysis"]
    return found


def digest(name: str) -> str:
    backends = loads(yaml.safe_dump(document("v1")), "x").config.backends
    return next(backend.digest() for backend in backends if backend.name == name)


def swapped(phase: Phase = Phase.SUCCEEDED, doing: str = "") -> State:
    """v2 in the place of v1, or on its way there."""
    run = test_swaps.Run()
    if phase is Phase.SWAPPING:
        state = run.done(*("hold", "drain", "stop", "start", "check")[: ["hold", "stop"].index(doing) * 2])
    else:
        state = run.done("hold", "drain", "stop", "start", "check")
        if phase is Phase.SUCCEEDED:
            state = run.tell(Applied(state.stage))
    return replace(state, route="r", phase=phase, candidate_digest=digest("v2"))


def rolled(phase: Phase = Phase.SUCCEEDED, stable: str = "stopped") -> State:
    places = (Place("stable", "a", "stopped"), Place("stable", "b", stable), Place("candidate", "c", "serving"))  # type: ignore[arg-type]
    return replace(swapped(), phase=phase, places=places)


def refused(state: State, given: dict[str, Any], before: dict[str, Any] | None = None) -> list[str]:
    was = loads(yaml.safe_dump(before or document("v1", "v2", RECREATE)), "x").config
    found = vacated.findings(loads(yaml.safe_dump(given), "x").config, {"r": state}, was)
    return [f"{finding.message}; {finding.remedy}" for finding in found]


def named(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """The same route under another name."""
    given["routes"][0]["name"] = name
    return given


def with_route(given: dict[str, Any], name: str, *refs: dict[str, Any]) -> dict[str, Any]:
    """One more route, without strategy."""
    match = [{"path": {"prefix": f"/{name}"}}]
    given["routes"].insert(0, {"name": name, "match": match, "backendRefs": list(refs)})
    return given


@pytest.mark.parametrize("state", [swapped, rolled], ids=["recreate", "rollingUpdate"])
@pytest.mark.parametrize(
    "given",
    [document("v1", "v3"), document("v1", "v3", RECREATE), document("v1")],
    ids=["canary", "recreate", "no strategy"],
)
def test_stopped_endpoints_get_no_clients(state: Callable[[], State], given: dict[str, Any]) -> None:
    """The next candidate would be compared with a stable that is stopped, and the live version get nothing."""
    (said,) = refused(state(), given)
    assert said == (
        "route r: v2 is live and has the place of v1, which is stopped (Succeeded since 1970-01-01 00:01:46 UTC); give "
        "v2 the role stable in place of v1 (understudy promote r --write does so in a file that has both), or put v1 "
        "back first: understudy undo r"
    )


@pytest.mark.parametrize("state", [swapped, rolled], ids=["recreate", "rollingUpdate"])
@pytest.mark.parametrize(
    "given",
    [document("v2", "v3"), document("v2"), document("v1", "v2", RECREATE), document("v1", "v2"), document("v3", "v1")],
    ids=["promoted", "promoted alone", "untouched", "another strategy", "stable by hand"],
)
def test_what_leaves_the_live_version_alone_or_says_who_serves_is_taken(
    state: Callable[[], State], given: dict[str, Any]
) -> None:
    """Nobody could go on after a promotion."""
    assert refused(state(), given) == []


def test_a_version_that_still_runs_is_nobodys_trouble() -> None:
    """After a canary the old version runs on, and a file may go back to it."""
    succeeded = replace(swapped(), doing_since_s=0.0)
    assert refused(succeeded, document("v1", "v3")) == []
    assert refused(replace(swapped(), phase=Phase.ABORTED, weight_ppm=0), document("v1", "v3")) == [], "put back"
    (said,) = refused(rolled(Phase.ABORTED, "serving"), document("v1"))
    assert said.endswith("if it has lost its strategy, give it back: that has v1 put back"), "one of two is stopped"


def test_a_bake_keeps_its_way_back() -> None:
    """Harm that is found would send clients to endpoints that nobody starts."""
    (said,) = refused(swapped(Phase.BAKING), document("v1", "v2"))
    assert said == (
        "route r: v2 is Baking since 1970-01-01 00:01:45 UTC in the place of v1, and without its strategy nobody could "
        "put v1 back; leave the strategy until that has ended; understudy promote r ends it"
    )
    assert refused(swapped(Phase.BAKING), document("v1", "v2", RECREATE)) == []


@pytest.mark.parametrize(("doing", "count"), [("hold", 0), ("stop", 1)])
def test_a_swap_under_way_is_not_forgotten(doing: str, count: int) -> None:
    """A route whose strategy is taken out in the middle would send clients to what was just stopped."""
    for given in (document("v1"), document("v1", "v3")):
        found = refused(swapped(Phase.SWAPPING, doing), given)
        assert len(found) == count, found
        assert all("endpoints of v1 are stopped, while the rollout of v2 is Swapping" in said for said in found)
    assert refused(swapped(Phase.SWAPPING, doing), document("v1", "v3", RECREATE)) == [], "it goes on to be held"


def test_only_rollouts_of_the_file_that_was_live_count() -> None:
    """After a restart a promotion of long ago would have a say."""
    states = {"r": swapped()}
    before = loads(yaml.safe_dump(document("v1", "v2", RECREATE)), "x").config
    assert vacated.live(states, before) == states
    for other in (document("v2"), document("v2", "v3")):
        assert vacated.live(states, loads(yaml.safe_dump(other), "x").config) == {}


OTHER = (
    "route zz: v1 is stopped, and v2 has its place, by the rollout of route r, Succeeded since 1970-01-01 00:01:46 "
    "UTC; give v2 the role stable in place of v1; or have v1 started again first: leave route r in the file as it was, "
    "or put it back into it, then understudy undo r"
)


@pytest.mark.parametrize("state", [swapped, rolled], ids=["recreate", "rollingUpdate"])
@pytest.mark.parametrize("given", [document("v1", "v3"), document("v1", "v3", RECREATE), document("v1")])
def test_a_route_is_not_renamed_to_what_is_stopped(state: Callable[[], State], given: dict[str, Any]) -> None:
    """The incident: a rename was accepted, and all of its clients got 503, or the new version under the old name."""
    assert refused(state(), named("zz", given)) == [OTHER]
    gone = with_route(named("q", document("v2")), "zz", {"name": "v1"})
    assert refused(state(), gone, named("q", document("v2"))) == [OTHER], "long after it has left"


def test_a_renamed_route_with_both_versions_goes_on() -> None:
    """Nobody could rename a route after a promotion."""
    for given in (document("v1", "v2", RECREATE), document("v2"), document("v2", "v3"), document("v1", "v2")):
        assert refused(swapped(), named("zz", given)) == []
    assert refused(swapped(Phase.BAKING), named("zz", document("v1", "v2", RECREATE))) == []
    assert refused(swapped(Phase.BAKING), named("zz", document("v1", "v2"))), "nobody could put v1 back"


def test_another_route_gives_nobody_to_what_is_stopped() -> None:
    """A second route, or a weight that stays, would send its clients to endpoints that are stopped."""
    both = document("v1", "v2", RECREATE)
    (said,) = refused(swapped(), with_route(copy.deepcopy(both), "zz", {"name": "v1"}))
    assert "route zz: v1 is stopped" in said
    assert said.endswith("or have v1 started again first: understudy undo r"), "its route is there"
    some = {"name": "v2", "weight": 9}, {"name": "v1", "role": "canary", "weight": 1}
    assert refused(swapped(), with_route(copy.deepcopy(both), "zz", *some))
    none = {"name": "v2", "weight": 9}, {"name": "v1", "role": "canary", "weight": 0}
    assert refused(swapped(), with_route(copy.deepcopy(both), "zz", *none)) == []


def test_what_has_met_it_before_stands_in_the_way_of_no_edit() -> None:
    """No file would be taken any more, since another route has the stopped version and had it before."""
    before = with_route(document("v1", "v2", RECREATE), "zz", {"name": "v1"})
    edited = copy.deepcopy(before)
    edited["routes"][0]["timeouts"] = {"request": "3s"}
    assert refused(swapped(), edited, before) == []
    del edited["routes"][1]
    assert refused(swapped(), edited, before), "its clients may come to the other route now"


def test_another_name_for_the_same_endpoints_is_the_same_version() -> None:
    """A version that is stopped would serve by being called otherwise."""
    given = document("v1")
    given["backends"][0]["name"] = given["routes"][0]["backendRefs"][0]["name"] = "old"
    for name in ("r", "zz"):
        (said,) = refused(swapped(), named(name, given))
        assert "; old has its endpoints; " in said
    moved = copy.deepcopy(given)
    moved["backends"][0]["endpoints"] = ["http://127.0.0.1:9"]
    assert refused(swapped(), moved) == [], "somewhere else"
    other = copy.deepcopy(given)
    other["backends"][0]["version"] = "another"
    assert refused(swapped(), other) == [], "another version in its place"
    before = document("v1", "v2", RECREATE)
    for each in (before, given):
        each["backends"][0]["endpoints"] = each["backends"][1]["endpoints"]
    assert refused(swapped(), given, before) == [], "both versions are at the same endpoints"
    for each in (before, given):
        each["backends"][0]["version"] = "one"
    assert refused(swapped(), given, before), "and by their versions it is the old one"


@pytest.mark.parametrize(("doing", "count"), [("hold", 0), ("stop", 1)])
def test_a_route_is_not_taken_away_in_the_middle(doing: str, count: int) -> None:
    """The incident: a route that is taken away and put back in the middle of a swap has no version that runs."""
    before = with_route(document("v1", "v2", RECREATE), "q", {"name": "v2"})
    given = copy.deepcopy(before)
    del given["routes"][1]
    found = refused(swapped(Phase.SWAPPING, doing), given, before)
    assert len(found) == count
    for said in found:
        assert said.startswith(
            "route r is gone or has another name in the middle of a replacement: endpoints of v1 are"
        )
        assert "understudy abort r has v1 put back" in said
    renamed = refused(swapped(Phase.SWAPPING, doing), named("zz", document("v1", "v2", RECREATE)))
    assert len(renamed) == 2 * count, "nor renamed: it would begin anew"
    assert refused(swapped(Phase.BAKING), given, before) == [], "v2 runs"


def test_a_batch_is_not_left_half_done() -> None:
    """A renamed route would take all endpoints for stable's, and order `stop v1` where v2 runs."""
    given = named("zz", document("v1", "v2", RECREATE))
    assert len(refused(rolled(Phase.PROGRESSING), given)) == 2
    assert len(refused(rolled(Phase.REVERTING), given)) == 2


def test_what_a_route_has_stopped_that_is_gone_counts_after_a_restart() -> None:
    """A restart would forget it."""
    before = loads(yaml.safe_dump(named("other", document("v3"))), "x").config
    assert vacated.live({"r": swapped()}, before) == {"r": swapped()}
    assert vacated.live({"r": replace(swapped(), doing_since_s=0.0)}, before) == {}, "nothing is stopped"


def test_what_nobody_can_start_is_not_gone_back_to() -> None:
    """`undo` would give all clients to endpoints that are stopped, since the file has another strategy by now."""
    run = test_swaps.Run()
    run.done("hold", "drain", "stop", "start", "check")
    state = run.tell(Applied(run.state.stage))
    canary = plan_of(digest="another")
    kept, _ = rollout.adopt(canary, state, 500.0)
    assert (kept.phase, kept.stopped, kept.weight_ppm) == (Phase.SUCCEEDED, "v1", CIRCLE)
    with pytest.raises(IllegalEvent, match="v1 is stopped, and the file says no longer who starts it"):
        rollout.step(canary, kept, Undo("ann"), 501.0)
    assert rollout.step(run.plan, state, Undo("ann"), 501.0)[0].phase is Phase.REVERTING


def test_stopped_follows_the_replacement() -> None:
    """A version would be taken for stopped that serves, or the other way round."""
    swap = test_swaps.Run()
    said = [swap.done(part).stopped for part in ("hold", "drain", "stop", "start", "check")]
    assert said == ["", "v1", "v1", "v1", "v1"]
    swap.tell(Abort("ann"))
    assert (swap.state.phase, swap.state.stopped) == (Phase.REVERTING, "v1")
    assert swap.done("hold", "drain", "stop", "start", "check").stopped == ""
    roll = test_rolls.Run()
    assert roll.state.stopped == ""
    assert roll.batch().stopped == "v1"
    roll.tell(Abort("ann"))
    assert roll.back().stopped == ""


# --- a whole controller


async def swapped_in(made: World, until: str = "") -> None:
    """A swap, as hooks and endpoints would tell of it, up to a part of it."""
    assert made.controller is not None
    plane = made.controller._plane
    subject = plane.subjects["r"]
    while (state := subject.state) is not None and state.phase is Phase.SWAPPING and state.doing != until:
        event = Applied(state.stage) if state.doing == "hold" else Swapped(state.stage, state.doing)
        await plane._step(subject, event)
    await plane.publish()
    await made.settled()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """v2 has the place of v1, and all has ended well."""
    made = World(tmp_path, document("v1", "v2", RECREATE))
    controller = await made.start()
    await swapped_in(made)
    await made.until("Baking")
    await controller.act("r", "promote", "ann")
    assert made.first["phase"] == "Succeeded"
    yield made
    await made.close()


def weights(world: World) -> dict[str, float]:
    return {arm["backend"]: arm["weight"] for arm in world.first["arms"] if arm["weight"]}


async def test_the_edit_is_refused_and_the_live_version_serves_on(world: World) -> None:
    """The incident: an operator puts v3 into the file, and every client meets endpoints that are stopped."""
    controller = world.controller
    assert controller is not None
    assert controller.status()["differences"][0]["text"] == (
        "v2 has all traffic, and is the canary in the file; v1, which the file calls stable, is stopped"
    )
    given = document("v1", "v3")
    assert [problem["path"] for problem in await controller.validate(yaml.safe_dump(given))] == [
        "routes[0].backendRefs[0]"
    ]
    before = world.path.read_text()
    answer = await controller.replace(yaml.safe_dump(given), "ann", None)
    assert not answer["ok"]
    assert world.path.read_text() == before, "what is refused is not written"
    world.write(given)
    answer = await controller.reload("file")
    (problem,) = answer["problems"]
    assert (answer["ok"], problem["path"]) == (False, "routes[0].backendRefs[0]")
    assert problem["line"] > 0
    assert "v2 is live and has the place of v1" in problem["message"]
    assert (weights(world), world.first["phase"]) == ({"v2": 100.0}, "Succeeded")
    world.write(document("v2", "v3"))
    assert (await controller.reload("file"))["ok"]
    await world.settled()
    assert (world.first["stable"], world.first["candidate"]) == ("v2", "v3")
    assert weights(world) == {"v2": 80.0, "v3": 20.0}


async def test_an_edit_while_nobody_looked_is_refused_at_the_start(world: World) -> None:
    """A restart would let in what a reload refuses."""
    await world.kill()
    world.write(document("v1", "v3"))
    controller = await world.start()
    assert weights(world) == {"v2": 100.0}
    error = controller.status()["config"]["lastError"]
    assert "v2 is live and has the place of v1" in error["problems"][0]["message"]
    world.write(document("v2", "v3"))
    assert (await controller.reload("file"))["ok"]
    assert world.first["candidate"] == "v3"


async def test_a_file_that_was_promoted_is_history(world: World) -> None:
    """Nobody could ever go back to a version that was stopped once, and runs again."""
    controller = world.controller
    assert controller is not None
    world.write(document("v2"))
    assert (await controller.reload("file"))["ok"]
    world.write(document("v1"))
    assert (await controller.reload("file"))["ok"], "who edits stable itself says who serves"
    await world.kill()
    await world.start()
    assert world.controller is not None
    assert world.controller.status()["config"]["lastError"] is None


async def reload(world: World, given: dict[str, Any]) -> bool:
    assert world.controller is not None
    world.write(given)
    return bool((await world.controller.reload("file"))["ok"])


async def test_a_route_that_was_away_is_known_when_it_comes_back(world: World) -> None:
    """The incident: a route leaves the file for a moment, and comes back with the stopped version alone."""
    assert await reload(world, named("q", document("v3")))
    assert not await reload(world, document("v1"))
    assert not await reload(world, named("zz", document("v1")))
    await world.kill()
    await world.start()
    assert world.first["name"] == "q"
    assert not await reload(world, named("zz", document("v1"))), "over a restart as well"
    assert await reload(world, document("v1", "v2", RECREATE))
    await world.settled()
    assert (world.first["phase"], weights(world)) == ("Succeeded", {"v2": 100.0})
    controller = world.controller
    assert controller is not None
    await controller.act("r", "undo", "ann")
    assert world.first["phase"] == "Reverting", "the remedy that the refusal names"


async def test_a_renamed_route_keeps_what_was_promoted(world: World) -> None:
    """A rename would hold the route, and swap again what is swapped."""
    assert await reload(world, named("zz", document("v1", "v2", RECREATE)))
    await world.settled()
    assert (world.first["name"], world.first["phase"], weights(world)) == ("zz", "Succeeded", {"v2": 100.0})
    await world.kill()
    await world.start()
    assert (world.first["name"], world.first["phase"]) == ("zz", "Succeeded"), "it is kept by its name"
    assert not await reload(world, named("zz", document("v1")))
    assert await reload(world, document("v1", "v2", RECREATE)), "and back"
    assert (world.first["name"], world.first["phase"]) == ("r", "Succeeded")
    with sqlite3.connect(world.folder / "understudy.db") as db:
        assert db.execute("SELECT route FROM rollouts").fetchall() == [("r",)]


async def test_a_bake_goes_on_after_its_route_was_away(tmp_path: Path) -> None:
    """The way back would be gone, and the bake with it."""
    made = World(tmp_path, document("v1", "v2", RECREATE))
    await made.start()
    await swapped_in(made)
    await made.until("Baking")
    assert await reload(made, named("q", document("v3")))
    await made.second()
    assert not await reload(made, named("zz", document("v1")))
    assert await reload(made, document("v1", "v2", RECREATE))
    await made.settled()
    assert made.first["phase"] == "Baking"
    made.time.move(601)
    await made.until("Succeeded")
    await made.close()


async def test_who_serves_in_its_place_is_said_once(world: World) -> None:
    """A version could never be stable again, long after a file has said who serves and its route has gone."""
    assert await reload(world, named("q", document("v2")))
    assert await reload(world, named("q", document("v1"))), "who edits stable itself says who serves"
    await world.kill()
    await world.start()
    assert await reload(world, named("zz", document("v1")))


async def test_a_preview_of_the_new_version_says_nothing(tmp_path: Path) -> None:
    """A route that had the candidate all along would be taken for one that has its place."""
    preview = [{"name": "preview", "match": [{"path": {"prefix": "/new"}}], "backendRefs": [{"name": "v2"}]}]

    def beside(given: dict[str, Any]) -> dict[str, Any]:
        (route,) = given["routes"]
        return {**given, "routes": [{**route, "match": [{"path": {"prefix": "/r"}}]}, *preview]}

    made = World(tmp_path, beside(document("v1", "v2", RECREATE)))
    await made.start()
    await swapped_in(made)
    await made.until("Baking")
    assert await reload(made, beside(named("q", document("v3"))))
    await made.kill()
    await made.start()
    assert not await reload(made, beside(named("q", document("v1"))))
    assert await reload(made, beside(named("q", document("v2"))))
    assert await reload(made, beside(named("q", document("v1"))))
    await made.close()


async def test_a_route_that_said_who_serves_leaves_nothing_behind(world: World) -> None:
    """A promotion that was written into the file long ago would have a say once its route is deleted."""
    assert await reload(world, document("v2"))
    assert await reload(world, named("q", document("v3")))
    assert await reload(world, named("q", document("v1")))


async def test_a_route_is_not_taken_away_while_nobody_runs(tmp_path: Path) -> None:
    """The incident: `starts v2`, the route is taken away, and nobody is told to start v1."""
    made = World(tmp_path, document("v1", "v2", RECREATE))
    controller = await made.start()
    await swapped_in(made, "start")
    assert not await reload(made, named("q", document("v3")))
    (problem,) = controller.status()["config"]["lastError"]["problems"]
    assert (problem["path"], problem["line"] > 0) == ("routes", True)
    assert "nobody would start either" in problem["message"]
    await made.kill()
    await made.start()
    assert made.first["name"] == "r", "nor at a start"
    assert made.first["phase"] == "Swapping"
    await made.close()
