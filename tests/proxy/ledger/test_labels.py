"""Tables of label texts: slots that never change their meaning."""

from __future__ import annotations

import pytest

from proxy.ledger.layout import (
    OTHER,
)
from tests.support.book import Book


def test_labels_keep_their_slots_after_a_restart(book: Book) -> None:
    """Counts of a slot would else change their label with every crash."""
    table = book.writer.labels(0, 5)
    assert [table.slot(text) for text in ("a", "b", "a", "")] == [0, 1, 0, 2]
    book.restart()
    table = book.writer.labels(0, 5)
    assert [table.slot(text) for text in ("b", "c", "a")] == [1, 3, 0]
    assert book.reader.labels(0, 0, 5) == ["a", "b", "", "c"]


def test_two_holds_on_a_table_agree(book: Book) -> None:
    """Requests in flight across a reload hold the table of the old routing."""
    old, new = book.writer.labels(0, 5), book.writer.labels(0, 5)
    assert old.slot("a") == 0
    assert new.slot("b") == 1
    assert old.slot("b") == 1
    assert new.slot("a") == 0
    assert book.reader.labels(0, 0, 5) == ["a", "b"]


def test_new_tenant_of_a_table_finds_it_empty(book: Book) -> None:
    """Labels of another output are not this one's; who still holds the old table adds nothing."""
    old = book.writer.labels(0, 5)
    old.slot("a")
    new = book.writer.labels(0, 6)
    assert new.slot("b") == 0
    assert old.slot("c") == OTHER
    assert book.reader.labels(0, 0, 6) == ["b"]
    assert book.reader.labels(0, 0, 5) == []


def test_full_table_sends_the_rest_to_other(book: Book) -> None:
    """A table has room for 63 labels, whatever versions invent."""
    table = book.writer.labels(0, 5)
    assert [table.slot(f"l{i}") for i in range(70)] == [*range(OTHER), *[OTHER] * 7]
    assert table.slot("l62") == 62
    assert book.reader.labels(0, 0, 5)[-1] == "l62"


@pytest.mark.parametrize("text", ["ä" * 40, "x" * 63, "€" * 30, "\ud800x", "a\0b"])
def test_odd_texts(book: Book, text: str) -> None:
    """Long texts are cut between characters, and found again."""
    table = book.writer.labels(0, 5)
    assert table.slot(text) == table.slot(text) == 0
    (kept,) = book.reader.labels(0, 0, 5)
    assert "\ufffd" not in kept
    assert len(kept.encode()) <= 62
    book.restart()
    assert book.writer.labels(0, 5).slot(text) == 0
