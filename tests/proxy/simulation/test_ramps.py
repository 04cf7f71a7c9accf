"""Ramps on recorded requests: what was recorded at which weight has to be told, and is judged as live."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import numpy as np
import pytest

from proxy.simulation.records import RefusedError
from tests.support.records import Span, Version, config, requests, simulate

QUICK = Version(errors=0.0)


def ramped(max_bad: int = 50) -> str:
    def change(route: dict[str, object]) -> None:
        route["strategy"] = {"canary": {"ramp": {"maxBadRequests": max_bad, "maxWeight": 50}}}

    return config(change, metrics=[{"name": "errors", "maxIncrease": "2pp"}])


def records(*spans: tuple[int, float, float]) -> Iterator[dict[str, object]]:
    """Spans of (seconds, weight, errors of the candidate)."""
    random, start_s, found = np.random.default_rng(5), 0.0, list[Iterator[dict[str, object]]]()
    for seconds, weight, bad in spans:
        span = Span(seconds, stage=None, weight=weight, share=weight / 100, stable=QUICK, candidate=Version(errors=bad))
        found.append(requests(random, span, start_s=start_s))
        start_s += seconds
    return chain(*found)


def test_a_recorded_ramp_ends_with_the_proof_at_its_last_weight():
    """Broken: another weight than the last is taken for it, or none is."""
    found = simulate(records((12, 0, 0.0), (30, 2, 0.0), (30, 10, 0.0), (400, 50, 0.0)), ramped())
    assert (found["phase"], found["verdict"]) == ("Succeeded", "Successful"), found["reason"]


def test_a_spent_budget_ends_a_recorded_ramp():
    """Broken: `simulate` tells less than live."""
    found = simulate(records((12, 0, 0.0), (30, 2, 0.0), (300, 10, 0.1)), ramped(20))
    assert (found["phase"], found["decidedBy"]) == ("Aborted", "budget"), found["reason"]


def test_records_without_a_weight_are_refused():
    """Broken: the weight of a ramp is taken for what no record says."""
    with pytest.raises(RefusedError, match="weight: is missing, and route fraud has a ramp"):
        simulate(requests(np.random.default_rng(5), Span(5, stage=0, weight=None)), ramped())


def test_the_first_weight_of_the_records_counts_from_its_first_second():
    """Broken: what the rollout has begun with goes on beside it, and for as long as it does nothing else is judged: the
    ledger has no room for so much, and evidence is lost."""
    found = simulate(records((30, 2, 0.0)), ramped())
    (begun,) = [each["atSeconds"] for each in found["timeline"] if each["kind"] == "progress"]
    assert begun < 2
    assert found["metrics"][0]["nCandidate"] > 100


def test_copies_that_the_file_makes_first_do_not_hold_up_records_of_the_same_number():
    """Broken: the same where the file copies, and the records begin with a weight."""

    def mirrored(route: dict[str, object]) -> None:
        steps = [{"setMirror": {"percent": 100}}, {"analysis": {}}, {"setWeight": 50}, {"analysis": {}}]
        route["strategy"] = {"canary": {"steps": steps}}

    found = simulate(requests(np.random.default_rng(5), Span(30, stage=1, weight=50.0)), config(mirrored))
    assert found["metrics"][0]["nCandidate"] > 2_500, "half of 6,000"
