"""How long nothing came, and when that is held against a candidate."""

from __future__ import annotations

from dataclasses import replace

import pytest

from analysis.summaries import ArmCounts, Slice
from proxy.control.evidence.silence import Silence, Silences
from proxy.control.evidence.tracks import GRID

NOTHING = ArmCounts.empty(GRID)


def second(stable: float, candidate: float, share: float = 0.05) -> Slice:
    return Slice(1, 0.0, 1.0, share, replace(NOTHING, assigned=stable), replace(NOTHING, assigned=candidate),
                 None, None, False)  # fmt: skip


def test_a_silent_night_is_told_from_a_candidate_that_nothing_reaches() -> None:
    """If broken, a night without traffic fails a candidate, or one that is never reached waits forever."""
    night, unreached = Silence(), Silence()
    for _ in range(60):
        night.observe(second(0, 0), 0.0)
        unreached.observe(second(50, 0), 0.0)
    assert (night.idle_s, night.unseen_s) == (60.0, 0.0)
    assert (unreached.idle_s, unreached.unseen_s) == (0.0, 60.0)
    unreached.observe(second(50, 1), 0.0)
    assert unreached.unseen_s == 0.0


@pytest.mark.parametrize(("share", "mirrored", "seconds"), [(0.001, 0.0, 200), (0.0, 0.0, 1000), (0.0, 0.01, 19)])
def test_what_may_be_chance_is_not_held_against_anybody(share: float, mirrored: float, seconds: int) -> None:
    """If broken, a small share of little traffic, which need not have had a request yet, looks like an outage."""
    silence = Silence()
    for _ in range(seconds - 1):
        silence.observe(second(50, 0, share), mirrored)
    assert silence.unseen_s == 0.0


def test_of_several_candidates_the_one_that_nothing_reaches_is_named() -> None:
    """If broken, one candidate that is reached hides another that is not, or one that has left holds up the rest."""
    silences = Silences()
    for _ in range(30):
        silences.observe(replace(second(50, 3), rival="a"), 0.0)
        silences.observe(replace(second(50, 0), rival="b"), 0.0)
    assert (silences.idle_s, silences.unseen) == (0.0, (30.0, "b"))
    silences.keep(("a",))
    assert silences.unseen[0] == 0.0


def test_requests_that_are_not_compared_end_the_silence_too() -> None:
    """If broken, a route whose small arms had no request for a while is taken for one without traffic."""
    silences = Silences()
    silences.observe(second(0, 0), 0.0)
    assert silences.idle_s == 1.0
    silences.end()
    assert silences.idle_s == 0.0
