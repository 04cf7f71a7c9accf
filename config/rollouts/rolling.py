"""One endpoint after the other: stable's are stopped, and the candidate's started in their places, while all others
serve on."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from config.rollouts.recreate import DrainS, SwapHook
from config.rollouts.steps import Look, StepS
from config.rollouts.takeover import SmokeRequest
from config.values.numbers import whole
from config.values.problems import Finding
from config.values.section import Section, refusals

Endpoints = Annotated[int, whole(0, 64)]


class RollingUpdate(Section):
    """Endpoint by endpoint: some of stable are taken out, drained and stopped, and as many of the candidate started,
    checked and let in; both versions are compared before the next. If one does not come up, falls over, or is proven to
    be worse, stable is put back in the same way. The backends of both list as many endpoints; one that both have is
    replaced in its place."""

    hook: SwapHook
    """Who stops and starts endpoints: told with `endpoint` beside `backend`, once for each."""

    max_unavailable: Endpoints = 1
    """How many endpoints fewer than stable has may serve at any time: so many are replaced at once."""

    max_surge: Endpoints = 0
    """How many endpoints more than stable has may run at any time: so many are started before others are stopped. They
    need addresses that stable does not have."""

    smoke: Annotated[tuple[SmokeRequest, ...], Field(max_length=32)] = ()
    """Requests that an endpoint of the candidate must answer as expected before it is let in."""

    drain_timeout: DrainS = 30.0
    """How long requests that an endpoint has under way may take to end before it is stopped."""

    deadline: StepS = 600.0
    """How long a batch may take, from the order to stop until all that was started is well; and how long an endpoint of
    the candidate that serves may be unwell."""

    analysis: Look = Field(default=Look(), examples=["{minSamples: 500, duration: 2m}"])
    """What is waited for after each batch. Before the last endpoints of stable go, every guardrail must be proven
    too."""

    bake: StepS | None = None
    """How long the candidate is watched once it has all places. There is no stable to compare it with then: if its
    endpoints are not well, if errors rise (`breaker`), or if a webhook or a person says so, stable is put back."""

    @model_validator(mode="after")
    def _replaces_something(self) -> Self:
        if not self.max_unavailable and not self.max_surge:
            remedy = "give one of them 1, such as `maxUnavailable: 1`"
            raise refusals(Finding(("maxUnavailable",), "and maxSurge are both 0: nothing could be replaced", remedy))
        return self
