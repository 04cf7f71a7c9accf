"""How a candidate takes over, or is put to the test: the strategies, of which a route has one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from config.rollouts.contest import AbTest
from config.rollouts.ramp import Ramp
from config.rollouts.recreate import Recreate, SwapHook
from config.rollouts.rolling import RollingUpdate
from config.rollouts.steps import AnalysisStep, Copies, Pause, SetMirror, SetWeight, Step
from config.rollouts.takeover import Bake, BakeTime, BlueGreen
from config.values.problems import Finding
from config.values.section import OneKey, Section, refusals


class Canary(Section):
    """A candidate takes over by `steps`, or by a `ramp`: exactly one of them. After the last weight it is promoted once
    the evidence says that it may be."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["steps"]}, {"required": ["ramp"]}]})

    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=64)] | None = Field(
        default=None, examples=["[{setWeight: 5}, {analysis: {}}]"]
    )
    """What to do, in this order."""

    ramp: Ramp | None = Field(default=None, examples=["{maxBadRequests: 50}"])
    """Weights that follow the evidence, so that a bad candidate costs no more than a budget of requests."""

    bake: Bake | None = None
    """How long the candidate is watched after the promotion, with the old version kept warm. Without it the rollout
    ends with the promotion."""

    @model_validator(mode="after")
    def _steps_lead_somewhere(self) -> Self:
        if (self.steps is None) == (self.ramp is None):
            what = "has both `steps` and a `ramp`" if self.ramp else "has neither `steps` nor a `ramp`"
            raise refusals(Finding((), what, "give exactly one of steps, ramp"))
        steps = self.steps or ()
        findings = [] if self.ramp else [*_weights(steps), *_nothing_to_look_at(steps)]
        if findings:
            raise refusals(*findings)
        return self

    @model_serializer(mode="wrap")
    def _as_given(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the one that is not there: what a plan is known by must not change with what others could say."""
        return {key: value for key, value in write(self).items() if value is not None or key not in ("steps", "ramp")}


def _weights(steps: tuple[Step, ...]) -> Iterator[Finding]:
    last = 0.0
    for place, step in enumerate(steps):
        if not isinstance(step, SetWeight):
            continue
        loc = ("steps", place, "setWeight")
        if step.percent == 100:
            remedy = "take the step away: promotion sends all traffic to a candidate that has proven itself"
            yield Finding(loc, "100 leaves no traffic for stable, so that nothing can be compared", remedy)
        elif step.percent < last:
            yield Finding(
                loc, f"{step.percent:g} is below the {last:g} of an earlier step", "let weights rise from step to step"
            )
        last = max(last, step.percent)
    if last == 0:
        remedy = "add one, such as `- setWeight: 5`; to compare copies alone, use the strategy `mirror`"
        yield Finding(("steps",), "have no setWeight above 0, so that the candidate can never be promoted", remedy)


def _nothing_to_look_at(steps: tuple[Step, ...]) -> Iterator[Finding]:
    for place, step in enumerate(steps):
        if isinstance(step, SetMirror | SetWeight) and step.percent > 0:
            return
        if isinstance(step, AnalysisStep):
            remedy = "put a setMirror or setWeight before it"
            yield Finding(("steps", place, "analysis"), "comes before the candidate gets any traffic", remedy)
            return


class Strategy(OneKey):
    """What is done with a candidate: exactly one of these."""

    canary: Canary | None = None
    """It takes over by steps, on the evidence of live traffic."""

    blue_green: BlueGreen | None = None
    """It is checked while it is idle, and takes over at once."""

    recreate: Recreate | None = None
    """It takes the place of the old version, which is stopped for it, while requests wait."""

    rolling_update: RollingUpdate | None = None
    """Its endpoints take the places of the old version's one after the other, on the evidence of those that have."""

    mirror: Copies | None = Field(default=None, examples=["{percent: 100}"])
    """It gets copies, and no live traffic ever. The rollout ends with a verdict: every guardrail is proven, harm is
    proven, or the time is over; then the copies end."""

    ab_test: AbTest | None = None
    """It gets a fixed share of the users until it is known whether it is better."""

    @property
    def steps(self) -> tuple[SetMirror | SetWeight | Pause | AnalysisStep, ...]:
        """What it does to traffic, whichever it is, as steps."""
        if self.canary is not None:
            return self.canary.steps or ()
        if self.mirror is not None:
            return (SetMirror(self.mirror.percent),)
        if self.ab_test is not None:
            return (SetWeight(self.ab_test.weight),)
        return () if self.blue_green is None else self.blue_green.steps

    @property
    def ramp(self) -> Ramp | None:
        """How its weight follows the evidence, where it does."""
        return None if self.canary is None else self.canary.ramp

    @property
    def bake(self) -> BakeTime | None:
        """What comes after the promotion."""
        if (alone := self.recreate or self.rolling_update) is not None:
            return None if alone.bake is None else BakeTime(alone.bake, 0.0)
        by_steps = self.canary or self.blue_green
        return None if by_steps is None else by_steps.bake

    @property
    def hook(self) -> SwapHook | None:
        """Who stops and starts what it replaces."""
        replaces = self.recreate or self.rolling_update
        return None if replaces is None else replaces.hook

    @property
    def wants_proof(self) -> bool:
        """Whether it does not end well without a proof."""
        return self.recreate is None and (self.blue_green is None or self.blue_green.mirror is not None)
