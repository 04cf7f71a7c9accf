"""Lines as records, and what is wrong with those that are none."""

from __future__ import annotations

import re
from typing import Any

import pytest
from msgspec import UNSET

from proxy.simulation.records import Lines

LINES = Lines(["label", "score"])
GOOD = b'{"t": 1, "backend": "v1"}'


def one(line: bytes) -> Any:
    records, _, refused, _ = LINES.decode(1, line + b"\n")
    assert refused is None, refused
    return records[0]


def test_a_request_is_read_with_all_that_is_known_of_it() -> None:
    """Broken: the first form of the issue is not read."""
    record = one(b'{"t": 12.345, "backend": "fraud-v2", "stage": 0, "weight": 5, "user": "u17", "latencyMs": 41.2, '
                 b'"error": false, "outputs": {"label": "cat", "score": 0.31}}')  # fmt: skip
    assert (record.t, record.backend, record.stage, record.weight, record.user) == (12.345, "fraud-v2", 0, 5.0, "u17")
    assert (record.latency_ms, record.error, record.outputs.o0, record.outputs.o1) == (41.2, False, "cat", 0.31)


def test_what_is_left_out_is_not_known() -> None:
    """Broken: an output that is not there would look like one that is null."""
    record = one(b'{"t": 1, "backend": "v1", "outputs": {"score": null, "other": [1]}, "path": "/x"}')
    assert (record.latency_ms, record.outputs.o0, record.outputs.o1, record.truth) == (None, UNSET, None, UNSET)


def test_pairs_truths_and_counts_are_read() -> None:
    """Broken: one of the other three forms is not read."""
    pair = one(
        b'{"t": 1, "user": 7, "pair": {"stable": {"latencyMs": 1}, "shadow": {"error": true}, "repeat": {}}}'
    ).pair
    assert (pair["stable"].latency_ms, pair["shadow"].error, pair["repeat"].outputs) == (1.0, True, None)
    assert one(b'{"t": 1, "pair": {"stable": {}, "v2": {"error": true}, "repeat": null}}').pair["v2"].error
    assert one(b'{"t": 1, "request": "r9", "truth": null}').truth is None
    assert one(b'{"t": 1, "assigned": {"v1": 950, "v2": 50}}').assigned == {"v1": 950, "v2": 50}


def test_not_a_number_is_read_as_python_writes_it() -> None:
    """Broken: one NaN of a model, in a log written by Python, would make the whole log useless."""
    record = one(b'{"t": 1, "backend": "v1", "outputs": {"score": NaN}}')
    assert record.outputs.o1 != record.outputs.o1


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"t": 2, "backend": "v1", "latencyMs": -5}', "latencyMs: expected `float` >= 0.0, got -5"),
        (b'{"t": 2, "backend": "v1", "latencyMs": NaN}', "latencyMs: expected `float` >= 0.0, got nan"),
        (b'{"t": 1760000000000, "backend": "v1"}', "t: expected `float` <= 100000000000.0, got 1760000000000"),
        (b'{"t": 2, "pair": {"stable": {}, "shadow": {"latencyMs": -1}}}', "pair.shadow.latencyMs: .* got -1"),
    ],
)
def test_a_value_that_is_out_of_bounds_is_named(line: bytes, said: str) -> None:
    """Broken: people are told a bound, and have to look for what is beyond it."""
    _, _, refused, _ = LINES.decode(1, GOOD + b"\n" + line + b"\n")
    assert refused is not None
    assert refused.line == 2
    assert re.match(said, refused.message)


def test_text_of_another_encoding_is_refused_with_its_line() -> None:
    """Broken: a log in Latin-1 is refused as a misspelt route, and nobody says where."""
    _, _, refused, _ = LINES.decode(1, GOOD + b"\n" + '{"t": 2, "backend": "v1", "user": "Müller"}\n'.encode("latin-1"))
    assert refused is not None
    assert (refused.line, refused.message) == (2, "byte 0xfc is not UTF-8")


def test_text_in_utf_16_is_refused() -> None:
    """Broken: the first line of such a file is taken for a record, and the second is refused."""
    records, _, refused, _ = LINES.decode(1, (GOOD + b"\n" + GOOD).decode().encode("utf-16"))
    assert refused is not None
    assert (len(records), refused.line, refused.message) == (0, 1, "byte 0xff is not UTF-8")


def test_a_value_of_another_type_is_told_with_what_to_give() -> None:
    """Broken: whoever logs times as text is told types, and neither what stood there nor what should."""
    _, _, refused, _ = LINES.decode(1, b'{"t": "2026-01-01T00:00:00Z", "backend": "v1"}')
    assert str(refused) == (
        "line 1: t: expected `float`, got `str` '2026-01-01T00:00:00Z'; "
        "give the arrival as a number of seconds, of any clock"
    )


def test_empty_lines_count_as_lines_and_are_no_records() -> None:
    """Broken: line numbers of refusals would be off."""
    records, lines, refused, _ = LINES.decode(10, b"\n" + GOOD + b"\r\n\n  \n" + GOOD + b"\nx\n")
    assert (len(records), lines.tolist()) == (2, [11, 14])
    assert refused is not None
    assert refused.line == 15


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "is not JSON"),
        (b"[1]", "expected `object`, got `array`"),
        (b'{"backend": "v1"}', "object missing required field `t`"),
        (b'{"t": "now", "backend": "v1"}', "t: expected `float`, got `str`"),
        (b'{"t": NaN, "backend": "v1"}', "t: "),
        (b'{"t": 1700000000000, "backend": "v1"}', "t: expected `float` <= 100000000000.0"),
        (b'{"t": 1, "backend": "v1", "latencyMs": -1}', "latencyMs: expected `float` >= 0.0"),
        (b'{"t": 1, "backend": "v1", "weight": 101}', "weight: expected `float` <= 100.0"),
        (b'{"t": 1, "backend": "v1", "error": "timeout"}', "error: expected `bool | null`, got `str`"),
        (b'{"t": 1, "backend": "v1", "outputs": "cat"}', "outputs: "),
        (b'{"t": 1, "assigned": {"v1": -5}}', "assigned.v1: expected `int` >= 0, got -5"),
        (b'{"t": 1}', "is of no kind that is known"),
        (b'{"t": 1, "truth": "dog"}', "request: is missing"),
        (b'{"t": 1, "backend": "v1", "pair": {"stable": {}, "shadow": {}}}', "is of several kinds: backend, pair"),
        (
            b'{"t": 1, "backend": "v1", "p\\u0061ir": {"stable": {}, "shadow": {}}}',
            "is of several kinds: backend, pair",
        ),
        (GOOD + b" " + GOOD, "is not JSON"),
        (b"\xff", "byte 0xff is not UTF-8"),
        (b"[" * 100_000, "expected `object`"),
    ],
)
def test_what_is_no_record_is_refused_with_line_and_reason(line: bytes, message: str) -> None:
    """Broken: a bad record would be skipped in silence, or end in a traceback."""
    records, _, refused, _ = LINES.decode(5, GOOD + b"\n" + line + b"\n" + GOOD + b"\n")
    assert len(records) == 1, "what stands before it counts"
    assert refused is not None
    assert (refused.line, refused.message[: len(message)]) == (6, message)
