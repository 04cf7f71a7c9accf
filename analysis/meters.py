"""Which meter a metric has."""

from __future__ import annotations

from analysis.categories import Categories
from analysis.excess import Excess
from analysis.feedback import Accuracy, LogLoss
from analysis.history import History
from analysis.latency import Quantile
from analysis.means import Means
from analysis.meter import Meter
from analysis.plan import Gate
from analysis.rates import Rates
from analysis.unread import Unread


def meter_of(gate: Gate, history: History) -> Meter:
    """The meter of a metric that has rows in the stack; quantiles of one Judge share a history."""
    match gate.kind:
        case "errors":
            return Rates(gate)
        case "latency":
            return Quantile(gate, history)
        case "category":
            return Categories(gate)
        case "number":
            return Means(gate, (float(gate.direction),)) if gate.direction else Means(gate)
        case "pair":
            return Excess(gate)
        case "accuracy":
            return Accuracy(gate)
        case "loss":
            return LogLoss(gate)
        case "unread":
            return Unread(gate)
        case "slowdown":
            raise AssertionError("the latency of pairs has no rows in the stack")
