"""What is answered: readings of the metrics and of the split, and the verdict over them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, assert_never

from analysis.plan import PAIRED, Kind, Role
from analysis.still import Later
from analysis.wording import count, number, odds, percent, signed, time_of

Unit = Literal["pp", "%", "sd"]


@dataclass(frozen=True, slots=True)
class MetricReading:
    """One metric: what is known of it, for people and for programs.

    `stable` and `candidate` are fractions (errors, unread, category, pair; accuracy: of wrong predictions; slowdown: of
    the stable's time), seconds (latency) or the output's own unit (number; loss: natural logarithms); `effect`, `low`
    and `high` are in `unit`. All are None where nothing can be said. Of a pair `stable` is how often the stable differs
    from itself, and `effect` what is beyond that; where it was never asked twice the effect is the candidate's share.
    """

    name: str
    kind: Kind
    role: Role
    weight: float
    """Its part of the abort budget; 0 for info."""
    unit: Unit
    stable: float | None
    candidate: float | None
    effect: float | None
    low: float | None
    """Lower end of the interval of the effect that holds at every look at once, with 95 %."""
    high: float | None
    margin: str
    """As the user wrote it."""
    effective_margin: str
    """As it is tested (latency: in whole buckets; errors: at the stable's rate)."""
    evidence_harm: float
    """E against "not worse than the margin"."""
    evidence_pass: float
    """E against "worse than the margin"."""
    needed_pass: float
    n_stable: float
    n_candidate: float
    n_effective: float
    """The candidate's samples over the dispersion: what they are worth if users or instances differ."""
    passed: bool
    harmed: bool
    """Its evidence alone is enough to abort (info: would be)."""
    subject: str
    """The label that a category's numbers are about; of what is unread how ("missing" or "invalid"); else empty."""
    control: str = "stable"
    """What the other arm is: stable, or a baseline that stands for it."""

    @property
    def text(self) -> str:
        """The reading in plain words."""
        return _sentence(self)


@dataclass(frozen=True, slots=True)
class RatioReading:
    """The sample ratio check."""

    evidence: float
    flagged: bool
    expected_share: float | None
    observed_share: float | None
    checked: Literal["requests", "users", "not checked"]
    text: str


@dataclass(frozen=True, slots=True)
class RampReading:
    """What a ramp has cost, what it may still cost, and so which weight it may have. Shares are fractions."""

    budget: float
    spent: float
    """Requests that failed beyond what the margin of errors allows, in the worst stretch that lasts until now."""
    worst: float
    """The largest share of the candidate's requests that may fail beyond the margin, as far as evidence tells."""
    at_stake: float
    """What would be spent by the time that a decision about the present weight takes effect, were it that bad."""
    allowed: float
    """The weight that it may have now; what it has, where that may not rise."""
    next: float | None
    """The next weight; None at the last one."""
    needed: float | None
    """How low `worst` must be for the next weight; None where nothing is left of the budget for it, or at the last."""
    wait_s: float | None
    """About how long that takes of a candidate without fault; None where it cannot be told."""
    per_second: float
    """Requests of the route."""
    evidence: float
    """E against "fails no more than its margin allows", without blocks: together with a budget that is spent it
    stops the candidate."""
    evidence_needed: float
    text: str


@dataclass(frozen=True, slots=True)
class Details:
    """What of a verdict is for people, and decides nothing."""

    metrics: tuple[MetricReading, ...]
    missing: tuple[str, ...]
    """What a promotion still lacks."""
    forecast_s: float | None
    """Time until every guardrail is proven, at the present growth; None where that cannot be told."""
    contest: str = ""
    """What a contest has found so far, in words."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the evidence allows to say now. Its details are found when they are asked for, and are of the same moment,
    whatever the Judge has seen since."""

    abort: bool
    """Latched: once the evidence was enough at any look, it stays."""
    decided_by: str
    """The metric with the most evidence, or "breaker"; empty without an abort."""
    reason: str
    proven: bool
    """Every guardrail is proven within its margin, nothing speaks of harm, the split is right, this stage agrees."""
    inconclusive: bool
    """The horizon is reached, or the evidence does not grow fast enough to decide before it."""
    details: Later[Details]
    abort_evidence: float
    abort_needed: float
    least_pass: float
    """E against "worse than the margin" of the guardrail that has the least of it; 0 without one. What is proven by
    more is further inside its margin, or varies less."""
    ratio: RatioReading
    stage: int
    """The stage of the last slice; -1 before the first."""
    stage_stable: float
    """Answered requests of this stage."""
    stage_candidate: float
    stage_pairs: float
    stage_seconds: float
    slices: int
    winner: Literal["", "candidate", "none"] = ""
    """Of a contest: the candidate is proven to be better, or not to be, and every guardrail is proven. Else empty."""
    ramp: RampReading | None = None
    """Of a candidate whose weight rises by evidence."""
    candidates: tuple[tuple[str, Verdict], ...] = ()
    """Of a panel: what is said of each candidate, in their order, of those that have left the race too."""

    @property
    def metrics(self) -> tuple[MetricReading, ...]:
        """A reading of each metric, in the order of the plan."""
        return self.details().metrics

    @property
    def missing(self) -> tuple[str, ...]:
        """What a promotion still lacks."""
        return self.details().missing

    @property
    def forecast_s(self) -> float | None:
        """Time until every guardrail is proven, at the present growth; None where that cannot be told."""
        return self.details().forecast_s

    @property
    def contest_text(self) -> str:
        """What a contest has found so far, in words."""
        return self.details().contest


UNITS: Final[dict[Kind, Unit]] = {
    "errors": "pp", "latency": "%", "category": "pp", "number": "sd", "pair": "%", "slowdown": "%",
    "accuracy": "pp", "loss": "sd", "unread": "pp",
}  # fmt: skip


def _sentence(reading: MetricReading) -> str:
    allowed = f"allowed {reading.effective_margin}"
    if reading.candidate is None or reading.effect is None:
        return f"{reading.name}: no data of both sides yet; {allowed}"
    against = "" if reading.stable is None else f" against {level_of(reading.kind, reading.stable)}"
    level = level_of(reading.kind, reading.candidate)
    match reading.kind:
        case "errors":
            found = f"{level} failed{against}"
        case "unread":
            found = f"{level} of the candidate's values are {reading.subject or 'missing'}{against} of stable's"
        case "category":
            found = f"{reading.subject!r} {level}{against}"
        case "accuracy":
            found = f"wrong {level}{against}"
        case "loss":
            found = f"log-loss {level}{against}"
        case "number":
            found = f"mean {level}{against}"
        case "latency":
            found = f"{level}{against}"
        case "pair" if reading.stable is not None:
            own = percent(reading.stable)
            found = f"the candidate differs in {level}, stable from itself in {own}, {signed(reading.effect)} pp"
        case "pair":
            found = f"{level} of the pairs disagree"
        case "slowdown":
            found = f"the median pair takes {level} of the stable's time"
        case _:
            assert_never(reading.kind)
    n = f"n = {count(reading.n_candidate)}"
    if reading.kind == "pair" and reading.stable is not None:
        n += f", of which {count(reading.n_stable)} were asked of stable twice"
    elif reading.kind not in PAIRED:
        found += f", {signed(reading.effect)} {reading.unit}"
        n = f"n = {count(reading.n_stable)} {reading.control} and {count(reading.n_candidate)} candidate"
    evidence = (
        f"evidence {odds(reading.evidence_harm)} that it is worse than that, {odds(reading.evidence_pass)} that it is "
        f"not ({odds(reading.needed_pass)} proves it)"
    )
    return f"{reading.name}: {found}{_interval(reading)}; {allowed}; {evidence}; {n}"


def level_of(kind: Kind, value: float) -> str:
    """A level in the unit of its kind."""
    match kind:
        case "errors" | "category" | "pair" | "slowdown" | "accuracy" | "unread":
            return percent(value)
        case "latency":
            return time_of(value)
        case "number" | "loss":
            return number(value)
        case _:
            assert_never(kind)


def _interval(reading: MetricReading) -> str:
    if reading.low is None and reading.high is None:
        return ""
    low = "unknown" if reading.low is None else number(reading.low)
    high = "unknown" if reading.high is None else number(reading.high)
    return f" (between {low} and {high})"
