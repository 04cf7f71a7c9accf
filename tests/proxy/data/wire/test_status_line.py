"""The first line of an answer, whole and in pieces."""

from __future__ import annotations

import pytest

from proxy.data.wire.status_line import MAX_LINE_BYTES, begins

WELL_FORMED = [
    b"HTTP/1.1 200 OK\r\n",
    b"HTTP/1.0 404 Not Found\r\n",
    b"HTTP/1.1 200 \r\n",
    b"HTTP/1.1 200 \xc3\xa4\t!\r\nA: b\r\n",
]
OTHERS = [
    b"HTTP/2.0 200 OK\r\n",
    b"HTTP/1.2 200 OK\r\n",
    b"RTSP/1.0 200 OK\r\n",
    b"\r\nHTTP/1.1 200 OK\r\n",
    b"HTTP/1.1 200 O\0K\r\n",
    b"HTTP/1.1 200 " + b"K" * MAX_LINE_BYTES + b"\r\n",
    b"HTTP/1.1\r\n",
]


@pytest.mark.parametrize("raw", WELL_FORMED)
def test_beginning_of_an_answer_is_one_at_every_length(raw: bytes) -> None:
    """A backend whose first packet is short would be taken for one that is broken."""
    assert all(begins(raw[:end]) for end in range(len(raw) + 1))


@pytest.mark.parametrize("raw", OTHERS)
def test_what_is_no_answer_is_found_by_the_end_of_its_line(raw: bytes) -> None:
    """Readers disagree on these: what one takes for an answer another does not."""
    assert not begins(raw)
