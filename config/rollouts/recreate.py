"""One version in the place of another, where there is room for one: requests wait meanwhile."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from config.rollouts.steps import StepS
from config.rollouts.takeover import SmokeRequest
from config.routes.webhooks import Receiver
from config.values.durations import duration
from config.values.section import Section

DrainS = Annotated[float, duration(0, 3600)]


class SwapHook(Receiver):
    """Who stops and starts versions: a receiver of POST requests with `kind` `stop` or `start` and the `backend` that
    it is about, of which `rollingUpdate` names the `endpoint`. 2xx to a stop says that it is done, 2xx to a start that
    it is done or on its way: health is awaited then. The same may be asked twice, and must then do no harm."""

    @property
    def name(self) -> str:
        """What journal and messages call it."""
        return "swap"

    @property
    def type(self) -> Literal["swap"]:
        """What receivers are told that it is."""
        return "swap"

    @property
    def format(self) -> Literal["json"]:
        """How it is written."""
        return "json"


class Recreate(Section):
    """Requests wait (`hold` of the route) while the old version is stopped and the new one is started. If the new one
    does not come up in time, or is not well while it bakes, the old one is put back in the same way."""

    hook: SwapHook
    """Who stops and starts versions."""

    drain_timeout: DrainS = 30.0
    """How long requests that a version has under way may take to end before it is stopped."""

    deadline: StepS = 600.0
    """How long it may take, from the order to stop the old version, until every endpoint of the new one is well. Both
    need a `healthCheck`."""

    smoke: Annotated[tuple[SmokeRequest, ...], Field(max_length=32)] = ()
    """Requests that every endpoint of the new version must answer as expected once its health check passes, before
    those that wait go to it. The controller sends them; if they fail three times in a row, 2 s apart, the old version
    is put back."""

    bake: StepS | None = None
    """How long the new version is watched once it has all traffic: if none of its endpoints is well, or a webhook or a
    person says so, the old one is put back."""
