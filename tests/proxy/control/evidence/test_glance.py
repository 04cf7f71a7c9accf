"""Quick looks: what is found between the ticks, on a real ledger and in a whole control plane."""

from __future__ import annotations

import asyncio
import io
import os
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from analysis.breaker import Breaker
from proxy.admin import retold
from proxy.control.endpoints import health
from proxy.control.evidence import glance
from proxy.control.evidence.lending import Lending
from proxy.control.evidence.tracks import Track
from proxy.faults import Fault
from proxy.ledger import layout as at
from proxy.ledger.reader import Reader
from proxy.ledger.writer import Writer
from tests.proxy.control.hindsight.test_backtest import other, recorded, tried
from tests.proxy.control.test_controller import break_store, mend_store
from tests.support.control_plane import World, config, playing

T = 1000
FIVE = [{"setWeight": 5}, {"pause": {}}]


@dataclass
class Rows:
    """A ledger of one worker with a row of each version, and what was written there."""

    reader: Reader
    writer: Writer
    track: Track
    rows: dict[str, Any] = field(default_factory=dict)

    def arrive(self, role: str, arrived_s: float) -> None:
        self.writer.arrive(self.rows[role], arrived_s)

    def finish(self, role: str, arrived_s: float, failed: bool) -> None:
        self.writer.finish(self.rows[role], arrived_s, arrived_s + 0.01, failed, 500 if failed else 200, Fault.NONE)

    def serve(self, role: str, arrived_s: float, failed: bool = False) -> None:
        self.arrive(role, arrived_s)
        self.finish(role, arrived_s, failed)

    def glimpses(self, now_s: float) -> list[tuple[float, ...]]:
        found, _ = glance._glimpses(self.reader, self.track, now_s)
        return [
            (each.candidate.answered, each.candidate.failed, each.stable.answered, each.stable.failed) for each in found
        ]


@pytest.fixture(scope="module")
def fd() -> Iterator[int]:
    fd = at.create(workers=1, rows=64, tables=1)
    yield fd
    os.close(fd)


@pytest.fixture
def rows(fd: int) -> Rows:
    return fresh(fd)


BOOK = Lending(64, 1)


def fresh(fd: int) -> Rows:
    """Rows that nothing has counted into."""
    stable, canary = BOOK.lend("r", "v1", "stable", 1), BOOK.lend("r", "v2", "canary", 1)
    writer = Writer(fd, 0)
    found = Rows(Reader(fd), writer, Track(1, 0.05, True, False, (stable, canary), T))
    found.rows = {loan.role: writer.occupy(loan.index, loan.tenant, 0) for loan in (stable, canary)}
    for loan in (stable, canary):
        BOOK.give_back(loan, 0.0)
    BOOK.sweep(100.0, lambda loan: False)
    return found


def test_what_is_in_flight_speaks_for_the_candidate(rows: Rows) -> None:
    """Broken: failures, which come sooner than successes, are taken for the rate of errors."""
    rows.serve("canary", T + 0.1, failed=True)
    rows.arrive("canary", T + 0.1)
    rows.serve("stable", T + 0.1)
    rows.arrive("stable", T + 0.1)
    assert rows.glimpses(T + 0.2) == [(2, 1, 2, 1)]


def test_only_the_last_slice_may_go_on(rows: Rows) -> None:
    """Broken: bets are placed on what a slice seems to be, which may still turn out to be another."""
    rows.serve("canary", T + 0.5, failed=True)
    rows.serve("canary", T + 1.5, failed=True)
    assert rows.glimpses(T + 1.6) == [(1, 1, 0, 0), (1, 1, 0, 0)]
    rows.arrive("stable", T + 0.9)
    assert rows.glimpses(T + 1.6) == [(1, 1, 1, 1)], "the first is not over yet"


Requests = st.lists(st.tuples(st.sampled_from(["stable", "canary"]), st.booleans(), st.booleans()), max_size=60)
"""Of each request: whose it is, whether it fails, and whether it is answered before the glance."""


@given(Requests, st.floats(0, 0.5))
@settings(max_examples=150, deadline=None)
def test_a_glance_never_finds_more_than_the_same_requests_say_in_the_end(
    fd: int, requests: list[tuple[str, bool, bool]], past: float
) -> None:
    """Broken: a version is aborted on what the closed slice would not have aborted it on, and alpha is not kept."""
    rows = fresh(fd)
    for number, (role, failed, answered) in enumerate(requests):
        rows.arrive(role, T + number / 100)
        if answered:
            rows.finish(role, T + number / 100, failed)
    (glimpsed,), _ = glance._glimpses(rows.reader, rows.track, T + 0.7)
    (cut,) = rows.track.cut_short(rows.reader, [T])
    for number, (role, failed, answered) in enumerate(requests):
        if not answered:
            rows.finish(role, T + number / 100, failed)
    (closed,) = rows.track.read(rows.reader, T + 1.06)
    found = []
    for slice_ in (glimpsed, cut, closed):
        breaker = Breaker(0.2, 0.001)
        breaker._stable[:] = 1000, 0.5 + 999 * past
        breaker.observe(slice_)
        found.append(breaker.state()["wealth"])
    assert np.allclose(found[0], found[1], rtol=0, atol=1e-12), "what decides is what is kept"
    assert (found[0] <= found[2] + 1e-9).all()


# --- a whole control plane


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path, config(*FIVE))
    await world.start()
    yield world
    await world.close()


def outage(world: World, failures: int) -> None:
    """Requests of the second that goes on, of which the candidate fails all of its own."""
    worker = world.workers[0]
    (route,) = worker.snapshot.routes
    for arm, share in world._shares(route):
        for _ in range(failures if share < 0.5 else 40):
            worker.serve(route, arm, failed=share < 0.5)


async def glances(world: World, after_s: float = 0.2) -> dict[str, Any]:
    """A part of a second passes, and a glance."""
    world.time.move(after_s)
    assert world.controller is not None
    await world.controller.glance()
    await world.settled()
    return world.first


async def test_an_outage_is_over_before_its_second_is(world: World) -> None:
    """Broken: clients meet a dead version for a second longer than they have to."""
    for _ in range(2):
        assert (await world.second(requests=20))["phase"] != "Aborted"
    world.time.move(0.6)  # T + 0.66; what is served now came half a second ago
    assert (await glances(world))["phase"] == "Paused"
    outage(world, failures=12)
    route = await glances(world)
    assert (route["phase"], route["decidedBy"]) == ("Aborted", "breaker"), route["reason"]
    assert re.search(r"% of the candidate's last \d+ requests failed", route["reason"])
    assert all(segment.arm == 0 for segment in world.workers[0].snapshot.routes[0].segments), "pushed at once"


async def test_a_glance_that_goes_wrong_ends_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: what nobody foresaw of one route ends the controller, and the next one meets it again at once."""

    def bug(subject: object) -> list[Track]:
        raise ZeroDivisionError("a bug")

    await world.second()
    monkeypatch.setattr(glance, "_tracks", bug)
    outage(world, failures=12)
    assert (await glances(world))["error"] == "ZeroDivisionError: a bug"
    monkeypatch.undo()
    route = await world.until("Aborted", fail={"v2": 1})
    assert (route["phase"], route["error"]) == ("Aborted", ""), "the tick finds it"


async def test_after_a_calm_an_alarm_begins_where_a_glance_sees_its_failures(world: World) -> None:
    """Broken: after a calm a dead version is kept for one second more, since failures of its first second do not count;
    or what was decided cannot be derived again, in this configuration or in another."""
    for _ in range(2):
        assert (await world.second(requests=400))["phase"] != "Aborted"
    assert world.controller is not None
    (subject,) = world.controller._plane.subjects.values()
    (track,) = [track for track in subject.tracks if track.judged]
    assert not track.cuts
    world.time.move(0.55)  # what is served now came half a second ago
    outage(world, failures=2)
    assert (await glances(world, 0.1))["phase"] == "Paused"
    ((moment, cut),) = track.cuts.items()
    assert (cut.candidate.met, cut.candidate.failed, cut.candidate.in_flight) == (2, 2, 0)
    outage(world, failures=10)
    route = await glances(world, 0.1)
    assert (route["phase"], route["decidedBy"]) == ("Aborted", "breaker"), route["reason"]
    assert moment == int(world.time.monotonic_s), "within one second"
    found = await world.controller.records.why("r", None)
    assert found is not None
    assert (found["agrees"], found["verdict"]["decidedBy"]) == (True, "breaker")
    answer = tried(await recorded(world), world.config)
    assert (answer["replayed"]["phase"], answer["replayed"]["decidedBy"]) == ("Aborted", "breaker")


async def test_the_moment_of_an_alarm_is_kept_with_its_slice(world: World) -> None:
    """Broken: the tick that reads the second begins the alarm with the next one, and glances have told otherwise."""
    for _ in range(2):
        await world.second(requests=400)
    assert world.controller is not None
    (subject,) = world.controller._plane.subjects.values()
    (track,) = [track for track in subject.tracks if track.judged]
    world.time.move(0.55)  # what is served now came half a second ago
    outage(world, failures=2)
    assert (await glances(world, 0.1))["phase"] == "Paused"
    outage(world, failures=3)
    assert (await glances(world, 0.1))["phase"] == "Paused", "three failures are too few"
    assert len(track.cuts) == 1
    await world.second(busy=False)
    assert not track.cuts, "it is read"
    breaker = subject.collected.judge._breaker  # type: ignore[union-attr]
    assert breaker is not None
    assert breaker.state()["wealth"].max() > np.log(0.05 * 4.5**3), "the three are evidence"


async def test_what_a_glance_decides_on_is_kept_and_derived_again(world: World) -> None:
    """Broken: nobody can show on what a version was aborted between two ticks."""
    for _ in range(2):
        await world.second(requests=20)
    world.time.move(0.6)
    outage(world, failures=12)
    ended = await glances(world)
    assert ended["phase"] == "Aborted"
    await world.kill()
    await world.start()
    assert world.controller is not None
    found = await world.controller.records.why("r", None)
    assert found is not None
    assert (found["agrees"], found["verdict"]["decidedBy"], found["verdict"]["reason"]) == (
        True,
        "breaker",
        ended["reason"],
    )


async def test_without_a_candidate_that_clients_meet_nothing_is_watched(tmp_path: Path) -> None:
    """Broken: every proxy without a rollout wakes up five times a second for nothing."""
    world = World(tmp_path, config({"setMirror": {"percent": 100}}, {"pause": {}}, *FIVE))
    await world.start()
    assert world.controller is not None
    assert not world.controller._plane.is_watched, "there are copies alone"
    await world.controller.act("r", "promote", "ann")
    assert world.controller._plane.is_watched
    await world.controller.act("r", "abort", "ann")
    assert not world.controller._plane.is_watched
    await world.close()


async def test_a_glance_while_the_store_is_away_decides_when_it_is_back(world: World) -> None:
    """Broken: a version is taken back by a decision that nobody keeps, or what a glance has seen is lost."""
    for _ in range(2):
        await world.second(requests=20)
    world.time.move(0.6)
    outage(world, failures=12)
    break_store(world)
    assert (await glances(world))["phase"] == "Paused"
    mend_store(world)
    assert (await world.second(requests=20))["phase"] == "Aborted"


async def test_an_outage_does_not_wait_for_the_next_look(tmp_path: Path) -> None:
    """Broken: with an interval of a minute a dead version is kept for a minute, or the failures that aborted it are not
    recorded, and it is told that it would have gone on."""
    world = World(tmp_path, other(FIVE, interval="1m", block="2m"))
    await world.start()
    for _ in range(2):
        await world.second(requests=20)
    world.time.move(0.6)
    outage(world, failures=12)
    assert (await glances(world))["phase"] == "Aborted"
    answer = tried(await recorded(world), world.config)
    assert (answer["replayed"]["phase"], answer["replayed"]["decidedBy"]) == ("Aborted", "breaker")
    assert answer["replayed"]["seconds"] < 30
    await world.close()


async def test_a_candidate_of_which_nothing_is_well_any_more_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: a version that is gone keeps its users for as long as no request of them happens to come."""

    async def unanswered(*_: object) -> str:
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(health, "_ask", unanswered)
    document = config(*FIVE)
    document["backends"][1]["healthCheck"] = {"path": "/", "interval": "10m"}
    world = World(tmp_path, document)
    await world.start()
    assert world.controller is not None
    assert (await world.second(busy=False))["phase"] == "Paused"
    checks = world.controller._checks
    ((key, probe),) = checks._probes.items()
    for answer in ("", "connection refused", "connection refused", "connection refused"):
        assert (await world.second(busy=False))["phase"] == "Paused"
        checks._note(key, probe.question.check, answer)
    route = await world.second(busy=False)
    assert (route["phase"], route["decidedBy"]) == ("Aborted", "health")
    assert route["reason"] == "no endpoint of v2 is well: http://127.0.0.1:9002: connection refused"
    await world.close()


async def test_what_the_health_checks_decided_can_be_decided_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: the journal has an abort that follows from nothing, and the same file promotes that version in a
    backtest."""

    async def unanswered(*_: object) -> str:
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(health, "_ask", unanswered)
    document = other([{"setWeight": 20}, {"analysis": {}}], minDuration="1m")
    document["backends"][1]["healthCheck"] = {"path": "/", "interval": "10m"}
    async with playing(tmp_path, document) as world:
        assert world.controller is not None
        checks = world.controller._checks
        ((key, probe),) = checks._probes.items()
        await world.until("Progressing")
        for answer in ("", "connection refused", "connection refused", "connection refused"):
            assert (await world.second())["phase"] == "Progressing"
            checks._note(key, probe.question.check, answer)
        route = await world.second()
        assert (route["phase"], route["decidedBy"]) == ("Aborted", "health")
        records = world.controller.records
        entry = (await records.history("r", 1, None))[0]
        why = "no endpoint of v2 is well: http://127.0.0.1:9002: connection refused"
        assert (entry["kind"], entry["details"]["unwell"]) == ("abort", {"v2": why})
        found = await records.why("r", entry["id"])
        assert (found["agrees"], found["derived"]["abort"]) == (True, False)
        assert found["note"] == f"decided by the health checks, beside the evidence: {why}"
        shown = Console(width=200, record=True, file=io.StringIO())
        shown.print(retold.why(found))
        assert "decided by the health checks, beside the evidence" in shown.export_text()
        source = await recorded(world)
        again = tried(source, document)
        for key in ("phase", "verdict", "decidedBy", "reason"):
            assert again["replayed"][key] == again["recorded"][key], key
        (abort,) = [moment for moment in again["replayed"]["moments"] if moment["kind"] == "abort"]
        assert (abort["at"], abort["text"]) == (entry["at"], entry["text"])
        copies = tried(source, other([{"setMirror": {"percent": 100}}, {"analysis": {}}, {"setWeight": 20}]))
        assert copies["replayed"]["decidedBy"] != "health", "while it has copies alone it may come back"
