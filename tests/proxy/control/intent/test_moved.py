"""Who is somewhere else after an edit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.loader import loads
from config.schema import Config
from proxy.control.evidence import judging
from proxy.control.intent.moved import Live, difference
from proxy.control.machine.adopting import begin
from proxy.control.machine.rollout import Phase
from proxy.control.routing.compile import compile as compiled

NAMES = ("v1", "v2", "v3")


def config(weights: tuple[int, ...] = (90, 10), more: str = "", strategy: str = "") -> Config:
    backends = ", ".join(f"{{name: {name}, endpoints: [http://127.0.0.1:900{i}]}}" for i, name in enumerate(NAMES))
    refs = ", ".join(f"{{name: {name}, weight: {weight}}}" for name, weight in zip(NAMES, weights, strict=False))
    affinity = "" if "sessionAffinity" in more else ", sessionAffinity: {header: x-user}"
    return loads(
        "listen: [{address: 127.0.0.1:1}]\n"
        f"backends: [{backends}]\n"
        f"routes: [{{name: m, backendRefs: [{refs}]{affinity}{more}{strategy}}}]\n",
        "f",
    ).config


def test_nothing_moves_where_nothing_changes():
    """Broken: every diff is alarming."""
    found = difference(config(), config())
    assert found.change == "nothing changed"
    assert found.routes[0].percent == 0


def test_a_weight_moves_its_difference():
    """Broken: an edit from 10 % to 25 % is told as something else than 15 % of the users."""
    (route,) = difference(config((90, 10)), config((75, 25))).routes
    assert route.percent == pytest.approx(15)
    assert [(move.source, move.target) for move in route.moves] == [("v1", "v2")]
    assert not route.redrawn


def test_another_seed_or_key_draws_everybody_anew():
    """Broken: half of the users flip, and the diff says that nothing changed."""
    (route,) = difference(config((50, 50)), config((50, 50), ", seed: other")).routes
    assert route.percent == pytest.approx(50)
    assert "seed" in route.redrawn
    (route,) = difference(config((90, 10)), config((90, 10), ", sessionAffinity: {cookie: sid}")).routes
    assert route.percent == pytest.approx(18)
    assert route.redrawn


weights = st.tuples(*[st.integers(0, 50)] * 3).filter(any)


@given(weights, weights)
def test_the_share_is_that_of_the_router(before, after):
    """Broken: the diff tells another share than what the workers then do."""
    old, new = config(before), config(after)
    (route,) = difference(old, new).routes
    sides = [compiled(side, {}, {}, {}, 1).routes[0] for side in (old, new)]
    step = 1_000

    def owner(side, place: int) -> str:
        arm = next(segment.arm for segment in side.segments if place < segment.upper)
        return NAMES[side.arms[arm].backend]

    moved = sum(owner(sides[0], place) != owner(sides[1], place) for place in range(step // 2, 1_000_000, step))
    assert route.percent == pytest.approx(100 * moved * step / 1_000_000, abs=0.7)


# --- routes that come and go


def routes(*texts: str) -> Config:
    backends = ", ".join(f"{{name: {name}, endpoints: [http://127.0.0.1:900{i}]}}" for i, name in enumerate(NAMES))
    listed = "".join(f"- {text}\n" for text in texts)
    return loads(f"listen: [{{address: 127.0.0.1:1}}]\nbackends: [{backends}]\nroutes:\n{listed}", "f").config


HALVES = "backendRefs: [{name: v1, weight: 1}, {name: v2, weight: 1}], sessionAffinity: {header: x-user}"
MODEL = "match: [{path: {prefix: /m}}]"
OTHER = "{name: other, match: [{path: {prefix: /o}}], backendRefs: [{name: v3}]}"


def test_a_renamed_route_is_followed_by_what_it_matches():
    """Broken: of a rename nobody learns that half of the users flip."""
    old = routes(OTHER, f"{{name: m, {MODEL}, {HALVES}}}")
    _, found = difference(old, routes(OTHER, f"{{name: m9, {MODEL}, {HALVES}}}")).routes
    assert (found.was, found.route, found.percent) == ("m", "m9", pytest.approx(50))
    assert "`seed: m` in m9 keeps users where they are" in found.redrawn
    assert "m9 takes the requests that m took" in found.notes
    _, found = difference(old, routes(OTHER, f"{{name: m9, seed: m, {MODEL}, {HALVES}}}")).routes
    assert (found.percent, found.redrawn) == (0, "")
    assert "users keep their places: their key and the seed are the same" in found.notes


def test_a_route_that_is_removed_leaves_its_requests_to_another_or_to_none():
    """Broken: requests that nobody takes any more are told as nothing."""
    old = routes(f"{{name: m, {MODEL}, {HALVES}}}", OTHER)
    none = difference(old, routes(OTHER)).routes[-1]
    assert (none.was, none.route, none.percent) == ("m", "", 100)
    assert none.notes == ("m is removed: no other route takes its requests, which are answered 404",)
    wide = difference(old, routes(OTHER, "{name: rest, backendRefs: [{name: v3}]}")).routes
    told = {(found.was, found.route): found for found in wide}
    assert ("", "rest") in told, "it takes more than m did"
    assert [(move.source, move.target) for move in told["m", "rest"].moves] == [("v1", "v3"), ("v2", "v3")]
    assert told["m", "rest"].percent == pytest.approx(100)


def test_a_route_that_is_added_takes_requests_from_another_or_from_none():
    """Broken: a route that takes a part of the requests of another one moves users, and nobody is told."""
    rest = "{name: rest, backendRefs: [{name: v1}]}"
    found, stays = difference(routes(rest), routes("{name: m, " + MODEL + ", backendRefs: [{name: v2}]}", rest)).routes
    assert (found.was, found.route) == ("rest", "m")
    assert [(move.source, move.target, move.percent) for move in found.moves] == [("v1", "v2", 100)]
    assert (stays.route, stays.percent) == ("rest", 0)
    (new,) = (each for each in difference(routes(OTHER), routes(OTHER, f"{{name: m, {MODEL}, {HALVES}}}")).routes
              if each.route == "m")  # fmt: skip
    assert (new.was, new.percent) == ("", 0)
    assert new.notes == ("m is added: no other route takes its requests, which were answered 404",)


# --- what no file has

ROLLOUT = ", strategy: {canary: {steps: [{setWeight: 20}, {analysis: {}}]}}"
TRIED = "backendRefs: [{name: v1}, {name: v2, role: canary}]"


def at(weight: float, phase: Phase = Phase.PROGRESSING, stable: str = "v1") -> dict[str, Live]:
    return {"m": Live(stable, ("v2",), ("v2",) if weight else (), phase, weight)}


def test_a_strategy_of_either_file_is_said_to_set_the_weights():
    """Broken: after a promotion the diff says that everybody moves, and nobody does."""
    old, new = routes(f"{{name: m, {TRIED}{ROLLOUT}}}"), routes("{name: m, backendRefs: [{name: v2}]}")
    (found,) = difference(old, new).routes
    assert found.percent == 100
    assert any("before its first step; --live" in note for note in found.notes)
    (found,) = difference(new, old).routes
    assert found.notes == ("the strategy sets the weights: shares are those before its first step",)


def test_live_weights_tell_who_really_moves():
    """Broken: the diff of a promoted route is alarming, or that of one that is not says nothing."""
    old, new = routes(f"{{name: m, {TRIED}{ROLLOUT}}}"), routes("{name: m, backendRefs: [{name: v2}]}")
    (found,) = difference(old, new, at(100, Phase.SUCCEEDED)).routes
    assert (found.percent, found.notes) == (0, ("live: v2 with 100 % of the traffic, Succeeded",))
    (found,) = difference(old, new, at(20)).routes
    assert [(move.source, move.target, move.percent) for move in found.moves] == [("v1", "v2", 80)]
    (found,) = difference(old, new, {}).routes
    assert found.notes == ("no rollout of the old file is live for m: shares are those before its first step",)
    assert difference(old, new, at(100, Phase.SUCCEEDED, stable="v3")).routes == (found,)


def test_a_rollout_keeps_its_weight_where_the_edit_lets_it_go_on():
    """Broken: an edit that throws a rollout back to its first step is told as one that moves nobody, or the reverse."""
    old = routes(f"{{name: m, {TRIED}{ROLLOUT}}}")
    (found,) = difference(old, routes(f"{{name: m, {TRIED}, timeouts: {{request: 5s}}{ROLLOUT}}}"), at(20)).routes
    assert found.percent == 0
    steeper = routes(f"{{name: m, {TRIED}{ROLLOUT.replace('20', '30')}}}")
    (found,) = difference(old, steeper, at(20)).routes
    assert [(move.source, move.target, move.percent) for move in found.moves] == [("v2", "v1", 20)]
    assert "its rollout begins anew, at the first step" in found.notes
    (found,) = difference(old, steeper, at(100, Phase.SUCCEEDED)).routes
    assert found.percent == 0


@given(st.integers(0, 30), st.booleans())
def test_live_shares_are_those_of_the_router(weight, baseline):
    """Broken: with a baseline or several candidates users are told to be where the workers do not send them."""
    refs = "backendRefs: [{name: v1}, {name: v2, role: canary}, {name: v3, role: baseline}]" if baseline else TRIED
    config = routes(f"{{name: m, {refs}{ROLLOUT}}}")
    plan = judging.plan(config, config.routes[0])
    state = replace(begin(plan, 0.0)[0], weight_ppm=weight * 10_000, phase=Phase.PROGRESSING)
    segments = compiled(config, {"m": state}, {}, {}, 1).routes[0]
    parts = dict.fromkeys(NAMES, 0)
    below = 0
    for segment in segments.segments:
        parts[NAMES[segments.arms[segment.arm].backend]] += segment.upper - below
        below = segment.upper
    (found,) = difference(config, routes("{name: m, backendRefs: [{name: v1}]}"), at(weight)).routes
    assert {move.source: round(move.percent * 10_000) for move in found.moves} == {
        name: parts[name] for name in ("v2", "v3") if parts[name]
    }
