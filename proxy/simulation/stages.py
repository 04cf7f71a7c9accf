"""Which stage a record belongs to, and which stage is the last. Pure.

Records say in which stage, and at which weight, they were assigned; a record that says neither is of the stage that
goes on. A new stage begins with its first record. Workers do not learn of a new stage at the same moment, so records
of the stage before still count as such for STRAGGLE_S.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import nan
from typing import Any, Final

from msgspec import UNSET

from proxy.control.machine import steps
from proxy.control.machine.rollout import Phase, State
from proxy.control.routing.cohorts import compared_share
from proxy.simulation.order import Second
from proxy.simulation.records import Record, RefusedError
from proxy.snapshot import CIRCLE

STRAGGLE_S: Final = 2
"""For so many seconds records of the stage before may follow the first one of a new stage."""
_PER_PERCENT: Final = CIRCLE // 100


@dataclass(frozen=True, slots=True)
class Setting:
    """What one stage of the file's steps sets, in parts of a million."""

    weight_ppm: int
    mirror_ppm: int


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the records. `number` is theirs, unless an earlier stage had it: then the next free one.

    `weight` is in percent, None where neither the records nor the file tell it.
    """

    key: tuple[int | None, float | None]
    number: int
    weight: float | None
    is_last: bool

    @property
    def share(self) -> float:
        """The candidate's share, NaN where it is not known."""
        return nan if self.weight is None else self.weight / 100


def share_of(stage: Stage | None, racing: int, candidates: int) -> float:
    """A candidate's share of what it and stable have in a stage, NaN where it is not known.

    Where a candidate has left the race, nobody knows whether it was left out of the traffic that was recorded as well.
    """
    if stage is None or stage.weight is None or racing != candidates:
        return nan
    if candidates == 1:
        return stage.share
    return compared_share(round(stage.weight * _PER_PERCENT), baseline=False, racing=racing)


def key_of(record: Record[Any]) -> tuple[int | None, float | None] | None:
    """What tells the stage of a record: its number, or its weight; None where it says neither."""
    if record.stage is not None:
        return record.stage, None
    return None if record.weight is None else (None, record.weight)


def refuse_unweighted(route: str, second: Second) -> None:
    """The weights of a ramp follow the evidence: which one a request had is for its record to say.

    Raises:
        RefusedError: a record of a request says nothing of it.
    """
    for line, record in zip(second.lines, second.records, strict=True):
        if record.weight is None and record.backend is not None and record.truth is UNSET:
            message = f"weight: is missing, and route {route} has a ramp"
            raise RefusedError(int(line), message, "say in each record which weight the candidate had")


def settings(plan: tuple[steps.Step, ...]) -> list[Setting]:
    """What the steps set, stage by stage: a new one where weight or mirror change, as live."""
    found: list[Setting] = []
    weight_ppm = mirror_ppm = index = 0
    while index < len(plan):
        index, weight_ppm, mirror_ppm = steps.settle(plan, index, weight_ppm, mirror_ppm)
        here = plan[index] if index < len(plan) else None
        if isinstance(here, steps.Ramp):
            found += [Setting(rung, mirror_ppm) for rung in here.rungs]
            weight_ppm = here.top
        setting = Setting(weight_ppm, mirror_ppm)
        if (weight_ppm or mirror_ppm) and setting not in found[-1:]:
            found.append(setting)
        index += 1
    return found


class Stages:
    """The stages of the records so far. `last` is what --last-stage says."""

    def __init__(self, plan: Sequence[steps.Step], last: int | None) -> None:
        self.settings = settings(tuple(plan))
        self._last = last
        self._first: int | None = None
        self._numbers: set[int] = set()

    @property
    def mirror_ppm(self) -> int:
        """The largest part of the traffic that some step has copied."""
        return max((setting.mirror_ppm for setting in self.settings), default=0)

    def begin(self, record: Record[Any], taken: int | None = None) -> Stage:
        """The stage that begins with a record. `taken` is the number of a stage that the file's steps had before."""
        key = key_of(record)
        assert key is not None
        number = record.stage if record.stage is not None else max(self._numbers, default=-1) + 1
        if self._first is None:
            self._first = number
        weight = record.weight if record.weight is not None else self._weight_of(number)
        is_last = self._is_last(record, number)
        self._numbers |= set() if taken is None else {taken}
        if number in self._numbers:
            number = max(self._numbers) + 1
        self._numbers.add(number)
        return Stage(key, number, weight, is_last)

    def _is_last(self, record: Record[Any], number: int) -> bool:
        """By --last-stage; else by the weight, if the file has that weight; else by the number."""
        if self._last is not None:
            return number == self._last
        weights = [setting.weight_ppm for setting in self.settings]
        if record.weight is not None:
            weight_ppm = round(record.weight * _PER_PERCENT)
            if weight_ppm in weights:
                return weight_ppm == weights[-1]
        return self._place(number) == len(self.settings) - 1

    def _weight_of(self, number: int) -> float | None:
        place = self._place(number)
        return self.settings[place].weight_ppm / _PER_PERCENT if 0 <= place < len(self.settings) else None

    def _place(self, number: int) -> int:
        """Which of the file's settings a number means: records count from 0, or from 1 as live rollouts do."""
        return number - (1 if self._first else 0)


def followed(plan: steps.Plan, is_last: bool) -> steps.Plan:
    """The plan while stages come from the records: stand still; in the last one do what the file's last step asks."""
    gate = tuple(step for step in plan.steps[-1:] if isinstance(step, steps.Analysis))
    return replace(plan, steps=gate if is_last else (steps.Followed(),))


def follow(state: State, stage: Stage, mirror_ppm: int, now_s: float) -> State:
    """The rollout in a stage that the records begin, as if an operator had let it go on.

    A candidate whose share is not known gets the share 1 ppm: all that counts is that it has live traffic.
    """
    weight_ppm = 1 if stage.weight is None else round(stage.weight * _PER_PERCENT)
    waiting = state.phase is Phase.WAITING
    return replace(
        state,
        phase=Phase.WAITING if waiting else Phase.PROGRESSING,
        paused_by="",
        reason=state.reason if waiting else f"stage {stage.number} of the records",
        step=0,
        step_started_s=now_s,
        weight_ppm=weight_ppm,
        mirror_ppm=mirror_ppm if weight_ppm else CIRCLE,
        stage=stage.number,
        stage_started_s=now_s,
    )
