"""What the admin API answers about the past, member by member: as `documents`, for what the store remembers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from proxy.admin.document import Count, Document, Moment
from proxy.admin.documents import Entry, Metric, Ramp, Ratio


class Verified(Document):
    """Whether the chain of the journal holds."""

    holds: bool
    entries: Count
    """How many were looked at."""
    first: Count
    last: Count
    head: str
    """The hash of the last entry: kept elsewhere, it shows later that nothing was rewritten."""
    broken: Count
    """The first entry that does not follow from the one before; 0 for none."""
    reason: str
    removed_through: Count
    """The last entry that retention took away, for which a checkpoint stands; 0 for none."""
    begun_anew: Count
    """The last entry that says that the store's file was removed, replaced or damaged and that entries before it are
    missing, of which nothing can be said; 0 for none."""


class Run(Document):
    """A rollout of which slices are recorded."""

    run: Count
    """The entry of the journal with which it began."""
    first_at: Moment
    last_at: Moment
    slices: Count
    bytes: Count
    entries: list[Entry]


class Recordings(Document):
    """The rollouts of a route of which slices are recorded, the oldest first."""

    runs: list[Run]


class RecordedRow(Document):
    """Slices of one stage."""

    id: Count
    stage: int
    weight_ppm: Count
    mirrored: bool
    first_at: Moment
    last_at: Moment
    slices: Count
    data: str
    """In base64; the form is Understudy's own, and may change with a release."""


class RecordedPage(Document):
    """Rows of a recording, in order."""

    rows: list[RecordedRow]
    next_after: Annotated[int, Field(ge=1)] | None
    """`after` of the next page; null on the last one."""


class OneVerdict(Document):
    """A verdict with all its numbers. Members that an earlier release did not keep are null."""

    abort: bool | None
    decided_by: str | None
    reason: str | None
    proven: bool | None
    inconclusive: bool | None
    missing: list[str] | None
    forecast_seconds: float | None
    abort_evidence: float | None
    abort_needed: float | None
    metrics: list[Metric] | None
    ratio: Ratio | None
    stage: int | None
    stage_stable: float | None
    stage_candidate: float | None
    stage_pairs: float | None
    stage_seconds: float | None
    slices: Count | None
    contest: str | None
    """How far a contest (`abTest`) is; empty without one."""
    winner: str | None
    """Of a contest: `candidate` or `none` (neither is better), empty as long as it is open."""
    ramp: Ramp | None


class NamedVerdict(OneVerdict):
    """That on one of several candidates."""

    name: str


class DecidedVerdict(OneVerdict):
    """The verdict of a rollout: of several candidates that on the one in front, and each by itself."""

    candidates: list[NamedVerdict] | None
    """Empty where there is one."""


class Differs(Document):
    """A number of a verdict that is another one now."""

    what: str
    kept: str
    derived: str


class Why(Document):
    """A decision: its verdict as it was kept, and as its evidence gives it now."""

    entry: Entry
    intact: bool
    """Whether verdict and evidence are those that the entry's hash covers."""
    verdict: DecidedVerdict | None
    derived: DecidedVerdict | None
    agrees: bool | None
    """Null where nothing can be derived; `note` says why."""
    differences: list[Differs]
    note: str
    """Also what decided beside the evidence: health checks, or an operator who took one candidate out."""
