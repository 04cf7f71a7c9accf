"""Why a decision was made: whole rollouts, and what their journal can still show of each step."""

from __future__ import annotations

import sqlite3
from dataclasses import replace

import pytest

from analysis.plan import Gate, Plan
from analysis.verdict import Judge
from proxy.control.hindsight import why
from proxy.control.storage.entries import Decision, Entry
from tests.support.control_plane import World
from tests.support.slices import errors


def decision() -> Decision:
    """One on forty slices of errors."""
    judge = Judge(Plan((Gate("errors", "errors", margin_absolute=0.05),)))
    for second in range(40):
        judge.observe(errors(100, 1, 100, 2, at_s=float(second)))
    basis = why.basis(judge, judge.verdict(40.0), 40.0)
    return Decision(Entry(7, 1.0, "r", "step", "rollout", "on it goes"), basis.verdict, basis, True)


@pytest.mark.parametrize("fail", [{}, {"v2": 4}], ids=["good", "bad"])
async def test_every_decision_follows_from_its_evidence(world: World, fail: dict[str, int]) -> None:
    """If broken, nobody can show on what a candidate was promoted or aborted."""
    ended = await world.until("Succeeded", "Aborted", fail=fail)
    assert world.controller is not None
    digest = world.controller.status()["config"]["digest"]
    await world.kill()
    await world.start()
    records = world.controller.records
    entries = await records.history("r", 100, None)
    assert all(entry["config"] == digest for entry in entries)
    derived = {}
    for entry in entries:
        found = await records.why("r", entry["id"])
        assert found is not None
        assert found["intact"]
        if entry["kind"] == "begin":
            assert (found["verdict"], found["agrees"]) == (None, None)
            continue
        assert found["agrees"] is True, found["differences"]
        assert found["derived"] == found["verdict"]
        derived[entry["kind"]] = found
    last = await records.why("r", None)
    assert last is not None
    assert last["entry"] == entries[0]
    if fail:
        assert (ended["phase"], derived["abort"]["verdict"]["abort"]) == ("Aborted", True)
        assert derived["abort"]["verdict"]["reason"] == ended["reason"]
        assert derived["abort"]["entry"]["details"]["decidedBy"] in ("errors", "breaker")
    else:
        assert derived["promote"]["verdict"]["proven"]
        assert derived["succeeded"]["verdict"] == derived["promote"]["verdict"], "what decided for it is what is shown"
        (numbers,) = derived["promote"]["entry"]["details"]["metrics"].values()
        assert numbers["evidencePass"] >= numbers["neededPass"] == 20.0
    assert (await records.verify(""))["holds"]
    assert await records.why("r", 999) is None


async def test_a_command_is_kept_with_what_was_known_then(world: World) -> None:
    """If broken, an operator's promotion cannot be told from one that the evidence made."""
    for _ in range(3):
        await world.second()
    assert world.controller is not None
    await world.controller.act("r", "promote", "ann", full=True)
    (entry, *_) = await world.controller.records.history("r", 1, None)
    found = await world.controller.records.why("r", entry["id"])
    assert found is not None
    assert (entry["actor"], entry["kind"], found["verdict"]["proven"]) == ("ann", "promote", False)
    assert found["verdict"]["slices"] == 2, "the evidence is that of the moment"
    assert found["agrees"] is True


async def test_a_number_that_was_changed_is_named(world: World) -> None:
    """If broken, a verdict that was edited passes for what the evidence said."""
    await world.until("Succeeded")
    assert world.controller is not None
    with sqlite3.connect(world.folder / "understudy.db") as db:
        db.execute("UPDATE verdicts SET body = json_set(body, '$.metrics[0].evidencePass', 99)")
    db.close()
    found = await world.controller.records.why("r", None)
    assert found is not None
    assert (found["intact"], found["agrees"]) == (False, False)
    assert [(each["what"], each["kept"]) for each in found["differences"]] == [("metrics.errors.evidencePass", "99")]
    broken = await world.controller.records.verify("")
    assert not broken["holds"]


def test_what_cannot_be_derived_is_said() -> None:
    """If broken, missing evidence looks like agreement, or like a contradiction."""
    whole = decision()
    assert whole.basis is not None
    assert why.explain(whole)["agrees"] is True
    pruned = why.explain(replace(whole, basis=replace(whole.basis, evidence=None)))
    assert (pruned["agrees"], pruned["derived"]) == (None, None)
    assert pruned["note"].startswith("retention took its evidence away")
    other = why.explain(replace(whole, basis=replace(whole.basis, evidence=b"not evidence")))
    assert other["agrees"] is None
    assert other["note"].startswith("this release cannot read its evidence: these 12 bytes are not stored evidence")
    older = why.explain(replace(whole, basis=None))
    assert older["note"].startswith("an earlier release made it")
    assert why.explain(replace(whole, verdict=None, basis=None))["note"].startswith("no verdict stood behind it")


def test_texts_may_change_and_numbers_may_not() -> None:
    """If broken, a release that words a sentence otherwise contradicts every decision of the one before."""
    whole = decision()
    assert whole.verdict is not None
    reworded = {**whole.verdict, "missing": ["other words"]}
    assert why.explain(replace(whole, verdict=reworded))["agrees"] is True
    nearly = {**whole.verdict, "abortEvidence": whole.verdict["abortEvidence"] * (1 + 1e-12)}
    assert why.explain(replace(whole, verdict=nearly))["agrees"] is True
    other = {**whole.verdict, "proven": not whole.verdict["proven"]}
    assert [each["what"] for each in why.explain(replace(whole, verdict=other))["differences"]] == ["proven"]
