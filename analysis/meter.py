"""What a metric is to the Judge: rows of the stack that it fills, and what it makes of their evidence."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np

from analysis.engine import Table
from analysis.groups import Groups
from analysis.history import History
from analysis.intervals import Estimate
from analysis.plan import Gate
from analysis.stack import Drift, Stack
from analysis.still import still
from analysis.summaries import FloatArray, Slice, TruthCounts


class Wealth(NamedTuple):
    """ln E of a metric: of harm, and of being within the margin."""

    harm: float
    passing: float


class Meter(ABC):
    """One metric. At every look the Judge asks for its counts, with what the past has fixed, and then lets it learn."""

    def __init__(
        self, gate: Gate, tables: tuple[Table, ...] = (), drifts: tuple[Drift, ...] = (), quantities: int = 1
    ) -> None:
        self.gate = gate
        self.tables = tables
        self.drifts = drifts
        self.first = 0
        """Its first row in the stack; the Judge sets it."""
        self.groups = Groups(quantities)

    @property
    def rows(self) -> slice:
        """Its rows in the stack."""
        return slice(self.first, self.first + len(self.tables) + len(self.drifts))

    @abstractmethod
    def counts(self, slice_: Slice) -> FloatArray:
        """[rows, 4]: nC, xC, nS, xS of each of its rows, with thresholds and label sets from past slices alone."""

    def counts_of(self, truths: TruthCounts) -> FloatArray:
        """The same of truths about an earlier stage, a table of their own in the same slice; nothing in most meters."""
        return np.zeros((len(self.tables) + len(self.drifts), 4))

    @abstractmethod
    def wealth(self, log_e: FloatArray) -> Wealth:
        """What the evidence of its rows says of the metric."""

    @abstractmethod
    def estimate(self, stack: Stack) -> Estimate:
        """The difference, in the unit of its reading."""

    @abstractmethod
    def inside(self, stack: Stack) -> bool | None:
        """Whether the estimate of this stage alone is inside the margin; None where the stage has no data."""

    @abstractmethod
    def margin_words(self) -> str:
        """The margin as the user wrote it."""

    def effective_words(self, stack: Stack) -> str:
        """The margin as it is tested."""
        return self.margin_words()

    def variance(self) -> FloatArray:
        """Of one value, for each row of Engine B, from past slices."""
        return np.zeros(len(self.drifts))

    def observe(self, slice_: Slice) -> bool:
        """Take in what has no row in the stack, and tell if there was any."""
        return False

    def begin_stage(self) -> None:
        """Forget what is of the stage before."""
        return

    def close(self) -> None:
        """End the block of what has no row."""
        return

    def restart(self) -> None:
        """Start the next bank of what has no row; only between two blocks."""
        return

    def learn(self, slice_: Slice, stack: Stack) -> None:
        """Take the slice into the past."""
        return

    def group(self, slice_: Slice) -> None:
        """Take in what users did, where routing is sticky."""
        return

    def design_effects(self) -> FloatArray:
        """Of each of its rows: how many requests of these users say as much as one of a user of its own."""
        return np.broadcast_to(self.groups.effects(), len(self.tables) + len(self.drifts))

    def least_phi(self, sticky: bool) -> FloatArray | float:
        """What the evidence of its rows is divided by at least, from finished blocks alone."""
        return self.design_effects() if sticky else 1.0

    def still(self, history: History, sticky: bool) -> Meter:
        """The same as it is now, to be read later: with latencies that are still as well, and users if they stick."""
        other = still(self)
        if sticky:
            other.groups = still(self.groups)
        return other

    def samples(self, stack: Stack) -> tuple[float, float]:
        """Samples so far: stable, candidate."""
        return stack.differences.samples(self.first)

    def phi(self, stack: Stack) -> float:
        """The dispersion of its evidence."""
        return float(stack.bank.phi[self.first])

    def state(self) -> dict[str, FloatArray]:
        """All that changes beside the rows, by name."""
        return {}

    def notes(self) -> list[str]:
        """Texts that it must remember."""
        return []

    def recall(self, notes: list[str]) -> None:
        """Take back what `notes` gave."""
        return
