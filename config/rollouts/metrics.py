"""What is compared, by how much a candidate may be worse, and how sure one must be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator
from pydantic.alias_generators import to_camel

from config.values.durations import duration, format_duration
from config.values.margins import Bound, Margin, Unit, margin_in, points
from config.values.numbers import number, whole
from config.values.problems import Finding, shown
from config.values.section import OneKey, Parsed, Section, refusal, refusals

MAX_HOURS: Final = 10_000
_NAME: Final = re.compile(
    r"errors|latency\.p([1-9][0-9]?(?:\.[0-9]{1,3})?)|feedback\.(?:accuracy|logLoss)|(?:prediction|pair)\.(.+)"
)
PAIR_LATENCY: Final = "pair.latency"
ACCURACY: Final = "feedback.accuracy"
LOG_LOSS: Final = "feedback.logLoss"
_MARGIN_KEYS: Final = {
    "errors": "max_increase",
    "latency": "max_increase",
    "prediction": "max_shift",
    "pair": "max_disagreement",
    "slowdown": "max_increase",
    "accuracy": "max_decrease",
    "loss": "max_increase",
}
_EXAMPLES: Final = {
    "errors": "maxIncrease: [20%, 0.2pp]",
    "latency": "maxIncrease: 10%",
    "prediction": "maxShift: 2pp",
    "pair": "maxDisagreement: 1%",
    "slowdown": "maxIncrease: 10%",
    "accuracy": "maxDecrease: 1pp",
    "loss": "maxIncrease: 0.05sd",
}
_UNITS: Final[dict[str, tuple[Unit, ...]]] = {
    "errors": ("%", "pp"), "latency": ("%",), "slowdown": ("%",), "accuracy": ("%", "pp"), "loss": ("sd",),
}  # fmt: skip
"""What margins of a family may be in, where its key alone does not say."""
_FEEDBACK: Final = {ACCURACY: "accuracy", LOG_LOSS: "loss"}

Family = Literal["errors", "latency", "prediction", "pair", "slowdown", "accuracy", "loss"]
BUCKETS: Final = {"latency": 1.0, "slowdown": 4.0}
"""Width of the buckets that latencies are counted in, in percent: less than one cannot be proven."""
Role = Literal["guardrail", "signal", "info"]


def _metric_name(name: str) -> str:
    if _NAME.fullmatch(name):
        return name
    close = get_close_matches(
        name.lower(),
        ("errors", "latency.p50", "latency.p90", "latency.p95", "latency.p99", *map(str.lower, _FEEDBACK)),
        1,
        0.7,
    )
    known = f"errors, latency.pNN (such as latency.p99), prediction.OUTPUT, pair.OUTPUT, {ACCURACY} and {LOG_LOSS}"
    meant = close[0].replace(LOG_LOSS.lower(), LOG_LOSS) if close else ""
    raise refusal(f"{shown(name)} is not a metric", f"did you mean {meant}?" if close else f"the metrics are {known}")


MetricName = Annotated[str, Parsed(_metric_name, str, {"title": "metric", "pattern": f"^({_NAME.pattern})$"}, form=str)]


def family_of(name: str) -> str:
    """The first part of a metric's name."""
    return name.partition(".")[0]


def output_of(name: str) -> str:
    """The output of `prediction.OUTPUT` and `pair.OUTPUT`, else empty."""
    return name.partition(".")[2] if family_of(name) in ("prediction", "pair") else ""


def quantile_of(name: str) -> float:
    """The quantile of `latency.pNN` as a share (0.99 for p99), else 0."""
    return float(name.removeprefix("latency.p")) / 100 if family_of(name) == "latency" else 0.0


class Metric(OneKey):
    """One thing to compare, with exactly one margin: by how much the candidate may be worse."""

    beside: ClassVar[frozenset[str]] = frozenset({"name", "weight", "role"})

    name: MetricName = Field(examples=["errors"])
    """`errors` (share of failed requests), `latency.p50` to `latency.p99.9`, `prediction.OUTPUT` (how the answers of
    the two versions are spread), `pair.OUTPUT` (both versions on the same request, which needs mirroring),
    `pair.latency` (how much longer the candidate takes for the same request, in the median), `feedback.accuracy` and
    `feedback.logLoss` (what clients report later of what turned out true, see `feedback` of the route)."""

    max_increase: Annotated[Margin, margin_in("%", "pp", "sd")] | None = None
    """For errors (relative in %, absolute in pp), latency and pair.latency (in %), feedback.logLoss (in sd): how much
    more is allowed. Latency is kept in buckets of 1 %, that of pairs in buckets of 4 %, and a margin counts in whole
    buckets: up for what is harm, down for what is proven. Reports state both."""

    max_decrease: Annotated[Margin, margin_in("%", "pp")] | None = None
    """For feedback.accuracy: how much of the accuracy may be lost, relative to stable's accuracy in % or absolute in
    pp."""

    max_shift: Annotated[Margin, margin_in("pp", "sd")] | None = None
    """For prediction.OUTPUT: how far any label's share (pp) or the mean (sd of stable) may move, either way."""

    max_disagreement: Annotated[Margin, margin_in("%", "pp")] | None = None
    """For pair.OUTPUT: how many pairs may disagree; 1% and 1pp both mean one pair in a hundred. Where stable is asked
    twice (`mirrors[].repeat`) it is how many more than stable disagrees with itself."""

    weight: Annotated[float, number(0, 1000, above=True)] = 1.0
    """Its part of the chance of a false abort, relative to the other metrics. A larger part finds harm sooner."""

    role: Role = "guardrail"
    """guardrail: can abort, and must be passed for a promotion. signal: can abort. info: is shown."""

    @property
    def family(self) -> Family:
        """What is compared: the first part of the name, but `slowdown` for the latency of pairs, and `accuracy` and
        `loss` for what feedback tells."""
        if self.name == PAIR_LATENCY and self.only == "max_increase":
            return "slowdown"
        if self.name in _FEEDBACK:
            return _FEEDBACK[self.name]  # type: ignore[return-value]  # both are families
        return family_of(self.name)  # type: ignore[return-value]  # checked when it was read

    @property
    def output(self) -> str:
        """The output of `prediction.OUTPUT` and `pair.OUTPUT`, else empty."""
        return "" if self.family == "slowdown" else output_of(self.name)

    @property
    def quantile(self) -> float:
        """The quantile of `latency.pNN` as a share (0.99 for p99), else 0."""
        return quantile_of(self.name)

    @property
    def margin(self) -> Margin:
        """By how much the candidate may be worse, whatever its key."""
        found: Margin = getattr(self, self.only)
        return found

    @property
    def margin_key(self) -> str:
        """The key of the margin as the file spells it."""
        return to_camel(self.only)

    @model_validator(mode="after")
    def _margin_fits_the_name(self) -> Self:
        findings = list(self._margin_problems())
        if findings:
            raise refusals(*findings)
        return self

    def _margin_problems(self) -> Iterator[Finding]:
        wanted, key, bounds = to_camel(_MARGIN_KEYS[self.family]), self.margin_key, self.margin
        if key != wanted:
            yield Finding(
                (key,), f"does not fit {self.name}", f"write {_EXAMPLES[self.family]}, with a size of your own"
            )
            return
        units = _UNITS.get(self.family, ())
        if units and any(bound.unit not in units for bound in bounds):
            yield Finding((key,), f"{self.name} is compared in {_shown(units)}", f"write {_EXAMPLES[self.family]}")
            return
        if self.family == "accuracy" and any(bound.value >= 100 for bound in bounds):
            yield Finding((key,), "allows that all of the accuracy is lost", "allow less than 100")
        if self.role == "guardrail" and not any(bound.value for bound in bounds):
            remedy = "allow something, however little, or write `role: signal`"
            yield Finding(
                (key,), "a margin of zero can never be proven, so that nothing would ever be promoted", remedy
            )
        elif self.role == "guardrail" and max(bound.value for bound in bounds) < BUCKETS.get(self.family, 0.0):
            least = f"{BUCKETS[self.family]:g}%"
            message = f"{bounds[0]} is less than a bucket of the latencies, {least}, and can never be proven"
            yield Finding((key,), message, f"allow {least} or more, or write `role: signal`")


def _shown(units: tuple[Unit, ...]) -> str:
    return " or ".join("% of stable's" if unit == "%" else unit for unit in units)


class Breaker(Section):
    """A second, coarse test for outages: it needs no block of time and acts within seconds."""

    errors_above: Annotated[Bound, points()] = Bound(20.0, "pp")
    """Abort once the candidate's share of failed requests is clearly this far above stable's."""


DEFAULT_METRICS: Final = (Metric.model_validate({"name": "errors", "maxIncrease": ("20%", "0.2pp")}),)


class Analysis(Section):
    """How the versions are compared. The tests stay valid however often they are looked at."""

    alpha_abort: Annotated[float, number(0, 0.5, above=True)] = 0.05
    """The chance, at most, of ever aborting a candidate that is within every margin."""

    alpha_promote: Annotated[float, number(0, 0.5, above=True)] = 0.05
    """The chance, at most, of ever promoting a candidate that is outside some guardrail's margin."""

    interval: Annotated[float, duration(1, 60, whole=True)] = 1.0
    """How often the evidence is read, in whole seconds."""

    block: Annotated[float, duration(1, 3600)] = 30.0
    """Evidence is weighed in blocks of this length, so that bursts of errors count as one event and not as many."""

    min_duration: Annotated[float, duration(0, MAX_HOURS * 3600)] = 600.0
    """How long the last stage lasts at least, before a promotion."""

    max_duration: Annotated[float, duration(1, MAX_HOURS * 3600)] = 86_400.0
    """After this time without a decision a rollout is inconclusive."""

    min_samples: Annotated[int, whole(1, 1_000_000_000)] = 1000
    """Samples that each version needs before an analysis step, or a promotion, goes on."""

    expected_rate: Annotated[float, number(0, 10_000_000, above=True)] | None = None
    """Requests per second that the route usually has. With it a file is checked for margins that can never be proven
    within `maxDuration`; `understudy plan` tells how long each takes. Changing it begins no new rollout."""

    on_inconclusive: Literal["pause", "abort"] | None = None
    """What happens then: wait for a person at the present weight, or go back to stable. By default canary and blueGreen
    pause, and mirror and abTest, where nobody waits for a promotion, end."""

    progress_deadline: Annotated[float, duration(1, MAX_HOURS * 3600)] = 600.0
    """How long a candidate may stand still for a reason that is not the evidence: its endpoints do not pass their
    checks, or the route has requests and none reaches the candidate (of which ten at least should have). Then it pauses
    or, with `onInconclusive: abort`, fails."""

    on_no_traffic: Literal["wait", "pause", "abort"] = "wait"
    """What happens where the route has had no request at all for the length of `progressDeadline`."""

    on_srm: Literal["pause", "continue", "abort"] = "pause"
    """What happens where the split of the traffic is proven not to be the configured one (sample ratio mismatch), so
    that the comparison is worth nothing. It is never promoted on; `continue` lets the steps before that go on."""

    breaker: Breaker | None = Breaker()
    """The test for outages, on unless `null` is written here."""

    metrics: Annotated[tuple[Metric, ...], Field(min_length=1, max_length=32)] = DEFAULT_METRICS
    """What is compared."""

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        findings = [
            *self._in_order("min_duration", "max_duration", self.min_duration < self.max_duration),
            *self._in_order("interval", "block", self.interval <= self.block),
        ]
        names = [metric.name for metric in self.metrics]
        findings += [
            Finding(
                ("metrics", place, "name"),
                f"{shown(name)} is named twice",
                "keep one; a list of bounds can be its margin",
            )
            for place, name in enumerate(names)
            if name in names[:place]
        ]
        if findings:
            raise refusals(*findings)
        return self

    def _in_order(self, short: str, long: str, holds: bool) -> Iterator[Finding]:
        """Two durations of which one must be shorter; what the file gives is to blame rather than a default."""
        if holds:
            return
        blamed, other, how, cure = long, short, "not longer", "raise it, or lower"
        if long not in self.model_fields_set:
            blamed, other, how, cure = short, long, "not shorter", "lower it, or raise"
        mine, others = (format_duration(getattr(self, name)) for name in (blamed, other))
        message = f"{mine} is {how} than {to_camel(other)}, {others}"
        yield Finding((to_camel(blamed),), message, f"{cure} `{to_camel(other)}`")
