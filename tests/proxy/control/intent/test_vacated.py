"""Configurations that would give clients to a version which was stopped."""

from __future__ import annotations

import copy
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


def refused(state: State, given: dict[str, Any]) -> list[str]:
    found = vacated.findings(loads(yaml.safe_dump(given), "x").config, {"r": state})
    return [f"{finding.message}; {finding.remedy}" for finding in found]


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
        "route r: v2 is live and has the place of v1, which is stopped; give v2 the role stable in place of v1 "
        "(understudy promote r --write does so in a file that has both), or put v1 back first: understudy undo r"
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
    assert refused(rolled(Phase.ABORTED, "serving"), document("v1")), "one of two endpoints is stopped"


def test_a_bake_keeps_its_way_back() -> None:
    """Harm that is found would send clients to endpoints that nobody starts."""
    (said,) = refused(swapped(Phase.BAKING), document("v1", "v2"))
    assert said == (
        "route r: v2 is Baking in the place of v1, and without its strategy nobody could put v1 back; leave the "
        "strategy until that has ended; understudy promote r ends it"
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


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """v2 has the place of v1, and all has ended well."""
    made = World(tmp_path, document("v1", "v2", RECREATE))
    await made.start()
    controller = made.controller
    assert controller is not None
    subject = controller._plane.subjects["r"]
    while (state := subject.state) is not None and state.phase is Phase.SWAPPING:  # as hooks and endpoints would tell
        event = Applied(state.stage) if state.doing == "hold" else Swapped(state.stage, state.doing)
        await controller._plane._step(subject, event)
    await controller._plane.publish()
    await made.settled()
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
