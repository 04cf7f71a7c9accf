"""Where a rollout stands: its own clock, the open block, what its present stage saw, and what it was decided by."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.summaries import Slice


@dataclass(slots=True)
class Tally:
    """Plain numbers and texts, all of which are kept. The clock is the length of all slices."""

    slices: int = 0
    clock_s: float = 0.0
    block_s: float = 0.0
    block_lively: bool = False
    lively_blocks: int = 0
    stage: int = -1
    stage_stable: float = 0.0
    stage_candidate: float = 0.0
    stage_pairs: float = 0.0
    stage_truths: float = 0.0
    """Truths that arrived during this stage, of predictions of any stage."""
    stage_s: float = 0.0
    decided_by: str = ""
    reason: str = ""
    sticky: bool = False
    """Whether any slice was of sticky routing."""

    def begin_stage(self, stage: int) -> None:
        """Forget the counts of the stage before."""
        self.stage = stage
        self.stage_stable = self.stage_candidate = self.stage_pairs = self.stage_truths = self.stage_s = 0.0

    def count(self, slice_: Slice, lively: bool) -> None:
        """Add a slice, and whether it held any evidence."""
        self.slices += 1
        self.sticky |= slice_.sticky
        self.clock_s += slice_.duration_s
        self.block_s += slice_.duration_s
        self.block_lively |= lively
        self.stage_stable += slice_.stable.answered
        self.stage_candidate += slice_.candidate.answered
        self.stage_pairs += slice_.pairs.compared if slice_.pairs is not None else 0.0
        self.stage_truths += sum(each.stable.told + each.candidate.told for each in slice_.truths)
        self.stage_s += slice_.duration_s
