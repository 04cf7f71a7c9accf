"""What a configuration asks of the rollout and of the judge."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from analysis.plan import Gate, Goal
from config import loader, schema
from proxy.control.evidence import judging
from proxy.control.machine import steps
from proxy.control.machine.places import Rolling
from tests.support.control_plane import config, rolling

METRICS = [
    {"name": "errors", "maxIncrease": ["20%", "0.2pp"], "weight": 2},
    {"name": "latency.p99", "maxIncrease": "10%", "role": "signal"},
    {"name": "prediction.label", "maxShift": "2pp"},
    {"name": "prediction.score", "maxShift": "0.05sd", "role": "info"},
    {"name": "pair.label", "maxDisagreement": ["1%", "2pp"]},
]
STEPS = [
    {"setMirror": {"percent": 12.5}},
    {"analysis": {"minSamples": 5, "duration": "1m"}},
    {"setWeight": 0.5},
    {"pause": {}},
    {"pause": {"duration": "10s"}},
    {"analysis": {}},
]


def document() -> dict[str, Any]:
    found = copy.deepcopy(config(*STEPS))
    analysis = {"metrics": copy.deepcopy(METRICS), "breaker": {"errorsAbove": "30pp"}, "alphaAbort": 0.01}
    found["routes"][0]["analysis"] |= analysis
    return found


def loaded(found: dict[str, Any]) -> schema.Config:
    return loader.loads(yaml.safe_dump(found), "test").config


def planned(found: dict[str, Any]) -> steps.Plan:
    whole = loaded(found)
    plan = judging.plan(whole, whole.routes[0])
    assert plan is not None
    return plan


def test_steps_are_those_of_the_file() -> None:
    """A rollout would give the candidate other shares than its file says, or wait for something else."""
    plan = planned(document())
    assert plan.steps == (
        steps.SetMirror(125_000),
        steps.Analysis(5, 60.0),
        steps.SetWeight(5_000),
        steps.Pause(None),
        steps.Pause(10.0),
        steps.Analysis(None, None),
    )
    assert (plan.stable, plan.candidate, plan.min_samples, plan.min_duration_s) == ("v1", "v2", 50, 2.0)
    assert (plan.max_duration_s, plan.on_inconclusive) == (600.0, "pause")


def test_margins_are_those_of_the_file() -> None:
    """A candidate would be judged by other margins than its file says: percent taken for a fraction, say."""
    question = judging.question(loaded(document()).routes[0])
    assert question.gates == (
        Gate("errors", "errors", margin_relative=0.2, margin_absolute=0.002, weight=2.0),
        Gate("latency.p99", "latency", quantile=0.99, margin_relative=0.1, role="signal"),
        Gate("prediction.label", "category", "label", margin_absolute=0.02),
        Gate("prediction.score", "number", "score", margin_sd=0.05, role="info"),
        Gate("pair.label", "pair", "label", margin_absolute=0.02),
    )
    assert (question.alpha_abort, question.alpha_promote, question.block_s) == (0.01, 0.05, 1.0)
    assert (question.breaker_above, question.horizon_s) == (0.3, 600.0)


def test_the_latency_of_pairs_needs_no_output() -> None:
    """A rollout could not ask how much longer the same requests take."""
    found = document()
    _route(found)["analysis"]["metrics"] = [{"name": "pair.latency", "maxIncrease": "10%"}]
    gates = judging.question(loaded(found).routes[0]).gates
    assert gates == (Gate("pair.latency", "slowdown", margin_relative=0.1),)


def test_what_clients_report_later_is_asked() -> None:
    """A margin of the accuracy would be taken for one of what is wrong, or a loss without its unit."""
    found = document()
    _route(found)["analysis"]["metrics"] = [
        {"name": "feedback.accuracy", "maxDecrease": ["2%", "1pp"]},
        {"name": "feedback.logLoss", "maxIncrease": "0.05sd", "role": "signal"},
    ]
    assert judging.question(loaded(found).routes[0]).gates == (
        Gate("feedback.accuracy", "accuracy", margin_relative=0.02, margin_absolute=0.01),
        Gate("feedback.logLoss", "loss", margin_sd=0.05, role="signal"),
    )


def test_no_breaker_is_none() -> None:
    """A breaker that was switched off would go on to abort."""
    found = document()
    found["routes"][0]["analysis"]["breaker"] = None
    assert judging.question(loaded(found).routes[0]).breaker_above is None


def test_a_route_without_a_strategy_has_no_rollout() -> None:
    """An ordinary route would wait for evidence."""
    whole = loaded(config())
    assert judging.plan(whole, whole.routes[0]) is None


def _route(found: dict[str, Any]) -> dict[str, Any]:
    return found["routes"][0]


@pytest.mark.parametrize(
    "edit",
    [
        lambda found: _route(found)["strategy"]["canary"]["steps"].pop(),
        lambda found: _route(found)["analysis"].update(alphaAbort=0.02),
        lambda found: _route(found)["analysis"]["metrics"].pop(),
        lambda found: _route(found)["predictions"]["outputs"][1].update(tolerance=0.5),
        lambda found: _route(found)["predictions"]["outputs"][0].update(privacy="hash"),
        lambda found: found["backends"][0].update(version="2024-05"),
    ],
)
def test_what_changes_the_question_changes_the_digest(edit: Callable[[dict[str, Any]], object]) -> None:
    """Evidence for one question would be taken for an answer to another."""
    found = document()
    edit(found)
    assert planned(found).digest != planned(document()).digest


@pytest.mark.parametrize(
    "edit",
    [
        lambda found: _route(found).update(match=[{"path": {"prefix": "/x"}}]),
        lambda found: _route(found).update(timeouts={"request": "3s"}),
        lambda found: found["backends"][0]["endpoints"].append("http://127.0.0.1:9999"),
        lambda found: found["backends"][2].update(version="other"),
        lambda found: _route(found)["predictions"]["outputs"][0].update(privacy="keep"),
    ],
)
def test_what_does_not_change_the_question_keeps_the_digests(edit: Callable[[dict[str, Any]], object]) -> None:
    """A rollout would begin anew because stable got another instance, or because of a timeout."""
    found = document()
    edit(found)
    before, after = planned(document()), planned(found)
    assert (after.digest, after.candidate_digest) == (before.digest, before.candidate_digest)


def test_another_build_of_the_candidate_is_another_candidate() -> None:
    """A new version would be promoted on the evidence of the one before."""
    found = document()
    found["backends"][1]["version"] = "2024-06"
    assert planned(found).candidate_digest != planned(document()).candidate_digest


def test_labels_that_are_kept_are_no_new_question() -> None:
    """A release that knows `privacy` would begin every rollout anew that an earlier one began."""
    given = loaded(document()).routes[0]
    facts = given.model_dump(mode="json", by_alias=True, include={"strategy", "analysis", "predictions"})
    assert "privacy" in facts["predictions"]["outputs"][0]
    for output in facts["predictions"]["outputs"]:
        del output["privacy"]
    facts["analysis"].pop("expectedRate")
    before = hashlib.sha256(json.dumps({**facts, "stableVersion": None}, sort_keys=True).encode()).hexdigest()[:16]
    assert planned(document()).digest == before


def test_the_traffic_that_is_expected_changes_no_digest() -> None:
    """Evidence would be thrown away since somebody wrote down how busy a route is."""
    found = document()
    before = judging.plan(loaded(found), loaded(found).routes[0])
    _route(found)["analysis"]["expectedRate"] = 250
    after = judging.plan(loaded(found), loaded(found).routes[0])
    assert before is not None
    assert after is not None
    assert before.digest == after.digest


def test_asking_stable_twice_is_part_of_the_question_and_how_often_is_not() -> None:
    """The noise of the model would count as harm; or a tenth instead of a fifth would throw the evidence away."""
    found = document()

    def repeated(backend: str, percent: float) -> str:
        _route(found)["mirrors"] = [{"backend": backend, "repeat": {"percent": percent}}]
        gates = {gate.name: gate.repeats for gate in judging.question(loaded(found).routes[0]).gates}
        assert gates.pop("pair.label") == (percent / 100 if backend == "v2" else 0.0)
        assert set(gates.values()) == {0.0}
        return planned(found).digest

    plain, tenth, fifth = planned(document()).digest, repeated("v2", 10), repeated("v2", 20)
    assert plain == repeated("v2", 0) == repeated("v3", 10)
    assert plain != tenth == fifth


SMOKE = [{"path": "/ready"}, {"path": "/infer", "body": {"x": 1}}]
PRIMARY = {"name": "latency.p50", "minImprovement": "5%"}


@pytest.mark.parametrize(
    ("strategy", "planned_steps", "ending", "bake", "on_inconclusive"),
    [
        (
            {"blueGreen": {"smoke": SMOKE, "bake": "10m"}},
            (steps.Smoke(2),),
            steps.Promotion(proof=False),
            steps.Bake(600.0, 1_000_000),
            "pause",
        ),
        (
            {"blueGreen": {"mirror": {"percent": 50}, "pause": {}, "bake": {"duration": "1m", "mirrorPercent": 0}}},
            (
                steps.Smoke(0),
                steps.SetMirror(500_000),
                steps.Analysis(None, None, proof=True),
                steps.Pause(None),
            ),
            steps.Promotion(proof=False),
            steps.Bake(60.0, 0),
            "pause",
        ),
        ({"mirror": {"percent": 100}}, (steps.SetMirror(1_000_000),), steps.Report(), None, "abort"),
        (
            {"abTest": {"weight": 30, "primary": PRIMARY, "onWinner": "keep"}},
            (steps.SetWeight(300_000),),
            steps.Contest("keep"),
            None,
            "abort",
        ),
    ],
)
def test_every_strategy_is_one_plan(
    strategy: dict[str, Any],
    planned_steps: tuple[steps.Step, ...],
    ending: steps.Ending,
    bake: steps.Bake | None,
    on_inconclusive: str,
) -> None:
    """A strategy would do something else than its file says, or end otherwise."""
    found = document()
    found["routes"][0]["strategy"] = strategy
    found["routes"][0]["analysis"]["metrics"] = METRICS[:1]
    plan = planned(found)
    assert (plan.steps, plan.ending, plan.bake) == (planned_steps, ending, bake)
    assert (plan.strategy, plan.on_inconclusive) == (next(iter(strategy)), on_inconclusive)
    found["routes"][0]["analysis"] |= {"onInconclusive": "pause", "progressDeadline": "1m", "onNoTraffic": "abort"}
    plan = planned(found)
    assert (plan.on_inconclusive, plan.progress_deadline_s, plan.on_no_traffic) == ("pause", 60.0, "abort")
    assert plan.on_ratio == "pause"


def test_endpoints_are_replaced_in_batches_with_the_proof_before_the_last() -> None:
    """The last endpoint of stable would be stopped without proof, or all of them without anybody having looked."""
    found = rolling(3, analysis={"minSamples": 20, "duration": "1m"}, bake="10m", drainTimeout="1s", deadline="2m")
    found["backends"][1]["loadBalancer"] = {"slowStart": {"window": "30s", "minWeightPercent": 20}}
    plan = planned(found)
    assert plan.steps == (
        steps.Replace(333_333, 1, 3),
        steps.Analysis(20, 60.0),
        steps.Replace(666_667, 2, 3),
        steps.Analysis(20, 60.0, proof=True),
        steps.Replace(1_000_000, 3, 3),
    )
    places = tuple(f"http://127.0.0.1:910{n}" for n in range(3))
    assert plan.rolling == Rolling(places, places, 1, 0, 1.0, 120.0, 30.0, 0.2)
    assert (plan.ending, plan.bake) == (steps.Promotion(proof=False), steps.Bake(600.0, 0))
    _route(found)["webhooks"] = [{"name": "go", "type": "confirm-promotion", "url": "http://h/"}]
    assert planned(found).steps[-2:] == (steps.Confirm("confirm-promotion"), steps.Replace(1_000_000, 3, 3))


def test_another_endpoint_of_stable_is_another_plan_where_they_are_replaced() -> None:
    """An endpoint that was added in the middle would never be replaced."""
    before = planned(rolling(3))
    found = rolling(3)
    found["backends"][0]["endpoints"][2] = "http://127.0.0.1:9999"
    assert planned(found).digest != before.digest
    assert planned(found).candidate_digest == before.candidate_digest


@pytest.mark.parametrize(
    ("primary", "goal"),
    [
        (PRIMARY, Goal("latency.p50", "latency", 0.05, relative=True, quantile=0.5)),
        ({"name": "errors", "minImprovement": "0.5pp"}, Goal("errors", "errors", 0.005, relative=False)),
        (
            {"name": "prediction.score", "minImprovement": "0.1sd", "better": "higher"},
            Goal("prediction.score", "number", 0.1, relative=False, higher=True, output="score"),
        ),
    ],
)
def test_what_a_test_is_about_is_asked(primary: dict[str, Any], goal: Goal) -> None:
    """An A/B test would be decided by another metric, direction or size than its file says."""
    found = document()
    found["routes"][0]["strategy"] = {"abTest": {"primary": primary}}
    found["routes"][0]["analysis"]["metrics"] = METRICS[:1]
    assert judging.question(loaded(found).routes[0]).goal == goal


def test_what_an_output_lacks_is_watched_beside_what_compares_it() -> None:
    """A model whose scores are all NaN would stand still for ever, or a label would be watched twice."""
    found = document()
    outputs = found["routes"][0]["predictions"]["outputs"]
    next(each for each in outputs if each["name"] == "score")["maxInvalid"] = "1pp"
    found["routes"][0]["analysis"]["metrics"] = [
        {"name": "prediction.label", "maxShift": "2pp"},
        {"name": "prediction.score", "maxShift": "0.05sd", "weight": 2, "role": "signal"},
        {"name": "pair.score", "maxDisagreement": "1%"},
        {"name": "pair.label", "maxDisagreement": "1%"},
    ]
    gates = judging.question(loaded(found).routes[0]).gates
    names = ["prediction.label", "prediction.score", "prediction.score.invalid", "pair.score", "pair.label"]
    assert [gate.name for gate in gates] == names
    watch = gates[2]
    assert (watch.kind, watch.output, watch.role) == ("unread", "score", "signal")
    assert [watch.margin_absolute, watch.weight, gates[1].weight] == pytest.approx([0.01, 0.2, 1.8])


def test_pairs_alone_are_watched_and_what_is_only_shown_is_not() -> None:
    """A shadow that answers nothing would never be said to; or a metric that is only shown would abort."""
    found = document()
    found["routes"][0]["analysis"]["metrics"] = [
        {"name": "errors", "maxIncrease": "1pp"},
        {"name": "prediction.score", "maxShift": "0.05sd", "role": "info"},
        {"name": "pair.label", "maxDisagreement": "1%"},
    ]
    gates = judging.question(loaded(found).routes[0]).gates
    assert [gate.name for gate in gates] == ["errors", "prediction.score", "pair.label", "prediction.label.invalid"]
    assert gates[-1].margin_absolute == pytest.approx(0.02)
