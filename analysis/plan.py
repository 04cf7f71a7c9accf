"""What is asked of a rollout: its metrics with their margins, and the risks of a wrong answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from analysis.summaries import Grid

Kind = Literal["errors", "latency", "category", "number", "pair", "slowdown", "accuracy", "loss", "unread"]
PAIRED: Final = ("pair", "slowdown")
"""Kinds that compare the two answers to one request."""
TOLD_LATER: Final = ("accuracy", "loss")
"""Kinds whose samples are truths: they come in their own time, long after the answers and often many at once."""
Role = Literal["guardrail", "signal", "info"]


@dataclass(frozen=True, slots=True)
class Gate:
    """One metric and its margin. Margins are fractions: 0.2 is 20 % (relative) or 20 pp (absolute).

    errors take margin_relative, margin_absolute or both (the larger counts), latency margin_relative, category
    margin_absolute, number margin_sd, pair margin_absolute (or margin_relative; both are a share of the pairs, beyond
    the stable's disagreement with itself), slowdown (of the median pair) margin_relative, accuracy margin_relative (of
    the accuracy, not of what is wrong), margin_absolute or both, loss (of the log-loss, upwards) margin_sd, unread (of
    the values of an output that are missing or invalid) margin_absolute.
    """

    name: str
    kind: Kind
    output: str = ""
    """The output judged, for category, number, pair and unread."""
    quantile: float = 0.0
    """Of the latency, between 0 and 1."""
    margin_relative: float | None = None
    margin_absolute: float | None = None
    margin_sd: float | None = None
    weight: float = 1.0
    """The metric's part of the abort budget, relative to the other guardrails and signals."""
    role: Role = "guardrail"
    repeats: float = 0.0
    """Of a pair: the share of requests for which stable is asked a second time, as far as it is known. Above 0 it says
    that the noise of stable counts from the beginning, even before the first repeat is seen."""
    direction: Literal[-1, 0, 1] = 0
    """Of a number: the direction in which a shift counts; 0 is either."""

    def __post_init__(self) -> None:
        allowed = _MARGINS[self.kind]
        given = {name: getattr(self, name) for name in _FIELDS if getattr(self, name) is not None}
        if not given or not set(given) <= set(allowed):
            raise ValueError(f"{self.name}: a {self.kind} metric takes {' or '.join(allowed)}, not {sorted(given)}")
        for name, margin in given.items():
            if not 0 <= margin < float("inf"):
                raise ValueError(f"{self.name}.{name}: {margin} is no margin; give a number from 0 up")
            if margin == 0 and self.role == "guardrail":
                raise ValueError(f"{self.name}.{name}: a margin of 0 can never be passed; use the role signal")
        if self.kind == "accuracy" and not (self.margin_relative or 0.0) < 1:
            raise ValueError(f"{self.name}.margin_relative: {self.margin_relative} of an accuracy is more than all")
        if self.kind == "latency" and not 0 < self.quantile < 1:
            raise ValueError(f"{self.name}.quantile: {self.quantile} is not between 0 and 1")
        if not 0 <= self.repeats <= 1 or (self.repeats and self.kind != "pair"):
            raise ValueError(f"{self.name}.repeats: {self.repeats} is no share of the pairs of a pair metric")
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"{self.name}.weight: {self.weight} is not above 0")

    @property
    def share(self) -> float:
        """The largest share of pairs that may disagree, or may do so beyond the stable's noise."""
        share = self.margin_absolute if self.margin_absolute is not None else self.margin_relative
        return share or 0.0

    @property
    def limit(self) -> float:
        """The same, kept inside (0, 1)."""
        return min(max(self.share, 1e-6), 1 - 1e-6)


@dataclass(frozen=True, slots=True)
class Goal:
    """What a candidate is hoped to do better, with the least improvement that is of interest.

    `least` is a fraction of the stable's (`relative`), a difference of shares (errors) or standard deviations (number).
    """

    name: str
    kind: Literal["errors", "latency", "number"]
    least: float
    relative: bool
    higher: bool = False
    """Whether more is better."""
    output: str = ""
    quantile: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.least < (1 if self.relative else float("inf")):
            raise ValueError(f"{self.name}.least: {self.least} is no improvement; give a size above 0")


@dataclass(frozen=True, slots=True)
class Budget:
    """What a candidate may cost while its weight rises by evidence (`analysis.ramp`)."""

    max_bad: float
    """Requests that may fail beyond what the margin of errors allows."""
    shares: tuple[float, ...]
    """The weights that there are, rising, as fractions below 1."""
    reaction_s: float
    """From a request's arrival until a decision that knows its outcome has reached all workers, at most."""
    stage_s: float = 20.0
    """How long each weight lasts at least."""
    alpha: float = 0.01
    """Chance of ever stopping a candidate that is inside the margin of errors for a budget that is spent."""

    def __post_init__(self) -> None:
        for name in ("max_bad", "reaction_s", "stage_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"budget.{name}: {getattr(self, name)} is not above 0")
        rising = list(self.shares) == sorted(set(self.shares))
        if not self.shares or not rising or not (self.shares[0] > 0 and self.shares[-1] < 1):
            raise ValueError(f"budget.shares: {self.shares} do not rise from above 0 to below 1")
        if not 0 < self.alpha < 1:
            raise ValueError(f"budget.alpha: {self.alpha} is not between 0 and 1")


@dataclass(frozen=True, slots=True)
class Plan:
    """The question put to a Judge, or to a `Contest` where it has a goal."""

    gates: tuple[Gate, ...]
    alpha_abort: float = 0.05
    """Chance of ever aborting a candidate that is inside every margin, over all metrics, stages and looks."""
    alpha_promote: float = 0.05
    """Chance of proving a candidate that is outside some margin."""
    block_s: float = 30.0
    horizon_s: float = 86_400.0
    breaker_above: float | None = None
    """Errors of the candidate above those of the stable, as a fraction, that are an outage."""
    breaker_alpha: float = 0.001
    grid: Grid = field(default_factory=Grid)
    goal: Goal | None = None
    budget: Budget | None = None
    control: Literal["stable", "baseline"] = "stable"
    """What the arm is called that the candidate is compared with; it asks nothing else."""
    rivals: tuple[str, ...] = ()
    """The names of several candidates, to each of whom the question is put (a `Panel`); none where there is one."""

    def __post_init__(self) -> None:
        names = [gate.name for gate in self.gates]
        if len(set(names)) < len(names):
            raise ValueError(f"gates: {sorted(name for name in set(names) if names.count(name) > 1)} appear twice")
        for risk in ("alpha_abort", "alpha_promote", "breaker_alpha"):
            if not 0 < getattr(self, risk) < 1:
                raise ValueError(f"{risk}: {getattr(self, risk)} is not between 0 and 1")
        if self.goal is not None and self.rivals:
            raise ValueError(f"rivals: a contest is between two, and {', '.join(self.rivals)} are several")
        for length in ("block_s", "horizon_s"):
            if not getattr(self, length) > 0:
                raise ValueError(f"{length}: {getattr(self, length)} is not above 0")
        if self.breaker_above is not None and not 0 < self.breaker_above < 1:
            raise ValueError(f"breaker_above: {self.breaker_above} is not between 0 and 1")

    @property
    def guardrails(self) -> tuple[Gate, ...]:
        """The metrics that have to be proven."""
        return tuple(gate for gate in self.gates if gate.role == "guardrail")

    def abort_weights(self) -> tuple[float, ...]:
        """Each gate's part of the abort budget; they sum to 1 over guardrails and signals, and info has none."""
        total = sum(gate.weight for gate in self.gates if gate.role != "info")
        return tuple(gate.weight / total if gate.role != "info" else 0.0 for gate in self.gates)


_FIELDS: Final = ("margin_relative", "margin_absolute", "margin_sd")
_MARGINS: Final[dict[str, tuple[str, ...]]] = {
    "errors": ("margin_relative", "margin_absolute"),
    "latency": ("margin_relative",),
    "category": ("margin_absolute",),
    "number": ("margin_sd",),
    "pair": ("margin_absolute", "margin_relative"),
    "slowdown": ("margin_relative",),
    "accuracy": ("margin_relative", "margin_absolute"),
    "loss": ("margin_sd",),
    "unread": ("margin_absolute",),
}
