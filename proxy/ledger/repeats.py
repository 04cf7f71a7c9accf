"""Requests that stable was asked a second time, in the rows of the shadows that they are a control for.

A second answer may come when the copy beside it has ended, so a slice waits for it: until as many have ended as were
asked, or its grace is over.
"""

from __future__ import annotations

from collections.abc import Sequence

from proxy.faults import Repeat
from proxy.ledger.layout import GRACE_S, L_REPEATED, L_REPEATS, L_REPEATS_ENDED, LANES, R_REPEATS, REPEATED_CELLS
from proxy.ledger.row import Row


class Repeats:
    """A worker's side."""

    __slots__ = ("_cells",)

    def __init__(self, cells: memoryview[float]) -> None:
        self._cells = cells

    def ask(self, row: Row, arrived_s: float) -> None:
        """Count that stable is asked what a copy asks, after that copy's `arrive`, whose time this is."""
        at = row.lane_bases[int(arrived_s) % LANES]
        if row.live and self._cells[at] == int(arrived_s):
            self._cells[at + L_REPEATS] += 1

    def end(
        self, row: Row, arrived_s: float, now_s: float, result: Repeat, outputs: Sequence[tuple[int, bool, bool]] = ()
    ) -> None:
        """Add what became of one that was asked, to the slice of its copy.

        `outputs` has (output, whether the shadow's answer differs from stable's first, whether stable's second does)
        for each output that all three had; nothing where they were not compared.
        """
        if not row.live:
            return
        cells = self._cells
        cells[row.base + R_REPEATS + result] += 1
        at = row.lane_bases[int(arrived_s) % LANES]
        if now_s - arrived_s > GRACE_S or cells[at] != int(arrived_s):
            return
        for output, shadow, stable in outputs:
            first = at + L_REPEATED + REPEATED_CELLS * output
            cells[first] += 1
            if shadow or stable:
                cells[first + (3 if shadow and stable else 1 if shadow else 2)] += 1
        cells[at + L_REPEATS_ENDED] += 1

    def skip(self, row: Row, reason: Repeat) -> None:
        """Count one that was due and not asked."""
        if row.live:
            self._cells[row.base + R_REPEATS + reason] += 1
