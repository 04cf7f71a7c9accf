"""What of a rollout outlives the controller."""

from __future__ import annotations

import zlib
from dataclasses import fields, replace

import msgspec
import numpy as np
import pytest

from analysis.summaries import ArmCounts, Cut, Moments, Repeats, SoFar
from proxy.control.evidence import dossier
from proxy.control.evidence.lending import Loan
from proxy.control.evidence.tally import ArmTally
from proxy.control.evidence.tracks import Track
from proxy.faults import Fault, Repeat, Retry, Skip
from proxy.ledger.layout import USER_SLOTS
from proxy.ledger.reader import Totals
from proxy.snapshot import TableRef

LOAN = Loan("r", "v1", "stable", 3, 5, (1 << 52) - 1, ("a", "b"), ("category", "number"), (TableRef(1, 9), TableRef()))


def counts() -> ArmCounts:
    draw = np.random.default_rng(3)
    return ArmCounts(
        1.0, 2.0, 3.0, 4.0, draw.random(1620), {"a": {"ü": 1.0}}, {"b": Moments(1.0, 2.0, 3.0)},
        {"b": draw.random(64)}, draw.random(64), draw.random(64), {"a": 1.0}, {"a": 2.0}, {"a": 3.0},
    )  # fmt: skip


def same(one: ArmCounts, other: ArmCounts) -> bool:
    return all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name))
        if isinstance(getattr(one, field.name), np.ndarray)
        else str(getattr(one, field.name)) == str(getattr(other, field.name))
        for field in fields(ArmCounts)
    )


def test_everything_comes_back() -> None:
    """A restart would change sums, rows, or how far slices were read."""
    track = Track(3, 0.2, True, True, (LOAN,), 77, 80, 2, {"stable": counts()}, 5.0, {"a": (3.0, 1.0)})
    track.repeated = {"a": Repeats(2.0, 1.0, 0.0, 1.0)}
    track.cuts = {78: Cut(SoFar(9.0, 0.0, 2.0), SoFar(3.0, 2.0, 0.0))}
    users = np.zeros(USER_SLOTS, dtype=np.bool_)
    users[[0, 17, USER_SLOTS - 1]] = True
    skips, faults = {Skip.BUSY: 1}, {Fault.STREAM_IDLE: 2}
    totals = Totals(9, 8, 7, 6, 5, {Retry.RESENT: 4}, skips, faults, {200: 3, 0: 1}, {Repeat.BUSY: 6})
    arm = ArmTally(totals, users, {"a": {("x", "y"): 2}})
    before = dossier.Dossier(
        boot=11,
        clock_offset_s=12,
        judge=b"judge",
        loans=(LOAN,),
        rows=(LOAN, LOAN),
        tracks=(dossier.keep_track(track),),
        past=(dossier.keep_arm("v1", "stable", arm),),
        compared=4.0,
        pairs={"a": (2.0, 1.0)},
        repeated={"a": Repeats(2.0, 0.0, 1.0, 0.0)},
    )
    after = dossier.decode(dossier.encode(before))
    assert after == before
    revived = dossier.revive_track(after.tracks[0])
    assert same(revived.sums["stable"], counts())
    for name in (
        "stage",
        "share",
        "judged",
        "sticky",
        "loans",
        "next_slice",
        "until",
        "skipped",
        "compared",
        "disagreed",
        "repeated",
        "cuts",
    ):
        assert getattr(revived, name) == getattr(track, name), name
    revived.sums["stable"].latency[0] += 1  # arrays of a revived track are its own
    assert isinstance(revived.repeated["a"], Repeats)
    past = dossier.revive_arm(after.past[0])
    assert (past.totals, past.confusion) == (totals, {"a": {("x", "y"): 2.0}})
    assert np.array_equal(past.users, users)


def test_what_was_in_flight_when_everything_ended_is_lost() -> None:
    """Else a swap after a crash waits for answers that nobody can give any more."""
    totals = Totals(9, 6, 2, 1, 0, {}, {}, {}, {}, retrying=1)
    kept = dossier.keep_arm("v1", "stable", replace(ArmTally.empty(), totals=totals))
    assert kept.totals.in_flight == 3
    past = dossier.revive_arm(kept).totals
    assert (past.in_flight, past.lost, past.failed_to_clients) == (0, 3, 2)


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"nonsense",
        zlib.compress(b"nonsense"),
        zlib.compress(msgspec.msgpack.encode({"boot": 1, "clock_offset_s": 1, "version": 99})),
    ],
)
def test_what_cannot_be_read_is_refused(blob: bytes) -> None:
    """A damaged blob, or one of another release, would be taken for evidence."""
    with pytest.raises(ValueError, match="kept evidence"):
        dossier.decode(blob)


def test_a_blob_from_before_repeats_is_read() -> None:
    """An update of the release would throw the evidence of every rollout away."""
    kept = msgspec.msgpack.decode(zlib.decompress(dossier.encode(dossier.Dossier(1, 2, past=(
        dossier.keep_arm("v1", "stable", ArmTally.empty()),
    )))))  # fmt: skip
    del kept["repeated"], kept["past"][0]["totals"]["repeats"]
    found = dossier.decode(zlib.compress(msgspec.msgpack.encode(kept)))
    assert (dict(found.repeated), found.past[0].totals.repeats) == ({}, {})


def test_a_track_of_an_earlier_release_is_read() -> None:
    """An upgrade in the middle of a rollout would lose its evidence, or compare with something else."""
    track = Track(3, 0.2, True, True, (LOAN,), 77)
    plain = msgspec.msgpack.decode(zlib.decompress(dossier.encode(dossier.Dossier(1, 2, None, (LOAN,), (LOAN,),
                                   (dossier.keep_track(track),)))))  # fmt: skip
    for key in ("control", "weight_ppm", "rival", "cuts"):
        del plain["tracks"][0][key]
    del plain["rivals"]
    del plain["truths"]["next_begins"]
    read = dossier.decode(zlib.compress(msgspec.msgpack.encode(plain)))
    again = dossier.revive_track(read.tracks[0])
    assert (again.control, again.weight_ppm, again.rival, again.roles) == ("stable", 200_000, "", track.roles)
