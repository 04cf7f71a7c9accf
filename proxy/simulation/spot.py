"""Where the records of one stage are counted: the rows of its versions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from proxy.control.evidence.holdings import Arm
from proxy.control.evidence.lending import Loan
from proxy.simulation.stages import Stage


@dataclass(frozen=True, slots=True)
class Spot:
    """`stage` is None while the file's steps decide."""

    stage: Stage | None
    loans: Mapping[Arm, Loan]

    def live(self, backend: str) -> Loan | None:
        """Where a version's own answers to clients are counted; None where it gives none."""
        return next((loan for (name, role), loan in self.loans.items() if name == backend and role != "shadow"), None)

    def copies(self, backend: str) -> Loan | None:
        """Where a version's answers to copies are counted; None where it gets none."""
        return self.loans.get((backend, "shadow"))
