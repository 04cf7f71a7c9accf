"""The steps by which a candidate takes over: mirror, weight, pause, analysis.

A step is a mapping with one key, as in Argo Rollouts. In the program each is a type of its own, so that code which
treats them one by one can be checked to have forgotten none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from config.durations import duration, format_duration
from config.numbers import Percent, show_number, whole
from config.problems import Finding
from config.section import OneKey, Parsed, Section, refusals

StepS = Annotated[float, duration(1, 99_999 * 3600)]
Samples = Annotated[int, whole(1, 1_000_000_000)]


@dataclass(frozen=True, slots=True)
class SetMirror:
    """Copy this percentage of the live traffic to the candidate; its answers reach nobody."""

    percent: float


@dataclass(frozen=True, slots=True)
class SetWeight:
    """Send this percentage of the live traffic to the candidate."""

    percent: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for some time, or for a person (None)."""

    duration_s: float | None


@dataclass(frozen=True, slots=True)
class AnalysisStep:
    """Wait for evidence: for so many samples (None: the route's `analysis.minSamples`) and at least so long."""

    min_samples: int | None
    duration_s: float | None


class _SetMirror(Section):
    """Copies of live traffic for the candidate."""

    model_config = ConfigDict(title="setMirror")

    percent: Percent = Field(examples=[100])
    """How much of the live traffic is copied."""


class _Pause(Section):
    """A wait. Without a duration it lasts until a person promotes or resumes."""

    model_config = ConfigDict(title="pause")

    duration: StepS | None = None
    """How long to wait."""


class _AnalysisStep(Section):
    """A wait for evidence."""

    model_config = ConfigDict(title="analysis step")

    min_samples: Samples | None = None
    """Samples that each version needs in this stage; by default `analysis.minSamples` of the route."""

    duration: StepS | None = None
    """How long to look at least."""


class _Step(OneKey):
    """One step: exactly one of these keys."""

    model_config = ConfigDict(title="step")

    set_mirror: _SetMirror | None = Field(default=None, examples=["{percent: 100}"])
    """Copy traffic to the candidate; its answers reach nobody."""

    set_weight: Percent | None = None
    """Send this percentage of live traffic to the candidate. Decimals are allowed: 0.5 is one in two hundred."""

    pause: _Pause | None = Field(default=None, examples=["{duration: 10m}"])
    """Wait for some time, or with `{}` for a person. The candidate is watched, and aborted, all the while."""

    analysis: _AnalysisStep | None = Field(default=None, examples=["{minSamples: 1000}"])
    """Wait until enough was seen. `{}` takes everything from the route's `analysis`."""


def _step(form: _Step) -> SetMirror | SetWeight | Pause | AnalysisStep:
    match form:
        case _Step(set_mirror=_SetMirror(percent=percent)):
            return SetMirror(percent)
        case _Step(set_weight=float(percent)):
            return SetWeight(percent)
        case _Step(pause=_Pause(duration=seconds)):
            return Pause(seconds)
        case _Step(analysis=_AnalysisStep(min_samples=samples, duration=seconds)):
            return AnalysisStep(samples, seconds)
    raise AssertionError(f"a step without a key: {form}")


def _show_step(step: SetMirror | SetWeight | Pause | AnalysisStep) -> dict[str, Any]:
    match step:
        case SetMirror(percent):
            return {"setMirror": {"percent": show_number(percent)}}
        case SetWeight(percent):
            return {"setWeight": show_number(percent)}
        case Pause(seconds):
            return {"pause": _given(duration=seconds)}
        case AnalysisStep(samples, seconds):
            return {"analysis": _given(minSamples=samples, duration=seconds)}


def _given(*, duration: float | None, **others: Any) -> dict[str, Any]:
    found = {key: value for key, value in others.items() if value is not None}
    return found | ({"duration": format_duration(duration)} if duration is not None else {})


Step = Annotated[SetMirror | SetWeight | Pause | AnalysisStep, Parsed(_step, _show_step, form=_Step)]


class Canary(Section):
    """A candidate takes over by steps. After the last one it is promoted once the evidence says that it may be."""

    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=64)]
    """What to do, in this order."""

    @model_validator(mode="after")
    def _steps_lead_somewhere(self) -> Self:
        findings = list(_weights(self.steps)) + list(_nothing_to_look_at(self.steps))
        if findings:
            raise refusals(*findings)
        return self


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
        remedy = "add one, such as `- setWeight: 5`; to compare copies alone, use `mirrors` and no strategy"
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
    """How a candidate takes over: exactly one of these."""

    canary: Canary | None = None
    """By steps, on the evidence of live traffic."""
