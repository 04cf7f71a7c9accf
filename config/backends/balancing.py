"""Which endpoint of a backend serves next."""

from __future__ import annotations

from typing import Annotated, Literal

from config.values.durations import duration
from config.values.numbers import Percent
from config.values.section import Section


class SlowStart(Section):
    """An endpoint that is new, or is back, begins with a small share, which grows until it is as large as that of the
    others: caches fill and models load before all of the traffic comes."""

    window: Annotated[float, duration(0.1, 86_400)]
    """How long the share grows, in a straight line."""

    min_weight_percent: Percent = 10.0
    """The share that it begins with, of that of an endpoint that is there for long, as in Envoy."""


class LoadBalancer(Section):
    """Which endpoint serves next. Whatever it does stays within the version: no user moves to another one by it."""

    policy: Literal["roundRobin", "leastRequest"] = "roundRobin"
    """roundRobin: in turn. leastRequest: of two that are drawn at random, the one with fewer requests under way in this
    worker, which is nearly as good as knowing the least busy of all (Mitzenmacher 2001); take it where answers take
    unequal times."""

    slow_start: SlowStart | None = None
    """How an endpoint that is new or back gets its share. Without it, all of it at once. What is there when a worker
    starts is not new."""

    panic_threshold: Percent = 50.0
    """If fewer than so many percent of the endpoints are usable, all are used: the few would be overrun, and it is more
    likely that the check is wrong than that all are. As in Envoy; 0 is never, and then requests without a usable
    endpoint are answered 503 at once, and count against the version."""
