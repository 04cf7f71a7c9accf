"""Quick looks between the ticks: has the candidate had an outage by now?

A tick sees a second once it is over, and half a dozen clients have met the outage by then. A glance reads how many
requests have come and failed until this moment, in the slices that no tick has read yet, and asks the breaker alone.

    would begin an alarm   the moment is noted: what comes after it in this slice is bet on, which else begins with the
                           next slice. The note is kept with the slice, so that whoever is given it says the same.
    trips                  those slices are cut short, where they stand, and the judge is given them as it is given any
                           others, so that what decides is what is kept, recorded and derived again by `why`.
    else                   nothing is changed.

A controller that dies before the slice has closed forgets the note: the alarm begins later then, and nothing is counted
twice.

What is in flight counts as well for the candidate and as failed for stable, and of slices that are not complete only
the first is looked at, since the bets on the next depend on how it ends. So a glance never finds more than the slices
themselves would say if they ended there (`analysis.breaker` has the proof), and of models that take long it finds less:
with many requests of stable in flight, what a tick finds comes first.

Only where clients meet the candidate there is something to be saved: not while it has copies alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from analysis.contest import Bench
from analysis.summaries import ArmCounts, Cut, Slice, SoFar
from proxy.control.evidence.isolation import alone
from proxy.control.evidence.lending import Loan, find
from proxy.control.evidence.subject import Subject
from proxy.control.evidence.tracks import GRID, Track, is_closed
from proxy.ledger.reader import Reader

GLANCES: Final = 10
"""Glances a second, ticks among them. An outage is met by half of what comes between two of them, twice: before the
alarm, and before the end. With 5, one of 2,000 outages at 2.5 requests/s costs more than its budget of 12."""
_NOTHING: Final = ArmCounts.empty(GRID)


def is_worth_it(subject: Subject) -> bool:
    """Whether clients meet a candidate whose outage would be found."""
    state = subject.state
    return subject.active and state is not None and state.weight_ppm > 0 and subject.question.breaker_above is not None


def trips(subject: Subject, reader: Reader, now_s: float, wall_s: float) -> bool:
    """Whether the breaker trips on what is there now; its judge has been shown it then. Of several candidates each is
    looked at. Times as `Subject.read`. A route whose glance goes wrong has not tripped; its ticks go on."""
    judge = subject.collected.judge
    if judge is None or judge.tripped or not is_worth_it(subject):
        return False
    tripped: list[bool] = []
    with alone(subject):
        tripped = [_trips(subject, judge, track, reader, now_s, wall_s) for track in _tracks(subject)]
    return any(tripped)


def _trips(subject: Subject, judge: Bench, track: Track, reader: Reader, now_s: float, wall_s: float) -> bool:
    found, now = _glimpses(reader, track, now_s)
    breaker = judge.watching(track.rival)
    if breaker is None or not any(each.candidate.failed for each in found):
        return False
    last = track.next_slice + len(found) - 1
    if not breaker.trips(found):
        if last not in track.cuts and breaker.alarms(found):
            track.cuts[last] = now
        return False
    cut = list(track.cut_short(reader, range(track.next_slice, last + 1), subject.clock_offset_s))
    if not breaker.trips(cut):
        return False  # more has come meanwhile, and it speaks for the candidate
    track.skip_to(last + 1, cut)
    for slice_ in cut:
        subject.observe(slice_, wall_s)
    return True


def _tracks(subject: Subject) -> list[Track]:
    """The track of each candidate that is judged next, if it goes on and clients meet the candidate in it.

    A candidate with all of the traffic is held against what stable was before. Where copies are made for stable, it is
    not looked at between the ticks: a copy ends later than what it is a copy of."""
    first: dict[str, Track] = {}
    for track in subject.tracks:
        if track.judged and not track.done:
            first.setdefault(track.rival, track)
    going = (track for track in first.values() if track.until is None and track.share > 0)
    return [track for track in going if track.share < 1 or find(track.loans, "shadow") is None]


def _glimpses(reader: Reader, track: Track, now_s: float) -> tuple[list[Slice], Cut]:
    """The slices that are not read yet, of which only the last may go on, with nothing but their requests; and what the
    last has of them."""
    stable, candidate = (find(track.loans, role) for role in track.roles)
    found: list[Slice] = []
    ours = theirs = SoFar(0.0, 0.0, 0.0)
    for number in range(track.next_slice, int(now_s) + 1):
        closed = is_closed(reader, track.loans, number, now_s)
        ours, theirs = _sum(reader, candidate, number), _sum(reader, stable, number)
        arms = (
            replace(_NOTHING, answered=theirs.met, failed=theirs.failed + theirs.in_flight),
            replace(_NOTHING, answered=ours.met, failed=ours.failed),
        )
        found.append(
            Slice(track.stage, number, 1.0, track.share, *arms, None, None, track.sticky, rival=track.rival,
                  cut=track.cuts.get(number))
        )  # fmt: skip
        if not closed or ours.in_flight or theirs.in_flight:
            break
    return found, Cut(theirs, ours)


def _sum(reader: Reader, loan: Loan | None, number: int) -> SoFar:
    """Over all workers."""
    if loan is None or loan.index < 0:
        return SoFar(0.0, 0.0, 0.0)
    found = [reader.counted(worker, loan.index, loan.tenant, number) for worker in reader.workers()]
    return SoFar(*(sum(column) for column in zip(*found, strict=True)))
