"""Which requests are kept to be looked at, and what of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from config.routes.predictions import Output, Predictions
from config.values.durations import duration
from config.values.matching import HeaderName
from config.values.numbers import Percent, whole
from config.values.problems import Finding, Loc, shown
from config.values.section import Parsed, Section, refusal, refusals

Policy = Literal["keep", "mask", "hash", "drop"]
STRICTNESS: Final[tuple[Policy, ...]] = ("keep", "mask", "hash", "drop")
"""Each lets out less than the one before."""
_STEP: Final = re.compile(r"[^.\[\]\s]+")
_BRACKETS: Final = re.compile(r"\[(\*|\d{1,6})\]")
_MOST_STEPS: Final = 16
_CREDENTIALS: Final = re.compile(
    r"(?:^|[-_])auth(?:$|[-_]|oriz|en)|cookie|token|secret|password|api-?key|credential|session|signature|csrf|jwt"
)
"""Names of header fields that hold what lets somebody in."""


def steps_of(path: str) -> tuple[str, ...]:
    """The steps of a path: `instances[*].name` and `instances.*.name` are the same.

    >>> steps_of("[0].outputs[*].data")
    ('0', 'outputs', '*', 'data')
    """
    return tuple(_BRACKETS.sub(r".\1", path).removeprefix(".").split("."))


def _path(value: str) -> str:
    steps = steps_of(value)
    if len(value) > 256 or not all(map(_STEP.fullmatch, steps)):
        raise refusal(
            f"{shown(value)} is not a path into a JSON body",
            "write names of members with dots between, and [*] for all elements of a list: instances[*].name",
        )
    if len(steps) > _MOST_STEPS:
        raise refusal(f"{shown(value)} has more than {_MOST_STEPS} steps", "name what is above it")
    return value


BodyPath = Annotated[str, Parsed(_path, str, {"title": "path"}, form=str)]


class Capture(Section):
    """Which requests of the route are kept to be looked at, with their answers, and what of them. Nothing of a body is
    kept that `fields` does not name, unless `otherFields` says so. All of this is done in the worker, after the client
    has its answer: what is dropped leaves it in no form, and what is masked or hashed leaves it as that alone. See
    docs/privacy.md."""

    percent: Percent = 0.0
    """How many of the live requests are captured, drawn by chance."""

    disagreements: bool = False
    """Whether copied requests are captured whose outputs differ (`predictions`): both answers side by side."""

    errors: bool = False
    """Whether requests are captured that failed at a version, of live traffic and of copies."""

    per_minute: Annotated[int, whole(1, 6000)] = 60
    """How many are captured at most, of each of the three kinds by itself, all workers together: each worker has its
    part of it, and at once at most what comes to it in ten seconds. What is beyond is counted."""

    max_body_bytes: Annotated[int, whole(1 << 8, 1 << 20)] = 64 << 10
    """Of a longer body, as sent or once its gzip is undone, the length is kept alone. A worker holds bodies up to here
    while their request is under way: streams are passed on all the while, and never gathered beyond it."""

    fields: Annotated[Mapping[BodyPath, Policy], Field(max_length=256)] = {}
    """What becomes of values of JSON bodies, of requests and of answers, by their path: `instances[*].name: mask`. It
    holds for all that is below, unless a longer path says otherwise. keep: as it is. mask: the first and the last
    letter and 6 hex digits of a keyed hash, of short ones the digits alone. hash: 12 hex digits of it; the key is that
    of labels, and equal values have equal hashes. drop: nothing is kept, not even that it was there. An object is
    masked or hashed member by member, a list as one value: name its elements with [*] to have them one by one."""

    other_fields: Policy = "drop"
    """What becomes of all that `fields` does not name. With `keep` whatever a client sends is written down."""

    path: Policy = "drop"
    """What becomes of the path of a request. Its parameters are never kept."""

    headers: Annotated[Mapping[HeaderName, Policy], Field(max_length=32)] = {}
    """Header fields that are kept, of requests and of answers; no others are. Of those that let somebody in
    (authorization, cookie, and the like) neither value nor mask can be kept, but their hash."""

    keep: Annotated[float, duration(60.0, 8760 * 3600.0)] = 168 * 3600.0
    """How long a captured request is kept."""

    max_records: Annotated[int, whole(1, 100_000)] = 1000
    """How many of each kind are kept; beyond, the oldest go."""

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        findings = [*self._asks(), *self._paths(), *self._credentials()]
        if findings:
            raise refusals(*findings)
        return self

    def _asks(self) -> list[Finding]:
        if self.percent or self.disagreements or self.errors:
            return []
        remedy = "add `percent: 1`, `disagreements: true` or `errors: true`, or take `capture` away"
        return [Finding((), "captures nothing", remedy)]

    def _paths(self) -> list[Finding]:
        """Paths must say one thing of one place, whatever the body."""
        findings: list[Finding] = []
        first: dict[tuple[str, ...], str] = {}
        for path in self.fields:
            steps = steps_of(path)
            if steps in first:
                message = f"{path} is the same place as {first[steps]}"
                findings.append(Finding(("fields", path), message, "name it once"))
            first.setdefault(steps, path)
        for steps, path in first.items():
            for at, step in enumerate(steps):
                if step.isdigit() and any(other[: at + 1] == (*steps[:at], "*") for other in first):
                    message = f"{path} names one element where another path names all with [*]"
                    findings.append(Finding(("fields", path), message, "write [*] in both"))
                    break
        return findings

    def _credentials(self) -> list[Finding]:
        return [
            Finding(("headers", name), f"{policy} would write down what lets somebody in", "write hash, or drop")
            for name, policy in self.headers.items()
            if policy in ("keep", "mask") and _CREDENTIALS.search(name.lower())
        ]

    def laxest_at(self, steps: tuple[str, ...]) -> Policy:
        """What becomes of a value at a path, and of what is in it: of several policies the one that keeps most.

        >>> Capture(errors=True, fields={"a": "hash", "a[*].b": "keep"}).laxest_at(("a", "3", "c"))
        'hash'
        """
        named = {steps_of(path): policy for path, policy in self.fields.items()}
        inside = [policy for path, policy in named.items() if len(path) > len(steps) and all(map(_same, path, steps))]
        above = [(len(path), policy) for path, policy in named.items() if all(map(_same, path, steps))]
        longest = max((length for length, _ in above if length <= len(steps)), default=0)
        of_it = [policy for length, policy in above if length == longest] or [self.other_fields]
        return min((*inside, *of_it), key=STRICTNESS.index)


def _same(one: str, other: str) -> bool:
    return one == other or "*" in (one, other)


def findings(capture: Capture | None, predictions: Predictions | None) -> list[Finding]:
    """Where a capture does not agree with what is read from answers; places count from the route."""
    if capture is None:
        return []
    if predictions is None:
        if not capture.disagreements:
            return []
        remedy = "add `predictions` to the route, or take it away"
        message = "asks for answers that differ, and nothing is read from answers"
        return [Finding(("capture", "disagreements"), message, remedy)]
    found = []
    for output in predictions.outputs:
        policy = capture.laxest_at(_place(output))
        if STRICTNESS.index(policy) < STRICTNESS.index(output.privacy):
            message = f"{policy} would write down the labels of {output.name}, of which `privacy` is {output.privacy}"
            remedy = f"give {_shown(output)} the policy {output.privacy}, or one that keeps less"
            found.append(Finding(_loc(capture, output), message, remedy))
    return found


def _place(output: Output) -> tuple[str, ...]:
    """Where its value stands in an answer; by the open inference protocol tensors are listed in any order."""
    return tuple(map(str, output.path_parts)) or ("outputs", "*", "data")


def _shown(output: Output) -> str:
    return "outputs[*].data" if output.path is None else output.path


def _loc(capture: Capture, output: Output) -> Loc:
    steps = _place(output)
    for path in capture.fields:
        named = steps_of(path)
        if all(map(_same, named, steps)):
            return ("capture", "fields", path)
    return ("capture", "otherFields")
