"""What an arm did altogether: counters of its rows over all workers, its users, and the pairs of its copies.

Sums for people and for metrics, never for a judge: they cross slices, and over a rollout also stages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Final, TypeVar

import numpy as np

from proxy.control.evidence.lending import LABELLED, Loan
from proxy.control.evidence.tracks import Slots, label_texts, users
from proxy.ledger import layout as at
from proxy.ledger.reader import Reader, Totals

_Key = TypeVar("_Key")
_Number = TypeVar("_Number", int, float)

Confusion = Mapping[str, Mapping[tuple[str, str], float]]
"""By output: pairs by (stable's label, shadow's label)."""
NO_TOTALS: Final = Totals(0, 0, 0, 0, 0, {}, {}, {}, {})


@dataclass(frozen=True, slots=True, eq=False)
class ArmTally:
    """An arm's sums. They add."""

    totals: Totals
    users: Slots
    confusion: Confusion

    def __add__(self, other: ArmTally) -> ArmTally:
        outputs = {**self.confusion, **other.confusion}
        return ArmTally(
            add_totals(self.totals, other.totals),
            self.users | other.users,
            {name: merged(self.confusion.get(name, {}), other.confusion.get(name, {})) for name in outputs},
        )

    @classmethod
    def empty(cls) -> ArmTally:
        """An arm that nothing has met."""
        return cls(NO_TOTALS, np.zeros(at.USER_SLOTS, dtype=np.bool_), {})


def read(reader: Reader, loan: Loan) -> ArmTally:
    """What is in one row now."""
    return ArmTally(row_totals(reader, loan), users(reader, loan), confusion(reader, loan))


def row_totals(reader: Reader, loan: Loan) -> Totals:
    """The counters of one row, over all workers."""
    if loan.index < 0:
        return NO_TOTALS
    found = (reader.totals(worker, loan.index, loan.tenant) for worker in reader.workers())
    return reduce(add_totals, (totals for totals in found if totals is not None), NO_TOTALS)


def add_totals(left: Totals, right: Totals) -> Totals:
    """Both together."""
    return Totals(
        arrived=left.arrived + right.arrived,
        finished=left.finished + right.finished,
        failed=left.failed + right.failed,
        lost=left.lost + right.lost,
        late=left.late + right.late,
        retries=merged(left.retries, right.retries),
        skips=merged(left.skips, right.skips),
        faults=merged(left.faults, right.faults),
        statuses=merged(left.statuses, right.statuses),
        repeats=merged(left.repeats, right.repeats),
        retrying=left.retrying + right.retrying,
    )


def confusion(reader: Reader, loan: Loan) -> Confusion:
    """Pairs of a shadow's row by labels; workers number labels each by itself, so they are added by text."""
    found: dict[str, Counter[tuple[str, str]]] = {}
    if loan.role != "shadow" or loan.index < 0:
        return found
    for number, (name, kind) in enumerate(zip(loan.outputs, loan.kinds, strict=True)):
        if kind not in LABELLED:
            continue
        pairs = found.setdefault(name, Counter())
        for worker in reader.workers():
            cells = reader.confusion(worker, loan.index, loan.tenant, number)
            if cells is None:
                continue
            texts = label_texts(reader, loan, number, worker)
            square = np.frombuffer(cells).reshape(at.LABELS, at.LABELS)
            for stable, shadow in zip(*np.nonzero(square), strict=True):
                pairs[texts[stable], texts[shadow]] += int(square[stable, shadow])
    return found


def merged(left: Mapping[_Key, _Number], right: Mapping[_Key, _Number]) -> dict[_Key, _Number]:
    """Sums by key."""
    sums = dict(left)
    for key, number in right.items():
        sums[key] = sums[key] + number if key in sums else number
    return sums
