"""When a request that failed is sent again."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from config.values.durations import duration, format_duration
from config.values.matching import Method
from config.values.numbers import Percent, whole
from config.values.problems import Finding, shown
from config.values.section import Parsed, Section, refusal, refusals

CONDITIONS: Final = ("connect-failure", "refused-stream", "reset", "gateway-error", "5xx")
_LISTED: Final = ", ".join(CONDITIONS)
_WaitS = Annotated[float, duration(0.001, 60)]


def _condition(value: object) -> str | int:
    wanted = f"the conditions are {_LISTED}, and statuses from 500 to 599"
    if isinstance(value, str):
        if value in CONDITIONS:
            return value
        if value == "retriable-4xx":
            raise refusal(f"{shown(value)} is no failure of a version", "take it away: the client is told, and decides")
        if value.isdigit():
            raise refusal(f"{shown(value)} is text", f"write {value}")
        close = get_close_matches(value.lower(), CONDITIONS, 1, 0.6)
        raise refusal(f"{shown(value)} is not a condition", f"did you mean {close[0]}?" if close else wanted)
    if isinstance(value, bool) or not isinstance(value, int):
        raise refusal(f"{shown(value)} is not a condition", wanted)
    if not 500 <= value <= 599:
        raise refusal(f"{shown(value)} is no failure of a version", "give statuses from 500 to 599")
    return value


Condition = Annotated[
    str | int,
    Parsed(
        _condition,
        lambda value: value,
        {
            "anyOf": [{"enum": list(CONDITIONS)}, {"type": "integer", "minimum": 500, "maximum": 599}],
            "title": f"{_LISTED}, or a status from 500 to 599",
        },
    ),
]


class Backoff(Section):
    """How long to wait before another attempt: drawn from zero to a bound that doubles with each (full jitter)."""

    base_interval: _WaitS = 0.025
    """The bound before the first retry. As in Envoy; longer waits suit models that take seconds."""

    max_interval: _WaitS | None = None
    """Where the bound stops growing; ten times `baseInterval` without it."""

    @property
    def longest_s(self) -> float:
        """The longest wait."""
        return 10 * self.base_interval if self.max_interval is None else self.max_interval

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.longest_s < self.base_interval:
            shortest, longest = format_duration(self.base_interval), format_duration(self.longest_s)
            message = f"{longest} is shorter than baseInterval, {shortest}"
            raise refusals(Finding(("maxInterval",), message, "raise it, or lower `baseInterval`"))
        return self


class Budget(Section):
    """How many requests may be retries, per worker and backend. Beyond it a failure is the client's answer."""

    percent: Percent = 20.0
    """Of the requests in flight at a backend so many may be retries, those that wait included: a version that is down
    or slow then gets a fifth more load, and not several times as much."""

    min_retry_concurrency: Annotated[int, whole(0, 100_000)] = 3
    """So many at a time may be in any case, since a percentage of few requests is nothing."""


class Retries(Section):
    """When a request that failed is sent again: to the same version, to another endpoint of it if there is one, and
    only while nothing of an answer was sent. Versions are judged by first attempts, so that retries hide nothing."""

    attempts: Annotated[int, whole(1, 10)] = 1
    """How often a request may be sent again. Each takes time that the client waits, and load that others wait for."""

    per_try_timeout: Annotated[float, duration(0.001, 86_400)] | None = None
    """How long one attempt may take to the first byte of its answer; `timeouts.request` bounds all of them. Without it
    one attempt may take all that time, and nothing is left for another. Exact to 0.1s, like all timeouts."""

    retry_on: Annotated[tuple[Condition, ...], Field(min_length=1, max_length=32)] = (
        "connect-failure", "refused-stream",
    )  # fmt: skip
    """Which failures. connect-failure: no connection. refused-stream: an endpoint's connections and queue are full.
    reset: a connection and no answer, in time or at all. gateway-error: no answer, or 502, 503, 504. 5xx: no answer, or
    any status from 500. A status by itself, such as 503. The first two never reached a model, and are safe always."""

    retriable_methods: Annotated[tuple[Method, ...], Field(min_length=1, max_length=8)] = (
        "GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE",
    )  # fmt: skip
    """Requests that a model may have seen are sent again only with these methods, by default those that HTTP calls
    idempotent. Inference is a POST that changes nothing as a rule: add POST where that is so."""

    backoff: Backoff = Backoff()
    """How long to wait in between."""

    budget: Budget = Budget()
    """What bounds the retries of all requests together."""
