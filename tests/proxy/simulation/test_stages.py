"""Which stage a record belongs to, and which one may promote."""

from __future__ import annotations

from math import isnan
from typing import Any

import pytest

from proxy.control.machine.rollout import Phase, begin
from proxy.control.machine.steps import Analysis, Followed, Pause, Plan, SetMirror, SetWeight
from proxy.simulation.records import Record
from proxy.simulation.stages import Setting, Stages, follow, followed, settings
from proxy.snapshot import CIRCLE

LOOK = Analysis(None, None)
STEPS = (SetWeight(50_000), LOOK, SetWeight(250_000), Pause(60.0), SetWeight(500_000), Analysis(7, None))
MIRRORED = (SetMirror(CIRCLE), LOOK, *STEPS)


def record(stage: int | None = None, weight: float | None = None) -> Record[Any]:
    return Record(t=1.0, backend="v1", stage=stage, weight=weight)


def plan(*steps: Any) -> Plan:
    return Plan("r", "v1", "v2", "d", "p", steps, 100, 60.0, 600.0, "pause")


def test_settings_are_the_stages_of_the_steps() -> None:
    """Broken: the file would name another stage as its last one."""
    assert settings(STEPS) == [Setting(50_000, 0), Setting(250_000, 0), Setting(500_000, 0)]
    assert settings(MIRRORED)[0] == Setting(0, CIRCLE)
    assert settings((SetWeight(10), SetWeight(20), Analysis(None, None))) == [Setting(20, 0)]


@pytest.mark.parametrize(
    ("steps", "last", "told", "due"),
    [
        (STEPS, None, [(0, 5.0), (1, 25.0), (2, 50.0)], [False, False, True]),
        (STEPS, None, [(1, 5.0), (2, 25.0), (3, 50.0)], [False, False, True]),  # as live rollouts count
        (MIRRORED, None, [(1, 5.0), (2, 25.0), (3, 50.0)], [False, False, True]),
        (STEPS, None, [(0, None), (1, None), (2, None)], [False, False, True]),
        (STEPS, None, [(1, None), (2, None), (3, None)], [False, False, True]),
        (STEPS, None, [(None, 5.0), (None, 25.0), (None, 50.0)], [False, False, True]),
        (STEPS, None, [(0, 1.0), (1, 10.0), (2, 20.0)], [False, False, True]),  # weights that the file does not have
        (STEPS, None, [(2, 5.0)], [False]),
        (STEPS, 1, [(0, 5.0), (1, 25.0), (2, 50.0)], [False, True, False]),
    ],
)
def test_the_last_stage_is_named_by_option_weight_or_number(
    steps: Any, last: int | None, told: list[tuple[int | None, float | None]], due: list[bool]
) -> None:
    """Broken: a candidate would be promoted at a small weight, or never."""
    stages = Stages(steps, last)
    assert [stages.begin(record(*each)).is_last for each in told] == due


def test_a_number_that_an_earlier_stage_had_is_not_used_again() -> None:
    """Broken: the judge would take two stages for one, and pool them."""
    stages = Stages(STEPS, None)
    numbers = [stages.begin(record(*each)).number for each in ((0, 5.0), (1, 25.0), (0, 5.0))]
    assert numbers == [0, 1, 2]
    assert Stages(STEPS, None).begin(record(1, 5.0), taken=1).number == 2


def test_a_weight_that_is_not_told_is_that_of_the_file() -> None:
    """Broken: the split of such records would never be checked."""
    assert Stages(STEPS, None).begin(record(0)).share == 0.05
    assert isnan(Stages(STEPS, None).begin(record(9)).share)


def test_a_followed_rollout_stands_still_before_its_last_stage() -> None:
    """Broken: the machine would go on by itself while the records say where it is."""
    assert followed(plan(*STEPS), is_last=False).steps == (Followed(),)
    assert followed(plan(*STEPS), is_last=True).steps == (Analysis(7, None),)
    assert followed(plan(SetWeight(10), Pause(None)), is_last=True).steps == ()


def test_a_stage_of_the_records_is_the_stage_of_the_rollout() -> None:
    """Broken: samples would be counted for another stage than they came from."""
    state, _ = begin(plan(*STEPS), 0.0)
    stage = Stages(STEPS, None).begin(record(0, 5.0))
    after = follow(state, stage, 0, 9.0)
    assert (after.phase, after.stage, after.weight_ppm, after.stage_started_s) == (Phase.WAITING, 0, 50_000, 9.0)
    only_copies = follow(state, Stages(MIRRORED, None).begin(record(0, 0.0)), 0, 9.0)
    assert (only_copies.weight_ppm, only_copies.mirror_ppm) == (0, CIRCLE)
