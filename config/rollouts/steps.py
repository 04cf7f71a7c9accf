"""The steps of a rollout: mirror, weight, pause, analysis.

A step is a mapping with one key, as in Argo Rollouts. In the program each is a type of its own, so that code which
treats them one by one can be checked to have forgotten none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from config.values.durations import duration, format_duration
from config.values.numbers import Percent, show_number, whole
from config.values.section import OneKey, Parsed, Section

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
    """Wait for evidence: for so many samples (None: the route's `analysis.minSamples`) and at least so long.

    `proof` waits for that of every guardrail too; no step of the file says so.
    """

    min_samples: int | None
    duration_s: float | None
    proof: bool = False


class Copies(Section):
    """Copies of live traffic for the candidate."""

    model_config = ConfigDict(title="setMirror")

    percent: Percent = Field(examples=[100])
    """How much of the live traffic is copied."""


class Wait(Section):
    """A wait. Without a duration it lasts until a person promotes or resumes."""

    model_config = ConfigDict(title="pause")

    duration: StepS | None = None
    """How long to wait."""


class Look(Section):
    """A wait for evidence."""

    model_config = ConfigDict(title="analysis step")

    min_samples: Samples | None = None
    """Samples that each version needs in this stage; by default `analysis.minSamples` of the route."""

    duration: StepS | None = None
    """How long to look at least."""


class _Step(OneKey):
    """One step: exactly one of these keys."""

    model_config = ConfigDict(title="step")

    set_mirror: Copies | None = Field(default=None, examples=["{percent: 100}"])
    """Copy traffic to the candidate; its answers reach nobody."""

    set_weight: Percent | None = None
    """Send this percentage of live traffic to the candidate. Decimals are allowed: 0.5 is one in two hundred."""

    pause: Wait | None = Field(default=None, examples=["{duration: 10m}"])
    """Wait for some time, or with `{}` for a person. The candidate is watched, and aborted, all the while."""

    analysis: Look | None = Field(default=None, examples=["{minSamples: 1000}"])
    """Wait until enough was seen. `{}` takes everything from the route's `analysis`."""


def _step(form: _Step) -> SetMirror | SetWeight | Pause | AnalysisStep:
    match form:
        case _Step(set_mirror=Copies(percent=percent)):
            return SetMirror(percent)
        case _Step(set_weight=float(percent)):
            return SetWeight(percent)
        case _Step(pause=Wait(duration=seconds)):
            return Pause(seconds)
        case _Step(analysis=Look(min_samples=samples, duration=seconds)):
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
