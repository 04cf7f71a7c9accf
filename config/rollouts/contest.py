"""An A/B test: what it is about, and what becomes of a winner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from config.rollouts.metrics import BUCKETS, MetricName, family_of, output_of, quantile_of
from config.values.margins import Bound, size_in
from config.values.numbers import Percent
from config.values.problems import Finding
from config.values.section import Section, refusals


class Primary(Section):
    """What the candidate is hoped to do better, and by how much that is of interest."""

    name: MetricName = Field(examples=["latency.p50"])
    """`errors`, `latency.pNN`, or `prediction.OUTPUT` of a number."""

    min_improvement: Annotated[Bound, size_in("%", "pp", "sd")] = Field(examples=["5%"])
    """The least improvement that is of interest: % of stable's (errors, latency), pp (errors), sd (a number). It is
    what "no winner" rules out; any improvement that is proven wins."""

    better: Literal["lower", "higher"] = "lower"
    """What is an improvement. Of errors and latency it is lower; of a number it is yours to say."""

    @property
    def family(self) -> str:
        """The first part of its name."""
        return family_of(self.name)

    @property
    def output(self) -> str:
        """The output of `prediction.OUTPUT`, else empty."""
        return output_of(self.name)

    @property
    def quantile(self) -> float:
        """The quantile of `latency.pNN` as a share, else 0."""
        return quantile_of(self.name)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        findings = list(self._problems())
        if findings:
            raise refusals(*findings)
        return self

    def _problems(self) -> Iterator[Finding]:
        units = {"errors": ("%", "pp"), "latency": ("%",), "prediction": ("sd",)}.get(self.family)
        size = self.min_improvement
        if units is None:
            yield Finding(("name",), f"{self.name} has no better and worse", "name errors, latency.pNN or a prediction")
            return
        if size.unit not in units:
            yield Finding(("minImprovement",), f"{size} does not fit {self.name}", f"write it in {' or '.join(units)}")
        elif not size.value:
            yield Finding(("minImprovement",), "zero can never be ruled out", "say what would be worth having")
        elif size.unit == "%" and not BUCKETS.get(self.family, 0.0) <= size.value < 100:
            least = BUCKETS.get(self.family, 0.0)
            yield Finding(("minImprovement",), f"{size} is not from {least:g}% to below 100%", "write a size between")
        if self.better == "higher" and self.family != "prediction":
            yield Finding(("better",), f"more {self.name} is never better", "take it away")
        if self.family == "prediction" and "better" not in self.model_fields_set:
            yield Finding(("better",), f"is missing: of {self.name} either may be", "write lower or higher")


class AbTest(Section):
    """A fixed split for as long as it takes. It ends with a winner: the candidate, once it is proven to be better and
    every guardrail is proven; stable, once harm is proven; none, once both are proven to be alike. Without any of these
    it is inconclusive at `analysis.maxDuration`."""

    weight: Percent = 50.0
    """The candidate's share of the users. Half and half decides soonest."""

    primary: Primary = Field(examples=["{name: latency.p50, minImprovement: 5%}"])
    """What the test is about."""

    on_winner: Literal["promote", "keep"] = "promote"
    """What becomes of a candidate that wins: it takes over, or keeps its share until the file says otherwise."""

    @model_validator(mode="after")
    def _both_have_traffic(self) -> Self:
        if not 0 < self.weight < 100:
            remedy = "give a share between, such as 50"
            raise refusals(Finding(("weight",), f"{self.weight:g} leaves one version without traffic", remedy))
        return self
