"""The names of answers: what they say, and that nobody else can write one."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.answer_id import CHARACTERS, KEY_BYTES, Stamp, read

KEY = bytes(range(KEY_BYTES))
OTHER = bytes(KEY_BYTES)


def named(stamp: Stamp, tenant: int = 7, arrived_s: float = 100.7, group: int = 3) -> str:
    name, _, value = stamp.line(tenant, arrived_s, group).partition(b": ")
    assert name == b"x-understudy-id"
    assert value.endswith(b"\r\n")
    return value[:-2].decode("ascii")


@given(st.integers(1, (1 << 52) - 1), st.integers(0, (1 << 32) - 2), st.integers(-1, 63))
def test_what_is_written_is_read(tenant: int, second: int, group: int) -> None:
    """Broken: a truth counts for another version, another user or another time."""
    text = named(Stamp(KEY, ahead_s=0.5), tenant, float(second), group)
    assert len(text) == CHARACTERS
    found = read(text, KEY)
    assert found is not None
    assert (found.tenant, found.second, found.group, found.serial) == (tenant, second, group, 1)


def test_time_is_that_of_the_wall() -> None:
    """Broken: a restart of the machine, which sets the monotonic clock back, makes all answers too old."""
    found = read(named(Stamp(KEY, ahead_s=1_800_000_000.0), arrived_s=12.9), KEY)
    assert found is not None
    assert found.second == 1_800_000_012


def test_no_two_answers_have_one_name() -> None:
    """Broken: the truth about one answer is a duplicate of that about another."""
    one, other = Stamp(KEY), Stamp(KEY)
    names = [named(stamp) for stamp in (one, other) for _ in range(500)]
    assert len(set(names)) == 1000
    found = [read(name, KEY) for name in names]
    assert [each.serial for each in found if each is not None] == [*range(1, 501)] * 2
    assert len({each.run for each in found if each is not None}) == 2


def test_a_worker_that_has_counted_to_the_end_begins_again() -> None:
    """Broken: after four billion answers the numbers overflow, and answers fail."""
    stamp = Stamp(KEY)
    stamp._serial = (1 << 32) - 2
    last, first = read(named(stamp), KEY), read(named(stamp), KEY)
    assert last is not None
    assert first is not None
    assert (last.serial, first.serial) == ((1 << 32) - 1, 1)
    assert last.run != first.run


def test_every_byte_is_sealed() -> None:
    """Broken: whoever has one name can write others, and move a rollout as they like."""
    raw = base64.urlsafe_b64decode(named(Stamp(KEY)))
    for place in range(len(raw)):
        forged = bytearray(raw)
        forged[place] ^= 1
        assert read(base64.urlsafe_b64encode(bytes(forged)).decode(), KEY) is None, place
    assert read(named(Stamp(OTHER)), KEY) is None


@pytest.mark.parametrize("text", ["", "x", "é" * CHARACTERS, "=" * CHARACTERS, "!" * CHARACTERS, "A" * CHARACTERS,
                                  "A" * 1000, " " * CHARACTERS])  # fmt: skip
def test_what_is_no_name_is_refused(text: str) -> None:
    """Broken: nonsense from outside ends in an exception, or in evidence."""
    assert read(text, KEY) is None
