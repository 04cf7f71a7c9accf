"""How endpoints stand, from a worker to the controller."""

from __future__ import annotations

from proxy.ledger.endpoints import EndpointState, read, tag, write
from proxy.ledger.layout import ENDPOINTS
from proxy.snapshot import Endpoint
from tests.support.book import Book

STATE = EndpointState(3, 17, 2, 5031.5, 4, 0.25, True)


def test_what_is_written_is_read(book: Book) -> None:
    """A person would be shown another state than the worker's."""
    for number in (0, 1, ENDPOINTS - 1):
        write(book.writer, number, 99, STATE)
        assert read(book.reader, 0, number, 99) == STATE
    assert read(book.reader, 1, 0, 99) is None, "another worker has told nothing"


def test_entries_are_of_one_endpoint(book: Book) -> None:
    """After a reload the number belongs to another one, whose state would be told of this one."""
    write(book.writer, 5, tag("v1", Endpoint("a", 1)), STATE)
    assert read(book.reader, 0, 5, tag("v1", Endpoint("a", 2))) is None
    assert read(book.reader, 0, 5, tag("v2", Endpoint("a", 1))) is None
    assert read(book.reader, 0, 5, tag("v1", Endpoint("a", 1))) == STATE


def test_what_is_beyond_the_room_is_not_told(book: Book) -> None:
    """It would fall into the cells of a table."""
    write(book.writer, ENDPOINTS, 99, STATE)
    assert read(book.reader, 0, ENDPOINTS, 99) is None
    table = book.reader.shape.table(0, 0)
    assert not any(book.reader._cells[table : table + 8])
