"""kill -9 of the controller at fifty random moments of a rollout: it ends as the one that nobody interrupted."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from proxy.control.storage.recording import decode
from proxy.control.storage.store import Store
from tests.support.control_plane import World, config
from tests.support.killed import Killed

pytestmark = [pytest.mark.system, pytest.mark.slow]

STEPS = [{"setWeight": 20}, {"analysis": {"duration": "15s"}}, {"setWeight": 35}, {"pause": {"duration": "8s"}},
         {"setWeight": 50}, {"analysis": {"duration": "15s"}}]  # fmt: skip
KILLS = 50
TICK_S = 0.04
"""What a tick takes at most, mostly: kills come within it, or within the start."""
SECONDS = 90

Make = Callable[[str], Killed]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    begun: list[Killed] = []

    def begin(name: str) -> Killed:
        (tmp_path / name).mkdir()
        begun.append(Killed(World(tmp_path / name, config(*STEPS))))
        return begun[-1]

    yield begin
    for killed in begun:
        await killed.kill()  # a test that fails leaves it
        await killed.world.close()


def place(route: dict[str, Any]) -> tuple[Any, ...]:
    """Where a rollout stands."""
    return route["phase"], route["verdict"], route["step"], route["stage"], route["weight"]


async def second(killed: Killed, fail: int) -> None:
    """A second of traffic, of which every `fail`-th request of the candidate fails after half a minute."""
    world = killed.world
    world.time.move(1.0)
    for worker in world.workers:
        worker.beat()
    late = world.time.monotonic_s > 10_030
    world.traffic(40, fail={"v2": fail} if fail and late else None)


async def whole(killed: Killed, fail: int) -> list[dict[str, Any]]:
    """The rollout that nobody interrupts, second by second."""
    seen = [await killed.start()]
    while seen[-1]["phase"] not in ("Succeeded", "Aborted"):
        assert len(seen) < SECONDS, place(seen[-1])
        await second(killed, fail)
        killed.tick()
        seen.append(await killed.answer())
        await killed.settled(seen[-1]["generation"])
    await killed.kill()
    return seen


async def interrupted(killed: Killed, fail: int, length: int, seed: int) -> tuple[list[dict[str, Any]], int]:
    """The rollout whose controllers are killed, and how many were."""
    chance = random.Random(seed)
    seconds = sorted(chance.randrange(1, length) for _ in range(KILLS))
    seen = [await killed.start()]
    kills = 0
    while seen[-1]["phase"] not in ("Succeeded", "Aborted"):
        assert len(seen) < SECONDS + KILLS, place(seen[-1])
        await second(killed, fail)
        killed.tick()
        for _ in range(seconds.count(len(seen) - kills)):
            await asyncio.sleep(chance.uniform(0, TICK_S))
            await killed.kill()
            kills += 1
            killed.begin()
            if chance.random() < 0.7:
                seen.append(await killed.answer())
                killed.tick()
            else:
                seen.append(seen[-1])  # it is killed while it starts, if at all
        seen.append(await killed.answer())
        await killed.settled(seen[-1]["generation"])
    await killed.kill()
    return seen, kills


async def kept(killed: Killed) -> tuple[list[tuple[str, str, float]], dict[tuple[int, float], list[float]]]:
    """The journal of the route, and what was counted in each slice that was recorded, by its stage and its time."""
    store = await Store.open(f"sqlite:///{killed.world.folder}/understudy.db")
    verified = await store.verify()
    assert verified.broken == 0, verified.reason
    entries = (await store.journal("r", 1000))[::-1]
    (run,) = await store.recordings("r")
    rows = await store.recorded("r", run.run, 0, 10_000)
    slices = {}
    for found in (looked.slice for _, row in rows for looked in decode(row.data)):
        assert (found.stage, found.at_s) not in slices, "a slice is judged twice"
        arms = (found.stable, found.candidate)
        slices[found.stage, found.at_s] = [count for arm in arms for count in (arm.answered, arm.failed)]
    await store.close()
    return [(entry.kind, entry.actor, entry.details["weight"]) for entry in entries], slices


@pytest.mark.parametrize(("fail", "phase"), [(0, "Succeeded"), (6, "Aborted")], ids=["good", "bad"])
async def test_fifty_kills_change_no_verdict(make: Make, fail: int, phase: str) -> None:
    """If broken, a crash loses state or evidence, doubles a decision, or ends a rollout otherwise."""
    reference = make("whole")
    expected = await whole(reference, fail)
    assert expected[-1]["phase"] == phase
    killed = make("killed")
    seen, kills = await interrupted(killed, fail, len(expected), seed=20_260 + fail)
    assert kills >= KILLS * 0.8
    possible = [place(route) for route in expected]
    at = 0
    for route in seen:
        assert place(route) in possible[max(0, at - 1) :], f"{place(route)} after {possible[at]}"
        at = max(at, possible.index(place(route)))
    assert place(seen[-1]) == place(expected[-1])
    assert seen[-1]["decidedBy"] == expected[-1]["decidedBy"]
    journal, slices = await kept(killed)
    expected_journal, expected_slices = await kept(reference)
    assert journal == expected_journal, "each decision once, in order"
    seconds, expected_seconds = (sorted({at_s for (_, at_s), counts in each.items() if any(counts)}) for each in
                                 (slices, expected_slices))  # fmt: skip
    both = min(len(seconds), len(expected_seconds))
    assert seconds[:both] == expected_seconds[:both], "a second of requests is left out"
    assert sum(counts[0] + counts[2] for counts in slices.values()) == 80 * len(seconds), "not each request once"
