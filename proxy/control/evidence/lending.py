"""Rows and label tables of the ledger: who has which.

A row is lent to one stage of one backend in one route. What is given back rests for QUARANTINE_S at least and until
no request is in flight there any more, since a late finish would otherwise be counted for somebody else. A tenant is
a random number that is never used twice, so that nobody reads what another left.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from proxy.snapshot import RowRef, TableRef

LABELLED: Final = frozenset({"category", "category:hash", "category:mask"})
"""Kinds of outputs that are counted by label (`holdings.counted_as`)."""
QUARANTINE_S: Final = 20.0
"""Above the 16 s after which a lane is cleared for its next slice: what was lent is read to its end by then."""
_LOG = structlog.get_logger("understudy.lending")


@dataclass(frozen=True, slots=True)
class Loan:
    """A row and whom it is lent to. `index` is -1 where no row was left: nothing is counted then.

    `outputs` are the names of the route's predictions in the order of the row's cells, `kinds` what they are, and
    `tables` where the labels of categories have their texts.
    """

    route: str
    backend: str
    role: str
    stage: int
    index: int
    tenant: int
    outputs: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    tables: tuple[TableRef, ...] = ()

    @property
    def row(self) -> RowRef:
        """The row in the words of a snapshot."""
        return RowRef(self.index, self.tenant)


def fresh_tenant() -> int:
    """A number that no row or table has had: 52 random bits, which a 64-bit float holds exactly."""
    return secrets.randbits(52) | 1


class Lending:
    """The rows and tables of one ledger."""

    def __init__(self, rows: int, tables: int, tenant: Callable[[], int] = fresh_tenant) -> None:
        self._free_rows = list(range(rows - 1, -1, -1))
        self._free_tables = list(range(tables - 1, -1, -1))
        self._tenant = tenant
        self._lent: dict[int, Loan] = {}
        self._resting: dict[int, tuple[Loan, float]] = {}
        self._tables: dict[tuple[str, str, str], TableRef] = {}
        self._resting_tables: list[tuple[TableRef, float]] = []

    @property
    def room(self) -> bool:
        """Whether another stage of two versions could be counted."""
        return len(self._free_rows) > 1

    @property
    def spare(self) -> int:
        """How many rows nobody has."""
        return len(self._free_rows)

    def lent(self) -> list[Loan]:
        """Rows that are in use, in the order of their numbers."""
        return [self._lent[index] for index in sorted(self._lent)]

    def held(self) -> list[Loan]:
        """Rows that are in use or at rest."""
        return sorted([*self._lent.values(), *(loan for loan, _ in self._resting.values())], key=lambda one: one.index)

    def lend(self, route: str, backend: str, role: str, stage: int, outputs: Mapping[str, str] | None = None) -> Loan:
        """A row for a stage of a backend, with the tables of the route's outputs (kinds by name)."""
        names, kinds = tuple(outputs or {}), tuple((outputs or {}).values())
        tables = tuple(self.tables(route, outputs or {}).values())
        if not self._free_rows:
            _LOG.error(
                "no row of the ledger is left: this arm is not counted and cannot be judged",
                route=route,
                backend=backend,
                stage=stage,
                remedy="restart `understudy serve`, which makes room for the configuration that it finds",
            )
            return Loan(route, backend, role, stage, -1, 0, names, kinds, tables)
        loan = Loan(route, backend, role, stage, self._free_rows.pop(), self._tenant(), names, kinds, tables)
        self._lent[loan.index] = loan
        return loan

    def claim(self, loan: Loan, rests_since_s: float | None = None) -> bool:
        """Take up a loan that an earlier controller made; False if the row is taken or not there."""
        if loan.index not in self._free_rows:
            return False
        self._free_rows.remove(loan.index)
        if rests_since_s is None:
            self._lent[loan.index] = loan
        else:
            self._resting[loan.index] = (loan, rests_since_s)
        for output, kind, table in zip(loan.outputs, loan.kinds, loan.tables, strict=True):
            self.claim_table(loan.route, output, kind, table)
        return True

    def give_back(self, loan: Loan, now_s: float) -> None:
        """Let a row rest; giving back twice does nothing."""
        if self._lent.get(loan.index) == loan:
            del self._lent[loan.index]
            self._resting[loan.index] = (loan, now_s)

    def sweep(self, now_s: float, busy: Callable[[Loan], bool]) -> list[Loan]:
        """The loans that have rested long enough and that no request is in flight for: their rows are free now.

        A freed row keeps what it counted until it is lent again: read it before the next `lend`.
        """
        done = [loan for loan, since_s in self._resting.values() if now_s - since_s >= QUARANTINE_S and not busy(loan)]
        for loan in done:
            del self._resting[loan.index]
            self._free_rows.append(loan.index)
        for table, since_s in list(self._resting_tables):
            if now_s - since_s >= QUARANTINE_S:
                self._resting_tables.remove((table, since_s))
                self._free_tables.append(table.index)
        return done

    def tables(self, route: str, kinds: Mapping[str, str]) -> dict[tuple[str, str], TableRef]:
        """The label tables of a route by (route, output), in the order of its outputs; what has no labels has none."""
        return {
            (route, name): self.table(route, name, kind) if kind in LABELLED else TableRef()
            for name, kind in kinds.items()
        }

    def table(self, route: str, output: str, kind: str) -> TableRef:
        """The label table of an output of a route; it stays the same from stage to stage, as long as the labels are
        written in the same way."""
        known = self._tables.get((route, output, kind))
        if known is not None:
            return known
        if not self._free_tables:
            _LOG.error(
                "no label table of the ledger is left: this output is not counted",
                route=route,
                output=output,
                remedy="restart `understudy serve`, which makes room for the configuration that it finds",
            )
            return TableRef()
        table = TableRef(self._free_tables.pop(), self._tenant())
        self._tables[route, output, kind] = table
        return table

    def claim_table(self, route: str, output: str, kind: str, table: TableRef) -> None:
        """Take up a table that an earlier controller lent."""
        if (route, output, kind) not in self._tables and table.index in self._free_tables:
            self._free_tables.remove(table.index)
            self._tables[route, output, kind] = table

    def keep_tables(self, wanted: Collection[tuple[str, str, str]], now_s: float) -> None:
        """Let the tables rest that no (route, output, kind) wants any more."""
        for key in [key for key in self._tables if key not in wanted]:
            self._resting_tables.append((self._tables.pop(key), now_s))


def find(loans: Iterable[Loan], role: str, backend: str | None = None) -> Loan | None:
    """The first loan of a role (and a backend)."""
    return next((one for one in loans if one.role == role and backend in (None, one.backend)), None)
