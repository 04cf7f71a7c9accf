"""Who has which row."""

from __future__ import annotations

from itertools import count

from proxy.control.evidence.lending import QUARANTINE_S, Lending, Loan, fresh_tenant
from proxy.snapshot import TableRef


def lending(rows: int = 3, tables: int = 2) -> Lending:
    numbers = count(101)
    return Lending(rows, tables, lambda: next(numbers))


def idle(_loan: Loan) -> bool:
    return False


def test_rows_and_tenants_are_not_shared() -> None:
    """Two arms would count into one row."""
    book = lending()
    loans = [book.lend("r", f"b{i}", "stable", 0) for i in range(3)]
    assert len({loan.index for loan in loans}) == len({loan.tenant for loan in loans}) == 3
    assert book.lent() == loans


def test_exhaustion_lends_nothing() -> None:
    """A proxy with too many stages would write over somebody's row, or stop."""
    book = lending(rows=1)
    book.lend("r", "a", "stable", 0)
    assert book.lend("r", "b", "canary", 0).index == -1
    assert len(book.lent()) == 1


def test_a_returned_row_rests_until_nobody_can_write_to_it() -> None:
    """A request of the old stage that ends late would be counted for the new one."""
    book = lending(rows=1)
    loan = book.lend("r", "a", "stable", 0)
    book.give_back(loan, 10.0)
    assert (book.lent(), book.held()) == ([], [loan])
    assert book.sweep(10.0 + QUARANTINE_S - 0.1, idle) == []
    assert book.sweep(10.0 + QUARANTINE_S, lambda _: True) == []
    assert book.sweep(10.0 + QUARANTINE_S, idle) == [loan]
    again = book.lend("r", "a", "stable", 1)
    assert (again.index, again.tenant != loan.tenant) == (loan.index, True)


def test_giving_back_twice_does_nothing() -> None:
    """A row that is lent anew would be taken from its new tenant."""
    book = lending(rows=1)
    old = book.lend("r", "a", "stable", 0)
    book.give_back(old, 0.0)
    book.sweep(QUARANTINE_S, idle)
    new = book.lend("r", "a", "stable", 1)
    book.give_back(old, 50.0)
    assert book.lent() == [new]


def test_claims_restore_the_book() -> None:
    """A new controller would lend rows that the old one's stages still count into."""
    first = lending()
    loan = first.lend("r", "a", "stable", 4, {"score": "number", "label": "category"})
    second = lending()
    assert second.claim(loan)
    assert not second.claim(loan)
    assert second.table("r", "label", "category") == loan.tables[1]
    assert loan.index not in {second.lend("r", x, "canary", 4).index for x in ("b", "c", "d")}


def test_a_resting_claim_goes_on_resting() -> None:
    """A row that was at rest when the controller died would never be free again."""
    loan = Loan("r", "a", "stable", 0, 1, 7)
    book = lending()
    assert book.claim(loan, rests_since_s=5.0)
    assert book.lent() == []
    assert book.sweep(5.0 + QUARANTINE_S, idle) == [loan]


def test_a_claim_beyond_the_ledger_is_refused() -> None:
    """A smaller ledger after a restart would be written to beyond its end."""
    assert not lending(rows=2).claim(Loan("r", "a", "stable", 0, 2, 7))


def test_a_table_stays_with_its_output_until_nobody_wants_it() -> None:
    """Labels would change their numbers from stage to stage, or tables would run out."""
    book = lending(tables=1)
    table = book.table("r", "label", "category")
    assert book.table("r", "label", "category") == table
    assert book.table("r", "other", "category") == TableRef()
    book.keep_tables(set(), 0.0)
    book.sweep(QUARANTINE_S, idle)
    assert book.table("r", "other", "category").index == table.index
    assert book.table("r", "other", "category").tenant != table.tenant


def test_labels_that_are_written_in_another_way_have_another_table() -> None:
    """Labels from before the file said `hash` would stand among the hashes, and go on to be told."""
    book = lending(rows=4, tables=3)
    plain = book.lend("r", "a", "stable", 0, {"label": "category"})
    hashed = book.lend("r", "a", "stable", 0, {"label": "category:hash"})
    assert len({plain.tables[0].tenant, hashed.tables[0].tenant}) == 2
    assert book.lend("r", "a", "stable", 0, {"label": "category:drop"}).tables == (TableRef(),)
    book.keep_tables({("r", "label", "category:hash")}, 0.0)
    assert book.table("r", "label", "category:hash") == hashed.tables[0]
    assert book.table("r", "label", "category").tenant not in {plain.tables[0].tenant, hashed.tables[0].tenant}


def test_tenants_fit_in_a_cell() -> None:
    """A tenant that a 64-bit float rounds would be somebody else in the ledger."""
    assert all(int(float(n)) == n > 0 for n in (fresh_tenant() for _ in range(1000)))
