"""A store that fails under a rollout: traffic flows, the rollout stands still, it is said, and nothing is lost."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import resource
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from proxy.control.storage.recording import decode
from tests.support import postgres
from tests.support.load import Load
from tests.support.system import canary, fetch, models, understudy, wait_for

pytestmark = [pytest.mark.system, pytest.mark.slow]

STAGE_S = 4.0
STEPS = [{"setWeight": 20}, {"analysis": {"duration": f"{STAGE_S:g}s"}}, {"setWeight": 50}, {"analysis": {}}]
METRICS = [{"name": "errors", "maxIncrease": "5pp"}]


@contextlib.contextmanager
def no_more_room(system) -> Iterator[None]:
    """No file of the controller may grow: what a full disk or a quota does."""
    (controller,) = system.pids("controller")
    size = max(path.stat().st_size for path in system.folder.glob("understudy.db*"))
    _, hard = resource.prlimit(controller, resource.RLIMIT_FSIZE)
    resource.prlimit(controller, resource.RLIMIT_FSIZE, (size, hard))
    yield
    resource.prlimit(controller, resource.RLIMIT_FSIZE, (hard, hard))


@contextlib.contextmanager
def held_by_another(system) -> Iterator[None]:
    """Somebody's transaction that does not end."""
    with contextlib.closing(sqlite3.connect(system.folder / "understudy.db", isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")


async def stands_still_and_heals(system, fault, says: str) -> None:
    """The whole of it: before, meanwhile, and after."""
    async with Load(system.port, rate=200) as load:
        await asyncio.to_thread(wait_for, "evidence", lambda: system.route()["phase"] == "Progressing")
        with fault:
            error = await asyncio.to_thread(wait_for, "the error", lambda: system.get("/status")["store"]["error"])
            assert says in error
            before, answered = system.route(), load.tally.statuses[200]

            def overdue() -> bool:
                return (
                    time.time() > before["stageStartedAt"] + STAGE_S + 2.0 and load.tally.statuses[200] > answered + 100
                )

            await asyncio.to_thread(wait_for, "traffic until the next step is two seconds late", overdue)
            after = system.route()
            for fact in ("phase", "step", "stage", "weight", "startedAt"):
                assert after[fact] == before[fact], "a rollout moves that cannot be kept"
            status, problem = await asyncio.to_thread(
                fetch, f"{system.admin}/api/v1/routes/m/abort", "POST", b"{}", 60.0
            )
            assert (status, problem["type"]) == (503, "urn:understudy:problem:store")
            assert "nothing has changed" in problem["detail"]
            assert "understudy_store_available 0.0" in fetch(f"{system.admin}/metrics")[1]
            assert "the store fails: traffic flows on, rollouts stand still" in system.log.read_text()
            assert system.route()["phase"] == before["phase"]
        phase = await asyncio.to_thread(system.wait_phase, "Succeeded", "Aborted", "Failed")
    route = system.route()
    assert (phase, route["verdict"]) == ("Succeeded", "Successful"), route["reason"]
    assert route["startedAt"] == before["startedAt"], "the rollout began anew"
    assert system.get("/status")["store"]["error"] is None
    assert "the store works again" in system.log.read_text()
    assert (load.tally.failed, load.tally.broken) == (0, 0), load.tally.problems
    assert system.get("/journal/verify")["holds"]
    assert gaps(system) == [], "what was judged meanwhile was not kept"


def gaps(system) -> list[float]:
    """Seconds of the rollout of which no slice is recorded, stage by stage."""
    (run,) = system.get("/routes/m/recordings")["runs"]
    rows = system.get(f"/routes/m/recordings/{run['run']}")["rows"]
    stages: dict[int, list[float]] = {}
    for row in rows:
        for looked in decode(base64.b64decode(row["data"])):
            stages.setdefault(looked.slice.stage, []).append(looked.slice.at_s)
    assert {1, 2} <= set(stages)
    return [b for seconds in stages.values() for a, b in pairwise(seconds) if b - a != 1]


@pytest.mark.parametrize(
    ("fault", "says"), [(no_more_room, "disk"), (held_by_another, "locked")], ids=["full", "locked"]
)
async def test_a_store_that_cannot_be_written(tmp_path, fault, says):
    """If this fails, a full disk or a lock stops traffic, loses evidence, or a rollout runs away from its record."""
    with models("v1", "v2") as (v1, v2), understudy(tmp_path, canary(v1, v2, STEPS, METRICS)) as system:
        await stands_still_and_heals(system, fault(system), says)


@pytest.fixture
def server() -> Iterator[postgres.Postgres]:
    with postgres.running() as server:
        yield server


async def test_a_database_that_is_away(tmp_path, server):
    """If this fails, a restart of PostgreSQL stops traffic, or the rollout after it."""

    @contextlib.contextmanager
    def away(server) -> Iterator[None]:
        server.stop()
        yield
        server.launch()

    with models("v1", "v2") as (v1, v2):
        url = await asyncio.to_thread(server.database)
        config = canary(v1, v2, STEPS, METRICS) | {"store": {"url": url, "instance": "eu-1"}}
        with understudy(tmp_path, config) as system:
            await stands_still_and_heals(system, away(server), "cannot")
            assert system.get("/status")["store"]["instance"] == "eu-1"


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A disk of 4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk; a limit on files stands for it")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


async def test_a_disk_that_is_full(tmp_path, disk):
    """If this fails, a disk without a byte left is another case than a limit on files."""
    with models("v1", "v2") as (v1, v2):
        config = canary(v1, v2, STEPS, METRICS) | {"store": {"url": f"sqlite:///{disk}/understudy.db"}}
        with understudy(tmp_path, config) as system:
            await stands_still_and_heals(system, no_byte_left(disk), "disk is full")


@contextlib.contextmanager
def no_byte_left(disk: Path) -> Iterator[None]:
    """Somebody else's file takes all that there is."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    yield
    ballast.unlink()


async def test_a_damaged_store_and_its_backup(tmp_path):
    """If this fails, a damaged file stops traffic, is written on, or a backup cannot be put in its place."""
    with models("v1", "v2") as (v1, v2):
        config = canary(v1, v2, [{"setWeight": 30}, {"pause": {}}], METRICS)
        with understudy(tmp_path, config) as system:
            await Load(system.port).send(500)
            before = wait_for("the gate", lambda: r if (r := system.route())["phase"] == "Paused" else None)
            path, backup = tmp_path / "understudy.db", tmp_path / "backup.db"
            with contextlib.closing(sqlite3.connect(path)) as db, contextlib.closing(sqlite3.connect(backup)) as other:
                db.backup(other)
            (controller,) = system.pids("controller")
            system.kill("controller")
            damaged = backup.read_bytes()[:4096] + b"\x5a" * (backup.stat().st_size - 4096)
            for file in tmp_path.glob("understudy.db-*"):
                file.unlink()
            path.write_bytes(damaged)
            wait_for("another controller", lambda: system.pids("controller") not in ([], [controller]))
            error = wait_for("the error", lambda: (fetched(system) or {}).get("store", {}).get("error"))
            assert "it is damaged: restore a backup" in error
            tally = await Load(system.port).send(500)
            assert (tally.failed, tally.backends["v2"] > 0) == (0, True), "workers serve their last snapshot"
            assert path.read_bytes()[4096:] == damaged[4096:], "what is damaged is left alone"
            shutil.copyfile(backup, path)
            wait_for("the rollout", lambda: system.phase() == "Paused")
            route = system.route()
            assert {fact: route[fact] for fact in ("phase", "weight", "startedAt")} == {
                fact: before[fact] for fact in ("phase", "weight", "startedAt")
            }


def take_away(system) -> None:
    for file in system.folder.glob("understudy.db*"):
        file.unlink()


def put_a_backup_there(system) -> None:
    path, backup = system.folder / "understudy.db", system.folder / "backup.db"
    with contextlib.closing(sqlite3.connect(path)) as db, contextlib.closing(sqlite3.connect(backup)) as other:
        db.backup(other)
    assert fetch(f"{system.admin}/api/v1/routes/m/pause", "POST", b"{}")[0] == 200  # the backup does not have it
    backup.replace(path)


@pytest.mark.parametrize("lose", [take_away, put_a_backup_there])
async def test_a_store_that_is_taken_away_while_it_is_used(tmp_path, lose):
    """If this fails, an abort after somebody removed or replaced the file is lost with the next restart, and a bad
    version has users again."""
    with models("v1", "v2") as (v1, v2):
        config = canary(v1, v2, [{"setWeight": 30}, {"analysis": {"minSamples": 1_000_000}}], METRICS)
        with understudy(tmp_path, config) as system:
            async with Load(system.port, rate=100) as load:
                await asyncio.to_thread(wait_for, "evidence", lambda: system.route()["phase"] == "Progressing")
                await asyncio.to_thread(lose, system)
                before = system.route()
                said = await asyncio.to_thread(
                    wait_for,
                    "another store",
                    lambda: [e for e in journal(system) if e["kind"] == "store"],
                )
                assert "the store fails: traffic flows on, rollouts stand still" in system.log.read_text()
                after = system.route()
                for fact in ("phase", "step", "stage", "weight", "startedAt"):
                    assert after[fact] == before[fact]
                status, _ = await asyncio.to_thread(fetch, f"{system.admin}/api/v1/routes/m/abort", "POST", b"{}")
                assert status == 200
                (controller,) = system.pids("controller")
                system.kill("controller")
                await asyncio.to_thread(
                    wait_for, "another controller", lambda: system.pids("controller") not in ([], [controller])
                )
                await asyncio.to_thread(wait_for, "the status", lambda: fetched(system))
                await asyncio.to_thread(wait_for, "the rollout", lambda: system.route())
            route = system.route()
            assert (route["phase"], route["weight"], route["startedAt"]) == ("Aborted", 0, before["startedAt"])
            assert (load.tally.failed, load.tally.broken) == (0, 0), load.tally.problems
            assert system.get("/status")["store"]["error"] is None
            verified = system.get("/journal/verify")
            assert (verified["holds"], verified["begunAnew"]) == (True, said[0]["id"]), verified
            tally = await Load(system.port).send(200)
            assert set(tally.backends) == {"v1"}


def journal(system):
    """Its entries; none where it cannot be read in this moment."""
    status, body = fetch(f"{system.admin}/api/v1/journal")
    return body["entries"] if status == 200 else []


def fetched(system):
    """The status, None while the controller is away."""
    status, body = fetch(f"{system.admin}/api/v1/status", timeout_s=5)
    return body if status == 200 else None
