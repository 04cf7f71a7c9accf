"""What a rollout will take, and which margins cannot be proven in time."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from analysis.windows import kept
from config.loader import loads
from config.schema import Route
from proxy.control.evidence.outlook import measured_rate, outlook, warnings
from tests.support.control_plane import config as document
from tests.support.control_plane import rolling

STEPS = ({"setMirror": {"percent": 50}}, {"setWeight": 5}, {"setWeight": 20})
METRICS = [
    {"name": "errors", "maxIncrease": "0.2pp"},
    {"name": "latency.p99", "maxIncrease": "10%"},
    {"name": "prediction.label", "maxShift": "2pp"},
    {"name": "prediction.score", "maxShift": "0.1sd", "role": "signal"},
    {"name": "pair.label", "maxDisagreement": "1%"},
    {"name": "pair.latency", "maxIncrease": "10%"},
]
STABLE: dict[str, Any] = {
    "role": "stable",
    "requests": 100_000,
    "failed": 100,
    "latencyMs": {"p50": 50.0, "p95": 100.0, "p99": 400.0},
    "labels": {"label": {"a": 0.9, "b": 0.1}},
}
KNOWN: dict[str, Any] = {
    "startedAt": 1000.0,
    "endedAt": None,
    "arms": [STABLE, {"role": "canary", "requests": 900}, {"role": "shadow", "requests": 50_000}],
    "pairs": {"outputs": {"label": {"compared": 50_000, "disagreed": 100}}},
}


def route(repeat: float = 0.0, **analysis: Any) -> Route:
    found = document(*STEPS, analysis={"metrics": METRICS, "maxDuration": "2h", **analysis})
    found["routes"][0]["mirrors"] = [{"backend": "v2", "repeat": {"percent": repeat}}]
    return loads(yaml.safe_dump(found), "test").config.routes[0]


def test_every_metric_is_planned_where_it_is_looked_at() -> None:
    """A metric would be left out of the plan, or planned at a weight that no step has."""
    found = outlook(route(), 100.0)
    wanted = [metric["name"] for metric in METRICS]
    wanted.insert(wanted.index("prediction.score") + 1, "prediction.score.invalid")
    assert [metric["name"] for metric in found["metrics"]] == wanted
    assert [[at["weight"] for at in metric["at"]] for metric in found["metrics"]] == [[5, 20]] * 5 + [[None]] * 2
    for metric in found["metrics"]:
        for at in metric["at"]:
            assert (at["prove"] is None) == (metric["role"] == "signal")
            assert at["find"]["seconds90"] >= at["find"]["seconds"] > 0
    errors = found["metrics"][0]["at"]
    assert errors[0]["prove"]["requests"] > 3 * errors[1]["prove"]["requests"]
    assert errors[0]["prove"]["seconds"] == pytest.approx(
        errors[0]["prove"]["requests"] / 99.0, rel=0.001
    )  # one of a hundred requests in a slice meets no other
    assert len(found["assumed"]) == 4


def test_several_candidates_share_the_traffic() -> None:
    """A plan would promise each candidate a stable that has all that the others have."""
    given = document({"setWeight": 20}, analysis={"metrics": METRICS[:1], "maxDuration": "2h"})
    alone = outlook(loads(yaml.safe_dump(given), "test").config.routes[0], 100.0)
    given["routes"][0]["backendRefs"].append({"name": "v3", "role": "canary"})
    found = outlook(loads(yaml.safe_dump(given), "test").config.routes[0], 100.0)
    # 1/0.2 + 1/0.6 against 1/0.2 + 1/0.8
    usual, each = (plan["metrics"][0]["at"][0]["prove"]["seconds"] for plan in (alone, found))
    assert each == pytest.approx(usual * (5 + 1 / 0.6) / (5 + 1 / 0.8), rel=0.01)


def test_a_baseline_takes_the_traffic_of_two_equal_arms() -> None:
    """A plan would promise the power of all of stable's traffic, which is not what the candidate is compared with."""
    given = document({"setWeight": 5}, {"setWeight": 20}, analysis={"metrics": METRICS[:1], "maxDuration": "2h"})
    refs = given["routes"][0]["backendRefs"]
    alone = outlook(loads(yaml.safe_dump(given), "test").config.routes[0], 100.0)
    refs.append({"name": "v3", "role": "baseline"})
    found = outlook(loads(yaml.safe_dump(given), "test").config.routes[0], 100.0)
    assert [at["weight"] for at in found["metrics"][0]["at"]] == [5, 20]
    small, large = (at["prove"] for at in found["metrics"][0]["at"])
    assert small["requests"] == large["requests"], "two equal arms, whatever the weight"
    counted = 100.0 * 0.1 * kept(100.0 * 0.1, 30.0)  # thin traffic loses one request of each window
    assert small["seconds"] == pytest.approx(small["requests"] / counted, rel=0.001)
    # 1/w + 1/w against 1/w + 1/(1 - w): 1.9 times as long at 5 %, 1.6 times at 20 %.
    for at, usual, times, rate in zip((small, large), alone["metrics"][0]["at"], (1.9, 1.6), (10, 40), strict=True):
        times *= kept(100.0, 30.0) / kept(rate, 30.0)
        assert at["seconds"] == pytest.approx(times * usual["prove"]["seconds"], rel=0.01)


def test_a_rolling_update_is_planned_at_the_weights_of_its_batches() -> None:
    """A plan would say that nothing looks at its metrics, or forget that a margin cannot be proven in time."""
    live = loads(yaml.safe_dump(rolling(4, maxUnavailable=2)), "test").config
    found = outlook(live.routes[0], 100.0, backends=live.backends)
    assert [at["weight"] for at in found["metrics"][0]["at"]] == [50]
    assert found["warnings"] == warnings(live.routes[0], 100.0, None, live.backends) == []
    assert "needs about" in warnings(live.routes[0], 0.1, None, live.backends)[0]


def test_truths_are_planned_as_if_all_were_told() -> None:
    """Nobody would be told how many truths a margin takes, or would take them for requests."""
    metrics = [*METRICS, {"name": "feedback.accuracy", "maxDecrease": "1pp"}]
    found = outlook(route(metrics=metrics), 100.0)
    accuracy = found["metrics"][-1]
    assert accuracy["unit"] == "truths"
    assert 70_000 < accuracy["at"][0]["prove"]["requests"] < 280_000, "simulated: 141,000 at 5 %"
    assert found["assumed"][-2:] == [
        "10 % of the predictions are wrong", "the truth of every request is told, and as soon as it is answered",
    ]  # fmt: skip
    assert any(
        ": feedback.accuracy needs about" in text and "truths until" in text
        for text in warnings(route(metrics=metrics), 0.5)
    )


def test_what_is_known_of_stable_replaces_what_is_assumed() -> None:
    """The plan would be of some other model, though the traffic has told what this one is like."""
    guessed, known = outlook(route(), 100.0), outlook(route(), 100.0, KNOWN)
    assert known["assumed"] == []
    before, after = (
        [metric["at"][-1]["prove"]["requests"] for metric in found["metrics"] if metric["role"] != "signal"]
        for found in (guessed, known)
    )
    assert after[0] < before[0] / 3, "0.1 % of failures are told from 0.3 % sooner than 1 % from 1.2 %"
    assert after[1] > 2 * before[1], "a long tail hides ten percent"
    assert after[2] < before[2] / 2
    assert after[3] < before[3]


def test_margins_out_of_reach_are_told() -> None:
    """People would wait for two hours for a proof that takes days."""
    assert warnings(route(), None) == []
    assert warnings(route(), 1000.0) == []
    told = warnings(route(), 5.0)
    assert [text.split(":")[1].split()[0] for text in told] == ["errors", "latency.p99", "prediction.label"]
    assert "maxDuration is 2.0 h" in told[0]
    odd = {**KNOWN, "pairs": {"outputs": {"label": {"compared": 50_000, "disagreed": 2000}}}}
    assert any("pair.label can never be proven" in text for text in warnings(route(), 1000.0, odd))


def test_the_rate_is_that_of_the_live_traffic() -> None:
    """Copies would count as traffic, or a rollout that has ended as one with ever less of it."""
    assert measured_rate(KNOWN, 0.0, 2000.0) == 100.9
    assert measured_rate({**KNOWN, "endedAt": 1500.0}, 0.0, 9000.0) == pytest.approx(201.8)
    assert measured_rate({**KNOWN, "startedAt": None}, 1500.0, 2000.0) == pytest.approx(201.8)
    assert measured_rate({"arms": []}, 0.0, 10.0) is None


def test_the_noise_of_stable_is_in_the_plan() -> None:
    """A proof would be promised in minutes that takes hours, since only the difference of two shares can give it."""

    def pairs(found: dict[str, Any]) -> int:
        return next(m for m in found["metrics"] if m["name"] == "pair.label")["at"][0]["prove"]["requests"]

    noisy = {"compared": 50_000, "disagreed": 2_000, "repeated": 5_000, "stableDisagreed": 150}
    known = KNOWN | {"pairs": {"outputs": {"label": noisy}}}
    guessed = outlook(route(repeat=10.0), 100.0)
    assert "stable differs from itself in 1 % of the requests that it is asked twice" in guessed["assumed"]
    assert outlook(route(repeat=10.0), 100.0, known)["assumed"] == []
    assert pairs(outlook(route(repeat=10.0), 100.0, known)) > 1.5 * pairs(guessed)
    assert pairs(guessed) > 5 * pairs(outlook(route(), 100.0))
    half = pairs(outlook(route(repeat=50.0), 100.0, known))
    assert half < pairs(outlook(route(repeat=10.0), 100.0, known)) / 2
    quiet = KNOWN | {"pairs": {"outputs": {"label": noisy | {"stableDisagreed": 0}}}}
    assert pairs(outlook(route(repeat=10.0), 100.0, quiet)) < 2_000, "where there is no noise the pairs alone prove it"
