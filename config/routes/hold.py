"""How requests wait while a route is held, for the time in which one version stops and another one starts."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from config.values.durations import duration
from config.values.matching import Match
from config.values.numbers import number, whole
from config.values.section import Section


class HoldPriority(Section):
    """Requests that come before others."""

    match: Annotated[tuple[Match, ...], Field(min_length=1, max_length=16)] = Field(
        examples=["[{headers: {x-tier: gold}}]"]
    )
    """Which: one of these must hold."""


class Hold(Section):
    """Requests wait in a queue of each worker, and are let go when the hold ends: by priority, then in the order in
    which they came. A request that finds no room, or whose time is over, is answered 503 with Retry-After.

    A client that says how long it waits (`prefer: wait=SECONDS` of RFC 7240, `x-envoy-expected-rq-timeout-ms`,
    `x-stainless-read-timeout`) is held no longer than that. The time in which a request was held is not its latency.
    """

    max_requests: Annotated[int, whole(1, 100_000)] = 1000
    """Requests that wait in one worker. Where a request of a higher priority comes to a full queue, the last of the
    lowest goes."""

    max_bytes: Annotated[int, whole(0, 1 << 36)] = 64 << 20
    """Memory for the bodies that wait in one worker. A body is read up to 256 KiB while it waits; the rest stays with
    the client."""

    timeout: Annotated[float, duration(0.1, 3600)] = 30.0
    """How long one request waits at most."""

    at_least: Annotated[float, duration(0, 3600)] | None = None
    """How long a hold takes at least, where that is known, such as for the loading of a model: a request that cannot
    wait so long is answered at once, rather than held in vain."""

    release_rate: Annotated[float, number(0.1, 1_000_000)] = 20.0
    """Requests per second, of all workers together, that are let go in the first second after a hold. The rate doubles
    every second, until nobody waits: a model that has just started is not overrun."""

    priorities: Annotated[tuple[HoldPriority, ...], Field(max_length=8)] = ()
    """Which requests come before others, the first in this list before all. What none of them matches comes last."""
