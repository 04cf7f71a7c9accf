"""Blocks of whole lines out of plain and packed bytes, however they arrive."""

from __future__ import annotations

import gzip
import io
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.simulation import stream
from proxy.simulation.records import RefusedError
from proxy.simulation.stream import blocks

TEXT = b"".join(b'{"t": %d}\n' % number for number in range(500))


class Slow(io.RawIOBase):
    """A pipe that gives some bytes at a time."""

    def __init__(self, data: bytes, step: int) -> None:
        self._data, self._step = io.BytesIO(data), step

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(self._step, size) if size >= 0 else self._step)


@given(st.integers(1, 3000), st.booleans(), st.booleans())
def test_any_chunking_gives_the_same_lines(step: int, packed: bool, ended: bool) -> None:
    """Broken: what a simulation says would depend on how a pipe is read."""
    text = TEXT if ended else TEXT.removesuffix(b"\n")
    found = list(blocks(Slow(gzip.compress(text) if packed else text, step)))  # type: ignore[arg-type]
    assert b"".join(lines for _, lines in found) == text
    at = 1
    for line, lines in found:
        assert line == at
        assert lines.endswith(b"\n") or lines is found[-1][1]
        at += lines.count(b"\n")


def test_several_packed_members_are_one_file() -> None:
    """Broken: logs that were rotated and joined would end after the first part."""
    packed = gzip.compress(TEXT[:90]) + gzip.compress(TEXT[90:])
    assert b"".join(lines for _, lines in blocks(io.BytesIO(packed))) == TEXT


def test_damage_is_told_where_it_is() -> None:
    """Broken: who has to mend a log is sent to its first line, and the records before the damage are not looked at."""
    random = Random(3)
    packed = gzip.compress(b"".join(b'{"t": %d}\n' % random.getrandbits(60) for _ in range(20_000)))
    with pytest.raises(RefusedError, match="ends in the middle") as refused:
        list(blocks(io.BytesIO(packed[: len(packed) // 2])))
    assert 9_000 < refused.value.line < 11_000


def test_a_mark_at_the_beginning_is_no_part_of_the_text() -> None:
    """Broken: files of Windows would be refused in their first line."""
    assert next(blocks(io.BytesIO(b"\xef\xbb\xbf" + TEXT)))[1] == TEXT


def test_nothing_is_no_block() -> None:
    """Broken: an empty file would be an empty record."""
    assert list(blocks(io.BytesIO(b""))) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gzip.compress(TEXT)[:-20], "the gzip data ends in the middle"),
        (gzip.compress(TEXT)[:10] + b"\xff" * 50, "the gzip data is damaged"),
        (b"\x1f\x8b", "the gzip data ends in the middle"),
    ],
    ids=["cut short", "overwritten", "no more than a beginning"],
)
def test_damaged_data_is_refused_with_its_reason(data: bytes, message: str) -> None:
    """Broken: half a file would be judged as if it were the whole."""
    with pytest.raises(RefusedError, match=message) as refused:
        list(blocks(io.BytesIO(data)))
    assert refused.value.line >= 1


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a file without line ends would be held in memory as a whole."""
    monkeypatch.setattr(stream, "MAX_LINE_BYTES", 1000)
    with pytest.raises(RefusedError, match="is longer than"):
        list(blocks(Slow(b"x" * 5000, 100)))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "first"),
    [("zip", b"PK\x03\x04"), ("zstd", b"\x28\xb5\x2f\xfd"), ("bzip2", b"BZh9"), ("xz", b"\xfd7zXZ\0")],
)
def test_what_is_packed_otherwise_is_named(name: str, first: bytes) -> None:
    """Broken: a packed log is told to be no JSON in its first line."""
    with pytest.raises(
        RefusedError, match=f"^the records are packed with {name}; unpack them, or pack them with gzip$"
    ):
        list(blocks(io.BytesIO(first + bytes(50))))
