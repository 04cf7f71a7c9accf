"""What is compared."""

import pytest

from config.rollouts.metrics import BUCKETS, Analysis, Metric
from proxy.ledger.layout import LATENCY_BASE, RATIO_BASE


@pytest.mark.parametrize(
    ("given", "family", "output", "quantile", "key"),
    [
        ({"name": "errors", "maxIncrease": "20%"}, "errors", "", 0.0, "maxIncrease"),
        ({"name": "latency.p99", "maxIncrease": "10%"}, "latency", "", 0.99, "maxIncrease"),
        ({"name": "latency.p99.9", "maxIncrease": "10%"}, "latency", "", 0.999, "maxIncrease"),
        ({"name": "latency.p5", "maxIncrease": "10%"}, "latency", "", 0.05, "maxIncrease"),
        ({"name": "prediction.label", "maxShift": "2pp"}, "prediction", "label", 0.0, "maxShift"),
        ({"name": "pair.a.b", "maxDisagreement": "1pp"}, "pair", "a.b", 0.0, "maxDisagreement"),
        ({"name": "pair.latency", "maxIncrease": "10%"}, "slowdown", "", 0.0, "maxIncrease"),
        ({"name": "pair.latency", "maxDisagreement": "1%"}, "pair", "latency", 0.0, "maxDisagreement"),
        ({"name": "feedback.accuracy", "maxDecrease": "1pp"}, "accuracy", "", 0.0, "maxDecrease"),
        ({"name": "feedback.logLoss", "maxIncrease": "0.05sd"}, "loss", "", 0.0, "maxIncrease"),
    ],
)
def test_a_name_says_what_is_compared(
    given: dict[str, str], family: str, output: str, quantile: float, key: str
) -> None:
    """Another quantile or output would be judged than the file names."""
    metric = Metric.model_validate(given)
    assert (metric.family, metric.output, metric.margin_key) == (family, output, key)
    assert metric.quantile == pytest.approx(quantile)


@pytest.mark.parametrize(
    "name",
    [
        "latency",
        "latency.p0",
        "latency.p100",
        "latency.p",
        "prediction.",
        "Errors",
        "errors.x",
        "feedback",
        "feedback.x",
    ],
)
def test_names_that_mean_nothing(name: str) -> None:
    """A metric that does not exist would be taken, and never hold a bad version back."""
    with pytest.raises(ValueError, match="is not a metric"):
        Metric.model_validate({"name": name, "maxIncrease": "10%"})


@pytest.mark.parametrize(("name", "margin", "least"), [("latency.p99", "0.5%", "1%"), ("pair.latency", "3%", "4%")])
def test_margins_within_one_bucket_cannot_be_proven(name: str, margin: str, least: str) -> None:
    """A rollout would wait for its proof until the horizon, and nobody would know why."""
    with pytest.raises(ValueError, match=f"less than a bucket of the latencies, {least}"):
        Metric.model_validate({"name": name, "maxIncrease": margin})
    assert Metric.model_validate({"name": name, "maxIncrease": margin, "role": "signal"}).role == "signal"
    assert Metric.model_validate({"name": name, "maxIncrease": least}).role == "guardrail"


def test_buckets_are_those_of_the_ledger() -> None:
    """A margin would be refused that can be proven, or the reverse."""
    assert 1 + BUCKETS["latency"] / 100 == LATENCY_BASE
    assert 1 + BUCKETS["slowdown"] / 100 == RATIO_BASE


def test_a_signal_may_have_no_margin_at_all() -> None:
    """A metric that can abort for any harm, and need not be passed, could not be stated."""
    metric = Metric.model_validate({"name": "errors", "maxIncrease": "0%", "role": "signal"})
    assert metric.margin[0].value == 0


def test_the_breaker_is_on_and_can_be_switched_off() -> None:
    """An outage would wait for whole blocks of evidence, or a team could not do without the breaker."""
    assert str(Analysis().breaker.errors_above) == "20pp"  # type: ignore[union-attr]
    assert Analysis.model_validate({"breaker": None}).breaker is None
