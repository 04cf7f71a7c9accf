"""What the admin API answers at a glance, member by member: as `documents`, for all routes in one view."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from proxy.admin.document import Count, Document, Moment, Percent
from proxy.admin.documents import Summary

Share = Annotated[float, Field(ge=0, le=1)]
Urgency = Literal["act", "look", "none"]
"""act: it goes no further, or does harm, until somebody does something. look: it may need somebody soon."""


class Pace(Document):
    """How a version went in the last minute."""

    requests_per_second: Annotated[float, Field(ge=0)]
    errors: Share | None
    """Share of requests whose first attempt failed."""
    p99_ms: float | None


class Alarm(Document):
    """Something that is not as it should be, of the process or of a route."""

    urgency: Literal["act", "look"]
    kind: Literal["store", "config", "worker", "endpoint", "panic", "difference", "injected", "restart"]
    route: str
    """Empty for what concerns all of them."""
    text: str
    remedy: str


class Glimpse(Summary):
    """A route in a line of the overview."""

    urgency: Urgency
    attention: str
    """Why somebody should act, or look; empty for none."""
    started_at: Moment | None
    stage_started_at: Moment | None
    ended_at: Moment | None
    missing: list[str]
    forecast_seconds: float | None
    stable_pace: Pace | None
    """Of what the candidate is compared with; null where nothing was finished in the last minute."""
    candidate_pace: Pace | None
    """Of its live traffic, or of copies where it has none."""
    requests_per_second: Annotated[float, Field(ge=0)]
    """Live traffic of all versions."""


class Overview(Document):
    """All routes, those that need somebody first, and what is wrong beside them."""

    at: Moment
    version: str
    started_at: Moment
    config_loaded_at: Moment
    generation: Count
    workers: Count
    window_seconds: float
    """What requests a second, errors and p99 are of."""
    alarms: list[Alarm]
    routes: list[Glimpse]


class CoursePoint(Document):
    """A span of time with its weights at the end."""

    at: Moment
    """Its end."""
    seconds: float
    weight: Percent
    mirror: Percent


class CourseOf(Document):
    """What a version finished in each of the points."""

    backend: str
    role: str
    requests: list[float]
    failed: list[float]
    p99_ms: list[float | None]
    """Of a point that is longer than five seconds the highest p99 of its parts."""


class CourseDocument(Document):
    """How a route went since the controller began: the last minutes in fives of seconds, and as it grows, in longer
    points."""

    points: list[CoursePoint]
    versions: list[CourseOf]
