"""The switch: what is asked before, and the bake after."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from config.loader import loads
from config.rollouts.steps import AnalysisStep, Pause, SetMirror
from config.rollouts.strategy import Canary
from config.rollouts.takeover import BakeTime, BlueGreen, SmokeRequest
from config.values.problems import ConfigError

SMOKE = {"path": "/infer", "body": {"x": [1.5]}, "expect": {"status": 200, "json": {"outputs.0.data": "cat"}}}


@pytest.mark.parametrize(
    ("given", "bake"),
    [("30m", BakeTime(1800.0, 100.0)), ({"duration": "1h", "mirrorPercent": 12.5}, BakeTime(3600.0, 12.5))],
)
def test_a_bake_is_a_duration_or_a_mapping(given: Any, bake: BakeTime) -> None:
    """The short form, which is in every example, would be refused, or mean something else than the long one."""
    canary = Canary.model_validate({"steps": ({"setWeight": 5},), "bake": given})
    assert canary.bake == bake
    written = canary.model_dump(mode="json", by_alias=True)["bake"]
    assert Canary.model_validate({"steps": ({"setWeight": 5},), "bake": written}).bake == bake


def test_a_switch_is_steps() -> None:
    """A gate would come before the proof, or the proof be left out."""
    switch = BlueGreen.model_validate({"mirror": {"percent": 10}, "pause": {"duration": "5m"}})
    assert switch.steps == (SetMirror(10.0), AnalysisStep(None, None, proof=True), Pause(300.0))
    assert BlueGreen.model_validate({"smoke": (SMOKE,)}).steps == ()


def test_a_smoke_request_is_sent_as_it_is_meant() -> None:
    """A JSON body would go out as a GET, or without its type."""
    request = SmokeRequest.model_validate(SMOKE)
    assert (request.verb, json.loads(request.data or b"")) == ("POST", {"x": [1.5]})
    assert request.fields == {"Content-Type": "application/json"}
    plain = SmokeRequest.model_validate({"path": "/", "body": "x=1", "headers": {"content-type": "text/plain"}})
    assert (plain.verb, plain.data, plain.fields) == ("POST", b"x=1", {"content-type": "text/plain"})
    assert SmokeRequest.model_validate({"path": "/"}).verb == "GET"


@pytest.mark.parametrize(
    ("strategy", "refused"),
    [
        ({"blueGreen": {"bake": "1h"}}, "asks nothing of the candidate"),
        ({"blueGreen": {"mirror": {"percent": 0}}}, "0 copies nothing"),
        ({"blueGreen": {"smoke": [{"path": "/", "headers": {"Host": "x"}}]}}, "written by the client itself"),
        ({"blueGreen": {"smoke": [{"path": "/", "body": 7}]}}, "neither text nor a mapping"),
        ({"blueGreen": {"smoke": [{"path": "/", "expect": {"json": {"a..b": 1}}}]}}, "has an empty part"),
        ({"abTest": {"weight": 100, "primary": {"name": "errors", "minImprovement": "1pp"}}}, "without traffic"),
        ({"abTest": {"primary": {"name": "errors", "minImprovement": "1sd"}}}, "does not fit errors"),
        ({"abTest": {"primary": {"name": "errors", "minImprovement": "0pp"}}}, "can never be ruled out"),
        ({"abTest": {"primary": {"name": "latency.p50", "minImprovement": "0.5%"}}}, "from 1% to below 100%"),
        ({"abTest": {"primary": {"name": "pair.label", "minImprovement": "1%"}}}, "no better and worse"),
        ({"abTest": {"primary": {"name": "errors", "minImprovement": "1pp", "better": "higher"}}}, "is never better"),
        ({"abTest": {"primary": {"name": "prediction.s", "minImprovement": "1sd"}}}, "is missing"),
        (
            {"abTest": {"primary": {"name": "prediction.s", "minImprovement": "1sd", "better": "higher"}}},
            "no number of this route",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(strategy: dict[str, Any], refused: str) -> None:
    """A rollout would begin that can end only in the wrong way, or in none."""
    route = {"name": "r", "backendRefs": [{"name": "a"}, {"name": "b", "role": "canary"}], "strategy": strategy}
    text = yaml.safe_dump({
        "listen": [{"address": "127.0.0.1:1"}],
        "backends": [{"name": name, "endpoints": ["http://127.0.0.1:2"]} for name in "ab"],
        "routes": [route],
    })  # fmt: skip
    with pytest.raises(ConfigError, match=refused):
        loads(text, "test")
