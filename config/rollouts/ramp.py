"""A weight that rises by evidence: what it may cost, and how far it goes."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from config.values.numbers import Percent, whole
from config.values.problems import Finding
from config.values.section import Section, refusals

LEAST: Final = 0.01
"""The lowest weight, in percent."""
_STEPS: Final = (1, 2, 5)


class Ramp(Section):
    """The weight follows the evidence: it is as high as the budget bears if the candidate is as bad as the evidence
    still allows, and rises, from 0.01 % on by 1, 2, 5, 10 and so on up to `maxWeight`, as that becomes less. It never
    falls: a candidate that fails more than its margin allows when the budget is spent is aborted. After the last weight
    the candidate is promoted once it is proven, as after the last of `steps`."""

    max_bad_requests: Annotated[int, whole(5, 1_000_000)] = Field(examples=[50])
    """The budget: how many requests may fail at the candidate that would not have failed at stable, beyond what the
    margin of `errors` allows (without that metric: beyond stable). Slow answers and other labels are none. It holds up
    to the promotion, for a candidate that is bad from the beginning; one that turns bad later costs besides what comes
    until that is known."""

    max_weight: Percent = 50.0
    """The last weight."""

    @model_validator(mode="after")
    def _both_have_traffic(self) -> Self:
        if not LEAST <= self.max_weight < 100:
            remedy = "give one between, such as 50: promotion does the last step"
            raise refusals(Finding(("maxWeight",), f"{self.max_weight:g} is not from {LEAST:g} to below 100", remedy))
        return self

    @property
    def rungs(self) -> tuple[float, ...]:
        """All weights, in percent."""
        below = [step * 10.0**power for power in range(-2, 2) for step in _STEPS]
        return (*(round(rung, 4) for rung in below if rung < self.max_weight - 1e-9), self.max_weight)
