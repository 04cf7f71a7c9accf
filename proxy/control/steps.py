"""What a rollout is to do: its steps in order, and what a step still waits for.

Pure values and pure questions about them; `rollout` decides what happens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, assert_never

from proxy.snapshot import CIRCLE

if TYPE_CHECKING:
    from analysis.verdict import Verdict


@dataclass(frozen=True, slots=True)
class SetMirror:
    """Copy this share of stable's requests to the candidate, in parts of a million."""

    ppm: int


@dataclass(frozen=True, slots=True)
class SetWeight:
    """Give the candidate this share of the live traffic, in parts of a million."""

    ppm: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Stand still for so many seconds; None waits for an operator."""

    duration_s: float | None


@dataclass(frozen=True, slots=True)
class Analysis:
    """Stand still until there are samples enough (None: the plan's number) and, if given, so many seconds have gone."""

    min_samples: int | None
    duration_s: float | None


Step = SetMirror | SetWeight | Pause | Analysis


@dataclass(frozen=True, slots=True)
class Plan:
    """What the configuration wants of one route's candidate.

    `candidate_digest` names the version that is judged, `digest` the steps, metrics, margins and limits that it is
    judged by. `min_samples` is per version and stage, `min_duration_s` is of the last stage, `max_duration_s` of the
    whole rollout, from its first sample on and pauses included.
    """

    route: str
    stable: str
    candidate: str
    candidate_digest: str
    digest: str
    steps: tuple[Step, ...]
    min_samples: int
    min_duration_s: float
    max_duration_s: float
    on_inconclusive: Literal["pause", "abort"]
