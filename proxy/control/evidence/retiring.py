"""Rows that are free again: what they counted stays, of their route and of the process."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.control.evidence import tally
from proxy.control.evidence.lending import Lending
from proxy.control.evidence.subject import Subject
from proxy.ledger.reader import Reader, Totals


def retire(
    lending: Lending,
    reader: Reader,
    subjects: Mapping[str, Subject],
    retired: dict[tuple[str, str, str], Totals],
    now_s: float,
) -> None:
    """Take in rows that nobody counts in any more: what they counted goes to `retired`, by (route, backend, role)."""
    for loan in lending.sweep(now_s, lambda loan: tally.row_totals(reader, loan).in_flight > 0):
        counted = tally.read(reader, loan)
        arm = (loan.route, loan.backend, loan.role)
        retired[arm] = tally.add_totals(retired.get(arm, tally.NO_TOTALS), counted.totals)
        if loan.route in subjects:
            subjects[loan.route].forget_row(loan, counted)
