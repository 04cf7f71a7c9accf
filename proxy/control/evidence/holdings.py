"""Which rows and tracks a route has at present, and what becomes of them when its stage changes.

A value: a new stage makes new holdings, and the old ones are there to go back to if they cannot be kept in the
store. What is judged together (stable or its baseline, canary, the candidate's copies) is one track, of several
candidates one for each; everything else that gets traffic is a track of its own, so that a slow version which nobody
judges holds up no evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from config import schema
from config.routes import predictions
from proxy import snapshot
from proxy.control.evidence.lending import Lending, Loan
from proxy.control.evidence.tracks import Track
from proxy.control.machine.rollout import TERMINAL, State
from proxy.control.routing import cohorts
from proxy.control.routing.compile import Layout
from proxy.snapshot import CIRCLE, TableRef

Arm = tuple[str, str]
"""(backend, role)."""


@dataclass(frozen=True, slots=True)
class Holdings:
    """`loans` are in use; `rows` are all of this rollout that can still count, those at rest too."""

    loans: Mapping[Arm, Loan] = field(default_factory=dict)
    rows: tuple[Loan, ...] = ()
    tracks: tuple[Track, ...] = ()

    def returned(self, later: Holdings) -> list[Loan]:
        """What is no longer in use in later holdings."""
        return [loan for loan in self.loans.values() if loan not in later.loans.values()]


def output_kinds(route: schema.Route) -> dict[str, str]:
    """What a route's predictions are counted as, by name, in their order."""
    return {output.name: counted_as(output) for output in route.predictions.outputs} if route.predictions else {}


def counted_as(output: predictions.Output | snapshot.Output) -> str:
    """`number`, `category`, or a category with what is done to its labels (`category:hash`): what is written in another
    way is another count."""
    return output.kind if output.privacy == "keep" else f"{output.kind}:{output.privacy}"


def is_judged(state: State | None) -> bool:
    """Whether what happens in the state is evidence. What stable does alone is none yet, but is what an outage that
    begins with the take-over is held against."""
    return state is not None and state.phase not in TERMINAL


def of_rollout(state: State | None) -> frozenset[str]:
    """The versions that a rollout has to do with."""
    if state is None:
        return frozenset()
    runners = {runner.name for runner in state.race}
    return frozenset({state.stable, state.candidate, state.baseline, *runners} - {""})


def settle(
    route: schema.Route, layout: Layout, state: State | None, before: Holdings, lending: Lending, slice_: int
) -> Holdings:
    """The holdings for a layout from a slice on: what fits stays, the rest is lent anew."""
    kinds = output_kinds(route)
    versions = of_rollout(state)
    loans: dict[Arm, Loan] = {}
    for backend, role in layout.counted:
        stage = state.stage if state is not None and backend in versions else 0
        old = before.loans.get((backend, role))
        fits = old is not None and old.stage == stage and dict(zip(old.outputs, old.kinds, strict=True)) == kinds
        loans[backend, role] = old if fits and old else lending.lend(route.name, backend, role, stage, kinds)
    new = tuple(loan for loan in loans.values() if loan not in before.loans.values())
    return Holdings(loans, before.rows + new, _tracks(route, state, loans, before.tracks, slice_))


def cut(tracks: tuple[Track, ...], present: Mapping[Arm, Loan], slice_: int) -> None:
    """Close the tracks of a stage that is over: no worker has sent it anything since this slice."""
    for track in tracks:
        if track.until is None and not set(track.loans) <= set(present.values()):
            track.until = slice_


def tables(loans: Iterable[Loan]) -> dict[tuple[str, str], TableRef]:
    """Where the labels of each output are counted, by (route, output)."""
    return {
        (loan.route, output): table for loan in loans for output, table in zip(loan.outputs, loan.tables, strict=True)
    }


def shown(tracks: tuple[Track, ...]) -> dict[Arm, Track]:
    """The track whose sums people see of each arm: the last comparison that has data, else the last that has any."""
    found: dict[Arm, Track] = {}
    for track in tracks:
        for loan in track.loans:
            known = found.get((loan.backend, loan.role))
            has_data = loan.role in track.sums and track.sums[loan.role].answered > 0
            if known is None or (has_data and track.judged >= known.judged):
                found[loan.backend, loan.role] = track
    return found


def from_slot(route: schema.Route, layout: Layout, slot: snapshot.Snapshot | None, lending: Lending) -> Holdings:
    """What an earlier controller lent to a route without a rollout, as the slot has it."""
    known = None if slot is None else next((one for one in slot.routes if one.name == route.name), None)
    if slot is None or known is None:
        return Holdings()
    outputs = {output.name: counted_as(output) for output in known.predictions.outputs} if known.predictions else {}
    tables = tuple(output.table for output in known.predictions.outputs) if known.predictions else ()
    copies = {slot.backends[mirror.backend].name: mirror.row for mirror in known.mirrors}
    live = {slot.backends[arm.backend].name: arm.row for arm in known.arms}
    loans: dict[Arm, Loan] = {}
    for backend, role in layout.counted:
        row = (copies if role == "shadow" else live).get(backend)
        if row is None or row.index < 0:
            continue
        loan = Loan(
            route.name, backend, role, 0, row.index, row.tenant, tuple(outputs), tuple(outputs.values()), tables
        )
        if lending.claim(loan):
            loans[backend, role] = loan
    return Holdings(loans, tuple(loans.values()))


def _tracks(
    route: schema.Route, state: State | None, loans: Mapping[Arm, Loan], before: tuple[Track, ...], slice_: int
) -> tuple[Track, ...]:
    control = _control(state, loans)
    groups: list[tuple[tuple[Loan, ...], bool, str]] = []
    members: set[Arm] = set()
    if state is not None and is_judged(state):
        for name in state.racing:
            versions = {state.stable, name, state.baseline}
            compared = {(version, role) for version in versions for role in (control, "canary", "shadow")}
            together = tuple(loan for arm, loan in loans.items() if arm in compared)
            groups += [(together, True, name if state.race else "")] if together else []
            members |= compared
    groups += [((loan,), False, "") for arm, loan in loans.items() if arm not in members]
    open_tracks = {(track.loans, track.rival) for track in before if track.until is None}
    new = tuple(
        Track(
            stage=state.stage if state is not None else 0,
            share=1.0 if state is None else _share(state),
            judged=is_evidence,
            sticky=route.session_affinity is not None,
            loans=group,
            next_slice=slice_,
            control=control if is_evidence else "stable",
            weight_ppm=CIRCLE if state is None else state.weight_ppm,
            rival=rival,
        )
        for group, is_evidence, rival in groups
        if (group, rival) not in open_tracks
    )
    return (*before, *new)


def _control(state: State | None, loans: Mapping[Arm, Loan]) -> str:
    """The role that a candidate's live requests are compared with: a baseline's, where it has any."""
    baseline = "" if state is None else state.baseline
    return "baseline" if (baseline, "baseline") in loans else "stable"


def _share(state: State) -> float:
    return cohorts.compared_share(state.weight_ppm, bool(state.baseline), len(state.racing))
