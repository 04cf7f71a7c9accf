"""Truths of a rollout: whose they are, why some do not count, and how slices take them."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.answer_id import AnswerId
from proxy.control.evidence.lending import Loan
from proxy.control.evidence.truths import SPANS, Heard, KeptTruths, Refusal, Told, Truths

NOW_S = 1_000_000.0
WINDOW_S = 3600.0
RIGHT, WRONG = Told(wrong=False), Told(wrong=True)
LOANS = [
    Loan("r", "v1", "stable", 1, 0, 11), Loan("r", "v2", "canary", 1, 1, 12), Loan("r", "v2", "shadow", 1, 2, 13),
    Loan("r", "v1", "stable", 2, 3, 21), Loan("r", "v2", "canary", 2, 4, 22), Loan("r", "v2", "canary", 3, -1, 0),
]  # fmt: skip


def truths() -> Truths:
    known = Truths()
    known.know(LOANS)
    return known


class Teller:
    """Tells truths about answers of some age, each about another answer."""

    def __init__(self, known: Truths, span_s: float = 30.0) -> None:
        self.known, self.span_s, self.serial = known, span_s, 0

    def tell(self, tenant: int, told: Told = RIGHT, age_s: float = 0.0, group: int = -1) -> Refusal | None:
        self.serial += 1
        answer = AnswerId(tenant, int(NOW_S - age_s), group, 1, self.serial)
        return self.known.tell(answer, told, NOW_S, WINDOW_S, self.span_s)


def test_truths_go_to_the_stage_and_the_version_of_their_answer() -> None:
    """Broken: counts of two stages are pooled, or arms are swapped."""
    teller = Teller(truths())
    for tenant, told in ((11, WRONG), (12, RIGHT), (12, WRONG), (21, RIGHT), (22, WRONG), (22, WRONG)):
        assert teller.tell(tenant, told) is None
    taken = teller.known.take(2)
    assert [(one.stage, one.stable.n, one.stable.wrong, one.candidate.n, one.candidate.wrong) for one in taken] == [
        (1, 1.0, 1.0, 2.0, 1.0),
        (2, 1.0, 0.0, 2.0, 2.0),
    ]
    assert teller.known.take(2) == ()
    assert teller.known.sums["v2", "canary"].n == 4


@pytest.mark.parametrize("tenant", [0, 13, 99])
def test_answers_of_nobody_here_are_stale(tenant: int) -> None:
    """Broken: truths of an earlier attempt, of a copy, or of an arm without a row are evidence."""
    assert Teller(truths()).tell(tenant) is Refusal.STALE


def test_a_truth_counts_once_and_in_time() -> None:
    """Broken: one answer is many; or the memory of what counted must reach back for ever."""
    known = truths()
    answer = AnswerId(11, int(NOW_S), -1, 5, 6)
    assert known.tell(answer, RIGHT, NOW_S, WINDOW_S, 30.0) is None
    assert known.tell(answer, WRONG, NOW_S, WINDOW_S, 30.0) is Refusal.DUPLICATE
    teller = Teller(known)
    assert teller.tell(11, age_s=WINDOW_S + 1) is Refusal.LATE
    assert teller.tell(11, age_s=WINDOW_S - 1) is None
    known.seen.forget(int(NOW_S - 60))
    assert teller.tell(11, age_s=120) is Refusal.LATE, "what is forgotten could be a duplicate"
    assert known.sums["v1", "stable"].n == 2


def test_truths_of_later_stages_wait_for_their_slices() -> None:
    """Broken: a stage is judged before its turn, or its truths are lost."""
    teller = Teller(truths())
    teller.tell(22)
    assert teller.known.take(1) == ()
    teller.tell(11)
    assert [one.stage for one in teller.known.take(1)] == [1]
    assert teller.known.waiting == 1
    assert [one.stage for one in teller.known.take(2)] == [2]


def test_a_night_at_once_is_many_blocks() -> None:
    """Broken: what is told at once is one block of evidence, which counts 4 : 1 at most, and proves nothing."""
    teller = Teller(truths())
    for age_s in range(0, 3600, 5):
        assert teller.tell(11 if age_s % 2 else 12, age_s=age_s) is None
    taken = []
    while found := teller.known.take(1):
        taken.append(found[0].stable.n + found[0].candidate.n)
    assert sum(taken) == 720
    assert 120 <= len(taken) <= 121
    assert max(taken) == 6


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from((11, 12, 21, 22)), st.integers(0, int(WINDOW_S))), max_size=80),
       st.floats(1.0, 86_400.0))  # fmt: skip
def test_all_that_was_told_is_taken_within_so_many_slices(told: list[tuple[int, int]], span_s: float) -> None:
    """Broken: some truths are never judged, or judged twice."""
    teller = Teller(truths(), span_s)
    for tenant, age_s in told:
        assert teller.tell(tenant, age_s=age_s) is None
    found = [one for _ in range(SPANS + 2) for one in teller.known.take(2)]
    assert sum(one.stable.n + one.candidate.n for one in found) == len(told)
    assert teller.known.waiting == 0


def test_new_truths_do_not_keep_old_ones_waiting() -> None:
    """Broken: as long as fresh truths come in, those of an hour ago are never judged."""
    teller = Teller(truths())
    for age_s in range(300, 3600, 30):
        teller.tell(11, age_s=age_s)
    for _ in range(200):
        teller.tell(12)
        teller.known.take(1)
    assert teller.known.waiting == 0


def test_sums_of_losses_and_groups() -> None:
    """Broken: what users are worth, or the mean of a loss, is of other truths."""
    teller = Teller(truths())
    teller.tell(11, Told(True, 0.5), group=3)
    teller.tell(11, Told(None, 0.25), group=3)
    teller.tell(11, Told(False), group=63)
    (found,) = teller.known.take(1)
    stable = found.stable
    assert (stable.n, stable.wrong, stable.loss.n, stable.loss.total, stable.loss.squares) == (2, 1, 2, 0.75, 0.3125)
    assert [(int(g), stable.group_n[g], stable.group_wrong[g]) for g in np.flatnonzero(stable.group_n)] == [
        (3, 1, 1), (63, 1, 0)
    ]  # fmt: skip
    assert (stable.group_loss[0, 3], stable.group_loss[1, 3]) == (2.0, 0.75)
    assert not found.candidate.group_n.any()


def test_where_nobody_judges_nothing_waits() -> None:
    """Broken: a route without a rollout gathers truths that no slice will ever take."""
    teller = Teller(truths(), span_s=0.0)
    assert teller.tell(11) is None
    assert teller.known.waiting == 0
    assert teller.known.sums["v1", "stable"] == Heard(n=1.0)


def test_everything_comes_back() -> None:
    """Broken: a restart loses truths that wait, or whose answers they are."""
    teller = Teller(truths())
    for tenant, age_s in ((11, 0), (12, 90), (22, 1800), (21, 1800)):
        teller.tell(tenant, Told(True, 0.1), age_s, group=1)
    teller.known.take(1)
    before = teller.known.dump()
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(before), type=KeptTruths)
    again = Truths.load(kept, teller.known.seen.changes().chunks)
    assert again.dump() == before
    assert again.places == teller.known.places
    teller.known = again
    teller.serial = 0
    assert teller.tell(11) is Refusal.DUPLICATE
    while found := teller.known.take(2):
        assert sum(one.stable.n + one.candidate.n for one in found) >= 1
    assert again.waiting == 0


def test_each_of_several_candidates_is_told_all_of_the_control_and_its_own() -> None:
    """Broken: the truths of stable go to whoever asks first, or those of one candidate to another."""
    rivals = [Loan("r", name, role, 1, n, 30 + n) for n, (name, role) in enumerate(
        (("v1", "stable"), ("v2", "canary"), ("v3", "canary"), ("v1-fresh", "baseline")))]  # fmt: skip
    known = Truths()
    known.know(rivals, ("v2", "v3"))
    teller = Teller(known)
    for tenant, told in ((30, WRONG), (31, RIGHT), (32, WRONG), (32, WRONG), (33, RIGHT)):
        assert teller.tell(tenant, told) is None
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(known.dump()), type=KeptTruths)
    again = Truths.load(kept, known.seen.changes().chunks)
    for truths_ in (known, again):
        (second,) = truths_.take(1, "stable", "v2")
        (third,) = truths_.take(1, "baseline", "v3")
        assert [second.stable.n, second.stable.wrong, second.candidate.n, second.candidate.wrong] == [1, 1, 1, 0]
        assert [third.stable.n, third.stable.wrong, third.candidate.n, third.candidate.wrong] == [1, 0, 2, 2]
        assert truths_.take(1, "stable", "v2") == ()
    known.know(rivals, ("v3",))
    teller.tell(31)
    assert (known.take(1, "stable", "v2"), known.sums["v2", "canary"].n) == ((), 2)
