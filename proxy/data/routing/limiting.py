"""Rate limits: a token bucket for each key, and how long a request that finds it empty has to wait.

A bucket is one number, the time at which it will be full again: each request moves it on by the time that one token
takes to come in, and a request is let through if it finds a token. So between any two moments at most `burst` requests
and what came in meanwhile pass (the generic cell rate algorithm, ITU-T I.371). What is turned away takes no token.

Keys are hashed, so that no key costs more memory than another, and there is a bound to how many are remembered.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

import msgspec
from xxhash import xxh3_64_intdigest

from proxy.data.requests.router import Condition, Head, KeyReader, any_of, key_readers
from proxy.data.requests.trust import network_of
from proxy.ledger.guards import RATE_LIMITED, Guards, RouteCounts
from proxy.snapshot import RateLimit

_OLDEST: Final = 16
"""How many keys are looked at to find room for a new one: those that were not used for the longest time."""

_ROUNDING_S: Final = 1e-6
"""A client exactly at its rate is not turned away for the last digit of a float."""


class Limiter:
    """The buckets of one rate limit in one worker."""

    __slots__ = ("_full_s", "_matches", "_readers", "_seed", "_slack_s", "_times", "_token_s", "limit")

    def __init__(self, route: str, limit: RateLimit, guards: Guards) -> None:
        self.limit = limit
        self._token_s = limit.per_s / limit.requests
        self._slack_s = (limit.burst - 1) * self._token_s
        self._matches: Condition | None = any_of(limit.matches)
        self._readers: tuple[KeyReader, ...] = tuple(
            _network if key.source == "sourceIp" else reader
            for key, reader in zip(limit.keys, key_readers(limit.keys), strict=True)
        )
        name = route.encode() + b"\n" + msgspec.msgpack.encode(limit)
        self._seed = xxh3_64_intdigest(name, guards.salt)
        self._times = guards.times
        self._full_s: dict[int, float] = {}
        """When each key's bucket will be full again, the least recently used first."""

    @property
    def keys(self) -> int:
        """How many keys are remembered."""
        return len(self._full_s)

    def bucket(self, head: Head) -> int | None:
        """The bucket that a request takes from, as a hash; None where it is not counted."""
        if self._matches is not None and not self._matches(head):
            return None
        for read in self._readers:
            key = read(head)
            if key:
                return xxh3_64_intdigest(key, self._seed)
        return self._seed

    def wait_s(self, bucket: int, now_s: float) -> float:
        """How long until the bucket has a token; 0 if it has one."""
        full_s = max(self._full_s.pop(bucket, 0.0), self._times.latest(bucket))
        if len(self._full_s) >= self.limit.max_keys:
            self._make_room(now_s)
        self._full_s[bucket] = full_s
        wait_s = full_s - now_s - self._slack_s
        return wait_s if wait_s > _ROUNDING_S else 0.0

    def take(self, bucket: int, now_s: float) -> None:
        """Take a token, which `wait_s` has found there."""
        full_s = max(self._full_s[bucket], now_s) + self._token_s
        self._full_s[bucket] = full_s
        self._times.tell(bucket, full_s)

    def _make_room(self, now_s: float) -> None:
        """Forget keys: of the oldest all whose buckets are full, or else the one that is the fullest."""
        oldest = list(islice(self._full_s.items(), _OLDEST))
        full = [bucket for bucket, full_s in oldest if full_s <= now_s]
        for bucket in full or [min(oldest, key=lambda item: item[1])[0]]:
            del self._full_s[bucket]


class RouteLimit:
    """All rate limits of a route."""

    __slots__ = ("_counts", "limiters")

    def __init__(self, limiters: tuple[Limiter, ...], counts: RouteCounts) -> None:
        self.limiters = limiters
        self._counts = counts

    def wait_s(self, head: Head, now_s: float) -> float:
        """How long a request has to wait; 0 if it is let through: that takes a token of each limit, or else of none."""
        taken: list[tuple[Limiter, int]] = []
        wait_s = 0.0
        for limiter in self.limiters:
            bucket = limiter.bucket(head)
            if bucket is not None:
                wait_s = max(wait_s, limiter.wait_s(bucket, now_s))
                taken.append((limiter, bucket))
        if wait_s:
            self._counts.add(RATE_LIMITED)
            return wait_s
        for limiter, bucket in taken:
            limiter.take(bucket, now_s)
        return 0.0


def _network(head: Head) -> bytes | None:
    return network_of(head.peer)
