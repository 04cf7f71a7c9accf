"""Where the versions of a rollout have their users, and that nobody goes from one to another."""

from __future__ import annotations

import doctest
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import schema
from proxy.control.machine import race as race_
from proxy.control.machine.state import Runner, State
from proxy.control.routing import cohorts
from proxy.control.routing.compile import layout, segments
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


# --- several candidates

RIVALS = ({"name": "v3", "role": "canary"}, {"name": "v4", "role": "canary"})


BASELINE4 = {"name": "v5", "role": "baseline"}


def race(weight_ppm: int, *out: str) -> State:
    runners = tuple(Runner(name, name, "Failed" if name in out else "") for name in ("v2", "v3", "v4"))
    return replace(rollout_state(), weight_ppm=weight_ppm, race=runners)


def shares(state: State, *more: dict[str, Any]) -> dict[str, int]:
    return {arm.backend: arm.ppm for arm in layout(route(*RIVALS, *more), state).arms}


def owners_in(state: State, places: list[int], *more: dict[str, Any]) -> list[str]:
    arms = layout(route(*RIVALS, *more), state).arms
    circle = segments(arms)
    return [arms[next(part.arm for part in circle if place < part.upper)].backend for place in places]


@given(st.integers(0, 300_000), st.integers(0, 300_000), PLACES)
def test_nobody_goes_from_one_candidate_to_another(one: int, other: int, places: list[int]) -> None:
    """A user would meet two versions that are compared with each other's stable, and belong to neither."""
    low, high = sorted((one, other))
    before, after = owners_in(race(low), places), owners_in(race(high), places)
    assert all(was == now or was == "v1" for was, now in zip(before, after, strict=True))


@given(st.integers(0, 225_000), st.sampled_from(["v2", "v3", "v4"]), PLACES)
def test_who_leaves_gives_its_users_to_stable_and_moves_nobody_else(weight: int, out: str, places: list[int]) -> None:
    """The users of those that go on would change sides in the middle of their comparison."""
    before, after = owners_in(race(weight), places, BASELINE4), owners_in(race(weight, out), places, BASELINE4)
    for was, now in zip(before, after, strict=True):
        assert now == ("v1" if was == out else was)


def test_each_in_the_race_has_the_weight() -> None:
    """A version that was found to do harm would go on to get traffic, or a step's weight be one for all."""
    assert shares(race(100_000)) == {"v1": 700_000, "v2": 100_000, "v3": 100_000, "v4": 100_000}
    assert shares(race(100_000, "v3"), BASELINE4) == {
        "v1": 700_000, "v2": 100_000, "v3": 0, "v4": 100_000, "v5": 100_000
    }  # fmt: skip


def test_who_is_chosen_has_everything() -> None:
    """Two versions would serve after the promotion, or the first of the file in place of the one that was proven."""
    runners = tuple(Runner(name, name, "" if name == "v4" else "Not chosen") for name in ("v2", "v3", "v4"))
    state = replace(rollout_state(), candidate="v4", weight_ppm=CIRCLE, mirror_ppm=CIRCLE, race=runners)
    assert {name: ppm for name, ppm in shares(state, BASELINE4).items() if ppm} == {"v4": CIRCLE}
    assert [copy.backend for copy in layout(route(*RIVALS), state).mirrors] == ["v1"]


def test_copies_go_to_each_in_the_race() -> None:
    """A step setMirror would rehearse the first candidate alone, or one that has left."""
    state = replace(race(0, "v3"), mirror_ppm=500_000)
    assert [(copy.backend, copy.percent) for copy in layout(route(*RIVALS), state).mirrors] == [
        ("v2", 50.0), ("v4", 50.0)
    ]  # fmt: skip


@pytest.mark.parametrize(("racing", "share"), [(3, 0.1 / 0.8), (2, 0.1 / 0.9), (1, 0.1)])
def test_the_others_are_no_part_of_a_comparison(racing: int, share: float) -> None:
    """The check of the split would call every race unreliable."""
    assert cohorts.compared_share(100_000, baseline=False, racing=racing) == pytest.approx(share)


@pytest.mark.parametrize("module", [cohorts, race_])
def test_examples_in_docstrings(module: ModuleType) -> None:
    """The examples that people read would show something else than what happens."""
    found = doctest.testmod(module)
    assert (found.failed, found.attempted > 0) == (0, True)
