"""What was predicted against what turned out true: accuracy and log-loss, of truths that come later.

The samples of a slice are the truths that arrived in it, in a table for each stage of their predictions. Within such a
table both arms were assigned by one weight and have waited by one law, also where the wait depends on the true class;
truths of the candidate's today are never compared with the stable's of yesterday. What this cannot repair is a wait,
or a truth, that depends on the prediction itself (a payment that was blocked never turns out to be honest).
"""

from __future__ import annotations

from math import log
from typing import Final

import numpy as np

from analysis.means import Means
from analysis.plan import Gate
from analysis.rates import Rates
from analysis.summaries import FloatArray, Moments, Slice, TruthCounts
from analysis.wording import number, percent

CLIP: Final = 1e-3
"""Probabilities count as no less than this and no more than 1 less this: a log-loss without a bound has no mean that
Engine B could tell, and one answer would outweigh a thousand."""


def log_loss(probability: float) -> float:
    """The log-loss of a prediction that gave this probability to what turned out true, between 0.001 and 6.9.

    >>> round(log_loss(0.5), 6), round(log_loss(0.0), 6), round(log_loss(1.0), 6)
    (0.693147, 6.907755, 0.001001)
    """
    return -log(min(max(probability, CLIP), 1 - CLIP))


class Accuracy(Rates):
    """The meter of wrong predictions.

    A relative margin is one of the accuracy, as it is written: `maxDecrease: 2%` of an accuracy of 90 % allows 88.2 %.
    In shares of wrong predictions that is the line pC = m + (1 - m) pS.
    """

    def _relative(self, margin: float) -> tuple[float, float]:
        return margin, 1.0 - margin

    def counts(self, slice_: Slice) -> FloatArray:
        """Truths and wrong predictions of the slice's own stage."""
        return self.counts_of(slice_.present)

    def counts_of(self, truths: TruthCounts) -> FloatArray:
        """The same of one stage."""
        candidate, stable = truths.candidate, truths.stable
        return np.array([(candidate.n, candidate.wrong, stable.n, stable.wrong)] * len(self.tables))

    def group(self, slice_: Slice) -> None:
        """Wrong predictions of each group of users, of all stages."""
        for each in slice_.truths:
            candidate, stable = each.candidate, each.stable
            self.groups.add(candidate.group_n, candidate.group_wrong, stable.group_n, stable.group_wrong)

    def margin_words(self) -> str:
        """As it was written."""
        words = []
        if self.gate.margin_relative is not None:
            words.append(f"-{percent(self.gate.margin_relative)}")
        if self.gate.margin_absolute is not None:
            words.append(f"-{number(100 * self.gate.margin_absolute)} pp")
        return "accuracy " + " or ".join(words) + (", the larger" if len(words) > 1 else "")


class LogLoss(Means):
    """The meter of the log-loss: how much it rises. That it falls is no harm."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate, directions=(1.0,))

    def counts_of(self, truths: TruthCounts) -> FloatArray:
        """Known losses of one stage, and their sum."""
        return self._rows(*_losses(truths))

    def group(self, slice_: Slice) -> None:
        """Sums of each group of users, of all stages."""
        for each in slice_.truths:
            self.groups.add(*each.candidate.group_loss, *each.stable.group_loss)

    def margin_words(self) -> str:
        """As it was written."""
        return f"+{number(self._margin)} sd"

    def _tables(self, slice_: Slice) -> list[tuple[Moments, Moments]]:
        return [_losses(slice_.present), *map(_losses, slice_.earlier)]


def _losses(truths: TruthCounts) -> tuple[Moments, Moments]:
    return truths.candidate.loss, truths.stable.loss
