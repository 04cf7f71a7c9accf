"""Who is somewhere else after an edit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.loader import loads
from config.schema import Config
from proxy.control.intent.moved import difference
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
