"""The slices that a judge was given, kept small: what a rollout can be run again from, under another configuration.

A slice is mostly zeros. What is not is kept as (place, count), small numbers in one byte each, and a minute of slices
is compressed together. Nothing is rounded: a judge that is given them again says the same, bit for bit.

Each tick's slices are one row in the database at first, so that they are kept in one transaction with the evidence that
they made; a minute of rows is then put together into one. A row has slices of one stage only.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

import msgspec
import numpy as np

from analysis.summaries import (
    ArmCounts,
    ArmTruths,
    Cut,
    FloatArray,
    GroupCounts,
    Moments,
    PairCounts,
    Repeats,
    Slice,
    TruthCounts,
)
from proxy.snapshot import CIRCLE

TOGETHER: Final = 60
"""Slices of a row that was put together."""
MOST_PENDING: Final = 3600
"""Slices that wait for a store which is away, per route: an hour. Beyond, the oldest minute is lost to recordings
alone."""
_WHOLE: Final = float(1 << 53)
_LEVEL: Final = 6
_HEAD_BYTES: Final = 3
"""What stands before the slices of a row: that it is an array, and of how many."""

Sparse = tuple[int, list[int], list[int | float]]
"""Length, distances between the places that are not zero, what is there."""


class _Arm(msgspec.Struct, frozen=True, array_like=True):
    facts: list[int | float]
    latency: Sparse
    labels: dict[str, dict[str, int | float]]
    numbers: dict[str, list[int | float]]
    histograms: dict[str, Sparse]
    groups: tuple[Sparse, Sparse]
    wrong: tuple[dict[str, int | float], dict[str, int | float], dict[str, int | float]]


class _Pairs(msgspec.Struct, frozen=True, array_like=True):
    compared: int | float
    disagreed: dict[str, list[int | float]]
    ratio: Sparse
    repeated: dict[str, list[int | float]]


class _ArmTruths(msgspec.Struct, frozen=True, array_like=True):
    facts: list[int | float]
    loss: list[int | float]
    groups: tuple[Sparse, Sparse, Sparse]


class _Truths(msgspec.Struct, frozen=True, array_like=True):
    stage: int
    stable: _ArmTruths
    candidate: _ArmTruths


class _Groups(msgspec.Struct, frozen=True, array_like=True):
    rows: int
    latency: Sparse
    labels: dict[str, dict[str, Sparse]]
    numbers: dict[str, Sparse]


class _Slice(msgspec.Struct, frozen=True, array_like=True):
    stage: int
    read_s: float
    at_s: int | float
    duration_s: int | float
    share: float
    stable: _Arm
    candidate: _Arm
    pairs: _Pairs | None
    users: tuple[int, int] | None
    sticky: bool
    groups: tuple[_Groups, _Groups] | None
    truths: tuple[_Truths, ...] = ()
    rival: str = ""
    cut: Cut | None = None


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(list[_Slice])


@dataclass(frozen=True, slots=True)
class Row:
    """Slices of one stage, as they are kept. Times are those of the slices."""

    stage: int
    weight_ppm: int
    mirrored: bool
    first_s: float
    last_s: float
    count: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Recording:
    """What is to be kept now: new rows, and the ids of rows that they take the place of."""

    rows: tuple[Row, ...]
    replaced: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Looked:
    """A slice as it was read: `read_s` is the wall clock of the tick that read it."""

    slice: Slice
    read_s: float


@dataclass(frozen=True, slots=True)
class _Coded:
    stage: int
    weight_ppm: int
    mirrored: bool
    at_s: float
    data: bytes


class Recorder:
    """The slices of one rollout on their way into the store."""

    def __init__(self) -> None:
        self._new: list[_Coded] = []
        self._open: list[_Coded] = []
        self._open_ids: tuple[int, ...] = ()
        self._left: list[_Coded] = []
        self._left_ids: tuple[int, ...] = ()
        self._packed: dict[tuple[int, int], Row] = {}
        """Rows that no slice is added to any more, by their first slice and their length: made once."""
        self.lost = 0

    def add(self, slice_: Slice, read_s: float, weight_ppm: int | None = None) -> None:
        """Take a slice in that a judge was given, at this weight of the candidate; None: its share of the slice."""
        data = _ENCODER.encode(_coded(slice_, read_s))
        weight_ppm = round(slice_.share * CIRCLE) if weight_ppm is None else weight_ppm
        self._new.append(_Coded(slice_.stage, weight_ppm, slice_.pairs is not None, slice_.at_s, data))
        if len(self._new) > MOST_PENDING:
            del self._new[:TOGETHER]  # whole rows: those behind stay as they are
            self._packed.clear()  # the `id` of what is gone may be that of another one
            self.lost += TOGETHER

    def pending(self) -> Recording | None:
        """What is to be kept, None for nothing. `kept` says that it was."""
        if not self._new:
            return None
        chunks = list(_chunks([*self._open, *self._new]))
        closed = chunks[:-1] if len(chunks[-1]) < TOGETHER else chunks
        self._left = [] if closed is chunks else chunks[-1]
        self._left_ids = () if closed else self._open_ids
        rows = [self._row(chunk) for chunk in closed]
        fresh = self._left[len(self._open) :] if not closed else self._left
        rows += [_row(fresh)] if fresh else []
        return Recording(tuple(rows), self._open_ids if closed else ())

    def kept(self, ids: Sequence[int]) -> None:
        """The rows of what was pending are in the store, with these ids. Where nothing was, nothing has changed: the
        rows that are open yet keep their ids, by which they are replaced."""
        if not self._new:
            return
        self._open_ids = (*self._left_ids, *ids[-1:]) if self._left else ()
        self._open, self._new = self._left, []
        self._packed.clear()

    def begin_anew(self) -> None:
        """The store is another one: what is open has no row there, and is to be kept again."""
        self._new, self._open, self._open_ids = [*self._open, *self._new], [], ()
        self._packed.clear()

    def _row(self, coded: Sequence[_Coded]) -> Row:
        """A row of slices that wait, which live for as long as they are remembered here: their `id` names them."""
        place = id(coded[0]), len(coded)
        if place not in self._packed:
            self._packed[place] = _row(coded)
        return self._packed[place]


def decode(data: bytes) -> Iterator[Looked]:
    """The slices of a row.

    Raises:
        ValueError: they are damaged, or of another release.
    """
    try:
        found = _DECODER.decode(zlib.decompress(data))
    except (zlib.error, msgspec.DecodeError) as error:
        raise ValueError(f"recorded slices cannot be read: {error}") from error
    for kept in found:
        yield Looked(_revived(kept), kept.read_s)


def is_within(row: Row, later: Row) -> bool:
    """Whether all slices of a row are in one that was kept later, byte for byte."""
    if (row.stage, row.weight_ppm, row.mirrored) != (later.stage, later.weight_ppm, later.mirrored):
        return False
    if row.count > later.count or row.first_s < later.first_s or row.last_s > later.last_s:
        return False  # told without looking inside
    try:
        return zlib.decompress(row.data)[_HEAD_BYTES:] in zlib.decompress(later.data)[_HEAD_BYTES:]
    except zlib.error:
        return False  # whoever decodes it says so


def _chunks(coded: Sequence[_Coded]) -> Iterator[list[_Coded]]:
    for _, run in groupby(coded, key=lambda each: (each.stage, each.weight_ppm, each.mirrored)):
        of_stage = list(run)
        for start in range(0, len(of_stage), TOGETHER):
            yield of_stage[start : start + TOGETHER]


def _row(coded: Sequence[_Coded]) -> Row:
    first, last = coded[0], coded[-1]
    # An array of messages that are encoded already: its head, then they.
    head = b"\xdc" + len(coded).to_bytes(2, "big")
    data = zlib.compress(head + b"".join(each.data for each in coded), _LEVEL)
    return Row(first.stage, first.weight_ppm, first.mirrored, first.at_s, last.at_s, len(coded), data)


# --- there


def _coded(slice_: Slice, read_s: float) -> _Slice:
    pairs, groups = slice_.pairs, slice_.groups
    return _Slice(
        slice_.stage,
        read_s,
        _short(slice_.at_s),
        _short(slice_.duration_s),
        slice_.share,
        _arm(slice_.stable),
        _arm(slice_.candidate),
        None
        if pairs is None
        else _Pairs(_short(pairs.compared), _lists(pairs.disagreed), _sparse(pairs.ratio), _lists(pairs.repeated)),
        slice_.users,
        slice_.sticky,
        None if groups is None else (_grouped(groups[0]), _grouped(groups[1])),
        tuple(_Truths(each.stage, _told(each.stable), _told(each.candidate)) for each in slice_.truths),
        slice_.rival,
        slice_.cut,
    )


def _arm(arm: ArmCounts) -> _Arm:
    return _Arm(
        [_short(fact) for fact in (arm.assigned, arm.recorded, arm.answered, arm.failed)],
        _sparse(arm.latency),
        {output: _shorts(labels) for output, labels in arm.labels.items()},
        {output: [_short(m.n), _short(m.total), _short(m.squares)] for output, m in arm.numbers.items()},
        {output: _sparse(histogram) for output, histogram in arm.histograms.items()},
        (_sparse(arm.group_n), _sparse(arm.group_failed)),
        (_shorts(arm.missing), _shorts(arm.invalid), _shorts(arm.clipped)),
    )


def _told(arm: ArmTruths) -> _ArmTruths:
    loss = [_short(arm.loss.n), _short(arm.loss.total), _short(arm.loss.squares)]
    groups = (_sparse(arm.group_n), _sparse(arm.group_wrong), _sparse(arm.group_loss))
    return _ArmTruths([_short(arm.n), _short(arm.wrong)], loss, groups)


def _grouped(groups: GroupCounts) -> _Groups:
    return _Groups(
        len(groups.latency),
        _sparse(groups.latency),
        {
            output: {label: _sparse(counts) for label, counts in labels.items()}
            for output, labels in groups.labels.items()
        },
        {output: _sparse(numbers) for output, numbers in groups.numbers.items()},
    )


def _sparse(array: FloatArray) -> Sparse:
    flat = array.reshape(-1)
    places = np.flatnonzero(flat)
    return len(flat), np.diff(places, prepend=0).tolist(), [_short(value) for value in flat[places].tolist()]


def _short(value: float) -> int | float:
    """Whole numbers as such: small ones take one byte."""
    whole = abs(value) < _WHOLE and value == int(value)
    return int(value) if whole else float(value)


def _shorts(values: Mapping[str, float]) -> dict[str, int | float]:
    return {key: _short(value) for key, value in values.items()}


def _lists(values: Mapping[str, tuple[float, ...]]) -> dict[str, list[int | float]]:
    return {key: [_short(each) for each in counts] for key, counts in values.items()}


# --- and back


def _revived(kept: _Slice) -> Slice:
    pairs, groups = kept.pairs, kept.groups
    return Slice(
        stage=kept.stage,
        at_s=kept.at_s,
        duration_s=float(kept.duration_s),
        share=kept.share,
        stable=_arm_of(kept.stable),
        candidate=_arm_of(kept.candidate),
        pairs=None
        if pairs is None
        else PairCounts(
            float(pairs.compared),
            _pairs(pairs.disagreed),
            _array(pairs.ratio),
            _repeats(pairs.repeated),
        ),
        users=kept.users,
        sticky=kept.sticky,
        groups=None if groups is None else (_groups_of(groups[0]), _groups_of(groups[1])),
        truths=tuple(TruthCounts(each.stage, _told_of(each.stable), _told_of(each.candidate)) for each in kept.truths),
        rival=kept.rival,
        cut=kept.cut,
    )


def _arm_of(kept: _Arm) -> ArmCounts:
    assigned, recorded, answered, failed = map(float, kept.facts)
    return ArmCounts(
        assigned,
        recorded,
        answered,
        failed,
        _array(kept.latency),
        {output: _floats(labels) for output, labels in kept.labels.items()},
        {output: Moments(*map(float, moments)) for output, moments in kept.numbers.items()},
        {output: _array(histogram) for output, histogram in kept.histograms.items()},
        _array(kept.groups[0]),
        _array(kept.groups[1]),
        *map(_floats, kept.wrong),
    )


def _told_of(kept: _ArmTruths) -> ArmTruths:
    n, wrong = map(float, kept.facts)
    group_n, group_wrong, group_loss = map(_array, kept.groups)
    return ArmTruths(n, wrong, Moments(*map(float, kept.loss)), group_n, group_wrong, group_loss.reshape(2, -1))


def _groups_of(kept: _Groups) -> GroupCounts:
    labels = {
        output: {label: _array(counts) for label, counts in by_label.items()}
        for output, by_label in kept.labels.items()
    }
    numbers = {output: _array(counts).reshape(2, -1) for output, counts in kept.numbers.items()}
    return GroupCounts(_array(kept.latency).reshape(kept.rows, -1), labels, numbers)


def _array(sparse: Sparse) -> FloatArray:
    length, distances, values = sparse
    array = np.zeros(length)
    array[np.cumsum(distances, dtype=np.int64)] = values
    return array


def _floats(values: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in values.items()}


def _pairs(values: Mapping[str, Iterable[Any]]) -> dict[str, tuple[float, float]]:
    return {key: (float(n), float(x)) for key, (n, x) in values.items()}


def _repeats(values: Mapping[str, Iterable[Any]]) -> dict[str, Repeats]:
    return {key: Repeats(*map(float, counts)) for key, counts in values.items()}
