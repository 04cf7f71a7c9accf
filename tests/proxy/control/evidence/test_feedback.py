"""Truths on their way through the controller: to the judge, into the store, and past a crash."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.answer_id import Stamp
from proxy.control.evidence import keeping
from proxy.control.evidence.truths import Refusal, Told
from proxy.control.storage.errors import StoreError
from tests.support.control_plane import World
from tests.support.control_plane import config as document

METRICS = [{"name": "errors", "maxIncrease": "5pp"}, {"name": "feedback.accuracy", "maxDecrease": "5pp"}]
RIGHT, WRONG = Told(wrong=False), Told(wrong=True)


def canary(*steps: dict[str, Any], **route: Any) -> dict[str, Any]:
    return document(*(steps or ({"setWeight": 50}, {"pause": {}})), **{"analysis": {
        "interval": "1s", "block": "1s", "minDuration": "2s", "minSamples": 20, "maxDuration": "10m",
        "metrics": METRICS}, **route})  # fmt: skip


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, canary())
    await made.start()
    await made.second()
    yield made
    await made.close()


def ids(world: World, backend: str, count: int, stamp: Stamp | None = None, age_s: float = 0.0) -> list[str]:
    """Names of answers of a version, as its worker writes them."""
    snapshot = world.workers[0].snapshot
    stamp = stamp or Stamp(snapshot.feedback_key, world.time.wall_s - world.time.monotonic_s)
    (arm,) = (arm for arm in snapshot.routes[0].arms if snapshot.backends[arm.backend].name == backend)
    lines = [stamp.line(arm.row.tenant, world.time.monotonic_s - age_s, -1) for _ in range(count)]
    return [line[len("x-understudy-id: ") : -2].decode() for line in lines]


def tell(world: World, names: list[str], told: Told = RIGHT) -> list[Refusal | None]:
    assert world.controller is not None
    return world.controller.feedback.tell([(name, told) for name in names])


def accuracy(route: dict[str, Any]) -> dict[str, Any]:
    return route["metrics"][1]


async def test_truths_are_in_the_evidence_a_second_later(world: World) -> None:
    """Broken: nothing that is told reaches the judge."""
    assert tell(world, ids(world, "v1", 60)) == [None] * 60
    assert tell(world, ids(world, "v2", 30), WRONG) == [None] * 30
    assert world.first["feedback"] == {"window": 86_400.0, "waiting": 90}
    route = await world.second()
    assert (accuracy(route)["nStable"], accuracy(route)["nCandidate"]) == (60.0, 30.0)
    assert (accuracy(route)["stable"], accuracy(route)["candidate"]) == (0.0, 1.0)
    assert route["feedback"]["waiting"] == 0
    assert world.arm("canary")["feedback"] == {"truths": 30, "wrong": 1.0, "logLoss": None}


async def test_a_candidate_that_is_wrong_is_aborted(world: World) -> None:
    """Broken: what is told decides nothing."""
    for _ in range(30):
        tell(world, ids(world, "v1", 60))
        tell(world, ids(world, "v2", 60), WRONG)
        if (await world.second())["phase"] == "Aborted":
            break
    assert (world.first["phase"], world.first["decidedBy"]) == ("Aborted", "feedback.accuracy")


async def test_a_truth_that_comes_after_its_stage_counts_for_it(world: World) -> None:
    """Broken: with every stage the truths that are still on their way are lost, or counted for the new one."""
    early = ids(world, "v1", 40), ids(world, "v2", 40)
    assert world.controller is not None
    await world.controller.act("r", "promote", "test")
    world.write(canary({"setWeight": 50}, {"pause": {}}, {"setWeight": 60}, {"pause": {}}))
    await world.controller.reload("test")
    await world.second()
    stage = world.first["stage"]
    assert [tell(world, names) for names in early] == [[Refusal.STALE] * 40] * 2, "the steps changed: a new rollout"
    before = ids(world, "v1", 40), ids(world, "v2", 40)
    await world.controller.act("r", "promote", "test")
    for _ in range(14):
        await world.second()
    assert world.first["stage"] > stage
    for names in before:
        assert tell(world, names) == [None] * 40
    route = await world.second()
    assert accuracy(route)["nCandidate"] == 40.0
    judge = world.controller._plane.subjects["r"].collected.judge
    assert judge is not None
    assert judge._meters[1].inside(judge._stack) is None, "it says nothing of the present stage"


@pytest.mark.parametrize("reboot", [False, True])
async def test_what_was_told_outlives_the_controller(world: World, reboot: bool) -> None:
    """Broken: a crash loses truths, or lets them count again; also where the whole machine was started anew."""
    names, more = ids(world, "v1", 50), ids(world, "v1", 10)
    tell(world, names)
    await world.second()
    tell(world, names[:1])
    waiting = ids(world, "v2", 5)
    tell(world, waiting)
    assert world.controller is not None
    controller, cursor = world.controller, int(world.time.monotonic_s) + 1
    await keeping.keep(controller._keeper, controller._plane.subjects["r"], controller.reader, cursor)
    if reboot:
        await world.reboot()
    else:
        await world.kill()
    world.time.move(1.0)
    await world.start()
    assert tell(world, [*names, *waiting]) == [Refusal.DUPLICATE] * 55
    assert tell(world, more) == [None] * 10
    for _ in range(3):
        route = await world.second()
    assert (accuracy(route)["nStable"], accuracy(route)["nCandidate"]) == (60.0, 5.0)


async def test_a_new_rollout_knows_nothing_of_the_last(world: World) -> None:
    """Broken: truths about another version are evidence for this one."""
    names = ids(world, "v2", 20)
    assert world.controller is not None
    await world.controller.act("r", "abort", "test")
    assert tell(world, names[:5]) == [None] * 5, "they are told to people, and judged by nobody"
    assert world.first["feedback"]["waiting"] == 0
    await world.controller.act("r", "retry", "test")
    assert tell(world, names) == [Refusal.STALE] * 20
    assert world.arm("stable")["feedback"]["truths"] == 0
    await world.second()
    await world.kill()
    await world.start()
    assert tell(world, names) == [Refusal.STALE] * 20


async def test_what_is_refused_says_why_and_is_counted(world: World) -> None:
    """Broken: nobody can tell a clock that is wrong from a forger."""
    (name,) = ids(world, "v1", 1)
    forged = name[:-1] + ("A" if name[-1] != "A" else "B")
    old = ids(world, "v1", 1, age_s=90_000.0)
    other = ids(world, "v1", 1, Stamp(b"x" * 32))
    assert tell(world, [name, name, forged, *old, *other, "nonsense"]) == [
        None, Refusal.DUPLICATE, Refusal.FORGED, Refusal.LATE, Refusal.FORGED, Refusal.FORGED,
    ]  # fmt: skip
    tell(world, ids(world, "v2", 2), WRONG)
    tell(world, ids(world, "v2", 1), Told(None, 0.3))
    assert world.controller is not None
    desk = world.controller.feedback
    assert dict(desk.refused) == {
        ("r", Refusal.DUPLICATE): 1, ("", Refusal.FORGED): 3, ("r", Refusal.LATE): 1,
    }  # fmt: skip
    assert dict(desk.accepted) == {
        ("r", "v1", "stable", "right"): 1, ("r", "v2", "canary", "wrong"): 2, ("r", "v2", "canary", "loss"): 1,
    }  # fmt: skip


async def test_the_key_stays_the_same(world: World) -> None:
    """Broken: a restart makes all answers of before nobody's."""
    key = world.workers[0].snapshot.feedback_key
    assert len(key) == 32
    await world.reboot()
    world.time.move(1.0)
    await world.start()
    assert world.workers[0].snapshot.feedback_key == key


async def test_a_route_that_takes_no_feedback(tmp_path: Path) -> None:
    """Broken: every snapshot has the key, and every answer a name."""
    world = World(tmp_path, document({"setWeight": 50}, {"pause": {}}))
    await world.start()
    await world.second()
    snapshot = world.workers[0].snapshot
    assert (snapshot.feedback_key, snapshot.routes[0].feedback) == (b"", False)
    assert world.first["feedback"] is None
    assert world.arm("stable")["feedback"] is None
    await world.close()


async def test_a_route_without_a_rollout_tells_how_right_its_versions_are(tmp_path: Path) -> None:
    """Broken: feedback is of use only while a candidate is judged."""
    world = World(tmp_path, document(feedback={"window": "1h"}))
    await world.start()
    await world.second()
    assert tell(world, ids(world, "v1", 3), WRONG) == [None] * 3
    route = await world.second()
    assert route["feedback"] == {"window": 3600.0, "waiting": 0}
    assert world.arm("stable")["feedback"] == {"truths": 3, "wrong": 1.0, "logLoss": None}
    await world.close()


def away(folder: Path) -> None:
    """Put a folder where the store was."""
    database = folder / "understudy.db"
    database.rename(folder / "away.db")
    for leftover in folder.glob("understudy.db*"):
        leftover.unlink()
    database.mkdir()


def back(folder: Path) -> None:
    (folder / "understudy.db").rmdir()
    (folder / "away.db").rename(folder / "understudy.db")


async def test_without_the_store_nobody_knows_what_is_judged(tmp_path: Path) -> None:
    """Broken: truths are called stale while the store is away, and are never told again."""
    world = World(tmp_path, canary())
    await world.start()
    await world.second()
    names = ids(world, "v1", 2)
    await world.kill()
    away(tmp_path)
    await world.start()
    with pytest.raises(StoreError, match="tell it again later"):
        tell(world, names)
    back(tmp_path)
    for _ in range(3):
        await world.second()
    assert tell(world, names) == [None] * 2
    await world.close()
