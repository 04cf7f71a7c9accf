"""Outputs that are missing or invalid: how much more often than the stable's the candidate's answers lack one.

What has no label and no number takes part in no comparison of labels, means or pairs, so a version could hide there, or
be held for ever for want of data: with scores that are all NaN nothing speaks against it but that. The share of values
that are lacking is a rate like that of errors, tested against `stable + margin`. A value is missing where the answer
does not have it, and invalid where it is none of its kind: NaN or text in the place of a number. Answers that failed
are counted as errors and not here.

Users are not counted in groups by what they lack, so where routing is sticky no design effect is known of it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.intervals import Estimate
from analysis.plan import Gate
from analysis.rates import Rates
from analysis.stack import Stack
from analysis.summaries import ArmCounts, FloatArray, Moments, Slice
from analysis.wording import number

MISSING, INVALID = "missing", "invalid"
_NONE = Moments(0.0, 0.0, 0.0)


class Unread(Rates):
    """The meter of one output's values that could not be read."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate)
        self._lacking: FloatArray = np.zeros(2)
        """Of the candidate so far: missing, invalid."""

    def state(self) -> dict[str, FloatArray]:
        """In which way the candidate's values are lacking."""
        return {"lacking": self._lacking}

    def counts(self, slice_: Slice) -> FloatArray:
        """Values, and those that are lacking, the same for each row."""
        (n_c, x_c), (n_s, x_s) = (self._of(arm) for arm in (slice_.candidate, slice_.stable))
        return np.array([(n_c, x_c, n_s, x_s)] * len(self.tables))

    def _of(self, arm: ArmCounts) -> tuple[float, float]:
        output = self.gate.output
        lacking = arm.missing.get(output, 0.0) + arm.invalid.get(output, 0.0)
        read = arm.numbers.get(output, _NONE).n + sum(arm.labels.get(output, {}).values())
        return read + lacking, lacking

    def learn(self, slice_: Slice, stack: Stack) -> None:
        """Remember how values are lacking, to say so."""
        output, arm = self.gate.output, slice_.candidate
        self._lacking += (arm.missing.get(output, 0.0), arm.invalid.get(output, 0.0))

    def group(self, slice_: Slice) -> None:
        """Not known by users."""
        return

    def estimate(self, stack: Stack) -> Estimate:
        """In percentage points; the subject says what most of the lacking values are."""
        missing, invalid = self._lacking
        return replace(super().estimate(stack), subject=MISSING if missing >= invalid else INVALID)

    def margin_words(self) -> str:
        """As it was written."""
        return f"+{number(100 * (self.gate.margin_absolute or 0.0))} pp missing or invalid"
