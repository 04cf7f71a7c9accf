"""What the steps of a plan say, and where one waits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.control.machine.places import Rolling
from proxy.control.machine.steps import (
    Analysis,
    Confirm,
    Pause,
    Promotion,
    Replace,
    SetMirror,
    SetWeight,
    Smoke,
    Step,
    describe,
    is_last,
    percent,
    settle,
    ungated,
)
from tests.proxy.control.machine.test_rollout import plan


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (SetMirror(1_000_000), "set mirror 100 %"),
        (SetWeight(52_500), "set weight 5.25 %"),
        (SetWeight(1), "set weight 0.0001 %"),
        (Pause(None), "pause until an operator goes on"),
        (Pause(600.0), "pause for 600 s"),
        (Analysis(None, None), "analysis"),
        (Analysis(500, None), "analysis of 500 samples"),
        (Analysis(500, 1.5), "analysis of 500 samples for 1.5 s"),
        (Analysis(None, None, proof=True), "analysis until the candidate is proven"),
        (Replace(500_000, 1, 2), "replace endpoints, batch 1 of 2 (then 50 % are the candidate's)"),
        (Smoke(0), "check every endpoint of the candidate"),
        (Smoke(1), "check every endpoint of the candidate, 1 smoke request to each"),
        (Smoke(2), "check every endpoint of the candidate, 2 smoke requests to each"),
    ],
)
def test_steps_in_words(step: Step, text: str) -> None:
    """If broken, journal and reports tell another plan than the file."""
    assert describe(step) == text


def test_recorded_endpoints_are_weights() -> None:
    """If broken, a simulation waits for endpoints that records do not have, or gives stable nothing to compare with."""
    rolling = replace(
        plan(Confirm("pre-rollout"), Replace(500_000, 1, 2), Analysis(20, None, proof=True), Replace(1_000_000, 2, 2)),
        rolling=Rolling(("a", "b"), ("a", "b"), 1, 0, 1.0, 1.0), ending=Promotion(proof=False),
    )  # fmt: skip
    found = ungated(rolling)
    assert found.steps == (SetWeight(500_000), Analysis(20, None, proof=True))
    assert (found.rolling, found.ending) == (None, Promotion())


def test_percent() -> None:
    """If broken, weights are shown in the wrong unit."""
    assert [percent(ppm) for ppm in (0, 1, 333_333, 1_000_000)] == ["0 %", "0.0001 %", "33.3333 %", "100 %"]


@pytest.mark.parametrize(
    ("steps", "index", "settled"),
    [
        ((), 0, (0, 7, 8)),
        ((Pause(None), SetWeight(1)), 0, (0, 7, 8)),
        ((SetWeight(1), SetMirror(2), SetWeight(3), Pause(None)), 0, (3, 3, 2)),
        ((Pause(None), SetWeight(1)), 1, (2, 1, 8)),
    ],
)
def test_what_follows_each_other_is_set_at_once(
    steps: tuple[Step, ...], index: int, settled: tuple[int, int, int]
) -> None:
    """If broken, a weight and a mirror that belong together become two stages, or one of them is lost."""
    assert settle(steps, index, 7, 8) == settled


@pytest.mark.parametrize(
    ("steps", "gates"),
    [
        ((), [True]),
        ((Analysis(None, None),), [True, True]),
        ((Analysis(None, None), SetWeight(1)), [False, False, True]),
        ((SetWeight(1), Analysis(None, None), Pause(None)), [False, False, False, True]),
    ],
)
def test_only_the_last_analysis_decides(steps: tuple[Step, ...], gates: list[bool]) -> None:
    """If broken, a rollout is promoted before its last step, or can never be."""
    assert [is_last(steps, index) for index in range(len(steps) + 1)] == gates
