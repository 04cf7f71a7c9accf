"""Heads on the wire."""

from __future__ import annotations

import doctest
import json
from http import HTTPStatus

import pytest

from proxy.data.wire import http1
from proxy.data.wire.http1 import (
    HOP_BY_HOP,
    chunk,
    connection_fields,
    fields,
    length_field,
    number,
    refusal,
    status_line,
)
from proxy.faults import FACTS, Fault
from tests.support.plane import split


def test_examples_in_the_docstrings() -> None:
    """An example that is no longer true misleads whoever trusts it."""
    assert doctest.testmod(http1).failed == 0


@pytest.mark.parametrize(
    ("status", "line"),
    [(200, b"HTTP/1.1 200 OK\r\n"), (404, b"HTTP/1.1 404 Not Found\r\n"), (799, b"HTTP/1.1 799 \r\n")],
)
def test_status_line(status: int, line: bytes) -> None:
    """An unknown status has no phrase, and the blank before it stays (RFC 9112, section 4)."""
    assert status_line(status) == line


def test_every_known_status_has_its_line() -> None:
    """Precomputed, for speed."""
    for status in HTTPStatus:
        assert status_line(status) == f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode()


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ([], set()),
        ([b"close"], {b"close"}),
        ([b"keep-alive, X-A ,, x-b"], {b"keep-alive", b"x-a", b"x-b"}),
        ([b"X-A", b"X-B"], {b"x-a", b"x-b"}),
        ([b"Host"], set()),
    ],
)
def test_fields_that_connection_names(values: list[bytes], named: set[bytes]) -> None:
    """What a client declares as its own connection's affair stays there."""
    assert connection_fields([(b"connection", value) for value in values] + [(b"x", b"y")]) == named


def test_fields_keep_order_and_repetition() -> None:
    """Set-Cookie comes more than once, and order has a meaning."""
    headers = [(b"set-cookie", b"a"), (b"te", b"x"), (b"set-cookie", b"b"), (b"empty", b"")]
    assert fields(headers, HOP_BY_HOP) == b"set-cookie: a\r\nset-cookie: b\r\nempty: \r\n"


def test_length_field() -> None:
    """A body is framed in one way only."""
    assert length_field(5, chunked=False) == b"content-length: 5\r\n"
    assert length_field(0, chunked=False) == b"content-length: 0\r\n"
    assert length_field(None, chunked=False) == b""
    assert length_field(5, chunked=True) == b"transfer-encoding: chunked\r\n"


def test_chunk() -> None:
    """Sizes are hexadecimal."""
    assert chunk(b"a" * 31) == b"1f\r\n" + b"a" * 31 + b"\r\n"


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault])
def test_refusals_are_problem_documents(fault: Fault) -> None:
    """What went wrong, in words for people and in one for programs (RFC 9457)."""
    first, head, body = split(refusal(fault, 'a "detail"', close=True))
    assert first.startswith(f"HTTP/1.1 {FACTS[fault].status} ")
    assert head["content-type"] == "application/problem+json"
    assert head["x-understudy-fault"] == FACTS[fault].flag
    assert head["connection"] == "close"
    assert int(head["content-length"]) == len(body)
    problem = json.loads(body)
    assert problem["status"] == FACTS[fault].status
    assert problem["detail"] == 'a "detail"'


def test_refusal_of_head_has_no_body() -> None:
    """Its length tells what GET would get."""
    _, head, body = split(refusal(Fault.NO_ROUTE, "", close=False, with_body=False))
    assert body == b""
    assert int(head["content-length"]) > 0
    assert "connection" not in head
    assert "detail" not in json.loads(refusal(Fault.NO_ROUTE, "", close=False).partition(b"\r\n\r\n")[2])


def test_a_full_queue_says_when_to_come_again() -> None:
    """Clients that come again at once keep an overloaded version down."""
    assert b"\r\nretry-after: 1\r\n" in refusal(Fault.OVERFLOW, "", close=False)
    assert b"retry-after" not in refusal(Fault.CONNECT_FAILED, "", close=True)


@pytest.mark.parametrize("value", [b"0", b"7", b"007", b"1234567890123456789012"])
def test_number_is_what_its_digits_are(value: bytes) -> None:
    """A length that is read wrongly is request smuggling."""
    assert number(value) == int(value)


@pytest.mark.parametrize("value", [b"", b" 7", b"7 ", b"+7", b"-7", b"7_0", b"0x7", b"7.", b"\xb2", b":", b"/"])
def test_other_than_digits_are_no_number(value: bytes) -> None:
    """`int` takes most of these, and other readers take some."""
    assert number(value) == -1
