"""Which endpoints of a backend are fit to serve, by what became of requests."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from config.durations import duration
from config.numbers import Percent, whole
from config.section import Section


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
