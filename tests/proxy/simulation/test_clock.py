"""Rollouts on records: what they come to, and when. Traffic is seeded; a build that is right never fails these."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from math import nan
from typing import Any

import numpy as np
import pytest

from proxy.data.requests.router import place
from proxy.simulation.records import RefusedError
from tests.support.records import CANDIDATE, STABLE, Span, Version, config, requests, simulate

RAMP = (Span(60, stage=0, weight=5.0), Span(60, stage=1, weight=25.0), Span(150, stage=2, weight=50.0))
Route = dict[str, Any]


def ramp_steps(route: Route) -> None:
    route["strategy"]["canary"]["steps"] = [
        {"setWeight": 5}, {"analysis": {}}, {"setWeight": 25}, {"analysis": {}}, {"setWeight": 50}, {"analysis": {}},
    ]  # fmt: skip


def errors_alone(route: Route) -> None:
    route["analysis"]["metrics"] = [{"name": "errors", "maxIncrease": "1pp"}]


def traffic(*spans: Span, seed: int = 1) -> Iterator[dict[str, Any]]:
    return requests(np.random.default_rng(seed), *spans)


def worse(**change: Any) -> list[Span]:
    return [replace(span, candidate=replace(Version(), **change)) for span in RAMP]


# --- what it comes to


@pytest.mark.slow
def test_an_equal_candidate_is_promoted_in_the_last_stage() -> None:
    """Broken: good candidates never get through, or get through at a small weight."""
    found = simulate(traffic(*RAMP), config(ramp_steps))
    assert (found["verdict"], found["phase"], found["decidedBy"]) == ("Successful", "Succeeded", "evidence")
    assert found["atSeconds"] >= 60 + 60 + 60, "minDuration is of the last stage"
    assert found["stage"] == 2
    assert not found["sampleRatio"]["flagged"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "blamed"),
    [
        ({"errors": 0.06}, "errors"),
        ({"errors": 0.6}, "breaker"),
        ({"median_ms": 70.0}, "latency.p50"),
        ({"labels": (0.4, 0.5, 0.1)}, "prediction.label"),
        ({"score": 0.46}, "prediction.score"),
        ({"score": nan}, "prediction.score.invalid"),
    ],
)
def test_a_worse_candidate_is_aborted_by_what_is_worse(change: dict[str, Any], blamed: str) -> None:
    """Broken: harm is not found, or blamed on another metric."""
    found = simulate(traffic(*worse(**change)), config(ramp_steps))
    assert (found["verdict"], found["phase"], found["decidedBy"]) == ("Failed", "Aborted", blamed)
    assert found["reason"]
    assert found["records"] < 54_000, "an abort ends the simulation"


def test_no_records_are_no_verdict() -> None:
    """Broken: silence promotes, or ends in a traceback."""
    found = simulate(b"")
    assert (found["verdict"], found["phase"], found["looks"], found["atSeconds"]) == ("Inconclusive", "Waiting", 1, 0.0)
    assert [metric["name"] for metric in found["metrics"]][-2:] == ["prediction.score", "prediction.score.invalid"]
    assert found["metrics"][0]["interval"] == [None, None]


def test_silence_of_the_candidate_waits() -> None:
    """Broken: a version that nobody meets is promoted."""
    found = simulate(traffic(Span(20, share=0.0)))
    assert (found["verdict"], found["phase"]) == ("Inconclusive", "Waiting")


def test_too_little_is_inconclusive_as_the_file_says() -> None:
    """Broken: the end of a rollout's time is not its end."""
    span = Span(60, rate=10)
    paused = simulate(traffic(span), config(minDuration="5s", maxDuration="30s"))
    assert (paused["verdict"], paused["phase"], paused["decidedBy"]) == ("Inconclusive", "Paused", "maxDuration")
    assert 30 < paused["atSeconds"] < 33, "the time of the look that decided"
    aborted = simulate(traffic(span), config(minDuration="5s", maxDuration="30s", onInconclusive="abort"))
    assert (aborted["verdict"], aborted["phase"]) == ("Inconclusive", "Aborted")


def test_one_failure_of_twenty_does_not_abort() -> None:
    """suna 3403: one 500 at low traffic aborted releases."""
    records = [
        {
            "t": float(at),
            "backend": (STABLE, CANDIDATE)[at % 2],
            "stage": 0,
            "weight": 50,
            "latencyMs": 50.0,
            "error": at == 7,
        }
        for at in range(40)
    ]
    assert simulate(records)["verdict"] == "Inconclusive"


@pytest.mark.slow
def test_rare_errors_over_a_zero_baseline_abort() -> None:
    """kayenta 426, 799: the baseline had no errors at all, the canary had some, and the judgement was Pass."""
    spans = Span(240, stable=Version(errors=0.0), candidate=Version(errors=0.03))
    found = simulate(
        traffic(spans), config(errors_alone, metrics=[{"name": "errors", "maxIncrease": ["20%", "0.5pp"]}])
    )
    assert (found["verdict"], found["decidedBy"]) == ("Failed", "errors")


@pytest.mark.slow
def test_drift_of_both_versions_while_the_weight_rises_is_no_harm() -> None:
    """Broken: counts of several stages are pooled (a test that pools them aborts every such rollout)."""
    spans = [
        replace(span, stable=Version(errors=rate), candidate=Version(errors=rate))
        for span, rate in zip(RAMP, (0.002, 0.02, 0.06), strict=True)
    ]
    found = simulate(traffic(*spans), config(ramp_steps))
    assert found["verdict"] != "Failed"
    assert found["metrics"][0]["evidenceHarm"] < 3


@pytest.mark.slow
def test_a_candidate_that_answers_nan_is_not_promoted() -> None:
    """Broken: scores that are left out look as good as those that are there."""
    random = np.random.default_rng(6)

    def spoilt() -> Iterator[dict[str, Any]]:
        for record in traffic(Span(120)):
            if record["backend"] == CANDIDATE and "outputs" in record and random.random() < 0.3:
                record["outputs"]["score"] = float("nan")
            yield record

    assert simulate(spoilt())["verdict"] == "Inconclusive"


# --- stages


@pytest.mark.slow
def test_promotion_waits_for_the_last_stage() -> None:
    """Broken: a candidate is promoted at 25 % because the evidence is there already."""
    found = simulate(traffic(*RAMP[:2], replace(RAMP[1], seconds=150)), config(ramp_steps))
    assert (found["verdict"], found["phase"]) == ("Inconclusive", "Progressing")
    assert found["reason"] == "waits for the last stage of the records"
    named = simulate(traffic(*RAMP[:2], replace(RAMP[1], seconds=150)), config(ramp_steps), last_stage=1)
    assert named["verdict"] == "Successful"


@pytest.mark.slow
def test_without_stages_the_file_decides() -> None:
    """Broken: logs that say nothing of stages cannot be simulated."""
    found = simulate(traffic(Span(200, stage=None, weight=None)), config(ramp_steps))
    assert found["verdict"] == "Successful"
    assert [each["kind"] for each in found["timeline"]].count("step") == 2
    assert found["sampleRatio"]["checked"] == "not checked"


@pytest.mark.slow
def test_webhooks_are_not_waited_for() -> None:
    """Broken: a route with a webhook waits for ever, as records have nobody who could be asked."""
    types = ("confirm-rollout", "pre-rollout", "rollout", "confirm-traffic-increase", "confirm-promotion", "rollback")

    def asking(route: Route) -> None:
        ramp_steps(route)
        route["webhooks"] = [{"name": type_, "type": type_, "url": "http://h/"} for type_ in types]

    for span in (Span(200, stage=None, weight=None), Span(150, stage=0, weight=50.0)):
        assert simulate(traffic(span), config(asking)) == simulate(traffic(span), config(ramp_steps))


def test_a_weight_that_rises_within_a_stage_leaves_the_split_unchecked() -> None:
    """Broken: the split is held against the first weight, and flagged."""
    spans = [Span(5, stage=0, weight=weight) for weight in (5.0, 20.0, 40.0)]
    assert simulate(traffic(*spans), config(ramp_steps))["sampleRatio"]["checked"] == "not checked"


def test_late_records_of_the_stage_before_count_as_such() -> None:
    """Broken: a worker that learns of a new stage a moment later begins one of its own."""
    records = sorted(traffic(*(replace(span, seconds=4) for span in RAMP[:2])), key=lambda record: record["t"])
    first = next(at for at, record in enumerate(records) if record["stage"] == 1)
    records[first + 3] |= {"stage": 0, "weight": 5.0}
    found = simulate(records, config(ramp_steps))
    assert [each["text"] for each in found["timeline"] if each["kind"] == "step"] == [
        "stage 0 of the records begins", "stage 1 of the records begins",
    ]  # fmt: skip


def test_a_stage_for_each_second_is_followed_and_one_for_each_request_is_refused() -> None:
    """Broken: rows of the ledger run out, and what is counted nowhere is judged as silence."""
    often = [{**record, "stage": int(record["t"])} for record in traffic(Span(30, rate=60.0))]
    found = simulate(often)
    assert (found["ignored"], found["metrics"][0]["n"]) == (0, len(often))
    numbered = [{**record, "stage": number} for number, record in enumerate(traffic(Span(3, rate=100.0)))]
    said = r"line 63: stage 62 begins, after more than 30 others within 20 s; a stage is a time of constant weights"
    with pytest.raises(RefusedError, match=said):
        simulate(numbered)


def test_a_switch_that_compares_nothing_is_refused() -> None:
    """Broken: a report says that the rollout waits for an operator, whom no recording has, or that it has succeeded."""

    def switching(route: Route) -> None:
        route["strategy"] = {"blueGreen": {"smoke": [{"path": "/"}]}}

    with pytest.raises(ValueError, match="switches on its smoke requests alone: nothing is compared before"):
        simulate(traffic(Span(3)), config(switching))


# --- what is counted


def test_the_clock_of_the_records_does_not_matter() -> None:
    """Broken: logs with epoch times, or with times before zero, come to something else."""
    found = [simulate(requests(np.random.default_rng(1), Span(20), start_s=at)) for at in (0.0, -7.0, 1.7e9)]
    for other in found[1:]:
        assert other["atSeconds"] == pytest.approx(found[0]["atSeconds"], abs=0.01)
        assert [each["evidencePass"] for each in other["metrics"]] == [
            each["evidencePass"] for each in found[0]["metrics"]
        ]


def test_a_look_comes_once_an_interval() -> None:
    """Broken: the file's interval is not the simulation's."""
    assert 20 <= simulate(traffic(Span(20)))["looks"] <= 22
    assert 4 <= simulate(traffic(Span(20)), config(interval="5s"))["looks"] <= 6


def test_records_of_other_backends_are_passed_over_and_told() -> None:
    """Broken: a third version of the route is taken for one of the two."""

    def third(route: Route) -> None:
        route["backendRefs"].append({"name": "other", "role": "shadow"})

    records = [*traffic(Span(5)), {"t": 5.0, "backend": "other"}]
    assert simulate(records, config(third))["ignored"] == 1


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"backend": "fraud-v9"}, "line 11: backend: fraud-v9 is no backend of route fraud"),
        ({"assigned": {"fraud-v9": 1}}, "line 11: assigned: fraud-v9 is no backend of route fraud"),
    ],
)
def test_backends_that_the_route_does_not_have_are_refused(record: dict[str, Any], message: str) -> None:
    """Broken: a misspelt name is silence, and silence looks like a candidate that waits."""
    lines = [{"t": 1.0, "backend": STABLE, "latencyMs": 5.0}] * 10
    with pytest.raises(RefusedError, match=message):
        simulate([*lines, {"t": 1.5, **record}])


@pytest.mark.slow
def test_a_split_that_is_off_blocks_promotion() -> None:
    """Broken: a comparison whose halves are not alike promotes."""
    found = simulate(traffic(Span(120, share=0.42)))
    assert (found["verdict"], found["sampleRatio"]["flagged"]) == ("Inconclusive", True)


@pytest.mark.slow
def test_requests_that_are_assigned_and_vanish_are_seen() -> None:
    """Broken: a version that loses its slow requests looks fast."""

    def logged() -> Iterator[dict[str, Any]]:
        random, counted, last = np.random.default_rng(3), {STABLE: 0, CANDIDATE: 0}, 0
        for record in traffic(Span(120)):
            if int(record["t"]) >= last + 10:
                last = int(record["t"])
                yield {"t": float(last), "assigned": dict(counted)}
                counted = {STABLE: 0, CANDIDATE: 0}
            counted[record["backend"]] += 1
            if record["backend"] == STABLE or random.random() > 0.2:
                yield record

    found = simulate(logged())
    assert (found["verdict"], found["sampleRatio"]["flagged"]) == ("Inconclusive", True)


@pytest.mark.slow
def test_users_who_stay_with_a_version_are_judged_as_users() -> None:
    """Broken: three users who fail all the time, and always meet the same version, abort an equal candidate."""

    def sticky(route: Route) -> None:
        errors_alone(route)
        route["sessionAffinity"] = {"header": "x-user-id"}

    def records() -> Iterator[dict[str, Any]]:
        random = np.random.default_rng(5)
        for at in range(150 * 100):
            user = int(random.integers(0, 3)) if random.random() < 0.2 else int(random.integers(0, 400))
            candidate = place(0, f"u{user}".encode()).place < 500_000
            yield {
                "t": at / 100, "user": f"u{user}", "backend": CANDIDATE if candidate else STABLE, "stage": 0,
                "weight": 50, "latencyMs": 50.0, "error": bool(random.random() < (0.5 if user < 3 else 0.002)),
            }  # fmt: skip

    found = simulate(records(), config(sticky))
    assert found["verdict"] != "Failed"
    assert found["sampleRatio"]["checked"] == "users"
    assert found["metrics"][0]["nEffective"] < found["metrics"][0]["nCandidate"] / 2


# --- pairs


def mirrored(route: Route) -> None:
    route["strategy"]["canary"]["steps"] = [
        {"setMirror": {"percent": 100}}, {"analysis": {}}, {"setWeight": 50}, {"analysis": {}},
    ]  # fmt: skip
    route["analysis"]["metrics"] = [
        {"name": "errors", "maxIncrease": "1pp"},
        {"name": "pair.label", "maxDisagreement": "1%"},
        {"name": "pair.latency", "maxIncrease": "10%"},
    ]


def pairs(odd: float = 0.0, slower: float = 1.0, seconds: int = 120) -> Iterator[dict[str, Any]]:
    random = np.random.default_rng(2)
    for at in range(100 * seconds):
        took = float(50 * np.exp(0.3 * random.standard_normal()))
        said = "odd" if random.random() < odd else "cat"
        yield {
            "t": at / 100,
            "pair": {
                "stable": {"latencyMs": took, "outputs": {"label": "cat"}},
                "shadow": {"latencyMs": took * slower, "outputs": {"label": said}},
            },
        }


@pytest.mark.slow
@pytest.mark.parametrize(("change", "blamed"), [({"odd": 0.05}, "pair.label"), ({"slower": 1.4}, "pair.latency")])
def test_copies_are_judged(change: dict[str, float], blamed: str) -> None:
    """Broken: a rehearsal on copies finds nothing."""
    found = simulate(pairs(**change), config(mirrored))
    assert (found["verdict"], found["decidedBy"]) == ("Failed", blamed)


@pytest.mark.slow
@pytest.mark.parametrize(("again", "verdict"), [(False, "Failed"), (True, "Inconclusive")])
def test_the_noise_of_the_model_itself_is_no_disagreement(again: bool, verdict: str) -> None:
    """Broken: a model that differs from itself in 3 % of its answers can never be replaced by an equal one."""
    random = np.random.default_rng(8)

    def noisy() -> Iterator[dict[str, Any]]:
        for record in pairs(odd=0.03):
            if again:
                said = "other" if random.random() < 0.03 else "cat"
                record["pair"]["repeat"] = {"latencyMs": 50.0, "outputs": {"label": said}}
            yield record

    assert simulate(noisy(), config(mirrored))["verdict"] == verdict


@pytest.mark.slow
def test_copies_first_then_traffic() -> None:
    """Broken: a rollout that rehearses on copies cannot be simulated to its end."""
    later = ({**record, "t": record["t"] + 100} for record in traffic(Span(150, stage=1, weight=50.0)))
    found = simulate([*pairs(seconds=100), *later], config(mirrored))
    assert found["verdict"] == "Successful"
    told = {each["name"]: each["n"] for each in found["metrics"]}
    assert told["pair.label"] == 10_000


# --- truths


def told_later(right: float, seconds: int = 130) -> list[dict[str, Any]]:
    """Requests whose truth comes some seconds later; stable is right in nine of ten."""
    random, found = np.random.default_rng(4), []
    for at in range(100 * seconds):
        t, candidate = at / 100, bool(random.random() < 0.5)
        is_right = random.random() < (right if candidate else 0.9)
        said = {"label": "cat" if is_right else "dog", "p1": 0.8}
        told = {"request": f"r{at}", "backend": CANDIDATE if candidate else STABLE, "stage": 0, "weight": 50}
        found.append({"t": t, "latencyMs": 50.0, "outputs": said, **told})
        found.append({"t": t + float(random.exponential(10.0)), "request": f"r{at}", "truth": "cat"})
    return sorted(found, key=lambda record: record["t"])


def answered(route: Route) -> None:
    route["predictions"]["outputs"] = [
        {"name": "label", "kind": "category"}, {"name": "p1", "kind": "number", "range": [0, 1]},
    ]  # fmt: skip
    route["analysis"]["metrics"] = [
        {"name": "feedback.accuracy", "maxDecrease": "4pp"},
        {"name": "feedback.logLoss", "maxIncrease": "0.3sd"},
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("right", "verdict"), [(0.9, "Successful"), (0.75, "Failed")])
def test_truths_are_held_against_what_was_predicted(right: float, verdict: str) -> None:
    """Broken: a version that is wrong more often is promoted, or one that is as good never is."""
    found = simulate(told_later(right), config(answered))
    assert found["verdict"] == verdict
    assert found["metrics"][0]["stable"] == pytest.approx(0.1, abs=0.02), "the share that is wrong"
    assert found["truths"] > 5000


def test_truths_of_requests_that_nobody_knows_are_told_as_such() -> None:
    """Broken: a truth that came twice counts twice, or one of an unknown request ends the simulation."""
    one = told_later(0.9, seconds=1)[:50]
    twice = [{"t": 5.0, "request": "r0", "truth": "cat"}] * 2
    found = simulate([*(each for each in one if "truth" not in each), *twice, {"t": 5.0, "request": 7, "truth": "x"}],
                     config(answered))  # fmt: skip
    assert (found["truths"], found["ignored"]) == (1, 2)


def test_a_route_that_holds_truths_against_nothing_refuses_them() -> None:
    """Broken: truths are read for nothing, and the reader believes that they count."""
    with pytest.raises(RefusedError, match="line 1: truth: route fraud holds truths against nothing"):
        simulate([{"t": 0.0, "request": "r1", "truth": "cat"}])


def test_the_outcome_has_no_number_that_json_does_not_know() -> None:
    """Broken: a program that reads the outcome stumbles over NaN."""
    json.dumps(simulate(traffic(Span(3))), allow_nan=False)


# --- a baseline


def with_baseline(route: Route) -> None:
    route["backendRefs"].append({"name": "other", "role": "baseline"})
    route["strategy"]["canary"]["steps"] = [{"setWeight": 25}, {"analysis": {}}]
    errors_alone(route)


@pytest.mark.slow
def test_records_of_a_baseline_are_what_is_compared_with() -> None:
    """Broken: records of a baseline are passed over, and the candidate is held against a stable that is warm."""
    fresh = Version(errors=0.06)
    records = [
        record | ({"backend": "other"} if record["backend"] == STABLE else {})
        for record in traffic(Span(150, weight=25.0, share=0.5, stable=fresh, candidate=fresh))
    ]
    records += traffic(Span(150, weight=25.0, share=0.0, stable=Version(errors=0.0)), seed=2)
    found = simulate(sorted(records, key=lambda record: record["t"]), config(with_baseline))
    assert (found["verdict"], found["phase"]) == ("Successful", "Succeeded"), found["reason"]
    errors = found["metrics"][0]
    assert (errors["control"], found["ignored"]) == ("baseline", 0)
    assert errors["stable"] == pytest.approx(0.06, abs=0.01)
    assert found["sampleRatio"]["expectedShare"] == 0.5


# --- several candidates


def with_another(route: Route) -> None:
    route["backendRefs"].append({"name": "other", "role": "canary"})
    route["strategy"]["canary"]["steps"] = [{"setWeight": 25}, {"analysis": {}}]
    errors_alone(route)


def of_three(bad: Version, seconds: int = 150) -> list[dict[str, Any]]:
    """A quarter of the records each of two candidates, of which the first is bad."""
    span = Span(seconds, weight=25.0, share=1 / 3, candidate=bad, rate=150.0)
    others = Span(seconds, weight=25.0, share=1.0, rate=50.0)
    records = [*traffic(span), *(record | {"backend": "other"} for record in traffic(others, seed=2))]
    return sorted(records, key=lambda record: record["t"])


@pytest.mark.slow
@pytest.mark.parametrize("told", [True, False], ids=["stages of the records", "steps of the file"])
def test_several_candidates_are_told_apart(told: bool) -> None:
    """Broken: a simulation mixes candidates up, or ends with the first that is bad."""
    records = of_three(Version(errors=0.5))
    if not told:
        records = [{key: value for key, value in each.items() if key not in ("stage", "weight")} for each in records]
    found = simulate(records, config(with_another))
    assert (found["verdict"], found["candidate"]) == ("Successful", "other"), found["reason"]
    standing = {each["name"]: each["verdict"] for each in found["candidates"]}
    assert standing == {CANDIDATE: "Failed", "other": "Successful"}
    assert [moment["kind"] for moment in found["timeline"]].count("drop") == 1
    by_name = {each["name"]: each["metrics"][0] for each in found["candidates"]}
    assert by_name["other"]["candidate"] == pytest.approx(0.01, abs=0.01)
    assert by_name[CANDIDATE]["candidate"] == pytest.approx(0.5, abs=0.1)


def copied(route: Route) -> None:
    """Two candidates that are mirrored first."""
    mirrored(route)
    route["backendRefs"].append({"name": "other", "role": "canary"})
    route["strategy"]["canary"]["steps"][2:] = [{"setWeight": 25}, {"analysis": {}}]


def copies_of_two(odd: float, seconds: int = 120, again: float = 0.0) -> list[dict[str, Any]]:
    """Mirrored requests: each copied to the first candidate, which says odd things, and half to the second."""
    random, found = np.random.default_rng(9), list(pairs(odd=odd, seconds=seconds))
    for record in found:
        pair = record["pair"]
        pair[CANDIDATE] = pair.pop("shadow")
        if random.random() < 0.5:
            pair["other"] = {"latencyMs": pair["stable"]["latencyMs"], "outputs": {"label": "cat"}}
        if random.random() < again:
            pair["repeat"] = {"latencyMs": 50.0, "outputs": {"label": "cat"}}
    return found


@pytest.mark.slow
def test_copies_of_several_candidates_are_told_apart() -> None:
    """Broken: copies of one candidate are counted for another, or one that differs takes the others with it."""
    found = simulate(copies_of_two(odd=0.06, again=0.3), config(copied))
    standing = {each["name"]: each["verdict"] for each in found["candidates"]}
    assert standing == {CANDIDATE: "Failed", "other": ""}, found["reason"]
    compared = {each["name"]: each["metrics"][1] for each in found["candidates"]}
    assert compared[CANDIDATE]["candidate"] == pytest.approx(0.06, abs=0.02)
    assert compared["other"]["candidate"] == 0
    assert found["candidate"] == "other"
    assert {each["kind"]: each["text"] for each in found["timeline"]}["drop"].startswith("fraud-v2 leaves the race")


def test_one_candidate_may_be_called_by_its_name_too() -> None:
    """Broken: who names it, as with several, is told that it is nobody."""
    usual = list(pairs(seconds=5))
    named = [{**each, "pair": {"stable": each["pair"]["stable"], CANDIDATE: each["pair"]["shadow"]}} for each in usual]
    assert simulate(named, config(mirrored)) == simulate(usual, config(mirrored))


@pytest.mark.parametrize(
    ("pair", "several", "said"),
    [
        ({"stable": {}, "shadow": {}}, True,
         "line 2: pair.shadow: does not say which of 2 candidates has answered; call the answer `fraud-v2` or `other`"),
        ({"stable": {}, "fraud-v9": {}}, True,
         "pair: fraud-v9 is no backend of route fraud; its candidates are fraud-v2, other"),
        ({"stable": {}, "fraud-v1": {}}, True, "pair: fraud-v1 is the stable version; call its answer `stable`"),
        ({"fraud-v2": {}}, True, "pair: stable is missing; give the answer of fraud-v1 as `stable`"),
        ({"stable": {}, "repeat": {}}, False,
         "pair: nobody has answered the copy; give the answer of `shadow` or `fraud-v2`"),
        ({"stable": {}, "shadow": None}, False, "pair: nobody has answered the copy"),
        ({"stable": {}, "shadow": {}, "fraud-v2": {}}, False,
         "pair: fraud-v2 has answered twice, as shadow and as fraud-v2"),
    ],
)  # fmt: skip
def test_a_pair_of_nobody_is_refused(pair: dict[str, Any], several: bool, said: str) -> None:
    """Broken: copies of one candidate are counted for another, or for nobody without a word."""
    good = {"stable": {"latencyMs": 1.0}, "fraud-v2": {"latencyMs": 1.0}}
    with pytest.raises(RefusedError, match=re.escape(said)):
        simulate([{"t": 1.0, "pair": good}, {"t": 1.1, "pair": pair}], config(copied if several else mirrored))
