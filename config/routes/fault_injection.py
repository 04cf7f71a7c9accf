"""Faults that are injected on purpose, for game days: in the words of Istio's HTTPFaultInjection."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from config.values.durations import duration, format_duration
from config.values.matching import Match
from config.values.names import Name
from config.values.numbers import Percent, whole
from config.values.section import Section, refusal

DelayS = Annotated[float, duration(0.001, 3600)]


class Delay(Section):
    """Requests that have to wait."""

    fixed_delay: DelayS = Field(examples=["5s"])
    """How long."""

    percent: Percent = Field(examples=["10"])
    """How many of the requests; each is drawn by itself, whoever sent it."""


class Abort(Section):
    """Requests that are answered by the proxy, and reach no version."""

    http_status: Annotated[int, whole(400, 599)] = Field(examples=["503"])
    """What they are answered with. Of a named backend 500 and above is an error, as it would be from the backend."""

    percent: Percent = Field(examples=["10"])
    """How many of the requests; each is drawn by itself, whoever sent it."""


class FaultInjection(Section):
    """Faults that are injected on purpose. Every request that meets one is counted, and told so by
    `x-understudy-fault`; status and log say that it is on. Take it out of the file to end it.
    """

    delay: Delay | None = None
    """Requests that have to wait."""

    abort: Abort | None = None
    """Requests that are answered with an error. One that is also delayed waits first."""

    backend: Name | None = None
    """The version that seems to fail: what is injected into its requests counts as its latency and its errors, so that
    a candidate named here is aborted by its rollout. Without it faults meet requests before a version is chosen, and
    count neither for nor against any."""

    match: Annotated[tuple[Match, ...], Field(max_length=64)] = ()
    """Which requests of the route may meet a fault: one of these must hold. Without it all may."""

    def __str__(self) -> str:
        """What is injected, in words."""
        parts = []
        if self.delay is not None:
            parts.append(f"a delay of {format_duration(self.delay.fixed_delay)} into {self.delay.percent:g} %")
        if self.abort is not None:
            parts.append(f"status {self.abort.http_status} into {self.abort.percent:g} %")
        of = "of its requests" if self.backend is None else f"of the requests of {self.backend}"
        return f"{' and '.join(parts)} {of}"

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.delay is None and self.abort is None:
            raise refusal("injects nothing", "give `delay` or `abort`, or take it away")
        return self
