"""Rollouts that have stopped a version, and routes of another name."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.control.machine import vacancies
from proxy.control.machine.rollout import Applied, Phase, Record, Route, State
from tests.proxy.control.machine import test_rolls, test_swaps

DONE = ("hold", "drain", "stop", "start", "check")


def swapped(*parts: str) -> tuple[test_swaps.Run, State]:
    run = test_swaps.Run()
    run.done(*(parts or DONE))
    return run, run.state if parts else run.tell(Applied(run.state.stage))


def test_the_middle_is_from_the_first_stop_to_the_promotion() -> None:
    """A route would be let go of while neither version is there, or held on to where nothing is stopped."""
    found = [vacancies.is_in_the_middle(swapped(*DONE[:count])[1]) for count in range(1, 6)]
    assert found == [False, True, True, True, False]
    assert not vacancies.is_in_the_middle(swapped()[1]), "the candidate has its place"
    roll = test_rolls.Run()
    assert not vacancies.is_in_the_middle(roll.state)
    assert vacancies.is_in_the_middle(roll.batch()), "one of three"


def test_a_route_of_another_name_goes_on_with_what_was_promoted() -> None:
    """A renamed route would order the old version to be stopped at endpoints where the new one runs."""
    run, state = swapped()
    renamed = replace(run.plan, route="other")
    assert vacancies.is_taken_up(renamed, state, {"other"})
    after, actions = vacancies.take_up(renamed, state, 300.0)
    assert after == replace(state, route="other")
    assert actions == (Route(), Record("plan", f"v2 stays Succeeded, as in route {state.route}"))
    edited = replace(renamed, digest="edited")
    assert [type(action) for action in vacancies.take_up(edited, state, 300.0)[1]] == [Route, Record], "said once"
    assert vacancies.take_up(run.plan, state, 300.0) == (state, ()), "its own route has nothing to say"


def test_endpoints_that_could_not_be_put_back_are_put_back_under_the_new_name() -> None:
    """A rollout that was aborted while nobody knew the hook would begin anew, as if all endpoints were stable's."""
    run = test_rolls.Run()
    state = replace(run.batch(), phase=Phase.ABORTED, ended_s=200.0)
    renamed = replace(run.plan, route="other", digest="edited")
    assert vacancies.is_taken_up(renamed, state, {"other"})
    assert not vacancies.is_taken_up(renamed, state, {"other", state.route}), "its own route sees to it"
    after, _ = vacancies.take_up(renamed, state, 300.0)
    assert (after.route, after.phase, after.stopped) == ("other", Phase.REVERTING, "v1")


@pytest.mark.parametrize(
    ("changes", "routes"),
    [
        ({"candidate": "v3", "candidate_digest": "3"}, {"other"}),
        ({"candidate_digest": "another version"}, {"other"}),
        ({"stable": "v0"}, {"other"}),
    ],
    ids=["candidate", "version", "stable"],
)
def test_other_versions_are_another_rollout(changes: dict[str, str], routes: set[str]) -> None:
    """A new candidate would have all traffic unproven, since one before it was promoted."""
    run, state = swapped()
    assert not vacancies.is_taken_up(replace(run.plan, route="other", **changes), state, routes)  # type: ignore[arg-type]


def test_a_bake_is_one_routes_own() -> None:
    """Two routes would take the same version back by themselves."""
    run, state = swapped(*DONE)
    renamed = replace(run.plan, route="other")
    assert state.phase is Phase.PROMOTING
    assert vacancies.is_taken_up(renamed, state, {"other"})
    assert not vacancies.is_taken_up(renamed, state, {"other", state.route})
    _, succeeded = swapped()
    assert vacancies.is_taken_up(renamed, succeeded, {"other", state.route})
    assert not vacancies.is_taken_up(renamed, swapped(*DONE[:3])[1], {"other"}), "in the middle"


def test_a_file_settles_it_by_saying_who_serves() -> None:
    """A version could never be stable again once it was stopped, or at once after its route has gone."""
    _, state = swapped()
    assert vacancies.is_settled(state, [("serves", "v2")])
    assert vacancies.is_settled(state, [("tried", "v1")])
    assert not vacancies.is_settled(state, [("serves", "v1"), ("tried", "v2"), ("serves", "v3")])
