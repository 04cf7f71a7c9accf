"""When a proof will be there, before the evidence tells it by its growth."""

from __future__ import annotations

import re

import pytest

from analysis.plan import Gate, Plan
from analysis.verdict import Judge
from tests.analysis.test_verdict import run, traffic
from tests.support.slices import Version, errors, look

GATES = {
    "errors": Gate("errors", "errors", margin_absolute=0.004),
    "latency.p95": Gate("latency.p95", "latency", quantile=0.95, margin_relative=0.1),
    "prediction.label": Gate("prediction.label", "category", output="label", margin_absolute=0.02),
    "prediction.score": Gate("prediction.score", "number", output="score", margin_sd=0.05),
}


@pytest.mark.parametrize("name", GATES)
def test_the_plan_stands_in_until_the_evidence_grows(name: str) -> None:
    """Broken: for the first blocks of a rollout nobody is told if a proof takes minutes or days."""
    judge = Judge(Plan((GATES[name],), block_s=10.0))
    (text,) = run(judge, traffic(Version(), 9, rate=200.0)).missing[:1]
    found = re.search(r"an equal candidate takes about (\d+(?:\.\d)?) (s|min|h) at this traffic", text)
    assert found is not None, text
    seconds = float(found[1]) * {"s": 1, "min": 60, "h": 3600}[found[2]]
    took = next(
        second for second in range(5, 6000, 5)
        if judge_passes(judge, traffic(Version(), 5, seed=second, rate=200.0))
    )  # fmt: skip
    assert 0.25 < (took + 9) / seconds < 4


def judge_passes(judge: Judge, more: list) -> bool:  # type: ignore[type-arg]
    return run(judge, more).metrics[0].passed


def test_nothing_is_promised_without_traffic() -> None:
    """Broken: a division by zero, or a promise about traffic that is not there."""
    judge = Judge(Plan((GATES["errors"], Gate("pair.label", "pair", output="label", margin_absolute=0.01))))
    judge.observe(look(*(errors(0, 0, 0, 0).stable,) * 2, pairs=(10.0, 0.0)))
    told = judge.verdict(1.0).missing
    assert told[0].startswith("errors: no data yet")
    assert "pair.label: " in told[1]
    silent = Judge(Plan((GATES["errors"],)))
    assert "takes about" not in " ".join(silent.verdict(1.0).missing)
