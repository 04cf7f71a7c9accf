"""Recorded rollouts, run again: the same under the same configuration, and what would have been under another one."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from config.loader import loads
from proxy.control.hindsight.backtest import backtest
from tests.support.control_plane import ANALYSIS, STEPS, World, config, rolling

LATENCY = {"name": "latency.p99", "maxIncrease": "10%", "role": "info"}


class Recorded:
    """What the admin API would answer."""

    def __init__(self, runs: list[dict[str, Any]], rows: dict[int, list[dict[str, Any]]]) -> None:
        self.runs, self.rows = runs, rows

    def recordings(self, route: str) -> list[dict[str, Any]]:
        return self.runs if route == "r" else []

    def recorded(self, route: str, run: int) -> Iterator[dict[str, Any]]:
        yield from self.rows[run]


async def recorded(world: World) -> Recorded:
    """All recordings of the world's route."""
    assert world.controller is not None
    records = world.controller.records
    runs = await records.recordings("r")
    rows: dict[int, list[dict[str, Any]]] = {}
    for run in runs:
        after: int | None = 0
        while after is not None:
            page = await records.recorded("r", run["run"], after)
            rows.setdefault(run["run"], []).extend(page["rows"])
            after = page["nextAfter"]
    return Recorded(runs, rows)


def tried(source: Recorded, document: dict[str, Any], run: int | None = None) -> dict[str, Any]:
    return backtest(loads(yaml.safe_dump(document), "new.yaml").config, "r", source, run)


def other(steps: list[dict[str, Any]] = STEPS, **analysis: Any) -> dict[str, Any]:
    """The configuration of the world with some of it changed."""
    changed = config(*steps)
    changed["routes"][0]["analysis"] = {**copy.deepcopy(ANALYSIS), **analysis}
    return changed


@pytest.mark.parametrize(("fail", "phase"), [({}, "Succeeded"), ({"v2": 8}, "Aborted")], ids=["good", "bad"])
async def test_the_same_file_decides_the_same(world: World, fail: dict[str, int], phase: str) -> None:
    """If broken, a backtest answers for another rollout than the one that would have been."""
    await world.second()
    await world.until("Succeeded", "Aborted", fail=fail)
    source = await recorded(world)
    answer = tried(source, world.config)
    was, now = answer["recorded"], answer["replayed"]
    assert (was["phase"], was["decidedBy"]) == (now["phase"], now["decidedBy"]) == (phase, was["decidedBy"])
    assert now["decided"]
    assert now["skipped"] == 0
    assert world.controller is not None
    entries = (await world.controller.records.history("r", 50, None))[::-1]
    live = [(entry["kind"], entry["text"]) for entry in entries if entry["kind"] != "begin"]
    again = [(each["kind"], each["text"]) for each in now["moments"] if each["kind"] != "begin"]
    assert again == live, "the same steps for the same reasons, in the same words and numbers"
    times = [entry["at"] for entry in entries if entry["kind"] not in ("begin", "succeeded")]
    assert [each["at"] for each in now["moments"] if each["kind"] not in ("begin", "succeeded")] == times


async def test_a_wider_margin_would_have_let_it_pass(world: World) -> None:
    """If broken, nobody can learn from a false alarm what margin would not have raised it."""
    await world.until("Aborted", fail={"v2": 8})
    source = await recorded(world)
    wide = tried(source, other(metrics=[{"name": "errors", "maxIncrease": "40pp"}]))
    assert (wide["recorded"]["phase"], wide["replayed"]["phase"]) == ("Aborted", "Succeeded")
    between = tried(source, other(metrics=[{"name": "errors", "maxIncrease": "12pp"}]))["replayed"]
    assert (between["phase"], between["decided"]) == ("Progressing", False)
    assert between["stopped"] == "the recorded evidence ends here"
    assert between["abortEvidence"] < between["abortNeeded"]
    strict = tried(source, other(alphaAbort=0.0001))
    assert (strict["replayed"]["phase"], strict["replayed"]["slices"] > 0) != ("Succeeded", False)
    usual = tried(source, other())
    assert usual["replayed"]["seconds"] <= (strict["replayed"]["seconds"])


async def test_a_tighter_margin_is_not_proven_by_what_there_is(world: World) -> None:
    """If broken, a backtest promotes on evidence that was never seen."""
    await world.until("Succeeded")
    source = await recorded(world)
    tight = tried(source, other(metrics=[{"name": "errors", "maxIncrease": "0.5pp"}]))["replayed"]
    assert (tight["decided"], tight["phase"]) == (False, "Progressing")
    assert any(text.startswith("errors: evidence that it is within +0.5 pp is") for text in tight["missing"])
    (metric,) = tight["metrics"]
    assert metric["evidencePass"] < metric["neededPass"]


async def test_a_step_that_needs_more_than_was_recorded_ends_the_replay(world: World) -> None:
    """If broken, evidence at one weight is taken for evidence at another."""
    await world.until("Succeeded")
    source = await recorded(world)
    more = [{"setWeight": 20}, {"analysis": {"minSamples": 100_000}}, {"setWeight": 50}, {"analysis": {}}]
    answer = tried(source, other(more))["replayed"]
    assert answer["stopped"] == "the evidence that was recorded at weight 20 % ends before step 2 is done"
    never = [{"setWeight": 30}, {"analysis": {}}]
    assert tried(source, other(never))["replayed"]["stopped"] == (
        "the evidence that was recorded at weight 30 % ends before step 2 is done"
    )


async def test_what_is_not_needed_is_left_out_and_takes_no_time(world: World) -> None:
    """If broken, a shorter plan seems to take as long as the one that was recorded."""
    slow = [{"setWeight": 20}, {"analysis": {"duration": "40s"}}, {"setWeight": 50}, {"analysis": {}}]
    world.write(config(*slow))
    assert world.controller is not None
    await world.controller.reload("ann")
    await world.until("Succeeded")
    source = await recorded(world)
    was = tried(source, config(*slow))["replayed"]
    fast = tried(source, other())["replayed"]
    assert fast["decided"]
    assert fast["skipped"] > 20
    assert fast["seconds"] < was["seconds"] - 20
    straight = tried(source, other([{"setWeight": 50}, {"analysis": {}}]))["replayed"]
    assert straight["skipped"] > 30
    assert straight["seconds"] < was["seconds"] - 20
    assert straight["metrics"][0]["nCandidate"] == straight["metrics"][0]["nStable"], "of half and half alone"


async def test_whoever_went_on_at_a_gate_does_so_again(world: World) -> None:
    """If broken, a rollout with a gate can never be tried again."""
    gated = [{"setWeight": 20}, {"pause": {}}, {"setWeight": 50}, {"analysis": {}}]
    world.write(config(*gated))
    assert world.controller is not None
    await world.controller.reload("ann")
    await world.until("Paused")
    for _ in range(5):
        await world.second()
    await world.controller.act("r", "resume", "ann")
    await world.until("Succeeded")
    answer = tried(await recorded(world), config(*gated))["replayed"]
    assert answer["phase"] == "Succeeded"
    assert answer["skipped"] == 0


async def test_webhooks_are_not_waited_for(world: World) -> None:
    """If broken, nobody with a webhook can try another configuration: a recording has nobody who could be asked."""
    await world.until("Succeeded")
    source = await recorded(world)
    plain = tried(source, other())["replayed"]
    asking = other()
    types = ("confirm-rollout", "pre-rollout", "rollout", "confirm-traffic-increase", "confirm-promotion", "rollback")
    asking["routes"][0]["webhooks"] = [{"name": type_, "type": type_, "url": "http://h/"} for type_ in types]
    assert plain["phase"] == "Succeeded"
    assert tried(source, asking)["replayed"] == plain


async def test_endpoints_are_tried_as_the_weights_of_a_canary(world: World) -> None:
    """If broken, nobody can try on a recording which margins a rolling update would need."""
    assert world.controller is not None
    while world.first["weight"] != 50.0:
        await world.second()
    await world.controller.act("r", "pause", "ann")
    for _ in range(20):
        await world.second()
    source = await recorded(world)
    two = rolling(2, analysis={"minSamples": 50})
    answer = tried(source, two)["replayed"]
    assert (answer["phase"], answer["skipped"] > 0) == ("Succeeded", True)
    answer = tried(source, rolling(3))["replayed"]
    assert answer["stopped"] == "the evidence that was recorded at weight 33.3333 % ends before step 2 is done"


async def test_attempts_are_recorded_apart_and_survive_a_crash(world: World) -> None:
    """If broken, the evidence of two rollouts is mixed, or a kill of the controller loses or doubles a slice."""
    await world.until("Aborted", fail={"v2": 4})
    assert world.controller is not None
    await world.controller.act("r", "retry", "ann")
    for _ in range(5):
        await world.second()
    await world.kill()
    await world.start()
    await world.until("Succeeded")
    source = await recorded(world)
    first, second = source.runs
    assert first["run"] < second["run"]
    seconds = [at for run in (first, second) for row in source.rows[run["run"]] for at in (row["firstAt"],)]
    assert seconds == sorted(set(seconds))
    assert tried(source, world.config, first["run"])["replayed"]["phase"] == "Aborted"
    assert tried(source, world.config)["replayed"]["phase"] == "Succeeded"
    assert first["entries"][-1]["kind"] == "abort"
    assert second["entries"][0]["kind"] == "begin"


async def test_what_cannot_be_tried_is_said(world: World) -> None:
    """If broken, a wrong name ends in a stack trace."""
    source = await recorded(world)
    swapped = config(*STEPS)
    swapped["routes"][0]["strategy"] = {"recreate": {"hook": {"url": "http://h/"}}}
    for backend in swapped["backends"]:
        backend["healthCheck"] = {"path": "/"}
    for document, run, text in (
        (world.config, None, "nothing of route r is recorded: it is while a rollout goes on"),
        (config(), None, "route r of the file has no strategy"),
        (swapped, None, r"route r of the file swaps its versions \(recreate\)"),
        (config(*STEPS, name="q"), None, "the file has no route r; it has q"),
    ):
        with pytest.raises(ValueError, match=text):
            tried(source, document, run)
    await world.second()
    await world.second()
    source = await recorded(world)
    with pytest.raises(ValueError, match=r"run 999 of route r is not recorded; what is: \d+"):
        tried(source, world.config, 999)
