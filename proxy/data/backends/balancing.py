"""Which of several usable endpoints serves next."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import random
from typing import Final, Protocol

from proxy.data.backends.pool import Pool
from proxy.data.backends.standing import Standing
from proxy.snapshot import Balancing


class Policy(Protocol):
    """Picks one of two pools or more."""

    def pick(self, pools: Sequence[Pool]) -> Pool:
        """The pool that serves next."""


class RoundRobin:
    """One after the other."""

    __slots__ = ("_turn",)

    def __init__(self) -> None:
        self._turn = 0

    def pick(self, pools: Sequence[Pool]) -> Pool:
        """The pool whose turn it is."""
        self._turn = (self._turn + 1) % len(pools)
        return pools[self._turn]


class LeastRequest:
    """The less busy of two that are drawn at random.

    With two choices instead of one the longest queue of n endpoints falls from log n / log log n to log log n / log 2
    (Mitzenmacher 2001), and no worker needs to know what the others have under way: unlike the least busy of all, the
    choice does not send all workers to the same endpoint at once.
    """

    __slots__ = ("_random",)

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random

    def pick(self, pools: Sequence[Pool]) -> Pool:
        """Of two different pools the one with fewer requests under way."""
        rest = len(pools) - 1
        one, other = divmod(int(self._random() * (rest + 1) * rest), rest)
        mine, others = pools[one], pools[other if other < one else other + 1]
        return others if others.in_flight < mine.in_flight else mine


class SlowStart:
    """Another policy among those that are there for long, and a growing share of the picks among the new ones too.

    An endpoint with the share s is left out of a pick with the probability 1 - s, so that it gets about s times what it
    would get otherwise, under every policy.
    """

    __slots__ = ("_policy", "_random", "_share", "_window_s", "warming")

    def __init__(self, policy: Policy, settings: Balancing, random: Callable[[], float]) -> None:
        self._policy, self._random = policy, random
        self._window_s, self._share = settings.slow_start_s, settings.slow_start_share
        self.warming = False

    def pick(self, pools: Sequence[Pool]) -> Pool:
        """The pool that serves next."""
        if self.warming:
            draw = self._random
            ready = [pool for pool in pools if pool.standing.share >= 1 or draw() < pool.standing.share] or pools
            return ready[0] if len(ready) == 1 else self._policy.pick(ready)
        return self._policy.pick(pools)

    def warm(self, standings: Sequence[Standing], now_s: float) -> None:
        """Let the shares grow: from the first share to one, in a straight line through zero, as in Envoy."""
        self.warming = False
        for standing in standings:
            if standing.since_s:
                standing.share = max(self._share, min(1.0, (now_s - standing.since_s) / self._window_s))
                if standing.share >= 1:
                    standing.since_s = 0.0
                else:
                    self.warming = True


_POLICIES: Final[dict[str, Callable[[Callable[[], float]], Policy]]] = {
    "roundRobin": lambda _: RoundRobin(),
    "leastRequest": LeastRequest,
}


def policy(settings: Balancing, random: Callable[[], float] = random) -> Policy:
    """The policy that settings ask for. `random` draws from [0, 1)."""
    chosen = _POLICIES[settings.policy](random)
    return SlowStart(chosen, settings, random) if settings.slow_start_s else chosen
