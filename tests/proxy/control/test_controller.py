"""The controller with a real ledger, store and channel, played workers, and a clock that the tests move."""

from __future__ import annotations

import asyncio
import copy
import json
import sqlite3
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from config.values.problems import ConfigError
from proxy.control import controller
from proxy.control.endpoints import health
from proxy.control.machine.rollout import IllegalEvent
from proxy.control.storage.errors import StoreError
from proxy.snapshot import Snapshot
from tests.support.certificates import Authority
from tests.support.control_plane import STEPS, World, config

Make = Callable[..., Awaitable[World]]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    worlds: list[World] = []

    async def start(document: dict[str, Any], before: Callable[[World], None] = lambda _: None) -> World:
        world = World(tmp_path, document)
        worlds.append(world)
        before(world)
        await world.start()
        return world

    yield start
    for world in worlds:
        await world.close()


def shares(world: World) -> list[tuple[int, int]]:
    return [(segment.upper, segment.arm) for segment in world.workers[0].snapshot.routes[0].segments]


def break_store(world: World) -> None:
    with sqlite3.connect(world.folder / "understudy.db") as db:
        db.execute("ALTER TABLE rollouts RENAME TO gone")
        db.execute("ALTER TABLE evidence RENAME TO gone_too")


def mend_store(world: World) -> None:
    with sqlite3.connect(world.folder / "understudy.db") as db:
        db.execute("ALTER TABLE gone RENAME TO rollouts")
        db.execute("ALTER TABLE gone_too RENAME TO evidence")


async def test_a_good_candidate_is_promoted_by_steps(make: Make) -> None:
    """Evidence would not lead to a promotion, or weights would not reach the workers."""
    world = await make(config(*STEPS))
    assert shares(world) == [(200_000, 1), (1_000_000, 0)]
    assert world.first["phase"] == "Waiting"
    seen = {world.first["weight"]}
    for _ in range(200):
        route = await world.second()
        seen.add(route["weight"])
        if route["phase"] == "Succeeded":
            break
    assert (route["phase"], route["verdict"], seen) == ("Succeeded", "Successful", {20.0, 50.0, 100.0})
    assert shares(world) == [(1_000_000, 1)]
    assert all(metric["passed"] for metric in route["metrics"]), "what is shown is not what decided"
    assert route["missing"] == [], "nothing is awaited after the end"
    kinds = [entry["kind"] for entry in await world.controller.records.history("r", 100, None)]
    assert kinds[-1] == "begin"
    assert kinds[0] == "succeeded"
    (difference,) = world.controller.status()["differences"]
    assert (difference["route"], difference["remedy"]) == ("r", "understudy promote r --write")


async def test_a_failing_candidate_is_aborted(make: Make) -> None:
    """A version that answers with errors would stay in service."""
    world = await make(config(*STEPS))
    route = await world.until("Aborted", "Succeeded", fail={"v2": 3})
    assert (route["phase"], route["verdict"], route["weight"]) == ("Aborted", "Failed", 0.0)
    assert route["missing"] == []
    assert shares(world) == [(1_000_000, 0)]
    assert "aborted" in world.controller.status()["differences"][0]["text"]
    candidate = world.arm("canary")
    assert candidate["failed"] > 0
    assert candidate["faults"] == {"upstream-reset": candidate["failed"]}
    assert candidate["requests"] == sum(candidate["statuses"].values())
    assert candidate["latencyMs"]["p50"] == pytest.approx(20, rel=0.01)
    assert next(metric for metric in route["metrics"] if metric["name"] == "errors")["candidate"] > 0.2


async def test_silence_changes_nothing(make: Make) -> None:
    """A rollout without traffic would move on."""
    world = await make(config(*STEPS))
    for _ in range(20):
        route = await world.second(busy=False)
    assert (route["phase"], route["weight"]) == ("Waiting", 20.0)
    assert world.controller.status()["differences"] == []


async def test_copies_alone_are_judged(make: Make) -> None:
    """A rehearsal would wait for ever, or let its candidate meet users before it has proven itself."""
    world = await make(config({"setMirror": {"percent": 100}}, {"analysis": {"minSamples": 100}}, *STEPS))
    assert [mirror.share for mirror in world.workers[0].snapshot.routes[0].mirrors] == [1_000_000]
    assert shares(world) == [(1_000_000, 0)]
    await world.second(label="fine")
    await world.second(label="fine")
    assert world.arm("shadow")["labels"] == {"label": {"fine": 1.0}}
    weights = [(await world.second(label="fine"))["weight"] for _ in range(10)]
    assert 20.0 in weights
    assert world.first["pairs"]["compared"] == 0


async def test_a_killed_controller_is_followed_by_one_that_knows_all(make: Make) -> None:
    """A crash would lose weight, stage, evidence or rows; or workers would be pushed what they hold already."""
    world = await make(config({"setWeight": 20}, {"pause": {}}))
    for _ in range(5):
        await world.second()
    before, rows, pushes = world.first, world.rows(), world.workers[0].pushes
    await world.kill()
    await world.start()
    after = world.first
    for key in ("phase", "weight", "stage", "startedAt", "metrics", "arms", "ratio", "abortEvidence"):
        assert after[key] == before[key], key
    assert (world.rows(), world.workers[0].pushes) == (rows, pushes)


async def test_what_happened_meanwhile_is_judged_later(make: Make) -> None:
    """Requests that were served while the controller was down would be no evidence."""
    world = await make(config({"setWeight": 20}, {"pause": {}}))
    for _ in range(3):
        await world.second()
    await world.kill()
    for _ in range(4):
        world.time.move(1.0)
        world.traffic()
    await world.start()
    for _ in range(2):
        route = await world.second(busy=False)
    assert route["metrics"][0]["nCandidate"] == world.arm("canary")["requests"] == 7 * 2 * 20


async def test_a_reboot_keeps_what_is_decided_and_proven(make: Make) -> None:
    """A restart of the whole would begin the rollout anew, or judge the old memory's rows in the new one."""
    world = await make(config({"setWeight": 20}, {"pause": {}}))
    for _ in range(3):
        await world.second(label="fine")
    await world.second(busy=False)
    before = world.first
    await world.reboot()
    world.time.monotonic_s = 50.0
    await world.start()
    after = world.first
    for key in ("phase", "weight", "stage", "startedAt", "metrics", "arms"):
        assert after[key] == before[key], key
    for _ in range(3):
        after = await world.second(label="fine")
    assert after["metrics"][0]["nCandidate"] > before["metrics"][0]["nCandidate"]
    assert world.arm("canary")["requests"] == 6 * 2 * 20


async def test_an_abort_is_kept_and_latched(make: Make) -> None:
    """A version that was taken out of service would be back after a restart, or after an edit of the steps."""
    world = await make(config(*STEPS))
    await world.until("Aborted", fail={"v2": 2})
    await world.kill()
    await world.start()
    assert world.first["phase"] == "Aborted"
    world.write(config({"setWeight": 50}, {"analysis": {}}))
    assert (await world.controller.reload("ann"))["ok"]
    await world.settled()
    assert world.first["phase"] == "Aborted"
    assert shares(world) == [(1_000_000, 0)]
    assert (await world.controller.act("r", "retry", "ann"))["phase"] == "Waiting"
    await world.settled()
    assert shares(world) == [(500_000, 1), (1_000_000, 0)]
    assert [metric["nCandidate"] for metric in world.first["metrics"]] == [0.0]


async def test_another_candidate_begins_with_fresh_evidence(make: Make) -> None:
    """A new version would be promoted on the evidence of the one before."""
    world = await make(config(*STEPS))
    await world.until("Succeeded")
    edited = copy.deepcopy(world.config)
    edited["routes"][0]["backendRefs"] = [{"name": "v2", "role": "stable"}, {"name": "v3", "role": "canary"}]
    world.write(edited)
    answer = await world.controller.reload("ann")
    assert (answer["ok"], answer["workers"], answer["workersAcknowledged"]) == (True, 2, 2)
    route = world.first
    assert (route["stable"], route["candidate"], route["phase"], route["weight"]) == ("v2", "v3", "Waiting", 20.0)
    assert all(arm["requests"] == 0 for arm in route["arms"])
    assert (await world.until("Aborted", fail={"v3": 2}))["phase"] == "Aborted"


async def test_a_reload_of_something_else_keeps_the_progress(make: Make) -> None:
    """Each edit of the file would throw a rollout back to its first step."""
    world = await make(config({"setWeight": 20}, {"pause": {}}))
    for _ in range(4):
        await world.second()
    before, rows = world.first, world.rows()
    edited = copy.deepcopy(world.config)
    edited["routes"][0]["match"] = [{"path": {"prefix": "/v2"}}]
    edited["routes"].append({"name": "other", "backendRefs": [{"name": "v3"}]})
    world.write(edited)
    assert (await world.controller.reload("ann"))["ok"]
    await world.settled()
    after = world.first
    assert (after["startedAt"], after["stage"], after["metrics"]) == (
        before["startedAt"],
        before["stage"],
        before["metrics"],
    )
    assert rows < world.rows()
    assert [route.name for route in world.workers[0].snapshot.routes] == ["r", "other"]


async def test_injected_faults_are_told_loudly(make: Make) -> None:
    """A game day that was forgotten would look like an outage."""
    world = await make(config(*STEPS))
    assert world.controller.status()["faultInjection"] == []
    edited = copy.deepcopy(world.config)
    edited["routes"][0]["fault"] = {"abort": {"httpStatus": 503, "percent": 50}, "backend": "v2"}
    world.write(edited)
    assert (await world.controller.reload("ann"))["ok"]
    injects = "status 503 into 50 % of the requests of v2"
    assert world.controller.status()["faultInjection"] == [{"route": "r", "injects": injects}]
    assert world.workers[0].snapshot.routes[0].injection.abort_share == 500_000


async def test_a_bad_edit_changes_nothing_and_says_why(make: Make) -> None:
    """A typing mistake would take down what runs, or be ignored in silence."""
    world = await make(config(*STEPS))
    generation = world.workers[0].snapshot.generation
    world.path.write_text("listen: [{address: 127.0.0.1:0}]\nbackend: []\n")
    answer = await world.controller.reload("ann")
    assert not answer["ok"]
    assert {problem["line"] for problem in answer["problems"]} >= {2}
    assert world.controller.status()["config"]["lastError"]["problems"] == answer["problems"]
    assert world.workers[0].snapshot.generation == generation
    world.write(world.config)
    assert (await world.controller.reload("ann"))["ok"]
    assert world.controller.status()["config"]["lastError"] is None
    assert world.workers[0].snapshot.generation == generation


async def test_a_refused_edit_stays_refused_after_a_crash(make: Make) -> None:
    """A controller that starts while the file is bad would forget all routes."""
    world = await make(config(*STEPS))
    world.path.write_text("nonsense: 1\n")
    await world.kill()
    await world.start()
    assert world.first["phase"] == "Waiting"
    assert world.controller.status()["config"]["lastError"]["problems"]


async def test_what_needs_a_restart_is_named(make: Make) -> None:
    """Somebody who changes the port would wait for it in vain."""
    world = await make(config(*STEPS))
    world.write(world.config | {"listen": [{"address": "127.0.0.1:1234"}], "workers": 7})
    assert (await world.controller.reload("ann"))["restartNeeded"] == ["listen", "workers"]


async def test_a_failing_store_freezes_rollouts_and_nothing_else(make: Make) -> None:
    """A full disk would abort or promote versions that nobody can remember, or stop the traffic."""
    world = await make(config(*STEPS))
    await world.second()
    break_store(world)
    for _ in range(8):
        route = await world.second(fail={"v2": 2})
    assert (route["phase"], route["weight"]) == ("Waiting", 20.0)
    assert "no such table" in world.controller.status()["store"]["error"]
    with pytest.raises(StoreError):
        await world.controller.act("r", "abort", "ann")
    assert shares(world) == [(200_000, 1), (1_000_000, 0)]
    mend_store(world)
    assert (await world.until("Aborted", seconds=5, fail={"v2": 2}))["phase"] == "Aborted"
    assert world.controller.status()["store"]["error"] is None


async def test_a_store_that_fails_when_all_workers_hold_does_not_hold_for_ever(make: Make) -> None:
    """What all workers have heard would be told once, while it could not be kept, and never again."""
    held = config(*STEPS)
    held["routes"][0]["strategy"] = {"recreate": {"hook": {"url": "http://127.0.0.1:1/"}}}
    for backend in held["backends"]:
        backend["healthCheck"] = {"path": "/ready"}
    world = await make(held)
    assert world.first["reason"].endswith("the route is held")
    break_store(world)
    for _ in range(3):
        assert (await world.second())["reason"].endswith("the route is held")
    mend_store(world)
    for _ in range(3):
        reason = (await world.second())["reason"]
    assert not reason.endswith("the route is held")


async def test_an_unreadable_store_at_the_start_sends_everything_to_stable(make: Make) -> None:
    """A proxy whose disk is broken would serve nobody, or send users to a version that was aborted."""

    def spoil(world: World) -> None:
        (world.folder / "understudy.db").write_text("this is no database, but a text that is long enough to tell")

    world = await make(config(*STEPS), spoil)
    assert shares(world) == [(1_000_000, 0)]
    assert world.controller.status()["store"]["error"]
    (world.folder / "understudy.db").unlink()
    route = await world.second()
    assert (route["phase"], shares(world)) == ("Waiting", [(200_000, 1), (1_000_000, 0)])


async def test_a_store_that_is_lost_leaves_workers_what_they_hold(make: Make) -> None:
    """A controller that comes back without its memory would take users away from their version."""
    world = await make(config({"setWeight": 20}, {"pause": {}}))
    generation = world.workers[0].snapshot.generation
    await world.kill()
    break_store(world)
    await world.start()
    await world.controller.tick()
    assert world.controller.status()["store"]["error"]
    assert world.controller.admin is not None, "nobody could ask why nothing moves"
    assert (world.workers[0].snapshot.generation, shares(world)) == (generation, [(200_000, 1), (1_000_000, 0)])
    mend_store(world)
    assert (await world.second())["weight"] == 20.0


async def test_a_stage_applies_only_when_all_live_workers_hold_it(make: Make) -> None:
    """A promotion would be called complete while a worker still serves the old version."""
    world = await make(config(*STEPS))
    world.workers[1].acknowledges = False
    await world.controller.act("r", "promote", "ann", full=True)
    assert (await world.second())["phase"] == "Promoting"
    await world.workers[1].stop()
    world.workers[1].acknowledges = True
    world.workers[1].connect()
    assert (await world.until("Succeeded", seconds=3))["phase"] == "Succeeded"


@pytest.mark.parametrize("hangs_at", ["transition", "next_number"])
async def test_workers_hear_of_endpoints_while_the_store_hangs(
    make: Make, monkeypatch: pytest.MonkeyPatch, hangs_at: str
) -> None:
    """Clients would go on to meet an endpoint that is gone for as long as a locked database says nothing, some seconds
    at each tick; or a snapshot that waited for the store would take back what workers have heard meanwhile."""

    async def unanswered(*_: object) -> str:
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(health, "_ask", unanswered)
    document = config({"setWeight": 20}, {"pause": {}})
    for backend in document["backends"][:2]:
        backend["healthCheck"] = {"path": "/", "interval": "10m", "unhealthyThreshold": 1}
    world = await make(document)
    controller = world.controller
    running = asyncio.create_task(controller.run())
    await world.second()
    checks, keeper = controller._checks, controller._keeper
    probes = {key[0]: (key, probe.question.check) for key, probe in checks._probes.items()}
    ask, answering, hangs = keeper.ask, asyncio.Event(), asyncio.Event()

    async def hanging(question: Any) -> Any:
        if hangs_at in getattr(getattr(question, "__code__", None), "co_names", ()):
            hangs.set()
            await answering.wait()
        return await ask(question)

    async def heard(*unhealthy: tuple[int, int]) -> None:
        for _ in range(1000):
            if all(worker.snapshot.unhealthy == unhealthy for worker in world.workers):
                return
            await asyncio.sleep(0.005)
        raise AssertionError([worker.snapshot.unhealthy for worker in world.workers])

    keeper.ask = hanging
    told = asyncio.create_task(controller.act("r", "abort", "ann"))
    await hangs.wait()
    checks._note(*probes["v1"], "connection refused")
    await heard((0, 0))
    assert not told.done(), "the turn is not over"
    checks._note(*probes["v2"], "connection refused")
    await heard((0, 0), (1, 0))
    checks._note(*probes["v1"], "")
    checks._note(*probes["v1"], "")
    await heard((1, 0))
    before, given, give = controller.status()["config"]["generation"], [], controller._fleet._give

    def noted(snapshot: Snapshot) -> None:
        given.append(snapshot.unhealthy)
        give(snapshot)

    controller._fleet._give = noted
    answering.set()
    assert (await told)["phase"] == "Aborted"
    await world.settled()
    assert set(given) == {((1, 0),)}, "what was heard meanwhile is not taken back"
    assert shares(world) == [(1_000_000, 0)]
    assert controller.status()["config"]["generation"] > before
    controller.stop()
    await running


async def test_commands_that_make_no_sense_are_refused(make: Make) -> None:
    """A typing mistake in a command would do something, or nothing, without a word."""
    world = await make(config(*STEPS))
    with pytest.raises(KeyError):
        await world.controller.act("nobody", "abort", "ann")
    with pytest.raises(IllegalEvent):
        await world.controller.act("r", "resume", "ann")
    assert (await world.controller.act("r", "abort", "ann", reason="enough"))["reason"] == "aborted by ann: enough"
    await world.settled()
    assert shares(world) == [(1_000_000, 0)]


async def test_counters_only_grow(make: Make) -> None:
    """Metrics would fall when a stage ends, its rows are freed, or the controller is started anew."""
    world = await make(config(*STEPS))

    def counted() -> int:
        rows = sum(world.controller.reader.totals(w, row.index, row.tenant).arrived
                   for row in world.controller.rows() for w in range(2)
                   if world.controller.reader.totals(w, row.index, row.tenant))  # fmt: skip
        return rows + sum(totals.arrived for totals in world.controller.retired_totals.values())

    last = 0
    for second in range(60):
        await world.second()
        assert counted() == (second + 1) * 200 > last
        last = counted()
    assert world.first["phase"] == "Succeeded"
    assert world.controller.retired_totals
    assert sum(arm["requests"] for arm in world.first["arms"]) == last


async def test_a_crash_between_keeping_and_pushing_is_made_good(make: Make) -> None:
    """The store would say one stage and the workers route by another, for ever."""
    world = await make(config({"setWeight": 20}, {"pause": {}}, {"setWeight": 50}, {"pause": {}}))
    await world.second()

    async def crash() -> bool:
        raise ConnectionAbortedError

    world.controller._plane.publish = crash  # type: ignore[method-assign]
    with pytest.raises(ConnectionAbortedError):
        await world.controller.act("r", "promote", "ann")
    assert shares(world) == [(200_000, 1), (1_000_000, 0)]
    await world.kill()
    await world.start()
    assert (world.first["weight"], shares(world)) == (50.0, [(500_000, 1), (1_000_000, 0)])
    assert (await world.second())["stage"] == 2


async def test_a_full_ledger_stops_no_traffic_and_proves_nothing(make: Make) -> None:
    """A proxy with more stages than rows would crash, or promote what it cannot count."""

    def shrink(world: World) -> None:
        world.launch = replace(world.launch, rows=1)
        world.boot()

    world = await make(config(*STEPS), shrink)
    for _ in range(10):
        route = await world.second()
    assert (route["phase"], shares(world)) == ("Waiting", [(200_000, 1), (1_000_000, 0)])
    assert len(world.rows()) == 1


async def test_a_route_without_a_rollout_keeps_its_rows(make: Make) -> None:
    """Metrics of an ordinary route would begin anew with each controller, and its rows be lent to another."""
    world = await make(config())
    for _ in range(3):
        await world.second(label="fine")
    before, rows = world.arm("stable"), world.rows()
    assert (before["requests"], before["labels"]) == (600, {"label": {"fine": 1.0}})
    await world.kill()
    await world.start()
    assert world.rows() == rows
    assert world.arm("stable")["requests"] == 600


async def test_a_route_that_is_gone_is_forgotten(make: Make) -> None:
    """A route that comes back later would go on in the middle of a rollout that nobody remembers."""
    world = await make(config({"setWeight": 20}, {"pause": {}}))
    for _ in range(3):
        await world.second()
    document = world.config
    world.write(config(name="other"))
    await world.controller.reload("ann")
    assert [route["name"] for route in world.controller.routes()] == ["other"]
    world.write(document)
    world.time.move(10)
    await world.controller.reload("ann")
    assert [metric["nCandidate"] for metric in world.first["metrics"]] == [0.0]
    assert world.first["startedAt"] == world.time.wall_s


def two_routes(**route: Any) -> dict[str, Any]:
    """The route `q` before `r`, both with v1 and v2 at a pause."""
    document = config({"setWeight": 20}, {"pause": {}})
    (r,) = document["routes"]
    document["routes"] = [r | {"name": "q", "match": [{"path": {"prefix": "/q"}}]} | route, r]
    return document


def refuse(world: World, what: str, when: str) -> None:
    """Have the store refuse what a trigger is about, until `allow`."""
    with sqlite3.connect(world.folder / "understudy.db") as db:
        db.execute(f"CREATE TRIGGER refusal BEFORE {what} WHEN {when} BEGIN SELECT RAISE(ABORT, 'not now'); END")


def allow(world: World) -> None:
    with sqlite3.connect(world.folder / "understudy.db") as db:
        db.execute("DROP TRIGGER refusal")


async def test_a_candidate_is_never_judged_by_what_was_kept_of_another(make: Make) -> None:
    """A reload that the store took half of, and then a crash: the new version has the evidence of the old one."""
    world = await make(two_routes())
    for _ in range(4):
        await world.second()
    assert world.first["metrics"][0]["nCandidate"] > 0
    edited = copy.deepcopy(world.config)
    for route in edited["routes"]:
        route["backendRefs"][1]["name"] = "v3"
    world.write(edited)
    refuse(world, "INSERT ON rollouts", "NEW.route = 'r'")
    assert not (await world.controller.reload("ann"))["ok"]
    allow(world)
    await world.second()  # the rollout of v2 goes on, and its evidence is kept
    await world.kill()
    await world.start()
    assert (world.first["name"], world.first["candidate"]) == ("q", "v3")
    assert [metric["nCandidate"] for metric in world.first["metrics"]] == [0.0]


async def test_a_route_that_cannot_be_forgotten_leaves_all_as_it_was(make: Make) -> None:
    """A store that fails in the middle of a reload: routes are told from rows that were given back meanwhile."""
    world = await make(two_routes())
    await world.second()
    rows, edited = world.rows(), copy.deepcopy(world.config)
    del edited["routes"][1]
    edited["routes"][0]["predictions"]["outputs"] = edited["routes"][0]["predictions"]["outputs"][:1]
    world.write(edited)
    refuse(world, "DELETE ON rollouts", "OLD.route = 'r'")
    assert not (await world.controller.reload("ann"))["ok"]
    before = world.first
    for _ in range(30):  # rows that were given back are lent again after 20 s
        await world.second()
    assert world.rows() == rows
    assert [loan.index for loan in world.controller.rows()] == sorted(index for index, _ in rows)
    assert world.first["metrics"][0]["nCandidate"] > before["metrics"][0]["nCandidate"]
    allow(world)
    assert (await world.controller.reload("ann"))["ok"]
    assert [route["name"] for route in world.controller.routes()] == ["q"]


async def test_what_is_wrong_with_one_route_stops_no_other(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug that one route meets ends the controller, again and again, and no version is watched any more."""
    world = await make(two_routes())
    await world.second()

    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug")

    for subject in world.controller._plane.subjects.values():
        if subject.name == "q":
            monkeypatch.setattr(subject.collected.judge, "observe", broken)
            monkeypatch.setattr(subject.collected.judge, "verdict", broken)
    for _ in range(12):
        await world.second(fail={"v2": 2})
    phases = {route["name"]: route["phase"] for route in world.controller.routes()}
    assert phases == {"q": "Paused", "r": "Aborted"}
    assert "ZeroDivisionError: a bug" in world.first["error"]


async def test_answers_are_json(make: Make) -> None:
    """The admin API would answer 500 for a number that JSON has no word for."""
    world = await make(config(*STEPS))
    for _ in range(3):
        await world.second()
    json.dumps([world.first, world.controller.status(), world.controller.routes()], allow_nan=False)
    json.dumps(await world.controller.records.history("r", 10, None), allow_nan=False)
    assert "x" in {problem["path"] for problem in await world.controller.validate("x: 1")}
    assert await world.controller.validate(world.path.read_text()) == []


async def test_a_long_file_is_checked_beside_the_wheel(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration of a megabyte, sent to be checked, holds up ticks, health and all other requests for seconds."""
    world = await make(config(*STEPS))
    seen: list[str] = []

    def slow(*_: object) -> None:
        seen.append(threading.current_thread().name)
        raise ConfigError([])

    monkeypatch.setattr(controller.loader, "loads", slow)
    await world.controller.validate("x: 1")
    assert seen
    assert threading.main_thread().name not in seen


async def test_it_is_ready_once_all_workers_serve(make: Make) -> None:
    """Traffic would be sent to a proxy that does not serve yet; or one dead worker would take out the others."""
    world = await make(config(*STEPS))
    assert world.controller.ready
    await world.workers[0].stop()
    assert world.controller.ready
    await world.reboot()
    await world.start(workers=False)
    assert not world.controller.ready


async def test_files_may_come_later_than_what_names_them(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A configuration that is mounted a moment before its certificates would stay refused until somebody edits it; or
    its refusal would be logged again and again."""
    monkeypatch.setattr(controller, "TRY_AGAIN_S", 0.02)
    world = await make(config(*STEPS))
    told: list[object] = []
    refused = world.controller._refused
    monkeypatch.setattr(world.controller, "_refused", lambda problems: told.append(refused(problems)))
    folder = world.folder / "tls"
    tls = {"certificates": [{"certFile": f"{folder}/a.pem", "keyFile": f"{folder}/a.key"}]}
    world.write(world.config | {"listen": [{"address": "127.0.0.1:0", "tls": tls}]})
    assert not (await world.controller.reload("ann"))["ok"]
    trying = asyncio.create_task(world.controller._try_again())
    await asyncio.sleep(0.2)
    assert len(told) == 1
    folder.mkdir()
    Authority(folder).issue("a.test", stem="a")
    async with asyncio.timeout(5):
        while world.controller.status()["config"]["lastError"]:  # noqa: ASYNC110 - it has no event to wait for
            await asyncio.sleep(0.01)
    await world.settled()
    (listener,) = world.workers[0].snapshot.listeners
    assert listener.tls is not None
    assert listener.tls.certificates[0].names == ("a.test",)
    world.controller.stop()
    await trying


async def test_a_renewed_certificate_is_a_new_generation(make: Make) -> None:
    """Workers would go on to show the old one; or a rollout would begin anew for it."""
    world = await make(config(*STEPS))
    authority = Authority(world.folder)
    pair = authority.issue("a.test", stem="a")
    tls = {"certificates": [{"certFile": str(pair.certificate), "keyFile": str(pair.key)}]}
    world.write(world.config | {"listen": [{"address": "127.0.0.1:0", "tls": tls}]})
    first = await world.controller.reload("ann")
    assert (await world.controller.reload("ann"))["generation"] == first["generation"], "nothing changed"
    authority.issue("a.test", "b.test", stem="a")
    later = await world.controller.reload("ann")
    assert later["generation"] == first["generation"] + 1
    await world.settled()
    (listener,) = world.workers[0].snapshot.listeners
    assert listener.tls is not None
    assert listener.tls.certificates[0].names == ("a.test", "b.test")
    assert world.first["phase"] == "Waiting"
