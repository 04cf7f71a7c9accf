"""Taking over at once: what the idle version is asked before, and how it is watched after."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Self

from pydantic import Field, model_validator

from config.backends.health import Path, Status
from config.rollouts.steps import AnalysisStep, Copies, Pause, SetMirror, StepS, Wait
from config.routes.mirror_headers import FieldValue
from config.values.durations import duration, format_duration
from config.values.matching import HeaderName, Method
from config.values.numbers import Percent, show_number
from config.values.problems import Finding
from config.values.section import Parsed, Section, refusals

_OWN: Final = frozenset({"content-length", "transfer-encoding", "connection", "host"})
"""Fields that belong to the framing or the connection."""


@dataclass(frozen=True, slots=True)
class BakeTime:
    """How long a promoted candidate is watched, and what percentage of its requests stable gets copies of."""

    duration_s: float
    mirror_percent: float


class _Bake(Section):
    """Watching a candidate that has all of the traffic: a duration, or a mapping."""

    duration: StepS = Field(examples=["30m"])
    """How long. It ends later only if the route has had no request in it."""

    mirror_percent: Percent = 100.0
    """How much of the live traffic is copied to the old version, so that both are compared on the same requests. The
    old version's entry in `mirrors` says how copies are made and of what, else the candidate's. Copies are made of
    methods without side effects by default: where they leave out much of the traffic, unlike things are compared. With
    0 there are no copies: then only the breaker watches, against what stable's errors were before."""


def _short_bake(value: Any) -> Any:
    return {"duration": value} if isinstance(value, str) else value


def _show_bake(bake: BakeTime) -> dict[str, Any]:
    return {"duration": format_duration(bake.duration_s), "mirrorPercent": show_number(bake.mirror_percent)}


Bake = Annotated[
    BakeTime,
    Parsed(
        lambda form: BakeTime(form.duration, form.mirror_percent),
        _show_bake,
        json_schema={"title": "duration, or mapping"},
        form=_Bake,
        before=_short_bake,
    ),
]


class Expectation(Section):
    """What the answer to a smoke request must be."""

    status: Status = 200
    """Its status."""

    json_values: Annotated[Mapping[str, Any], Field(max_length=32)] = Field(
        {}, alias="json", examples=["{outputs.0.data.0: cat}"]
    )
    """Values in a JSON answer, each by its path: keys and list indexes with dots. A number may differ by one part in a
    million."""


class SmokeRequest(Section):
    """A request that every endpoint of the candidate must answer as expected before it gets any traffic."""

    path: Path = Field(examples=["/v2/models/fraud/infer"])
    """What is asked for."""

    method: Method | None = None
    """By default GET, and POST where there is a body."""

    headers: Annotated[Mapping[HeaderName, FieldValue], Field(max_length=16)] = {}
    """Fields of its header."""

    body: Any = None
    """Text, or a mapping or list that is sent as JSON."""

    timeout: Annotated[float, duration(0.01, 3_600)] = 10.0
    """How long the answer may take, connection included."""

    expect: Expectation = Expectation()
    """What the answer must be."""

    @property
    def verb(self) -> str:
        """The method that is used."""
        return self.method or ("GET" if self.body is None else "POST")

    @property
    def data(self) -> bytes | None:
        """The body as it is sent."""
        if self.body is None:
            return None
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()

    @property
    def fields(self) -> dict[str, str]:
        """The fields of its header, with the type of a JSON body."""
        typed = not isinstance(self.body, str | None) and "content-type" not in map(str.lower, self.headers)
        return {**self.headers, **({"Content-Type": "application/json"} if typed else {})}

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        findings = [
            Finding(("headers", name), f"{name} is written by the client itself", "take it away")
            for name in self.headers
            if name.lower() in _OWN
        ]
        if not isinstance(self.body, str | dict | list | tuple | None):
            findings.append(Finding(("body",), "is neither text nor a mapping or list", "put quotes around a text"))
        findings += [
            Finding(("expect", "json", path), "has an empty part", "write keys and indexes with one dot between")
            for path in self.expect.json_values
            if "" in path.split(".")
        ]
        if findings:
            raise refusals(*findings)
        return self


class BlueGreen(Section):
    """The candidate is checked while it is idle: the health of its endpoints, smoke requests, and if wanted copies of
    live traffic with the proof that every guardrail is within its margin. Then all traffic goes to it at once."""

    smoke: Annotated[tuple[SmokeRequest, ...], Field(max_length=32)] = ()
    """Requests that every endpoint of the candidate must answer as expected. They are sent by the controller, every few
    seconds until all pass or `analysis.progressDeadline` is over."""

    mirror: Copies | None = Field(default=None, examples=["{percent: 100}"])
    """Copies before the switch, until `analysis` has proven every guardrail. Without it the checks alone decide."""

    pause: Wait | None = Field(default=None, examples=["{}"])
    """A wait before the switch: `{}` for a person, who promotes, or some time. Its guardrails go on."""

    bake: Bake | None = None
    """How long the candidate is watched after the switch, with the old version kept warm: harm switches back by
    itself."""

    @property
    def steps(self) -> tuple[SetMirror | AnalysisStep | Pause, ...]:
        """What comes between the checks and the switch."""
        found: list[SetMirror | AnalysisStep | Pause] = []
        if self.mirror is not None:
            found += [SetMirror(self.mirror.percent), AnalysisStep(None, None, proof=True)]
        if self.pause is not None:
            found.append(Pause(self.pause.duration))
        return tuple(found)

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if not self.smoke and self.mirror is None and self.pause is None:
            remedy = "add smoke requests, `mirror: {percent: 100}`, or `pause: {}` for a person"
            raise refusals(Finding((), "asks nothing of the candidate before it has all traffic", remedy))
        if self.mirror is not None and not self.mirror.percent:
            raise refusals(Finding(("mirror", "percent"), "0 copies nothing", "give a share, or take `mirror` away"))
        return self
