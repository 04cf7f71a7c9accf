"""Disagreement beyond the model's own noise: stable is asked twice, and its two answers are the control.

Of requests that were copied, D1 says that the candidate's answer differs from the stable's, D2 that the stable's
second answer differs from its first. Engine A compares both shares: D1 against D2 and the margin. The pairs of a
slice have the stable's first answer in common, which makes D1 and D2 rise and fall together: the difference varies
less than that of independent arms, for which the test holds. Source: opendiffy/diffy compares the same two shares by
thresholds; as a test, Engine A (arXiv 2302.11401). Without a margin McNemar's test is the exact one
(`analysis.pairs.mcnemar`), of the requests where just one of both differs.
"""

from __future__ import annotations

import numpy as np

from analysis.rates import Rates
from analysis.summaries import FloatArray, Slice


class Excess(Rates):
    """The meter of one output. Its samples are pairs: the stable's are those of the stable with itself."""

    def counts(self, slice_: Slice) -> FloatArray:
        """Pairs, and those that differ, of candidate and stable with the stable's first answer."""
        none = (0.0, 0.0)
        pairs, output = slice_.pairs, self.gate.output
        n_c, x_c = none if pairs is None else pairs.disagreed.get(output, none)
        n_s, x_s = none if pairs is None else pairs.repeated.get(output, none)
        return np.tile([n_c, min(x_c, n_c), n_s, min(x_s, n_s)], (len(self.tables), 1))

    def group(self, slice_: Slice) -> None:
        """Copies are drawn by request, and each has its own control: users are alike on both sides."""
        return
