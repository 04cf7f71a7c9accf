"""Which of several endpoints serves next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from proxy.data.backends.balancing import LeastRequest, RoundRobin, SlowStart, policy
from proxy.data.backends.standing import Standing
from proxy.snapshot import Balancing

PICKS = 20_000


@dataclass(eq=False)
class FakePool:
    """What a policy sees of a pool."""

    in_flight: int = 0
    standing: Standing = field(default_factory=Standing)


def shares(chosen: Any, pools: list[FakePool], picks: int = PICKS) -> list[float]:
    counted = Counter(id(chosen.pick(pools)) for _ in range(picks))
    return [counted[id(pool)] / picks for pool in pools]


def test_turns_are_even() -> None:
    """Every replica of a version does its part."""
    assert shares(RoundRobin(), [FakePool() for _ in range(4)], 400) == [0.25] * 4


def test_turns_go_on_when_endpoints_come_and_go() -> None:
    """A set that shrank would be indexed beyond its end."""
    chosen = RoundRobin()
    for count in (5, 2, 3, 2, 7):
        pools: list[Any] = [FakePool() for _ in range(count)]
        assert {id(chosen.pick(pools)) for _ in range(count)} == {id(pool) for pool in pools}


def test_least_request_takes_the_less_busy_of_two_different_ones() -> None:
    """One draw only, or twice the same, would keep sending to an endpoint that hangs."""
    pools: list[Any] = [FakePool(3), FakePool(1)]
    chosen = LeastRequest(Random(1).random)
    assert all(chosen.pick(pools) is pools[1] for _ in range(100))


def test_least_request_is_even_among_equals() -> None:
    """Ties that went to the first endpoint would overload it."""
    found = shares(LeastRequest(Random(2).random), [FakePool() for _ in range(5)])
    assert found == pytest.approx([0.2] * 5, abs=0.015)


def test_the_busiest_is_never_taken_and_the_idlest_most() -> None:
    """With two choices of four endpoints the ranks get 1/2, 1/3, 1/6 and nothing."""
    found = shares(LeastRequest(Random(3).random), [FakePool(0), FakePool(1), FakePool(2), FakePool(9)])
    assert found == pytest.approx([1 / 2, 1 / 3, 1 / 6, 0], abs=0.015)


def drawn(*values: float) -> Iterator[float]:
    yield from values


def test_draws_reach_both_ends() -> None:
    """A draw close to one must not fall beyond the list."""
    pools: list[Any] = [FakePool(0), FakePool(0), FakePool(0)]
    ends = drawn(0.0, 0.999_999)
    chosen = LeastRequest(lambda: next(ends))
    assert [pools.index(chosen.pick(pools)) for _ in range(2)] == [0, 2]


@pytest.mark.parametrize("name", ["roundRobin", "leastRequest"])
@pytest.mark.parametrize(("age_s", "share"), [(0, 0.1), (5, 0.1), (25, 0.25), (50, 0.5), (75, 0.75), (100, 1.0)])
def test_a_new_endpoint_gets_a_share_that_grows_in_a_straight_line(name: Any, age_s: float, share: float) -> None:
    """A cold endpoint would get all of its traffic at once, or a warm one would be spared for ever."""
    settings = Balancing(name, slow_start_s=100.0, slow_start_share=0.1)
    chosen = policy(settings, Random(4).random)
    assert isinstance(chosen, SlowStart)
    pools = [FakePool(), FakePool(), FakePool(), FakePool(standing=Standing(since_s=1000.0))]
    chosen.warm([pool.standing for pool in pools], 1000.0 + age_s)
    assert pools[3].standing.share == pytest.approx(share)
    assert chosen.warming is (share < 1)
    # The others share what is left of it, which makes its part of the whole a little larger than share / 4.
    low, high = share / 4, share / (3 + share)
    assert low - 0.015 <= shares(chosen, pools)[3] <= high + 0.015


def test_where_all_are_new_none_is_spared() -> None:
    """A pick must always find somebody."""
    chosen = policy(Balancing(slow_start_s=100.0, slow_start_share=0.0), Random(5).random)
    assert isinstance(chosen, SlowStart)
    pools = [FakePool(standing=Standing(since_s=10.0)), FakePool(standing=Standing(since_s=10.0))]
    chosen.warm([pool.standing for pool in pools], 10.0)
    assert shares(chosen, pools) == pytest.approx([0.5, 0.5], abs=0.015)


def test_without_slow_start_there_is_nothing_of_it() -> None:
    """What is off costs nothing on the way of a request."""
    assert isinstance(policy(Balancing()), RoundRobin)
    assert isinstance(policy(Balancing("leastRequest")), LeastRequest)
