"""How many requests are let through, per key."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from config.values.durations import duration
from config.values.matching import KeySource, Match, SessionAffinity
from config.values.numbers import whole
from config.values.section import Section

PeriodS = Annotated[float, duration(0.001, 86_400)]


class RateLimitKey(SessionAffinity):
    """What has a bucket of its own: exactly one of header, cookie, queryParam and sourceIp."""

    model_config = ConfigDict(title="key of a rate limit")

    fallback: tuple[KeySource, ...] = ()
    """What to read where the first is absent, in this order. Requests that have none of these share one bucket, so that
    leaving the key out is no way around the limit."""


class RateLimit(Section):
    """A token bucket: requests come in evenly over a period, and it holds up to `burst`. Between any two moments at
    most `burst` and what came in meanwhile are let through.

    The bound holds for the proxy as a whole: workers tell each other what they let through. What is turned away is
    answered 429 with Retry-After, before a version is chosen: it is no evidence for or against any.
    """

    key: RateLimitKey | None = None
    """What has a bucket of its own, such as a user. Without it the whole route has one."""

    requests: Annotated[int, whole(1, 1_000_000_000)] = Field(examples=["100"])
    """Requests that come in over the period."""

    per: PeriodS = 1.0
    """The period."""

    burst: Annotated[int, whole(1, 1_000_000_000)] | None = None
    """Requests that the bucket holds, with which it begins. Without it as many as `requests`."""

    match: Annotated[tuple[Match, ...], Field(max_length=64)] = ()
    """Which requests of the route are counted: one of these must hold. Without it all are."""

    max_keys: Annotated[int, whole(1, 10_000_000)] = 10_000
    """Keys that a worker remembers, at some 120 bytes each. Beyond it full buckets are forgotten first, which loses
    nothing, then those that were not used for the longest time."""

    @property
    def size(self) -> int:
        """What the bucket holds."""
        return self.requests if self.burst is None else self.burst
