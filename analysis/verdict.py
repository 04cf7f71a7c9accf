"""The Judge: the evidence of one rollout, and what it allows to say at any moment.

- Abort: the e-values of harm, weighted (weights sum to 1), reach 1/alphaAbort at some look, or the breaker trips. A
  weighted mean of e-processes is an e-process, so a candidate inside every margin is ever aborted with a chance of at
  most alphaAbort, over all metrics, stages and looks (the breaker adds its own 0.001, and a budget 0.01). Latched.
- Proven: every guardrail's e-value of pass is at least 1/alphaPromote at the same moment. A wrong promotion needs the
  one bad guardrail to pass, so its chance is at most alphaPromote for any number of guardrails. And: evidence of harm
  below 3, the split clean, and the present stage alone inside every margin. Silence proves nothing.
- Inconclusive: the horizon is reached, or no growth that would decide before it. Not binding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from math import log
from typing import Final

import numpy as np

from analysis.breaker import Breaker
from analysis.history import History
from analysis.intervals import evidence
from analysis.memory import pack, refill, unpack
from analysis.meter import Meter, Wealth
from analysis.meters import meter_of
from analysis.pairs import Slowdown
from analysis.plan import TOLD_LATER, Gate, Plan
from analysis.progress import Progress
from analysis.ramp import BUDGET, Spending
from analysis.ratio import Ratio
from analysis.readings import MetricReading, RatioReading, Verdict
from analysis.robustness import RESTART_BLOCKS
from analysis.sight import Sight
from analysis.stack import Stack
from analysis.still import Later
from analysis.summaries import FloatArray, Slice
from analysis.tally import Tally
from analysis.windows import Windows
from analysis.wording import odds

__all__ = ["Gate", "Judge", "MetricReading", "Plan", "RatioReading", "Verdict"]

BREAKER: Final = "breaker"
_NO_ROWS: Final[FloatArray] = np.zeros((0, 4))


class Judge:
    """The state of one rollout's evidence. The cost of a look does not depend on how many samples are behind it.

    One thread at a time. `observe` wants each slice once, in order, with no slice left out on purpose: leaving out
    slices because of what is in them would break the guarantees.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._weights = dict(zip((gate.name for gate in plan.gates), plan.abort_weights(), strict=True))
        self._log_weights = [(name, log(weight)) for name, weight in self._weights.items() if weight]
        self._history = History(plan.grid)
        self._pairs = {gate.name: Slowdown(gate) for gate in plan.gates if gate.kind == "slowdown"}
        meters = [meter_of(gate, self._history) for gate in plan.gates if gate.kind != "slowdown"]
        self._meters = sorted(meters, key=lambda meter: bool(meter.drifts))  # rows of Engine A first
        first = 0
        for meter in self._meters:
            meter.first = first
            first += len(meter.tables) + len(meter.drifts)
        tables = [table for meter in self._meters for table in meter.tables]
        self._stack = Stack(tables, [drift for meter in self._meters for drift in meter.drifts])
        self._by_name = {meter.gate.name: meter for meter in self._meters}
        self._windows = Windows(plan.grid)
        self._ratio = Ratio()
        self._spending = None if plan.budget is None else Spending(plan)
        self._breaker = None if plan.breaker_above is None else Breaker(plan.breaker_above, plan.breaker_alpha)
        self._progress = Progress(len(plan.guardrails), [gate.kind in TOLD_LATER for gate in plan.guardrails])
        self._tally = Tally()
        self._known: dict[str, Wealth] | None = None
        """The wealth of all metrics, where it was found since it last changed."""

    # --- evidence in
    def observe(self, slice_: Slice) -> None:
        """Add one slice.

        Raises:
            ValueError: a count in it cannot be one; nothing is changed then.
        """
        slice_.check(self.plan.grid)
        self._known = None
        if self._windows.are_broken_by(slice_):
            self._tally.block_lively |= self._compare(self._windows.flush())
        if slice_.stage != self._tally.stage:
            self._begin_stage(slice_.stage)
        lively = self._compare(self._windows.take(slice_, self.plan.block_s - self._tally.block_s))
        self._ratio.observe(slice_)
        self._tally.count(slice_, lively)
        self._latch(slice_)
        if self._tally.block_s >= self.plan.block_s - 1e-9:
            self._close_block()

    def _compare(self, slice_: Slice) -> bool:
        """Add the evidence of a slice, or of a window of several, and tell if there was any."""
        self._history.look(slice_)
        counts = np.concatenate([_NO_ROWS, *(meter.counts(slice_) for meter in self._meters)])
        variance = np.concatenate([np.zeros(0), *(meter.variance() for meter in self._meters)])
        told = [np.concatenate([_NO_ROWS, *(m.counts_of(truths) for m in self._meters)]) for truths in slice_.earlier]
        lively = self._stack.observe(counts, variance, told)
        for pairs in self._pairs.values():
            lively |= pairs.observe(slice_)
        for meter in self._meters:
            lively |= meter.observe(slice_)
            meter.learn(slice_, self._stack)
        self._history.learn(slice_)
        if slice_.sticky:
            for meter in self._meters:
                meter.group(slice_)
        return lively

    @property
    def tripped(self) -> bool:
        """Whether the breaker has decided."""
        return self._tally.decided_by == BREAKER

    def watching(self, _rival: str = "") -> Breaker | None:
        """The breaker, as long as nothing is decided: to be asked, not to be shown anything."""
        return None if self._tally.decided_by else self._breaker

    def _begin_stage(self, stage: int) -> None:
        self._tally.begin_stage(stage)
        self._stack.differences.begin_stage()
        self._ratio.begin_stage()
        for meter in self._meters:
            meter.groups.begin_stage()
            meter.begin_stage()
        for pairs in self._pairs.values():
            pairs.begin_stage()

    def _latch(self, slice_: Slice) -> None:
        """Keep the first abort: the evidence need not stay where it was."""
        tripped = self._breaker.observe(slice_) if self._breaker is not None else ""
        spent = self._spending.observe(slice_) if self._spending is not None else ""
        if self._tally.decided_by:
            return
        if tripped or spent:
            self._tally.decided_by, self._tally.reason = BREAKER if tripped else BUDGET, tripped or spent
            return
        wealth = self._wealth()
        total = self._abort_log_e(wealth)
        if total < log(1 / self.plan.alpha_abort):
            return
        blamed = max(self._log_weights, key=lambda each: each[1] + wealth[each[0]].harm)[0]
        worst = next(gate for gate in self.plan.gates if gate.name == blamed)
        self._tally.decided_by = worst.name
        self._tally.reason = (
            f"worse than its margin: {self._sight().reading(worst).text}; weighted over all metrics the evidence is "
            f"{odds(evidence(total))}, {odds(1 / self.plan.alpha_abort)} aborts"
        )

    def _close_block(self) -> None:
        tally, wealth = self._tally, self._wealth()
        parts: list[Meter | Slowdown] = [*self._meters, *self._pairs.values()]
        for part in parts:
            part.close()
        least_phi = np.ones(self._stack.rows)
        for meter in self._meters:
            least_phi[meter.rows] = meter.least_phi(tally.sticky)
        self._stack.close(least_phi)
        if tally.block_lively:
            tally.lively_blocks += 1
            self._progress.close(self._guardrail_log_e(wealth), tally.clock_s, log(1 / self.plan.alpha_promote))
            if tally.lively_blocks % RESTART_BLOCKS == 0:
                self._stack.bank.restart()
                for part in parts:
                    part.restart()
        tally.block_s, tally.block_lively = 0.0, False
        self._known = None

    # --- answers out
    def verdict(self, elapsed_s: float) -> Verdict:
        """What can be said now; changes nothing.

        Args:
            elapsed_s: time since the rollout began, for the horizon.
        """
        tally, plan, sight = self._tally, self.plan, self._sight()
        proven = bool(tally.slices) and not tally.decided_by and all(map(sight.passed, plan.guardrails))
        proven = proven and next(sight.doubts(), None) is None
        late = elapsed_s >= plan.horizon_s
        return Verdict(
            abort=bool(tally.decided_by),
            decided_by=tally.decided_by,
            reason=tally.reason,
            proven=proven,
            inconclusive=not (proven or tally.decided_by) and (late or self._futile(sight, elapsed_s)),
            details=Later(sight.held().details),
            abort_evidence=sight.harm,
            abort_needed=1 / plan.alpha_abort,
            least_pass=min((evidence(sight.wealth[gate.name].passing) for gate in plan.guardrails), default=0.0),
            ratio=sight.ratio,
            stage=tally.stage,
            stage_stable=tally.stage_stable,
            stage_candidate=tally.stage_candidate,
            stage_pairs=tally.stage_pairs,
            stage_seconds=tally.stage_s,
            slices=tally.slices,
            ramp=None if self._spending is None else self._spending.reading(),
        )

    def _futile(self, sight: Sight, elapsed_s: float) -> bool:
        futile = self._progress.futile(self._tally.clock_s, elapsed_s, self.plan.horizon_s)
        return futile and max(sight.waits(), default=0.0) > 0

    def _sight(self) -> Sight:
        wealth = self._wealth()
        return Sight(
            plan=self.plan,
            weights=self._weights,
            meters=self._by_name,
            pairs=self._pairs,
            stack=self._stack,
            history=self._history,
            progress=self._progress,
            tally=self._tally,
            wealth=wealth,
            harm=evidence(self._abort_log_e(wealth)),
            ratio=self._ratio.reading(),
            share=self._ratio.share,
        )

    def _wealth(self) -> dict[str, Wealth]:
        if self._known is None:
            log_e = self._stack.bank.log_evidence()
            self._known = {name: meter.wealth(log_e[meter.rows]) for name, meter in self._by_name.items()}
            self._known |= {name: pairs.wealth() for name, pairs in self._pairs.items()}
        return self._known

    def _abort_log_e(self, wealth: Mapping[str, Wealth]) -> float:
        parts = [log_weight + wealth[name].harm for name, log_weight in self._log_weights]
        return float(np.logaddexp.reduce(parts)) if parts else 0.0

    def _guardrail_log_e(self, wealth: Mapping[str, Wealth]) -> FloatArray:
        return np.array([wealth[gate.name].passing for gate in self.plan.guardrails])

    # --- memory
    def _state(self) -> dict[str, FloatArray]:
        parts = {
            "history": self._history.state(),
            "stack": self._stack.state(),
            "ratio": self._ratio.state(),
            "progress": self._progress.state(),
        }
        if self._breaker is not None:
            parts["breaker"] = self._breaker.state()
        if self._spending is not None:
            parts["spending"] = self._spending.state()
        parts |= {f"gate {name}": meter.state() | meter.groups.state() for name, meter in self._by_name.items()}
        parts |= {f"gate {name}": pairs.state() for name, pairs in self._pairs.items()}
        return {f"{part}: {key}": array for part, arrays in parts.items() for key, array in arrays.items()}

    def _fingerprint(self) -> str:
        """What of the plan shapes the evidence; budgets and the horizon may change without losing it."""
        gates = [replace(gate, weight=1.0, role="info", repeats=float(gate.repeats > 0)) for gate in self.plan.gates]
        return repr((gates, self.plan.block_s, self.plan.breaker_above, self.plan.grid))

    def dump(self) -> bytes:
        """All of the state; `load` gives a Judge that answers the same, bit for bit."""
        notes = {name: meter.notes() for name, meter in self._by_name.items()}
        texts = {
            "plan": self._fingerprint(),
            "tally": asdict(self._tally),
            "notes": notes,
            "windows": self._windows.notes(),
        }
        return pack(texts, self._state())

    @classmethod
    def load(cls, plan: Plan, data: bytes) -> Judge:
        """The Judge that was dumped.

        Raises:
            ValueError: the bytes are not evidence, or of another release, or of a plan with other metrics or margins.
        """
        texts, arrays = unpack(data)
        judge = cls(plan)
        if texts.get("plan") != judge._fingerprint():
            raise ValueError("this evidence is of another plan; begin the rollout anew")
        refill(judge._state(), arrays)
        tally, notes = texts["tally"], texts["notes"]
        assert isinstance(tally, dict)
        assert isinstance(notes, dict)
        judge._tally = Tally(**tally)
        for name, meter in judge._by_name.items():
            meter.recall(notes[name])
        judge._windows.recall(texts["windows"])
        return judge
