"""What of a rollout outlives the controller, beside its state: evidence, rows, tracks and sums, as one blob.

Rows and tracks are worth something only in the memory that they point into: `boot` names it. In another one (the
supervisor was started anew) the evidence goes on with new rows from now on, and the slices' clock is set so that it
never goes back.
"""

from __future__ import annotations

import zlib
from typing import Final

import msgspec
import numpy as np

from analysis.summaries import ArmCounts, Cut, FloatArray, Moments, Repeats
from proxy.control.evidence.lending import Loan
from proxy.control.evidence.tally import ArmTally
from proxy.control.evidence.tracks import Track
from proxy.control.evidence.truths import KeptTruths
from proxy.ledger.layout import USER_SLOTS
from proxy.ledger.reader import Totals
from proxy.snapshot import CIRCLE

VERSION: Final = 1
_LEVEL: Final = 1
"""Counts are mostly zeros: the quickest level makes 60 KB to 3 KB within a millisecond."""


class KeptCounts(msgspec.Struct, frozen=True):
    """An arm's sums of one track; arrays as bytes."""

    facts: tuple[float, float, float, float]
    latency: bytes
    labels: dict[str, dict[str, float]]
    numbers: dict[str, tuple[float, float, float]]
    histograms: dict[str, bytes]
    groups: tuple[bytes, bytes]
    wrong: tuple[dict[str, float], dict[str, float], dict[str, float]]


class KeptTrack(msgspec.Struct, frozen=True):
    """A track with what it has read."""

    stage: int
    share: float
    judged: bool
    sticky: bool
    loans: tuple[Loan, ...]
    next_slice: int
    until: int | None
    skipped: int
    sums: dict[str, KeptCounts]
    compared: float
    disagreed: dict[str, tuple[float, float]]
    repeated: dict[str, Repeats] = {}
    control: str = "stable"
    weight_ppm: int = -1
    """-1 in what earlier releases kept: there it is the share."""
    rival: str = ""
    cuts: dict[int, Cut] = {}


class KeptArm(msgspec.Struct, frozen=True):
    """What an arm did."""

    backend: str
    role: str
    totals: Totals
    users: bytes
    confusion: dict[str, list[tuple[str, str, float]]]


class KeptPairs(msgspec.Struct, frozen=True):
    """What ended tracks of one candidate compared, by output."""

    compared: float
    disagreed: dict[str, tuple[float, float]]
    repeated: dict[str, Repeats]


class Dossier(msgspec.Struct, frozen=True):
    """All of it. `judge` is the judge's own dump, `pairs` and `repeated` are by output what ended tracks compared,
    where there is one candidate, `rivals` where there are several.

    `past` is what arms did in rows that were given back, `sums` what they did altogether: with the memory of the rows
    gone, it is the past. `of` says of which rollout it is, `read_s` when a tick has read it last, by the clock of
    states, and `ahead_s` what that is ahead of the ledger's; an earlier release kept none of the three.
    """

    boot: int
    clock_offset_s: int
    judge: bytes | None = None
    loans: tuple[Loan, ...] = ()
    rows: tuple[Loan, ...] = ()
    tracks: tuple[KeptTrack, ...] = ()
    past: tuple[KeptArm, ...] = ()
    sums: tuple[KeptArm, ...] = ()
    compared: float = 0.0
    pairs: dict[str, tuple[float, float]] = {}
    truths: KeptTruths = KeptTruths()
    repeated: dict[str, Repeats] = {}
    of: str = ""
    rivals: dict[str, KeptPairs] = {}
    read_s: float = 0.0
    ahead_s: float = 0.0
    version: int = VERSION


_DECODER: Final = msgspec.msgpack.Decoder(Dossier)


def encode(dossier: Dossier) -> bytes:
    """The dossier as the blob that the store keeps."""
    return zlib.compress(msgspec.msgpack.encode(dossier), _LEVEL)


def decode(blob: bytes) -> Dossier:
    """The dossier of a blob.

    Raises:
        ValueError: it is damaged, or of another release.
    """
    try:
        dossier = _DECODER.decode(zlib.decompress(blob))
    except (zlib.error, msgspec.DecodeError) as error:
        raise ValueError(f"kept evidence cannot be read: {error}") from error
    if dossier.version != VERSION:
        raise ValueError(f"kept evidence is of version {dossier.version}; this release reads {VERSION}")
    return dossier


def keep_track(track: Track) -> KeptTrack:
    """A track as it is kept."""
    return KeptTrack(
        track.stage, track.share, track.judged, track.sticky, track.loans, track.next_slice, track.until,
        track.skipped, {role: _keep_counts(counts) for role, counts in track.sums.items()}, track.compared,
        track.disagreed, track.repeated, track.control, track.weight_ppm, track.rival, track.cuts,
    )  # fmt: skip


def revive_track(kept: KeptTrack) -> Track:
    """A track as it was."""
    return Track(
        kept.stage, kept.share, kept.judged, kept.sticky, kept.loans, kept.next_slice, kept.until, kept.skipped,
        {role: _revive_counts(counts) for role, counts in kept.sums.items()}, kept.compared, dict(kept.disagreed),
        dict(kept.repeated), kept.control, kept.weight_ppm if kept.weight_ppm >= 0 else round(kept.share * CIRCLE),
        kept.rival, dict(kept.cuts),
    )  # fmt: skip


def keep_arm(backend: str, role: str, tally: ArmTally) -> KeptArm:
    """An arm's past as it is kept."""
    confusion = {
        output: [(stable, shadow, float(count)) for (stable, shadow), count in pairs.items()]
        for output, pairs in tally.confusion.items()
    }
    return KeptArm(backend, role, tally.totals, np.packbits(tally.users).tobytes(), confusion)


def revive_arm(kept: KeptArm) -> ArmTally:
    """An arm's past as it was. Nobody writes of it any more: what was in flight then is lost."""
    slots = np.unpackbits(np.frombuffer(kept.users, dtype=np.uint8), count=USER_SLOTS).astype(np.bool_)
    confusion = {
        output: {(stable, shadow): count for stable, shadow, count in pairs} for output, pairs in kept.confusion.items()
    }
    return ArmTally(kept.totals.over, slots, confusion)


def _keep_counts(counts: ArmCounts) -> KeptCounts:
    return KeptCounts(
        (counts.assigned, counts.recorded, counts.answered, counts.failed),
        counts.latency.tobytes(),
        {output: dict(labels) for output, labels in counts.labels.items()},
        {output: (moments.n, moments.total, moments.squares) for output, moments in counts.numbers.items()},
        {output: histogram.tobytes() for output, histogram in counts.histograms.items()},
        (counts.group_n.tobytes(), counts.group_failed.tobytes()),
        (dict(counts.missing), dict(counts.invalid), dict(counts.clipped)),
    )


def _revive_counts(kept: KeptCounts) -> ArmCounts:
    return ArmCounts(
        *kept.facts,
        _array(kept.latency),
        kept.labels,
        {output: Moments(*moments) for output, moments in kept.numbers.items()},
        {output: _array(histogram) for output, histogram in kept.histograms.items()},
        _array(kept.groups[0]),
        _array(kept.groups[1]),
        *kept.wrong,
    )


def _array(data: bytes) -> FloatArray:
    return np.frombuffer(data).copy()
