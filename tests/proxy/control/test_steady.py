"""Steps of the wall's clock: told once, and no span is longer or shorter for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from proxy.control.machine import rollout, steps
from proxy.control.machine.rollout import Phase, State
from proxy.control.machine.state import Away
from proxy.control.steady import STEP_S, Steady
from tests.proxy.control.machine.test_rollout import ONE, in_phase, plan, seen
from tests.support.control_plane import EPOCH_S, STEPS, World, config

DAY_S = 86_400.0


class Clocks:
    """The two of them."""

    def __init__(self) -> None:
        self.wall_s, self.monotonic_s = EPOCH_S, 50.0

    def steady(self) -> Steady:
        return Steady(lambda: self.wall_s, lambda: self.monotonic_s)


@pytest.mark.parametrize("step_s", [3600.0, -3600.0, 400 * DAY_S])
def test_a_step_moves_nothing_and_is_told_once(step_s: float) -> None:
    """Whoever measures by it would see time that has not passed, and nobody would know why dates are off."""
    clocks = Clocks()
    now = clocks.steady()
    clocks.wall_s += step_s
    clocks.monotonic_s += 7.0
    with capture_logs() as told:
        assert [now(), now()] == [EPOCH_S + 7.0] * 2
    assert [line["off_s"] for line in told] == [step_s - 7.0]
    with capture_logs() as told:
        clocks.wall_s -= step_s - 7.0
        assert now() == EPOCH_S + 7.0
    assert [line["off_s"] for line in told] == [0.0], "back again"


def test_small_corrections_are_no_news() -> None:
    """The log would fill with what is ordinary; or a clock that is corrected bit by bit would go off unsaid."""
    clocks = Clocks()
    now = clocks.steady()
    with capture_logs() as told:
        for _ in range(2):
            clocks.wall_s += STEP_S * 0.6
            now()
    assert len(told) == 1


# --- a bake that nobody watched


def baking() -> tuple[rollout.Plan, State]:
    """It has baked for 20 of 60 s at 100 s, when it was looked at last."""
    p = plan(*ONE, bake=steps.Bake(60.0, 0))
    _, state = in_phase(Phase.BAKING)
    state = rollout.adopt(p, state, 80.0)[0]
    return p, rollout.replace(state, step_started_s=80.0)


@pytest.mark.parametrize("away_s", [1000.0, -3600.0])
def test_a_bake_counts_what_was_watched(away_s: float) -> None:
    """An outage of a day, or a clock that was set meanwhile, would end the bake of a version that nobody has looked
    at, or have it bake for days."""
    p, state = baking()
    back_s = 100.0 + away_s
    after, actions = rollout.adopt(p, state, back_s, Away(away_s))
    assert after.phase is Phase.BAKING
    assert len(actions) == 1, "it is said, and kept"
    fine = seen(after.stage)
    assert rollout.step(p, after, fine, back_s + 39.0)[0].phase is Phase.BAKING
    assert rollout.step(p, after, fine, back_s + 40.0)[0].phase is Phase.SUCCEEDED
    assert rollout.adopt(p, after, back_s) == (after, ())


def test_a_short_absence_and_a_pause_are_what_they_were() -> None:
    """Each restart would lengthen a bake, though its slices are judged after all; or a pause would begin anew."""
    p, state = baking()
    assert rollout.adopt(p, state, 110.0, Away(10.0)) == (state, ())
    paused = plan(steps.SetWeight(100_000), steps.Pause(30.0), *ONE[1:])
    waits = rollout.begin(paused, 0.0)[0]
    assert rollout.adopt(paused, waits, 1000.0, Away(1000.0)) == (waits, ())


# --- a whole controller


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path, config({"setWeight": 20}, {"pause": {"duration": "5m"}}, *STEPS[1:]))
    await world.start()
    yield world
    await world.close()


async def test_no_gate_ends_by_a_step(world: World) -> None:
    """A pause of minutes would be over when somebody sets the clock, and a rollout undecided within a day that
    has not passed."""
    await world.until("Paused")
    for step_s in (3600.0, 400 * DAY_S, -400 * DAY_S):
        world.time.wall_s += step_s
        for _ in range(3):
            assert (await world.second())["phase"] == "Paused"
    for _ in range(2):  # a controller that dies takes the new time, and nothing is over by that
        await world.second()
        await world.kill()
        await world.start()
        assert (await world.second())["phase"] == "Paused"
    assert world.controller is not None
    said = [entry["text"] for entry in await world.controller.records.history("r", 100, None)]
    assert said[0] == "the clock was set by +3600 s, or the machine suspended: what goes on lasts as long as before"
    assert len([text for text in said if "clock was set" in text]) == 1
    world.time.move(300.0)
    assert (await world.until("Progressing", seconds=5))["phase"] == "Progressing"
    assert world.controller is not None
    dates = [entry["at"] for entry in await world.controller.records.history("r", 100, None)]
    assert dates == sorted(dates, reverse=True)
    assert dates[0] - dates[-1] < 3600.0 + 2000.0


@pytest.mark.parametrize("reboots", [False, True], ids=["kill", "reboot"])
async def test_no_bake_ends_unwatched(world: World, reboots: bool) -> None:
    """The journal would say that nothing was found in ten minutes of which nobody has watched one."""
    edited: dict[str, Any] = config(*STEPS[:2])
    edited["routes"][0]["strategy"]["canary"]["bake"] = "10m"
    world.write(edited)
    assert world.controller is not None
    assert (await world.controller.reload("ann"))["ok"]
    await world.until("Baking")
    world.time.wall_s += 3600.0
    for _ in range(5):
        assert (await world.second())["phase"] == "Baking"
    if reboots:
        await world.reboot()
        world.time.monotonic_s = 50.0
    else:
        await world.kill()
    world.time.move(1200.0)
    for _ in range(2):
        await world.start()
        for _ in range(5):
            assert (await world.second())["phase"] == "Baking"
        await world.kill()
    await world.start()
    world.time.move(590.0)
    assert (await world.until("Succeeded", seconds=60))["phase"] == "Succeeded"
    said = [entry["text"] for entry in await world.controller.records.history("r", 100, None)]
    assert sum("nobody watched for" in text for text in said) == 1
