"""The memory of answers that were heard of: exact, bounded, and kept as it changes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.control.storage import seen as seen_module
from proxy.control.storage.seen import CHUNK_BYTES, FORGET_EVERY_S, Changes, Seen

BITS = 8 * CHUNK_BYTES
ANSWER = st.tuples(st.sampled_from((1, 7)), st.integers(0, 3 * BITS), st.integers(100, 110))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(ANSWER, max_size=60), st.integers(0, 60))
def test_it_says_what_a_set_would(answers: list[tuple[int, int, int]], crash: int) -> None:
    """Broken: a truth counts twice, or one that was never told is called a duplicate; also after a restart."""
    known: set[tuple[int, int]] = set()
    memory, kept = Seen(), {}
    for number, (run, serial, second) in enumerate(answers):
        assert memory.add(run, serial, second) == ((run, serial) not in known)
        known.add((run, serial))
        if number == crash:
            changes = memory.changes()
            kept.update({(one.run, one.number): one for one in changes.chunks})
            memory = Seen(kept.values(), changes.floor)


def test_what_is_kept_is_what_changed() -> None:
    """Broken: each tick writes all of the memory, or loses what was noted while the store was busy."""
    memory = Seen()
    memory.add(1, 5, 100)
    memory.add(1, BITS + 5, 101)
    first = memory.changes()
    assert (first.anew, len(first.chunks)) == (True, 2)
    memory.add(1, 6, 102)
    memory.kept(first)
    second = memory.changes()
    assert (second.anew, [(one.number, one.second) for one in second.chunks]) == (False, [(0, 102)])
    memory.kept(second)
    assert memory.changes() == Changes(False, 0, ())


def test_the_old_is_forgotten() -> None:
    """Broken: memory grows for as long as a rollout takes."""
    memory = Seen()
    memory.add(1, 1, 1000)
    memory.add(1, BITS, 2000)
    memory.forget(FORGET_EVERY_S - 1)
    assert (len(memory), memory.floor) == (2, 0)
    memory.forget(1500)
    assert (len(memory), memory.floor) == (1, 1500)
    assert [one.number for one in memory.changes().chunks] == [1]
    memory.forget(1400)
    assert memory.floor == 1500


def test_a_clock_that_was_ahead_for_a_moment_costs_nothing_that_comes_later() -> None:
    """Broken: after a jump of the clock by a year all truths are too late for a year, though they are told in time."""
    memory = Seen()
    memory.add(1, 1, 1000)
    memory.forget(1000 + 31_536_000)
    assert (len(memory), memory.floor) == (0, 1001), "what is forgotten must not count again, and nothing else"
    memory.forget(1000 + 31_536_000)
    assert memory.add(1, 2, 1002)
    memory.forget(940)
    assert (len(memory), memory.floor) == (1, 1001)


def test_beyond_the_bound_the_oldest_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: memory has no bound; or what was forgotten may count again."""
    monkeypatch.setattr(seen_module, "MOST_CHUNKS", 32)
    memory = Seen()
    for number in range(200):
        second = 1000 + number
        if second > memory.floor:
            memory.add(1, number * BITS, second)
        assert len(memory) <= 32
    assert memory.floor >= 1000 + 200 - 33
    assert all(one.second >= memory.floor for one in memory.changes().chunks)
    assert memory.add(1, 199 * BITS, 1199) is False
