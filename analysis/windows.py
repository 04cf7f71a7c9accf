"""Windows: how long counts are gathered until they are compared. One slice, unless traffic is too thin for that.

A slice of few requests is little evidence: nC nS/(nC + nS), which any comparison lives on, is 0 where an arm is empty,
and w (1 - w)(n - 1) on average for n requests at a weight of w. So one request of each slice is lost, at any weight.
Where a slice holds FULL of them that is 5 %; at one request a second and slices of a second it would be two thirds of
all evidence, at one in ten seconds 95 %. So where the past brought fewer than FULL in a slice, slices are added up
until about as many are expected, within the block.

What may be added up: a stratum is any set of requests within which the assignment is random by one and the same weight,
and all slices of a stage are. How long a window is comes from past traffic alone, and is fixed when the window begins,
as are the thresholds, labels and alternatives that its requests are compared by; a stage, a weight or a block that
ends sooner ends the window too, and none of that looks at an answer. So whatever holds of a slice holds of a window.
What it costs: inside a window, and only there, arms are no longer compared second by second; what befell both versions
for some seconds of it may have met one of them more often, by chance. Requests, pairs and truths come at their own
pace, and have windows of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import expm1, floor, isnan
from typing import Any, Final

from analysis.memory import plain, revived
from analysis.summaries import ArmCounts, Grid, Slice, TruthCounts

FULL: Final = 20.0
"""Requests of both arms, or pairs, or truths, that a window is to hold."""
_MEMORY_PER_S: Final = 0.98
"""What is kept of past traffic from one second to the next: half is forgotten in 34 s."""
_PRESUMED_S: Final = 30.0
"""At first traffic is presumed to fill a slice of a second, as if that had been seen for so long."""
_EPSILON_S: Final = 1e-9


def kept(per_s: float, block_s: float) -> float:
    """The part of the evidence that windows keep of so many requests per second: n - 1 of n in each that has any.

    >>> [round(kept(per_s, 30.0), 2) for per_s in (0.1, 1.0, 10.0, 100.0)]
    [0.68, 0.95, 0.95, 0.99]
    """
    n = max(per_s, min(FULL, per_s * block_s))
    return 1 + expm1(-n) / n if n > 0 else 0.0


@dataclass(slots=True)
class Pace:
    """How fast something comes, and the window that is open for it."""

    n: float = FULL * _PRESUMED_S
    seconds: float = _PRESUMED_S
    length_s: float = 0.0
    open_s: float = 0.0
    """Of the open window; 0 where none is."""

    def ends(self, n: float, duration_s: float, left_s: float) -> bool:
        """Whether the window ends with a slice that brings so many.

        Args:
            left_s: what is left of the block, this slice included.
        """
        if not self.open_s:
            self.length_s = left_s / max(1, floor(left_s * self.n / self.seconds / FULL))
        memory = _MEMORY_PER_S**duration_s
        self.n, self.seconds = self.n * memory + n, self.seconds * memory + duration_s
        self.open_s += duration_s
        ended = self.open_s >= self.length_s - _EPSILON_S or duration_s >= left_s - _EPSILON_S
        if ended:
            self.open_s = 0.0
        return ended


@dataclass(slots=True)
class _Answers:
    """What both arms did with the requests of a window."""

    duration_s: float
    stable: ArmCounts
    candidate: ArmCounts

    def __add__(self, other: _Answers) -> _Answers:
        duration_s = self.duration_s + other.duration_s
        return _Answers(duration_s, self.stable + other.stable, self.candidate + other.candidate)


@dataclass(slots=True)
class _Told:
    """Truths of a window, by the stage of their predictions."""

    by_stage: dict[int, TruthCounts]

    def __add__(self, other: _Told) -> _Told:
        both = dict(self.by_stage)
        for stage, truths in other.by_stage.items():
            both[stage] = both[stage] + truths if stage in both else truths
        return _Told(both)


class Windows:
    """What is gathered and not yet compared. Two slices are never pooled over a change of stage or weight."""

    def __init__(self, grid: Grid) -> None:
        self._nothing = ArmCounts.empty(grid)
        self._paces = {"requests": Pace(), "pairs": Pace(), "truths": Pace()}
        self._open: dict[str, Any] = {}
        """The sums of the windows that are open and hold anything, by the names of the paces."""
        self._repeated = False
        """Whether the stable was ever asked twice. Else pairs are one sample, which loses nothing by being sliced."""
        self._of: tuple[int, float, float, bool] = (-1, 0.0, 0.0, False)
        """Stage, time, share and stickiness of the last slice that is gathered."""

    def are_broken_by(self, slice_: Slice) -> bool:
        """Whether windows are open that this slice may not enter."""
        stage, _, share, _ = self._of
        alike = share == slice_.share or (isnan(share) and isnan(slice_.share))
        return bool(self._open) and (stage != slice_.stage or not alike)

    def flush(self) -> Slice:
        """End what is open, and answer it."""
        stage, at_s, share, sticky = self._of
        window = self._window(
            Slice(stage, at_s, 0.0, share, self._nothing, self._nothing, None, None, sticky), self._open
        )
        self._open = {}
        for pace in self._paces.values():
            pace.open_s = 0.0
        return window

    def take(self, slice_: Slice, left_s: float) -> Slice:
        """The sums of the windows that end with this slice, and nothing of the others.

        Args:
            left_s: what is left of the block, this slice included.
        """
        found: dict[str, Any] = {}
        alone = True
        for name, (n, part) in self._parts(slice_).items():
            before = self._open.pop(name, None)
            whole = part if before is None else before if part is None else before + part
            ended = self._paces[name].ends(n, slice_.duration_s, left_s) or (name == "pairs" and not self._repeated)
            alone &= before is None
            if whole is not None:
                (found if ended else self._open)[name] = whole
        self._repeated |= slice_.pairs is not None and bool(slice_.pairs.repeated)
        if not self._open and alone:
            return slice_
        self._of = slice_.stage, float(slice_.at_s), float(slice_.share), slice_.sticky
        return self._window(slice_, found)

    def _parts(self, slice_: Slice) -> dict[str, tuple[float, Any]]:
        """How much a slice brings to each kind of window, and what."""
        pairs, told = slice_.pairs, {each.stage: each for each in slice_.truths}
        return {
            "requests": (
                slice_.stable.answered + slice_.candidate.answered,
                _Answers(slice_.duration_s, slice_.stable, slice_.candidate),
            ),
            "pairs": (0.0 if pairs is None else pairs.compared, pairs),
            "truths": (
                sum(each.stable.told + each.candidate.told for each in slice_.truths),
                _Told(told) if told else None,
            ),
        }

    def _window(self, slice_: Slice, parts: Mapping[str, Any]) -> Slice:
        """A slice with these parts, and nothing in the place of the others."""
        answers: _Answers = parts.get("requests") or _Answers(0.0, self._nothing, self._nothing)
        told: _Told = parts.get("truths") or _Told({})
        return replace(
            slice_,
            duration_s=answers.duration_s,
            stable=answers.stable,
            candidate=answers.candidate,
            pairs=parts.get("pairs"),
            truths=tuple(told.by_stage.values()),
        )

    def notes(self) -> object:
        """All that changes, as JSON takes it."""
        return plain((self._paces, self._open, self._repeated, self._of))

    def recall(self, notes: object) -> None:
        """Take back what `notes` gave."""
        self._paces, self._open, self._repeated, self._of = revived(notes, Pace, _Answers, _Told)
