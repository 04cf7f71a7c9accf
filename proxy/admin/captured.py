"""Captured requests, for those who may see payloads: read in pages, and taken away for good."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final, Literal

import structlog
from aiohttp import web
from prometheus_client.core import CounterMetricFamily, Metric
from pydantic import BeforeValidator, Field, JsonValue

from proxy.admin.document import Count, Document, Moment
from proxy.admin.handling import CONTROLS, actor, answer, names
from proxy.admin.parameters import MOST_ID, Parameters, digits, query
from proxy.admin.problems import unknown_route
from proxy.admin.surface import Controls

CAPTURES_LIMIT: Final = 20
CAPTURES_MOST: Final = 100
_LOG: Final = structlog.get_logger("understudy.captures")


class CapturesQuery(Parameters):
    """Which captured requests."""

    kind: Literal["sample", "disagreement", "error"] | None = None
    """Why they were captured; without it all of them."""

    limit: Annotated[int, Field(ge=1, le=CAPTURES_MOST), BeforeValidator(digits)] = CAPTURES_LIMIT
    """How many at most; fewer come where they are large."""

    before: Annotated[int, Field(ge=1, le=MOST_ID), BeforeValidator(digits)] | None = None
    """Those with a lower id alone: `nextBefore` of the page before."""


class Body(Document):
    """A body, as far as the file lets it out."""

    bytes: Count
    """How long it was on the wire, without its framing."""
    type: str
    """The media type, empty where none or no proper one was said."""
    value: JsonValue
    """What was kept of it; null where nothing was."""
    cut: bool
    """Whether it had more elements than are looked at."""
    why: str
    """Why nothing was kept: not JSON, too long, not complete, unreadable, dropped (by the file); else empty."""


class CapturedRequest(Document):
    """What a client asked."""

    method: str
    path: str | None
    headers: dict[str, str]
    body: Body


class CapturedAnswer(Document):
    """What a version answered."""

    backend: str
    role: str
    status: Count
    """What the client was told, or would have been; 0 where there was no answer."""
    fault: str
    latency_ms: float
    headers: dict[str, str]
    body: Body


class Captured(Document):
    """A captured request with its answers: that of the live version first, then that of the version with the copy."""

    id: Count
    at: Moment
    kind: Literal["sample", "disagreement", "error"]
    attempts: Count
    """How often a version was asked for the live answer."""
    differs: list[str]
    """The outputs that the answers disagree on."""
    request: CapturedRequest
    answers: list[CapturedAnswer]


class Captures(Document):
    """Captured requests of a route, the newest first."""

    captures: list[Captured]
    next_before: Annotated[int, Field(ge=1)] | None
    """`before` of the next page; null on the last one."""
    next: str | None
    """Its path."""


class Forgotten(Document):
    """What was taken away."""

    removed: Count


async def captures(request: web.Request) -> web.Response:
    """Captured requests of a route; of one that is gone from the file too, as long as there are some."""
    asked = query(request, CapturesQuery)
    name, controls = request.match_info["name"], request.app[CONTROLS]
    found, more = await controls.captures.page(name, asked.kind, asked.limit, asked.before)
    if not found and name not in names(controls):
        raise unknown_route(name, names(controls))
    _LOG.info("captured requests are read", route=name, actor=actor(request), count=len(found))
    before = found[-1]["id"] if more else None
    path = None
    if before is not None:
        kind = f"kind={asked.kind}&" if asked.kind else ""
        path = f"{request.rel_url.raw_path}?{kind}limit={asked.limit}&before={before}"
    return answer({"captures": found, "nextBefore": before, "next": path})


async def forget(request: web.Request) -> web.Response:
    """Take away all that was captured of a route."""
    name, controls = request.match_info["name"], request.app[CONTROLS]
    if name not in names(controls) and not (await controls.captures.page(name, None, 1, None))[0]:
        raise unknown_route(name, names(controls))
    return answer({"removed": await controls.captures.forget(name, actor(request))})


def exposed(controls: Controls, routes: Iterable[dict[str, Any]]) -> Iterator[Metric]:
    """How many were captured, and how many were not that should have been."""
    kept = CounterMetricFamily("understudy_captures", "Requests captured and kept.", labels=("route", "kind"))
    lost = CounterMetricFamily(
        "understudy_captures_dropped",
        "Requests that were to be captured and were not: limit (beyond perMinute), worker (no room in a worker), queue "
        "(none in the controller), store (it was away).",
        labels=("route", "reason"),
    )
    desk, reader = controls.captures, controls.reader
    for key, count in sorted(desk.kept.items()):
        kept.add_metric(key, count)
    for name in (route["name"] for route in routes):
        totals = [reader.guards(worker, name) for worker in reader.workers()]
        lost.add_metric([name, "limit"], sum(total.capture_limited for total in totals))
        lost.add_metric([name, "worker"], sum(total.capture_dropped for total in totals))
    for key, count in sorted(desk.dropped.items()):
        lost.add_metric(key, count)
    yield from (kept, lost)
