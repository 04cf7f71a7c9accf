"""What one look brings: the counts of one slice, for both arms. All of it merges by addition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf, nan
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

OTHER: Final = "(other)"
"""The label of all that has no name of its own."""
GROUPS: Final = 64
"""Hash groups of users, independent of the hash that assigns them."""
NUMBER_BUCKETS: Final = 64
RATIO_BUCKETS: Final = 256
RATIO_BASE: Final = 1.04

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Grid:
    """The latency buckets: bucket i holds [lowest_s * base**i, lowest_s * base**(i+1)), the ends what is beyond."""

    base: float = 1.01
    lowest_s: float = 1e-4
    buckets: int = 1620

    def quantile_s(self, counts: FloatArray, quantile: float, beyond: float = 0.0) -> float:
        """A quantile at the geometric middle of its bucket, so exact to half of it (0.5 %); infinite where it is among
        `beyond` more, which are above all buckets, and NaN where nothing was counted.

        >>> round(Grid().quantile_s(np.bincount([600, 600, 700], minlength=1620).astype(float), 0.5), 6)
        0.039354
        """
        below = np.cumsum(counts)
        total = float(below[-1]) + beyond
        if not total:
            return nan
        bucket = int(np.searchsorted(below, quantile * total))
        return inf if bucket >= self.buckets else float(self.lowest_s * self.base ** (bucket + 0.5))


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, sum and sum of squares of a number."""

    n: float
    total: float
    squares: float

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.n + other.n, self.total + other.total, self.squares + other.squares)

    @property
    def scatter(self) -> float:
        """Sum of squared distances from the mean; 0 where rounding is all there is.

        >>> Moments(3.0, 6.0, 14.0).scatter
        2.0
        """
        if self.n < 2:
            return 0.0
        scatter = self.squares - self.total * self.total / self.n
        return scatter if scatter > 1e-12 * self.squares else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class ArmCounts:
    """What one arm did with the requests that arrived in a slice."""

    assigned: float
    """Requests that arrived."""
    recorded: float
    """Of them, those with a known outcome, on time."""
    answered: float
    """What the error rate is of: on time, and late finishes during the slice."""
    failed: float
    latency: FloatArray
    """By bucket of the grid: on time, and what was in flight when the slice closed at the bucket of its age."""
    labels: Mapping[str, Mapping[str, float]]
    """By output, by label; what has no name is OTHER."""
    numbers: Mapping[str, Moments]
    histograms: Mapping[str, FloatArray]
    group_n: FloatArray
    """Requests by hash group of the user; zeros where users are not known."""
    group_failed: FloatArray
    missing: Mapping[str, float]
    invalid: Mapping[str, float]
    clipped: Mapping[str, float]

    @classmethod
    def empty(cls, grid: Grid) -> ArmCounts:
        """An arm that nothing happened to."""
        nothing = np.zeros(GROUPS)
        return cls(0.0, 0.0, 0.0, 0.0, np.zeros(grid.buckets), {}, {}, {}, nothing, nothing.copy(), {}, {}, {})

    def __add__(self, other: ArmCounts) -> ArmCounts:
        outputs = {*self.labels, *other.labels}
        return ArmCounts(
            assigned=self.assigned + other.assigned,
            recorded=self.recorded + other.recorded,
            answered=self.answered + other.answered,
            failed=self.failed + other.failed,
            latency=self.latency + other.latency,
            labels={name: _merged(self.labels.get(name, {}), other.labels.get(name, {})) for name in sorted(outputs)},
            numbers=_joined(self.numbers, other.numbers),
            histograms=_joined(self.histograms, other.histograms),
            group_n=self.group_n + other.group_n,
            group_failed=self.group_failed + other.group_failed,
            missing=_merged(self.missing, other.missing),
            invalid=_merged(self.invalid, other.invalid),
            clipped=_merged(self.clipped, other.clipped),
        )


@dataclass(frozen=True, slots=True, eq=False)
class GroupCounts:
    """What one arm did, by hash group of the user: all of its stage so far. Groups are the last axis everywhere."""

    latency: FloatArray
    """[buckets, GROUPS], in any buckets that follow each other; they need not be those of the grid."""
    labels: Mapping[str, Mapping[str, FloatArray]]
    """By output, by label."""
    numbers: Mapping[str, FloatArray]
    """By output, [2, GROUPS]: count and sum."""

    def __add__(self, other: GroupCounts) -> GroupCounts:
        outputs = sorted({*self.labels, *other.labels})
        return GroupCounts(
            self.latency + other.latency,
            {name: _joined(self.labels.get(name, {}), other.labels.get(name, {})) for name in outputs},
            _joined(self.numbers, other.numbers),
        )


class Repeats(NamedTuple):
    """Requests that stable was asked twice and the candidate once, by which answers differ from the stable's first.

    The four counts are of requests where all three answers had the output.
    """

    n: float = 0.0
    candidate: float = 0.0
    """The candidate's alone differs."""
    stable: float = 0.0
    """The stable's second alone differs."""
    both: float = 0.0

    def __add__(self, other: tuple[float, ...]) -> Repeats:  # type: ignore[override]  # counts add, by place
        return Repeats(*(mine + others for mine, others in zip(self, other, strict=True)))


@dataclass(frozen=True, slots=True, eq=False)
class PairCounts:
    """What pairs (the stable's answer and the shadow's answer to one request) said in a slice."""

    compared: float
    disagreed: Mapping[str, tuple[float, float]]
    """By output: pairs where both gave the output, and those of them that differ."""
    ratio: FloatArray
    """Shadow latency over stable latency, base 1.04, bucket 128 starts at 1."""
    repeated: Mapping[str, Repeats] = field(default_factory=dict)
    """By output, those of the pairs for whose request the stable was asked a second time."""

    def __add__(self, other: PairCounts) -> PairCounts:
        none = (0.0, 0.0)
        sums = {}
        for output in sorted({*self.disagreed, *other.disagreed}):
            (n, x), (more, worse) = self.disagreed.get(output, none), other.disagreed.get(output, none)
            sums[output] = n + more, x + worse
        repeated = _joined(self.repeated, other.repeated)
        return PairCounts(self.compared + other.compared, sums, self.ratio + other.ratio, repeated)


@dataclass(frozen=True, slots=True, eq=False)
class ArmTruths:
    """What the truth said of one arm's predictions of one stage."""

    n: float = 0.0
    """Predictions that are known to be right or wrong."""
    wrong: float = 0.0
    loss: Moments = Moments(0.0, 0.0, 0.0)
    """Of the log-loss (`analysis.feedback.log_loss`), where the probability of what turned out true is known."""
    group_n: FloatArray = field(default_factory=lambda: np.zeros(GROUPS))
    """Of `n`, by hash group of the user; zeros where users are not known."""
    group_wrong: FloatArray = field(default_factory=lambda: np.zeros(GROUPS))
    group_loss: FloatArray = field(default_factory=lambda: np.zeros((2, GROUPS)))
    """Count and sum of the log-loss."""

    @property
    def told(self) -> float:
        """Predictions of which something is known."""
        return max(self.n, self.loss.n)

    def __add__(self, other: ArmTruths) -> ArmTruths:
        return ArmTruths(
            self.n + other.n,
            self.wrong + other.wrong,
            self.loss + other.loss,
            self.group_n + other.group_n,
            self.group_wrong + other.group_wrong,
            self.group_loss + other.group_loss,
        )


@dataclass(frozen=True, slots=True, eq=False)
class TruthCounts:
    """Truths that arrived in a slice about the predictions of one stage.

    Arms are alike only within both: predictions of one stage were assigned by one weight, and truths that arrive
    together have waited by one law, even where the wait depends on what is true.
    """

    stage: int
    """Of the predictions; earlier than the slice's or the same."""
    stable: ArmTruths
    candidate: ArmTruths

    def __add__(self, other: TruthCounts) -> TruthCounts:
        if self.stage != other.stage:
            raise ValueError(f"truths of stages {self.stage} and {other.stage} have no sum: their weights differ")
        return TruthCounts(self.stage, self.stable + other.stable, self.candidate + other.candidate)


class SoFar(NamedTuple):
    """What an arm had of a slice by a moment in it: requests, those of them that had failed, those in flight."""

    met: float
    failed: float
    in_flight: float


class Cut(NamedTuple):
    """A moment in a slice that ends a look of the breaker's, which takes what came after it for another."""

    stable: SoFar
    candidate: SoFar


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """One look: what arrived during one short span of one stage."""

    stage: int
    at_s: float
    duration_s: float
    share: float
    """The candidate's configured share of the live traffic of stable and candidate; 0 where it is only mirrored,
    NaN where it is not known."""
    stable: ArmCounts
    candidate: ArmCounts
    """In a stage that only mirrors: the shadow's own counts."""
    pairs: PairCounts | None
    users: tuple[int, int] | None
    """Distinct users of this stage so far, stable and candidate; None where they are not known."""
    sticky: bool
    groups: tuple[GroupCounts, GroupCounts] | None = None
    """Of this stage so far, stable and candidate; None where users are not known, and in most slices: it costs more to
    read than a slice does, and is looked at once a block."""
    truths: tuple[TruthCounts, ...] = ()
    """What was learnt during the slice of predictions made by then, each stage once. Counts of two stages are never
    pooled."""
    rival: str = ""
    """Which of several candidates it is of; empty where there is one."""
    cut: Cut | None = None
    """Where the breaker takes it for two looks. All else takes it for one."""

    @property
    def earlier(self) -> tuple[TruthCounts, ...]:
        """The truths of other stages than the slice's own, by stage."""
        return tuple(sorted((each for each in self.truths if each.stage != self.stage), key=lambda each: each.stage))

    @property
    def present(self) -> TruthCounts:
        """The truths of the slice's own stage."""
        own = (each for each in self.truths if each.stage == self.stage)
        return next(own, TruthCounts(self.stage, ArmTruths(), ArmTruths()))

    def turned(self) -> Slice:
        """The same with the stable in the candidate's place, without pairs and truths."""
        users = None if self.users is None else (self.users[1], self.users[0])
        groups = None if self.groups is None else (self.groups[1], self.groups[0])
        return replace(self, share=1 - self.share, stable=self.candidate, candidate=self.stable, pairs=None, truths=(),
                       users=users, groups=groups)  # fmt: skip

    def check(self, grid: Grid) -> None:
        """Refuse what no count can be.

        Raises:
            ValueError: a count is negative or not finite, or a histogram does not have the grid's buckets.
        """
        if not self.duration_s >= 0 or self.duration_s == float("inf"):
            raise ValueError(f"slice.duration_s: {self.duration_s} is not a length in seconds")
        for name, arm in (("stable", self.stable), ("candidate", self.candidate)):
            _check_arm(f"slice.{name}", arm, grid)
        for groups in self.groups or ():
            arrays = [*groups.numbers.values(), *(x for labels in groups.labels.values() for x in labels.values())]
            sums = [float(np.abs(each).sum()) for each in (groups.latency, *arrays)]
            _check_counts("slice.groups", *sums)
        if self.pairs is not None:
            for name, by_output in (("disagreed", self.pairs.disagreed), ("repeated", self.pairs.repeated)):
                for output, found in by_output.items():
                    _check_counts(f"slice.pairs.{name}[{output!r}]", *found)
            ratio = self.pairs.ratio
            if ratio.shape != (RATIO_BUCKETS,):
                raise ValueError(f"slice.pairs.ratio: {ratio.shape} is not the grid's shape ({RATIO_BUCKETS},)")
            _check_counts("slice.pairs.ratio", float(ratio.sum()), float(ratio.min()))
        stages = [each.stage for each in self.truths]
        if len(set(stages)) < len(stages):
            raise ValueError(f"slice.truths: of stages {stages}, one comes twice; add up what is of one stage")
        for truths in self.truths:
            for name, of_arm in (("stable", truths.stable), ("candidate", truths.candidate)):
                _check_truths(f"slice.truths[stage {truths.stage}].{name}", of_arm)


def _check_truths(place: str, arm: ArmTruths) -> None:
    groups = np.concatenate((arm.group_n, arm.group_wrong, arm.group_loss[0]))
    _check_counts(f"{place} (n, right, wrong, groups)", arm.n, arm.n - arm.wrong, arm.wrong, float(groups.min()),
                  float(groups.sum()))  # fmt: skip
    _check_counts(f"{place}.loss", arm.loss.n, arm.loss.squares, abs(arm.loss.total))
    _check_counts(f"{place}.group_loss", abs(float(arm.group_loss[1].sum())))


def _check_arm(place: str, arm: ArmCounts, grid: Grid) -> None:
    if arm.latency.shape != (grid.buckets,):
        raise ValueError(f"{place}.latency: {arm.latency.shape} is not the grid's shape ({grid.buckets},)")
    _check_counts(f"{place} (assigned, recorded, answered, failed, latency, groups)", arm.assigned, arm.recorded,
                  arm.answered, arm.failed, float(np.add.reduce(arm.latency)), float(np.minimum.reduce(arm.latency)),
                  float(np.add.reduce(arm.group_n)), float(np.add.reduce(arm.group_failed)))  # fmt: skip
    for output, labels in arm.labels.items():
        _check_counts(f"{place}.labels[{output!r}]", *labels.values())
    for output, numbers in arm.numbers.items():
        _check_counts(f"{place}.numbers[{output!r}]", numbers.n, numbers.squares, abs(numbers.total))
    for wrong, counts in (("missing", arm.missing), ("invalid", arm.invalid), ("clipped", arm.clipped)):
        _check_counts(f"{place}.{wrong}", *counts.values())


def _check_counts(place: str, *counts: float) -> None:
    if not counts or (min(counts) >= 0 and sum(counts) < float("inf")):  # a NaN makes the sum one
        return
    for count in counts:
        if not 0 <= count < float("inf"):
            raise ValueError(f"{place}: {count} is not a count; the ledger that it was read from is damaged")


def _merged(left: Mapping[str, float], right: Mapping[str, float]) -> dict[str, float]:
    return {key: left.get(key, 0.0) + right.get(key, 0.0) for key in sorted({*left, *right})}


def _joined(left: Mapping[str, _Value], right: Mapping[str, _Value]) -> dict[str, _Value]:
    joined = dict(left)
    for key, value in right.items():
        joined[key] = joined[key] + value if key in joined else value  # type: ignore[operator]
    return joined
