"""Disagreement, less the model's own noise wherever it is known: stable is asked twice, and differs from itself.

D1 says that the candidate's answer to a request differs from the stable's first, D2 that the stable's second does.
With p1 and p2 as their chances, a limit d is on the excess: *harm* is tested against p1 <= p2 + d, *pass* against
p1 >= p2 + d. Source of the idea: opendiffy/diffy, which holds thresholds to the same two shares.

- Two samples. Engine A compares D1 with D2 at the boundary (d, 1). Both share the stable's first answer, so a request
  may not count whole on both sides. Of a repeated request D1 counts with a weight of w and D2 with 1 - w: by Hölder
  E[r1^w r2^(1-w)] <= E[r1]^w E[r2]^(1-w) for the likelihood ratios r1 and r2, whatever their dependence, and so the
  slice's factor is bounded by the product of independent requests with those numbers of each side, for which the engine
  holds. w makes both sides as even as they can be: it is 0 until half of the pairs are repeated (a repeated request is
  control alone, which costs 1 % of the information at a tenth), and 1/2 where all are. It depends on counts of
  requests, never on answers.
- One sample. p2 >= 0, so that p1 >= p2 + d implies p1 >= d: the mixture of `analysis.pairs` is an e-process of pass
  too, and proves far sooner where there is little noise. Pass is the mean of both. For harm it is none: where there is
  noise, p1 > d is no excess.
- Stable was never asked twice. Nothing is known of its noise, which is taken as 0: harm is the one sample alone.
- Which of both? With `Gate.repeats` the noise counts from the beginning, and as long as none is measured nothing is
  harm. Without it (records of somebody else) the first repeat tells. Let T be the first slice with one, P and Q the one
  sample's wealth of harm and pass, A and B that of the two samples, which are 1 before T. Harm is P before T and
  min(1, P just before T) A from T on; pass is Q before T and (Q + (Q just before T) B)/2 from T on. T is a stopping
  time, told by counts of requests, and P and A are supermartingales (with capped blocks too: the minimum of a
  supermartingale and a constant is one), so P up to T and (P just before T) A after it is the capital of one gambler
  who changes the game once: under "p1 <= d before T, p1 <= p2 + d from T on" it passes 1/alpha with a chance of at most
  alpha. The minimum only lowers it, and gives away what was won before the noise was known. Pass needs no such reading
  of its null: each part is an e-process of p1 >= p2 + d.

Without a margin (`maxDisagreement: 0%`, a signal) harm is the mean with McNemar's test, which is the better the more
requests are repeated. Source: Engine A (arXiv 2302.11401); McNemar, Psychometrika 12 (1947).
"""

from __future__ import annotations

from math import log
from typing import Final

import numpy as np

from analysis.bursts import Gaps
from analysis.engine import HARM, PASS, Table
from analysis.history import History
from analysis.intervals import Estimate
from analysis.meter import Meter, Wealth
from analysis.pairs import Alone, Disagreement, Pairs
from analysis.plan import Gate
from analysis.rates import rate_estimate
from analysis.stack import Stack
from analysis.still import still
from analysis.summaries import FloatArray, Repeats, Slice
from analysis.wording import percent

_GUESS: Final = 0.01
"""First guess of the noise, and how many requests it is worth."""
_STRENGTH: Final = 50.0
_HALF: Final = log(0.5)


class Excess(Meter):
    """The meter of pairs that differ in an output. The two samples have rows in the stack, the one sample has none."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate, tuple(Table(gate.share, 1.0, side, _GUESS, _STRENGTH) for side in (HARM, PASS)))
        self._plain = Disagreement(gate)
        self._alone = Alone(gate) if not gate.share else None
        self._single: dict[str, Pairs] = {"plain": self._plain}
        if self._alone is not None:
            self._single["alone"] = self._alone
        self._before: FloatArray = np.array([0.0, 0.0, float(gate.repeats > 0)])
        """ln P and ln Q before the first repeat, and 1 from there on."""
        self._gaps = Gaps()
        self._asked: FloatArray = np.zeros(2)
        """Pairs, and those of them that were repeated."""

    @property
    def noisy(self) -> bool:
        """Whether the limit is on what is beyond the stable's noise."""
        return bool(self._before[2])

    def counts(self, slice_: Slice) -> FloatArray:
        """Pairs, and those that differ, of the candidate and of the stable with itself: no request is on both sides."""
        n, x, again = self._found(slice_)
        weight = max(0.0, 1 - n / (2 * again.n)) if again.n else 0.0
        n_c, x_c = n - (1 - weight) * again.n, x - (1 - weight) * (again.candidate + again.both)
        n_s, x_s = (1 - weight) * again.n, (1 - weight) * (again.stable + again.both)
        return np.array([(n_c, min(max(x_c, 0.0), n_c), n_s, min(x_s, n_s))] * len(self.tables))

    def observe(self, slice_: Slice) -> bool:
        """Take the pairs in; the first repeat ends what the one sample alone may say."""
        n, _, again = self._found(slice_)
        if again.n and not self.noisy:
            self._before[:] = (*self._plain.wealth(), 1.0)
        self._asked += (n, again.n)
        if again.n:
            n_c, x_c, n_s, x_s = self.counts(slice_)[0]
            self._gaps.add(np.array([n_c, n_s]), np.array([x_c, x_s]))
        for single in self._single.values():
            single.observe(slice_)
        return n > 0

    def begin_stage(self) -> None:
        """Forget the counts of the stage before."""
        for single in self._single.values():
            single.begin_stage()

    def close(self) -> None:
        """End the block of the one sample; what the shares vary by beyond chance divides the next of both."""
        self._gaps.close()
        for single in self._single.values():
            single.close()

    def restart(self) -> None:
        """Start the next bank of the one sample."""
        for single in self._single.values():
            single.restart()

    def wealth(self, log_e: FloatArray) -> Wealth:
        """As the docstring of the module has it."""
        plain = self._plain.wealth()
        if not self.noisy:
            return plain
        harm, passing = float(log_e[0]), float(log_e[1])
        if self._alone is not None:
            harm = float(np.logaddexp(harm, self._alone.wealth().harm)) + _HALF
        kept = float(self._before[1])
        return Wealth(
            min(0.0, float(self._before[0])) + harm, float(np.logaddexp(plain.passing, kept + passing)) + _HALF
        )

    def estimate(self, stack: Stack) -> Estimate:
        """Both shares as fractions, and the excess in percent; without repeats the share of pairs that differ alone."""
        found = rate_estimate(stack, self.first)
        return self._plain.estimate() if found.effect is None else found.scaled(100.0)

    def inside(self, stack: Stack) -> bool | None:
        """The excess of this stage within the limit; without noise, the share of pairs that differ."""
        if not self.noisy:
            return self._plain.inside()
        levels = stack.differences.stage_levels(self.first)
        return None if levels is None else bool(levels[1] <= levels[0] + self.gate.share + 1e-12)

    def margin_words(self) -> str:
        """As it was written."""
        return f"{percent(self.gate.share)} of the pairs" + (" beyond the stable's own noise" if self.noisy else "")

    def least_phi(self, sticky: bool) -> FloatArray | float:
        """Copies are drawn by request, and each slice has its own control: sticky users are alike on both sides."""
        return self._gaps.phi()

    def still(self, history: History, sticky: bool) -> Excess:
        """With its one sample."""
        other = super().still(history, sticky)
        assert isinstance(other, Excess)
        other._plain = still(self._plain)
        return other

    def samples(self, stack: Stack) -> tuple[float, float]:
        """Requests that the stable was asked twice (without any: pairs), and pairs."""
        pairs, repeated = self._asked
        return float(repeated if self.noisy else pairs), float(pairs)

    def phi(self, stack: Stack) -> float:
        """The dispersion of what decides."""
        return super().phi(stack) if self.noisy else self._plain.phi()

    def state(self) -> dict[str, FloatArray]:
        """All that changes beside the rows, by name."""
        own = {"before": self._before, "asked": self._asked}
        own |= {f"gaps {key}": array for key, array in self._gaps.state().items()}
        for name, single in self._single.items():
            own |= {f"{name} {key}": array for key, array in single.state().items()}
        return own

    def _found(self, slice_: Slice) -> tuple[float, float, Repeats]:
        """Pairs, those that differ, and those that were repeated."""
        if slice_.pairs is None:
            return 0.0, 0.0, Repeats()
        n, x = slice_.pairs.disagreed.get(self.gate.output, (0.0, 0.0))
        again = slice_.pairs.repeated.get(self.gate.output, Repeats())
        return max(n, again.n), max(min(x, n), again.candidate + again.both), again
