"""The controller's side: slices and totals as values, and nothing of another tenant."""

from __future__ import annotations

import pytest

from proxy.ledger.layout import L_ARRIVED, LANE_CELLS, LANES, R_TENANT
from proxy.ledger.reader import Totals
from tests.support.book import Book


def totals(book: Book) -> Totals:
    found = book.reader.totals(0, 0, 7)
    assert found is not None
    return found


def test_nothing_happened(book: Book) -> None:
    """An empty row is zeros, another tenant's is nothing."""
    assert totals(book) == Totals(0, 0, 0, 0, 0, {}, {}, {}, {})
    assert book.reader.totals(0, 0, 8) is None
    assert book.reader.totals(1, 0, 7) is None
    assert book.reader.confusion(0, 0, 8, 0) is None
    assert book.reader.users(0, 0, 8) is None
    assert book.reader.labels(0, 0, 9) == []
    assert list(book.reader.workers()) == [0, 1]


def test_statuses_of_all_kinds_add_up(book: Book) -> None:
    """Status 200 is what remains, so every outcome has to be somewhere."""
    for i, status in enumerate([200, 200, 404, 0, 500, 200]):
        book.writer.arrive(book.row, 5.0 + i)
        book.writer.finish(book.row, 5.0 + i, 5.5 + i + (12 if i == 5 else 0), status == 500, status, 0)
    book.writer.arrive(book.row, 30.0)
    found = totals(book)
    assert found.statuses == {200: 3, 404: 1, 500: 1, 0: 1}
    assert sum(found.statuses.values()) == found.finished == 6
    assert (found.arrived, found.in_flight, found.late) == (7, 1, 1)


def test_slice_that_has_no_lane(book: Book) -> None:
    """A slice without requests, and one that is overwritten, are nothing; and nothing is complete."""
    book.writer.arrive(book.row, 5.0)
    assert not book.reader.complete(0, 0, 7, 5)
    for slice_ in (4, 6, 5 + LANES):
        assert book.reader.lane(0, 0, 7, slice_) is None
        assert book.reader.complete(0, 0, 7, slice_)
    assert book.reader.complete(0, 0, 8, 5)
    book.writer.arrive(book.row, 5.0 + LANES)
    assert book.reader.lane(0, 0, 7, 5) is None


def test_lane_is_a_copy(book: Book) -> None:
    """A value that changes under the analysis is no value."""
    book.writer.arrive(book.row, 5.0)
    cells = book.reader.lane(0, 0, 7, 5)
    book.writer.arrive(book.row, 5.0)
    assert cells is not None
    assert (len(cells), cells[L_ARRIVED]) == (LANE_CELLS, 1)


def test_lane_that_changes_while_it_is_copied(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of one slice and half of another is neither."""
    book.writer.arrive(book.row, 5.0)
    copy = book.reader._copy

    def overtaken(*where: int) -> object:
        cells = copy(*where)
        book.writer.arrive(book.row, 5.0 + LANES)
        return cells

    monkeypatch.setattr(book.reader, "_copy", overtaken)
    assert book.reader.lane(0, 0, 7, 5) is None


def test_totals_while_a_lane_is_recycled(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter that falls for a moment is taken for a restart by every monitoring system."""
    for _ in range(100):
        book.writer.arrive(book.row, 5.0)
        book.writer.finish(book.row, 5.0, 5.1, False, 200, 0)
    copy = book.reader._copy
    overtaken = False

    def head_first(*where: int) -> object:
        nonlocal overtaken
        cells = copy(*where)
        if not overtaken:
            overtaken = True
            book.writer.arrive(book.row, 5.0 + LANES)
        return cells

    monkeypatch.setattr(book.reader, "_copy", head_first)
    assert totals(book).arrived == 101


def test_tenant_that_changes_while_it_is_read(book: Book) -> None:
    """A row under clearing belongs to nobody."""
    cells = book.writer._cells
    cells[book.row.base + R_TENANT] = -1
    assert book.reader.totals(0, 0, 7) is None
    assert book.reader.complete(0, 0, 7, 5)


def test_what_a_slice_has_counted_by_now(book: Book) -> None:
    """A quick look would take what is in flight for answered, or miss what finished late or was cut in that second."""
    assert book.reader.counted(0, 0, 7, 20) == (0, 0, 0)
    for failed in (True, False, None):
        book.writer.arrive(book.row, 20.1)
        if failed is not None:
            book.writer.finish(book.row, 20.1, 20.2, failed, 500 if failed else 200, 0)
    assert book.reader.counted(0, 0, 7, 20) == (3, 1, 1)
    book.writer.arrive(book.row, 9.0)
    book.writer.finish(book.row, 9.0, 20.3, True, 500, 0)
    book.writer.cut(book.row, 20.4)
    assert book.reader.counted(0, 0, 7, 20) == (5, 3, 1)
    assert book.reader.counted(0, 0, 8, 20) == (0, 0, 0), "another tenant's"
    assert book.reader.counted(0, 0, 7, 20 + LANES) == (0, 0, 0), "not begun"
