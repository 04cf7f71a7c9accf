"""Labels: each label's share among the candidate's predictions against its share among the stable's, both ways.

Two tables for each label, one for the label (more often than `stable + margin`) and one for its complement (less
often than `stable - margin`). Pass needs all of them; harm splits the metric's wealth over them. Which labels have
tables of their own is decided by past slices alone: up to 20, by count; a label keeps its tables, and one that
appears later gets tables, and half of the wealth still in reserve, when the past shows it. All others together are
one label; so are answers without a valid label.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import log
from typing import Final

import numpy as np

from analysis.engine import HARM, PASS, Table
from analysis.intervals import INTERVAL_ALPHA, Estimate
from analysis.meter import Meter, Wealth
from analysis.plan import Gate
from analysis.rates import rate_estimate
from analysis.stack import Stack
from analysis.summaries import GROUPS, OTHER, ArmCounts, FloatArray, Slice
from analysis.wording import number

TRACKED: Final = 20
MISSING: Final = "(missing)"
"""The label of answers whose label was absent or invalid."""
_FIRST_PICK: Final = 100.0
"""Predictions of both arms after which labels are chosen for the first time."""
_MIN_COUNT: Final = 5.0
_MIN_SHARE: Final = 0.005
"""A label with less than that is part of the others: a shift it could hide there is below any useful margin."""
_REMEMBERED: Final = 512
"""Labels counted while they wait for tables; the rarest are forgotten beyond that."""
_RESERVE: Final = 0.1
"""Wealth kept for labels that appear later."""
_STRENGTH: Final = 50.0
_ROWS: Final = 4
"""Rows of a label: harm and pass of the label, harm and pass of its complement."""


class Categories(Meter):
    """The meter of one categorical output. Slot 0 is OTHER, the labels follow in the order they were chosen."""

    def __init__(self, gate: Gate) -> None:
        self._margin = gate.margin_absolute or 0.0
        sides = [HARM, PASS, HARM, PASS] * (TRACKED + 1)
        tables = tuple(Table(self._margin, 1.0, side, 0.5, _STRENGTH) for side in sides)
        super().__init__(gate, tables, quantities=TRACKED + 1)
        self._labels: list[str] = []
        self._seen: dict[str, float] = {}
        self._weights: FloatArray = np.zeros(TRACKED + 2)  # of each slot, and the reserve at the end
        self._weights[-1] = 1.0

    def state(self) -> dict[str, FloatArray]:
        """How the wealth is split."""
        return {"weights": self._weights}

    def notes(self) -> list[str]:
        """The tracked labels, then all labels with their counts."""
        seen = [text for label, n in self._seen.items() for text in (label, n.hex())]
        return [str(len(self._labels)), *self._labels, *seen]

    def recall(self, notes: list[str]) -> None:
        """Take back what `notes` gave."""
        tracked = int(notes[0])
        self._labels = notes[1 : 1 + tracked]
        seen = notes[1 + tracked :]
        self._seen = {label: float.fromhex(n) for label, n in zip(seen[::2], seen[1::2], strict=True)}

    @property
    def tracked(self) -> tuple[str, ...]:
        """The labels with tables of their own; empty before the first choice."""
        return tuple(self._labels)

    def counts(self, slice_: Slice) -> FloatArray:
        """Four rows for each slot in use; zeros before labels are chosen."""
        counts = np.zeros((TRACKED + 1, _ROWS, 4))
        if self._labels:
            used = 1 + len(self._labels)
            for column, arm in ((0, slice_.candidate), (2, slice_.stable)):
                n, x = self._arm(_labels(arm, self.gate.output))
                counts[:used, :, column] = n
                counts[:used, 0:2, column + 1] = x[:, None]
                counts[:used, 2:4, column + 1] = n - x[:, None]
        return counts.reshape(-1, 4)

    def _arm(self, labels: Mapping[str, float]) -> tuple[float, FloatArray]:
        n = sum(labels.values())
        named = [labels.get(label, 0.0) for label in self._labels]
        return n, np.array([max(0.0, n - sum(named)), *named])

    def group(self, slice_: Slice) -> None:
        """Counts of each label in each group of users; answers without a label are in no group."""
        if slice_.groups is not None:
            stable, candidate = (self._grouped(each.labels.get(self.gate.output, {})) for each in slice_.groups)
            self.groups.set(*candidate, *stable)

    def _grouped(self, labels: Mapping[str, FloatArray]) -> tuple[FloatArray, FloatArray]:
        nothing = np.zeros(GROUPS)
        n = sum(labels.values(), start=nothing)
        x = np.zeros((TRACKED + 1, GROUPS))
        for slot, label in enumerate(self._labels, start=1):
            x[slot] = labels.get(label, nothing)
        x[0] = np.maximum(0.0, n - x.sum(axis=0))
        return n, x

    def design_effects(self) -> FloatArray:
        """A label and its complement have the same."""
        return np.repeat(self.groups.effects(), _ROWS)

    def learn(self, slice_: Slice, stack: Stack) -> None:
        """Count the slice's labels, and give tables to those that have earned them by now."""
        if len(self._labels) == TRACKED:
            return
        for arm in (slice_.stable, slice_.candidate):
            for label, n in _labels(arm, self.gate.output).items():
                if n > 0:
                    self._seen[label] = self._seen.get(label, 0.0) + n
        total = sum(self._seen.values())
        if total < _FIRST_PICK:
            return
        earned = [
            label for label, n in self._seen.items()
            if n >= max(_MIN_COUNT, _MIN_SHARE * total) and label != OTHER and label not in self._labels
        ]  # fmt: skip
        if earned:
            self._track(sorted(earned, key=self._rank), stack)
        if len(self._seen) > _REMEMBERED:
            common = sorted(self._seen, key=self._rank)[: _REMEMBERED // 2]
            self._seen = {label: self._seen[label] for label in (*common, *self._labels) if label in self._seen}

    def _rank(self, label: str) -> tuple[float, str]:
        return -self._seen[label], label

    def _track(self, labels: list[str], stack: Stack) -> None:
        """Give tables to labels, in that order, as long as there is room."""
        labels = labels[: TRACKED - len(self._labels)]
        first = not self._labels
        total = sum(self._seen.values())
        slots = [*([0] if first else []), *range(len(self._labels) + 1, len(self._labels) + 1 + len(labels))]
        self._labels = [*self._labels, *labels]  # not in place: who holds a look has the list of that look
        shared = (1 - _RESERVE) if first else self._weights[-1] / 2
        self._weights[slots] = shared / len(slots)
        self._weights[-1] -= shared
        named = sum(self._seen.get(label, 0.0) for label in self._labels)
        for slot in slots:
            part = self._seen[self._labels[slot - 1]] if slot else total - named
            share = min(max(part / total, 1e-3), 1 - 1e-3)
            for offset in range(_ROWS):
                row = self.first + slot * _ROWS + offset
                stack.binary.guess(row, share if offset < 2 else 1 - share, _STRENGTH)

    def wealth(self, log_e: FloatArray) -> Wealth:
        """Harm: the weighted mean, with what is in reserve; pass: the least of all tables."""
        if not self._labels:
            return Wealth(0.0, 0.0)
        used = 1 + len(self._labels)
        slots = log_e.reshape(-1, _ROWS)[:used]
        harm = np.logaddexp(slots[:, 0], slots[:, 2]) - log(2) + np.log(self._weights[:used])
        total = float(np.logaddexp.reduce(harm))
        reserve = float(self._weights[-1])
        if reserve > 0:
            total = float(np.logaddexp(total, log(reserve)))
        return Wealth(total, float(slots[:, 1::2].min()))

    def alphas(self) -> FloatArray:
        """Of each label in use, the chance that its interval ever misses.

        The one shown is that of the label that differs most, so it could be any of them: each has the part of the alpha
        that it has of the wealth. They are never more than the whole together, with labels that appear later as well:
        those have half of what is in reserve then, and no label's part ever changes.
        """
        return INTERVAL_ALPHA * self._weights[: 1 + len(self._labels)]

    def _largest(self, stack: Stack) -> int:
        gaps = np.abs(stack.differences.gaps(self._label_rows()))
        return int(np.argmax(np.where(np.isnan(gaps), -1.0, gaps)))

    def _label_rows(self) -> slice:
        """The first row of each label in use."""
        return slice(self.first, self.first + (1 + len(self._labels)) * _ROWS, _ROWS)

    def estimate(self, stack: Stack) -> Estimate:
        """Of the label that differs most, in percentage points."""
        if not self._labels:
            return Estimate()
        largest = self._largest(stack)
        found = rate_estimate(stack, self.first + largest * _ROWS, float(self.alphas()[largest])).scaled(100.0)
        return replace(found, subject=(OTHER, *self._labels)[largest])

    def inside(self, stack: Stack) -> bool | None:
        """Every label within the margin, either way."""
        gaps = stack.differences.stage_gaps(self._label_rows())
        known = gaps[~np.isnan(gaps)]
        return bool(np.all(np.abs(known) <= self._margin + 1e-12)) if known.size else None

    def phi(self, stack: Stack) -> float:
        """The largest of the labels' dispersions."""
        return float(stack.bank.phi[self.rows].max())

    def margin_words(self) -> str:
        """As it was written."""
        return f"{number(100 * self._margin)} pp for each label, up or down"


def _labels(arm: ArmCounts, output: str) -> Mapping[str, float]:
    """Counts by label, with answers that had none as a label of their own."""
    labels = arm.labels.get(output, {})
    absent = arm.missing.get(output, 0.0) + arm.invalid.get(output, 0.0)
    return {**labels, MISSING: labels.get(MISSING, 0.0) + absent} if absent > 0 else labels
