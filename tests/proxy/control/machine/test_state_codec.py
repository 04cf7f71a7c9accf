"""A rollout's state, there and back, and version 1 to the letter."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from proxy.control.machine import state_codec
from proxy.control.machine.places import Place
from proxy.control.machine.state import Phase, Runner, State

STATE = State(
    route="fraud",
    stable="v1",
    candidate="v2",
    candidate_digest="c2",
    plan_digest="p1",
    phase=Phase.ABORTED,
    verdict="Failed",
    reason="errors rose",
    decided_by="errors",
    step=3,
    step_started_s=12.5,
    started_s=1.25,
    ended_s=20.0,
    weight_ppm=0,
    mirror_ppm=0,
    stage=4,
    stage_started_s=20.0,
    paused_by="",
    attempt=2,
)
VERSION_1 = """
{"version": 1, "route": "fraud", "stable": "v1", "candidate": "v2", "candidate_digest": "c2", "plan_digest": "p1",
 "phase": "Aborted", "verdict": "Failed", "reason": "errors rose", "decided_by": "errors", "step": 3,
 "step_started_s": 12.5, "started_s": 1.25, "ended_s": 20.0, "weight_ppm": 0, "mirror_ppm": 0, "stage": 4,
 "stage_started_s": 20.0, "paused_by": "", "attempt": 2}
"""


def test_version_1_to_the_letter() -> None:
    """If broken, this release cannot read what it wrote before: give the new form a new version."""
    assert state_codec.encode(STATE) == json.loads(VERSION_1)
    assert state_codec.decode(json.loads(VERSION_1)) == STATE


def test_version_2_to_the_letter() -> None:
    """If broken, a controller that starts in the middle of a swap does not know that stable is stopped."""
    swapping = replace(STATE, doing="start", doing_since_s=19.5, ended_reason="errors rose")
    written = json.loads(VERSION_1) | {
        "version": 2, "doing": "start", "doing_since_s": 19.5, "ended_reason": "errors rose",
    }  # fmt: skip
    assert state_codec.encode(swapping) == written
    assert state_codec.decode(written) == swapping


def test_version_3_to_the_letter() -> None:
    """If broken, a controller that starts anew compares with another version than the one before."""
    with_baseline = replace(STATE, baseline="v1-fresh")
    none_swapped = {"doing": "", "doing_since_s": 0.0, "ended_reason": ""}
    written = json.loads(VERSION_1) | none_swapped | {"version": 3, "baseline": "v1-fresh", "race": []}
    assert json.loads(json.dumps(state_codec.encode(with_baseline))) == written
    assert state_codec.decode(written) == with_baseline
    race = (Runner("v2", "c2", "Failed", "errors", "errors rose", 19.5), Runner("v3", "c3"))
    first = {"verdict": "Failed", "decided_by": "errors", "reason": "errors rose", "left_s": 19.5}
    other = {"verdict": "", "decided_by": "", "reason": "", "left_s": None}
    runners = [{"name": "v2", "digest": "c2", **first}, {"name": "v3", "digest": "c3", **other}]
    written |= {"baseline": "", "race": runners}
    assert json.loads(json.dumps(state_codec.encode(replace(STATE, race=race)))) == written
    assert state_codec.decode(written) == replace(STATE, race=race)


def test_version_4_to_the_letter() -> None:
    """If broken, a controller that starts in the middle of a batch does not know which endpoints are stopped."""
    rolling = replace(STATE, doing="start", doing_since_s=19.5, places=(
        Place("stable", "http://a:1", "stopped"), Place("candidate", "http://a:1", "starting"),
    ))  # fmt: skip
    written = json.loads(VERSION_1) | {
        "version": 4, "doing": "start", "doing_since_s": 19.5, "ended_reason": "", "baseline": "", "race": [],
        "places": [
            {"side": "stable", "address": "http://a:1", "status": "stopped"},
            {"side": "candidate", "address": "http://a:1", "status": "starting"},
        ],
    }  # fmt: skip
    assert json.loads(json.dumps(state_codec.encode(rolling))) == written
    assert state_codec.decode(written) == rolling


def test_version_5_to_the_letter() -> None:
    """If broken, a controller that starts anew has the wrong version stopped."""
    edited = replace(STATE, former="v1.9")
    written = json.loads(VERSION_1) | {
        "version": 5, "doing": "", "doing_since_s": 0.0, "ended_reason": "", "baseline": "", "race": [], "places": [],
        "former": "v1.9",
    }  # fmt: skip
    assert json.loads(json.dumps(state_codec.encode(edited))) == written
    assert state_codec.decode(written) == edited


def test_version_6_to_the_letter() -> None:
    """If broken, a controller that starts anew lets a version in again that an earlier rollout has found to do harm."""
    out = replace(STATE, latched=(Runner("v1.9", "c1", "Failed", "breaker", "all failed", 1.0),))
    runner = {"name": "v1.9", "digest": "c1", "verdict": "Failed", "decided_by": "breaker", "reason": "all failed",
              "left_s": 1.0}  # fmt: skip
    written = json.loads(VERSION_1) | {
        "version": 6, "doing": "", "doing_since_s": 0.0, "ended_reason": "", "baseline": "", "race": [], "places": [],
        "former": "", "latched": [runner],
    }  # fmt: skip
    assert json.loads(json.dumps(state_codec.encode(out))) == written
    assert state_codec.decode(written) == out


@pytest.mark.parametrize(
    ("version", "change"),
    [
        (1, {}),
        (2, {"doing": "drain", "doing_since_s": 19.5}),
        (3, {"baseline": "v1-fresh"}),
        (3, {"race": (Runner("v2", "c2"), Runner("v3", "c3"))}),
        (3, {"baseline": "v1-fresh", "doing": "drain"}),
        (4, {"places": (Place("stable", "http://a:1", "serving"),)}),
        (4, {"places": (Place("stable", "http://a:1", "serving"),), "ended_reason": "by hand"}),
        (5, {"places": (Place("stable", "http://a:1", "serving"),), "former": "v1.9"}),
        (6, {"latched": (Runner("v1.9", "c1", "Inconclusive", "operator", "by hand", 1.0),)}),
    ],
)
def test_the_oldest_version_that_can_hold_it_is_written(version: int, change: dict[str, Any]) -> None:
    """If broken, a release that is gone back to cannot read rollouts that have nothing it does not know."""
    state = replace(STATE, **change)
    written = json.loads(json.dumps(state_codec.encode(state)))
    assert written["version"] == version
    assert state_codec.decode(written) == state


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 7}, "version 7 is unknown to this release, which reads up to 6"),
        ({"version": 4, "places": [{"side": "left", "address": "a", "status": "serving"}]}, "damaged: .* 'left'"),
        ({"version": None}, "version None is unknown"),
        ({"phase": "Dancing"}, "damaged: Invalid enum value 'Dancing'"),
        ({"stage": "four"}, r"damaged: Expected `int`, got `str` - at `\$.stage`"),
        ({"verdict": "Perhaps"}, "damaged"),
    ],
)
def test_what_cannot_be_read_is_named(change: dict[str, Any], message: str) -> None:
    """If broken, a state of another release is misread, or nobody learns what is wrong with it."""
    with pytest.raises(ValueError, match=message):
        state_codec.decode(json.loads(VERSION_1) | change)


def test_a_missing_field_is_named() -> None:
    """If broken, half a state is taken for a whole one."""
    values = json.loads(VERSION_1)
    del values["stage"]
    with pytest.raises(ValueError, match="missing required field `stage`"):
        state_codec.decode(values)
    with pytest.raises(ValueError, match="a mapping, not list"):
        state_codec.decode([])
