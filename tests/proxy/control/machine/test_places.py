"""Whose turn it is: batches of endpoints, and what holds within and after each of them."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.control.machine.places import (
    Place,
    Places,
    Rolling,
    batches,
    initial,
    is_done,
    known,
    next_batch,
    startable,
    turned,
    weight_ppm,
)

IN_PLACE = ("a", "b", "c")


def rolling(candidate: tuple[str, ...] = IN_PLACE, **limits: Any) -> Rolling:
    given = {"max_unavailable": 1, "max_surge": 0, "drain_s": 5.0, "deadline_s": 60.0, **limits}
    return Rolling(stable=IN_PLACE, candidate=candidate, **given)


def shown(places: Places) -> str:
    """The endpoints that are not stopped, stable's in lower case, the candidate's in upper case."""
    found = [(p.address if p.side == "stable" else p.address.upper()) for p in places if p.status != "stopped"]
    return "".join(found)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (rolling(), ["bcA", "cAB", "ABC"]),
        (rolling(max_unavailable=2), ["cAB", "ABC"]),
        (rolling(("s", "a", "b"), max_unavailable=0, max_surge=1), ["abcS", "bcSA", "cSAB", "SAB"]),
        (rolling(("x", "y", "z"), max_unavailable=0, max_surge=1), ["abcX", "bcXY", "cXYZ", "XYZ"]),
        (rolling(("x", "y", "z"), max_unavailable=0, max_surge=3), ["abcXYZ", "XYZ"]),
        (rolling(("x", "y", "z"), max_unavailable=1, max_surge=1), ["bcXY", "XYZ"]),
        (rolling(("x", "y", "z")), ["bcX", "cXY", "XYZ"]),
    ],
)
def test_batches_follow_each_other(of: Rolling, expected: list[str]) -> None:
    """Broken: too many would be replaced at once, or a place that is taken be started at."""
    assert [shown(places) for places in batches(of)] == expected


def test_without_a_place_to_begin_at_it_is_said() -> None:
    """Broken: a rollout would wait for ever for nothing."""
    with pytest.raises(ValueError, match="none may be away"):
        batches(rolling(max_unavailable=0, max_surge=1))


def test_the_weight_is_the_part_of_what_serves() -> None:
    """Broken: the last old endpoint would have the traffic of all that are away."""
    weights = [weight_ppm(places) for places in batches(rolling())]
    assert weights == [333_333, 666_667, 1_000_000]
    first, *_ = batches(rolling())
    leaving = next_batch(rolling(), first, "candidate").leaving
    assert [place.address for place in leaving] == ["b"]
    assert weight_ppm(turned(first, leaving, "leaving")) == 500_000


def test_a_reversal_is_the_same_the_other_way_round() -> None:
    """Broken: stable would be started where the candidate still runs."""
    places = batches(rolling())[1]
    batch = next_batch(rolling(), places, "stable")
    assert [(place.side, place.address) for place in batch.leaving] == [("candidate", "a")]
    assert [(place.side, place.address) for place in batch.starting] == [("stable", "a")]


def test_what_was_interrupted_is_gone_on_with() -> None:
    """Broken: after a restart or an edit an endpoint would be forgotten half stopped, or half started."""
    places = initial(rolling())
    halfway = turned(places, [places[0]], "leaving")
    batch = next_batch(rolling(), halfway, "candidate")
    assert [place.address for place in batch.leaving] == ["a"]
    halfway = turned(turned(places, [places[0]], "stopped"), [places[3]], "starting")
    assert next_batch(rolling(), halfway, "candidate").leaving == ()
    assert [place.address for place in startable(rolling(), halfway, "candidate")] == ["a"]


def test_an_edit_keeps_what_is_known() -> None:
    """Broken: after an edit requests would go to an endpoint that is stopped."""
    places = batches(rolling())[0]
    longer = Rolling(("a", "b", "d"), ("a", "b", "d"), 1, 0, 5.0, 60.0)
    assert known(longer, places) == (
        Place("stable", "a", "stopped"), Place("stable", "b", "serving"), Place("stable", "d", "serving"),
        Place("candidate", "a", "serving"), Place("candidate", "b", "stopped"), Place("candidate", "d", "stopped"),
    )  # fmt: skip


def test_other_limits_in_the_middle_are_no_dead_end() -> None:
    """Broken: a reversal under limits that allow nothing would never end."""
    places = batches(rolling(("s", "a", "b")))[1]
    strict = rolling(("s", "a", "b"), max_unavailable=0, max_surge=0)
    for _ in range(20):
        if is_done(places, "stable"):
            return
        batch = next_batch(strict, places, "stable")
        places = turned(turned(places, batch.leaving, "stopped"), batch.starting, "serving")
    raise AssertionError(shown(places))
