"""Which endpoints of a backend are fit to serve: by asking them, and by what became of requests."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from config.values.durations import duration
from config.values.numbers import Percent, whole
from config.values.problems import shown
from config.values.section import Parsed, Section, refusal


def _path(value: object) -> str:
    wanted = "write a path, such as /v2/health/ready"
    if not isinstance(value, str) or not value.startswith("/"):
        raise refusal(f"{shown(value)} is not a path", wanted)
    if not all("!" <= char <= "~" for char in value) or "#" in value:
        raise refusal(f"{shown(value)} has characters that a path cannot have", "write them as %20 and the like")
    return value


Path = Annotated[str, Parsed(_path, str, {"type": "string", "title": "path", "pattern": "^/"})]
Status = Annotated[int, whole(100, 599)]


class HealthCheck(Section):
    """Every endpoint is asked whether it is well, by the controller alone, however many workers there are. Until enough
    answers have come an endpoint is used. While no controller is there, workers go on with what they knew last."""

    path: Path = Field(examples=["/v2/health/ready"])
    """What is asked for, with GET."""

    interval: Annotated[float, duration(0.1, 86_400)] = 5.0
    """From one question to the next; up to a tenth is added at random, so that not all are asked at once."""

    timeout: Annotated[float, duration(0.01, 3_600)] = 1.0
    """How long the head of an answer may take, connection included."""

    unhealthy_threshold: Annotated[int, whole(1, 100)] = 3
    """Failures in a row after which an endpoint gets no more traffic."""

    healthy_threshold: Annotated[int, whole(1, 100)] = 2
    """Passes in a row after which it gets traffic again."""

    expected_statuses: Annotated[tuple[Status, ...], Field(min_length=1, max_length=32)] | None = None
    """Statuses that pass; without it 200 to 299."""


class OutlierDetection(Section):
    """An endpoint whose answers fail in a row is left out for a while, by each worker for itself. Its failures stay
    counted against the version, and its traffic goes to other endpoints of the same version. The names are Istio's."""

    consecutive_5xx_errors: Annotated[int, whole(0, 100_000)] = Field(5, alias="consecutive5xxErrors")
    """Failures in a row that leave it out: answers of 500 and above, and those that never came, such as for a
    connection that could not be made, was reset or kept silent until the timeout. 0 is never."""

    consecutive_gateway_errors: Annotated[int, whole(0, 100_000)] = 0
    """The same for answers 502, 503 and 504 and those that never came, where a 500 says something of the request and
    not of the endpoint. 0 is never."""

    interval: Annotated[float, duration(0.1, 86_400)] = 10.0
    """How often it is looked who may come back. An endpoint that was not left out for a whole interval is forgiven one
    of its earlier ejections."""

    base_ejection_time: Annotated[float, duration(0.1, 86_400)] = 30.0
    """How long it is left out the first time; twice as long the second time and so on, up to 5m or this if it is
    longer, as in Envoy."""

    max_ejection_percent: Percent = 50.0
    """At most so many percent of the endpoints are left out at a time, but always one. Istio's 10 is made for
    services of many pods; a model has few."""

    min_health_percent: Percent = 0.0
    """If fewer than so many percent are not left out, none is left out. 0 is Istio's default, and off."""
