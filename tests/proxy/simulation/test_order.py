"""Whole seconds of records, in time order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.simulation.order import LATENESS_S, MOST_GAP_S, Second, seconds
from proxy.simulation.records import Lines, RefusedError


def text(times: list[float]) -> bytes:
    return b"".join(b'{"t": %r, "backend": "v1"}\n' % t for t in times)


def read(times: list[float], block: int = 3) -> list[Second]:
    lines = text(times).splitlines(keepends=True)
    given = [(at + 1, b"".join(lines[at : at + block])) for at in range(0, len(lines), block)]
    return list(seconds(given, Lines([])))


@given(st.lists(st.floats(0, 30), min_size=1, max_size=60), st.integers(1, 20))
def test_records_come_by_second_each_once_with_its_line(times: list[float], block: int) -> None:
    """Broken: a record would be judged in another second than it arrived in, or twice, or not."""
    times = sorted(times)
    found = read(times, block)
    assert [record.t for second in found for record in second.records] == times
    assert [line for second in found for line in second.lines.tolist()] == list(range(1, len(times) + 1))
    for second in found:
        assert {int(record.t) for record in second.records} == {second.second}
    assert [second.second for second in found] == sorted({int(t) for t in times})


def test_a_little_disorder_is_put_in_order() -> None:
    """Broken: logs of several workers would be refused for a record that came some milliseconds late."""
    [first, second] = read([5.0, 5.9, 5.1, 6.0, 5.95])
    assert [record.t for record in first.records] == [5.0, 5.1, 5.9, 5.95]
    assert first.lines.tolist() == [1, 3, 2, 5]
    assert [record.t for record in second.records] == [6.0]


@pytest.mark.parametrize("block", [1, 2, 100])
def test_more_disorder_is_refused_with_its_line(block: int) -> None:
    """Broken: a record of a second that is judged already would be judged with another one, or dropped."""
    lines = text([8.0, 9.0, 10.0, 10.0 - LATENESS_S - 0.1, 11.0]).splitlines(keepends=True)
    given = [(at + 1, b"".join(lines[at : at + block])) for at in range(0, len(lines), block)]
    stream = seconds(given, Lines([]))
    found = [next(stream).second]
    with pytest.raises(RefusedError, match=r"line 4: t: 8.9 is 1.1 s before a record above it") as refused:
        next(stream)
    assert refused.value.line == 4
    assert found == [8], "seconds that were complete before it were answered"


@pytest.mark.parametrize("block", [1, 100])
def test_a_gap_of_years_is_refused_with_its_line(block: int) -> None:
    """Broken: one record whose clock was not set (or milliseconds for seconds) makes the simulation tick for weeks."""
    lines = text([0.0, 1.0, MOST_GAP_S + 1.0, 1.76e9, 1.76e9 + 1.0]).splitlines(keepends=True)
    given = [(at + 1, b"".join(lines[at : at + block])) for at in range(0, len(lines), block)]
    stream = seconds(given, Lines([]))
    assert [next(stream).second for _ in range(2)] == [0, 1]
    with pytest.raises(RefusedError, match=r"line 4: t: 1760000000 is 20363\.4 days after .* 7 are allowed; give t in"):
        list(stream)


def test_times_before_zero_are_times() -> None:
    """Broken: a log that counts from an event would be cut at zero."""
    assert [second.second for second in read([-1.5, -0.5, 0.5])] == [-2, -1, 0]
