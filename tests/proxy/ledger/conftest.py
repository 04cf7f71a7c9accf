"""A ledger of one worker."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.book import Book


@pytest.fixture
def book() -> Iterator[Book]:
    book = Book()
    yield book
    book.close()
