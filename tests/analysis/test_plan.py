"""A plan says what is wrong with it."""

from __future__ import annotations

import pytest

from analysis.plan import Gate, Plan


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "errors"}, "takes margin_relative or margin_absolute"),
        ({"kind": "latency", "quantile": 0.5, "margin_absolute": 0.1}, "takes margin_relative"),
        ({"kind": "latency", "quantile": 99.0, "margin_relative": 0.1}, "not between 0 and 1"),
        ({"kind": "errors", "margin_relative": 0.0}, "can never be passed; use the role signal"),
        ({"kind": "errors", "margin_relative": -0.1}, "is no margin"),
        ({"kind": "errors", "margin_relative": 0.1, "weight": 0.0}, "not above 0"),
    ],
)
def test_impossible_metrics_are_refused(options: dict[str, object], message: str) -> None:
    """Broken: a metric that can never be judged is only noticed at the horizon."""
    with pytest.raises(ValueError, match=message):
        Gate("metric", **options)  # type: ignore[arg-type]


def test_impossible_plans_are_refused() -> None:
    """Broken: an alpha of 5 (percent) promotes anything."""
    gate = Gate("errors", "errors", margin_relative=0.2)
    with pytest.raises(ValueError, match="alpha_promote"):
        Plan((gate,), alpha_promote=5.0)
    with pytest.raises(ValueError, match="block_s"):
        Plan((gate,), block_s=0.0)
    with pytest.raises(ValueError, match="breaker_above"):
        Plan((gate,), breaker_above=20.0)
    with pytest.raises(ValueError, match="appear twice"):
        Plan((gate, gate))


def test_weights_sum_to_one_over_what_can_abort() -> None:
    """Broken: the abort budget is spent more than once, or on metrics that are only reported."""
    roles = (("guardrail", 2.0), ("signal", 1.0), ("info", 7.0))
    gates = [Gate(role, "errors", margin_relative=0.2, role=role, weight=weight) for role, weight in roles]
    assert Plan(tuple(gates)).abort_weights() == pytest.approx((2 / 3, 1 / 3, 0.0))
