"""Which rows and tracks a route has, and what a new stage makes of them."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest
import yaml

from config import loader, schema
from proxy.control.evidence import holdings
from proxy.control.evidence.holdings import Holdings
from proxy.control.evidence.lending import Lending
from proxy.control.machine.rollout import Phase, State
from proxy.control.routing.compile import compile, layout
from proxy.snapshot import CIRCLE, TableRef
from tests.support.control_plane import STEPS, config
from tests.support.fake_controller import rollout_state

T = 100


def route(**more: object) -> schema.Route:
    return loader.loads(yaml.safe_dump(config(*STEPS, **more)), "test").config.routes[0]


def state(weight_ppm: int, mirror_ppm: int = 0, stage: int = 1, phase: Phase = Phase.PROGRESSING) -> State:
    return replace(
        rollout_state(), route="r", stable="v1", candidate="v2", weight_ppm=weight_ppm, mirror_ppm=mirror_ppm,
        stage=stage, phase=phase,
    )  # fmt: skip


def book() -> Lending:
    return Lending(20, 4, count(1).__next__)


def settle(now: State | None, before: Holdings, lending: Lending, slice_: int = T, **more: object) -> Holdings:
    return holdings.settle(route(**more), layout(route(**more), now), now, before, lending, slice_)


def test_what_is_judged_is_one_track() -> None:
    """Arms of one comparison would be read at different moments, or a rehearsal hold up the judge of another."""
    found = settle(state(200_000, CIRCLE), Holdings(), book(), mirrors=[{"backend": "v3", "percent": 10}])
    groups = [([(loan.backend, loan.role) for loan in track.loans], track.judged) for track in found.tracks]
    assert groups == [
        ([("v1", "stable"), ("v2", "canary"), ("v2", "shadow")], True),
        ([("v3", "shadow")], False),
    ]
    assert [track.share for track in found.tracks] == [0.2, 0.2]
    assert {loan.stage for loan in found.loans.values()} == {1, 0}


def test_a_new_stage_has_new_rows() -> None:
    """Sums of two stages, which have different weights, would be one."""
    lending = book()
    first = settle(state(200_000), Holdings(), lending)
    second = settle(state(500_000, stage=2), first, lending, T + 9)
    assert not set(first.loans.values()) & set(second.loans.values())
    assert first.returned(second) == list(first.loans.values())
    assert second.rows == (*first.loans.values(), *second.loans.values())
    holdings.cut(second.tracks, second.loans, T + 10)
    assert [(track.until, track.next_slice) for track in second.tracks] == [(T + 10, T), (None, T + 9)]


def test_the_same_stage_keeps_its_rows() -> None:
    """Each reload would cut the evidence in pieces."""
    lending = book()
    first = settle(state(200_000), Holdings(), lending)
    again = settle(state(200_000), first, lending, T + 9, timeouts={"request": "3s"})
    assert (again.loans, again.tracks) == (first.loans, first.tracks)
    holdings.cut(again.tracks, again.loans, T + 10)
    assert all(track.until is None for track in again.tracks)


def test_other_outputs_need_other_rows() -> None:
    """Labels of one output would be counted for another."""
    lending = book()
    first = settle(state(200_000), Holdings(), lending)
    outputs = [{"name": "label", "kind": "number", "path": "label", "range": [0, 1]}]
    later = settle(state(200_000), first, lending, predictions={"protocol": "json", "outputs": outputs})
    assert not set(first.loans.values()) & set(later.loans.values())


def test_what_is_decided_is_judged_no_more() -> None:
    """A version that serves everything would be compared with nothing, and what was compared not be shown."""
    assert not holdings.is_judged(state(0, phase=Phase.ABORTED))
    assert not holdings.is_judged(state(CIRCLE, phase=Phase.SUCCEEDED))
    assert holdings.is_judged(state(CIRCLE, phase=Phase.PROMOTING))
    assert holdings.is_judged(state(CIRCLE, CIRCLE, phase=Phase.BAKING))
    assert holdings.is_judged(state(0, phase=Phase.WAITING))
    assert holdings.is_judged(state(0, CIRCLE))
    assert holdings.is_judged(state(1, phase=Phase.PAUSED))
    assert not holdings.is_judged(None)


def test_labels_that_are_written_in_another_way_begin_anew() -> None:
    """Hashes would be counted into the row, and with the texts, of labels as they are."""
    output = {"name": "label", "kind": "category", "path": "label"}
    read = {"protocol": "json", "outputs": [output]}
    lending = book()
    first = settle(state(200_000), Holdings(), lending, predictions=read)
    hashed = {"protocol": "json", "outputs": [output | {"privacy": "hash"}]}
    second = settle(state(200_000), first, lending, predictions=hashed)
    assert first.returned(second) == list(first.loans.values())
    tables = {loan.tables[0] for loan in first.loans.values()}, {loan.tables[0] for loan in second.loans.values()}
    assert len(tables[0]) == len(tables[1]) == len(tables[0] ^ tables[1]) - 1 == 1
    assert settle(state(200_000), second, lending, predictions=hashed).loans == second.loans


@pytest.mark.parametrize("privacy", ["keep", "hash"])
def test_the_slot_knows_what_was_lent(privacy: str) -> None:
    """A new controller would lend an ordinary route new rows, and its metrics begin anew."""
    document = config(mirrors=[{"backend": "v3"}])
    document["routes"][0]["predictions"]["outputs"][0]["privacy"] = privacy
    whole = loader.loads(yaml.safe_dump(document), "test").config
    plain, plan = whole.routes[0], layout(whole.routes[0], None)
    first = holdings.settle(plain, plan, None, Holdings(), book(), T)
    rows = {(loan.route, *arm): loan.row for arm, loan in first.loans.items()}
    slot = compile(whole, {}, rows, {("r", "label"): first.loans["v1", "stable"].tables[0]}, 4)
    after = book()
    found = holdings.from_slot(plain, plan, slot, after)
    assert found.loans == first.loans
    assert after.lent() == list(first.loans.values())
    kind = "category" if privacy == "keep" else "category:hash"
    assert after.table("r", "label", kind) == first.loans["v1", "stable"].tables[0] != TableRef()
    assert holdings.from_slot(plain, plan, None, book()) == Holdings()
    settled = holdings.settle(plain, plan, None, found, after, T)
    assert settled.loans == first.loans
    assert len(settled.tracks) == 2
