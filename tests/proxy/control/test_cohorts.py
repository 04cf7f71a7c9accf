"""Where the versions of a rollout have their users, and that nobody goes from one to another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import schema
from proxy.control import cohorts
from proxy.control.compile import layout, segments
from proxy.snapshot import CIRCLE, Segment
from tests.support.fake_controller import rollout_state

BASELINE = {"name": "v3", "role": "baseline"}


def route(*more: dict[str, Any]) -> schema.Route:
    refs = ({"name": "v1", "role": "stable"}, {"name": "v2", "role": "canary"}, *more)
    strategy = {"canary": {"steps": ({"setWeight": 5.0},)}}
    return schema.Route.model_validate({"name": "r", "backendRefs": refs, "strategy": strategy})


def owners(of: schema.Route, weight_ppm: int, places: list[int]) -> list[str]:
    """The version of each place on the circle."""
    arms = layout(of, replace(rollout_state(), weight_ppm=weight_ppm)).arms
    circle = segments(arms)
    return [arms[next(part.arm for part in circle if place < part.upper)].backend for place in places]


PLACES = st.lists(st.integers(0, CIRCLE - 1), min_size=1, max_size=40)


@given(st.integers(0, 450_000), st.integers(0, 450_000), PLACES)
def test_a_weight_that_rises_takes_users_from_stable_alone(one: int, other: int, places: list[int]) -> None:
    """A user of the baseline would become one of the candidate, or the other way round: both would have seen both."""
    low, high = sorted((one, other))
    before, after = (owners(route(BASELINE), weight, places) for weight in (low, high))
    assert all(was == now or was == "v1" for was, now in zip(before, after, strict=True))


@given(st.integers(0, 450_000))
def test_a_baseline_has_as_much_as_the_candidate(weight_ppm: int) -> None:
    """Arms of different sizes would be compared as if they were equal, or the circle not be whole."""
    arms = layout(route(BASELINE), replace(rollout_state(), weight_ppm=weight_ppm)).arms
    assert [(arm.backend, arm.ppm) for arm in arms] == [
        ("v1", CIRCLE - 2 * weight_ppm), ("v2", weight_ppm), ("v3", weight_ppm)
    ]  # fmt: skip
    found = [0, 0, 0]
    below = 0
    for part in segments(arms):
        assert part.upper > below
        found[part.arm] += part.upper - below
        below = part.upper
    assert found == [arm.ppm for arm in arms]


@given(st.integers(0, CIRCLE))
def test_a_candidate_alone_has_the_circle_from_zero(weight_ppm: int) -> None:
    """Every sticky user would be drawn anew by an upgrade of Understudy."""
    arms = layout(route(), replace(rollout_state(), weight_ppm=weight_ppm)).arms
    wanted = (Segment(weight_ppm, 1),) * (weight_ppm > 0) + (Segment(CIRCLE, 0),) * (weight_ppm < CIRCLE)
    assert segments(arms) == wanted


@pytest.mark.parametrize("weight_ppm", [0, CIRCLE])
def test_a_baseline_serves_nobody_outside_the_steps(weight_ppm: int) -> None:
    """What only stands for stable would serve users before a rollout, or after it."""
    arms = layout(route(BASELINE), replace(rollout_state(), weight_ppm=weight_ppm)).arms
    assert {arm.backend: arm.ppm for arm in arms}["v3"] == 0
    assert len(segments(arms)) == 1
    assert {arm.backend: arm.ppm for arm in layout(route(BASELINE), None).arms} == {"v1": CIRCLE, "v2": 0, "v3": 0}


def test_a_share_is_of_what_is_compared() -> None:
    """The check of the split would hold the candidate's requests against those of stable, which are not compared."""
    assert cohorts.compared_share(50_000, baseline=True) == 0.5
    assert cohorts.compared_share(50_000, baseline=False) == 0.05
    assert [cohorts.compared_share(weight, baseline=True) for weight in (0, CIRCLE)] == [0.0, 1.0]
