"""Several candidates in one rollout: the machine, and a whole controller."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from config.loader import loads
from proxy.admin import console
from proxy.admin.report import markdown
from proxy.control.hindsight.backtest import backtest
from proxy.control.machine import race, rollout, steps
from proxy.control.machine.gates import Answers
from proxy.control.machine.rollout import (
    Abort,
    Applied,
    Ask,
    IllegalEvent,
    Look,
    Phase,
    Promote,
    Record,
    Retry,
    Route,
    State,
)
from proxy.control.machine.state import Runner
from proxy.control.machine.steps import Plan
from proxy.snapshot import CIRCLE
from tests.proxy.control.hindsight.test_backtest import recorded
from tests.proxy.control.machine.test_rollout import Verdict, plan, seen
from tests.support.control_plane import STEPS, World, config, playing

RIVALS = tuple(Runner(name, f"digest of {name}") for name in "abc")
LAST = (steps.SetWeight(100_000), steps.Analysis(None, None))


@dataclass(frozen=True)
class Whole(Verdict):
    """A verdict on several, as a panel makes it."""

    candidates: tuple[tuple[str, Verdict], ...] = ()


def of(state: State, n: float = 100, harmed: str = "", proven: str = "") -> Look:
    """A look that has seen n samples of each in the race, of whom these are harmed or proven."""
    each = tuple(
        (name, Verdict(stage=state.stage, stage_stable=n, stage_candidate=n, abort=name in harmed,
                       proven=name in proven, reason=f"{name} is bad"))
        for name in "abc"
    )  # fmt: skip
    racing = [verdict for name, verdict in each if name in state.racing]
    return Look(
        Whole(stage=state.stage, stage_stable=n, stage_candidate=n, candidates=each,
              abort=all(one.abort for one in racing), proven=any(one.proven for one in racing))
    )  # fmt: skip


def several(*ladder: steps.Step, **rest: Any) -> Plan:
    return plan(*(ladder or LAST), rivals=RIVALS, candidate="a", candidate_digest="abc", min_duration_s=0.0, **rest)


def begun(p: Plan) -> State:
    state, _ = rollout.begin(p, 0.0)
    return rollout.step(p, state, of(state), 1.0)[0]


def verdicts(state: State) -> dict[str, str]:
    return {runner.name: runner.verdict for runner in state.race}


# --- the machine


def test_who_does_harm_leaves_at_once_and_the_others_go_on() -> None:
    """A bad candidate would keep its users until all are decided, or take the good ones down with it."""
    p = several()
    before = begun(p)
    state, actions = rollout.step(p, before, of(before, harmed="a"), 2.0)
    assert (state.phase, state.racing, state.candidate) == (Phase.PROGRESSING, ("b", "c"), "b")
    assert (state.stage, state.weight_ppm) == (before.stage + 1, before.weight_ppm)
    assert (state.race[0].verdict, state.race[0].reason, state.race[0].left_s) == ("Failed", "a is bad", 2.0)
    assert isinstance(actions[0], Route)
    assert actions[1] == Record("drop", "a leaves the race, b, c go on: a is bad")


def test_the_last_one_that_leaves_ends_it() -> None:
    """A rollout would go on with nobody."""
    p = several()
    state = begun(p)
    state, _ = rollout.step(p, state, of(state, harmed="b"), 2.0)
    state, actions = rollout.step(p, state, of(state, harmed="abc"), 3.0)
    assert (state.phase, state.verdict, state.weight_ppm) == (Phase.ABORTED, "Failed", 0)
    assert verdicts(state) == {"a": "Failed", "b": "Failed", "c": "Failed"}
    assert [type(action) for action in actions] == [Route, Record]


def test_the_first_that_is_proven_takes_over() -> None:
    """Nobody would be promoted before all are, or the wrong one be."""
    p = several()
    state = begun(p)
    state, _ = rollout.step(p, state, of(state, proven="bc"), 2.0)
    assert (state.phase, state.candidate, state.weight_ppm) == (Phase.PROMOTING, "b", CIRCLE)
    assert verdicts(state) == {"a": "Not chosen", "b": "", "c": "Not chosen"}
    assert state.race[0].reason == "b takes over"
    assert state.racing == ("b",)
    after, _ = rollout.step(p, state, Applied(state.stage), 3.0)
    assert (after.phase, after.verdict) == (Phase.SUCCEEDED, "Successful")


def proven_by(state: State, **least: float) -> Look:
    """A look at which these are proven, with so much evidence for their weakest guardrail."""
    look = of(state, proven="".join(least))
    each = tuple((name, replace(own, least_pass=least.get(name, 0.0))) for name, own in look.verdict.candidates)  # type: ignore[union-attr]
    return replace(look, verdict=replace(look.verdict, candidates=each))  # type: ignore[type-var]


def test_of_several_that_are_proven_at_once_the_best_proven_takes_over() -> None:
    """The order of the file would decide between a version that is well inside its margins and one that hardly is; or
    nobody could tell later why it was this one."""
    p = several()
    state = begun(p)
    after, _ = rollout.step(p, state, proven_by(state, a=25.0, b=31.0, c=31.0), 2.0)
    assert (after.phase, after.candidate) == (Phase.PROMOTING, "b")
    assert after.reason == (
        "b is proven to be within every margin; so is a, with less evidence for its weakest guardrail "
        "(25 : 1 against 31 : 1); so is c, with as much evidence, and comes later in the file"
    )


def test_who_was_confirmed_stays_in_front() -> None:
    """A person would say yes to one candidate, and another one be promoted, or each look ask for another one."""
    p = several(gates=frozenset({"confirm-promotion"}))
    state = begun(p)
    state, actions = rollout.step(p, state, proven_by(state, a=25.0, c=31.0), 2.0)
    assert (state.phase, state.candidate) == (Phase.PROGRESSING, "c")
    assert Ask(frozenset({"confirm-promotion"})) in actions
    state, _ = rollout.step(p, state, proven_by(state, a=90.0, c=32.0), 3.0)
    assert state.candidate == "c"
    yes = replace(proven_by(state, a=90.0, c=32.0), hooks=Answers(confirmed=frozenset({"confirm-promotion"})))
    after, _ = rollout.step(p, state, yes, 4.0)
    assert (after.phase, after.candidate) == (Phase.PROMOTING, "c")
    assert after.reason.endswith("; so is a by now, but c was put forward before")
    other, _ = rollout.step(p, state, proven_by(state, a=90.0), 4.0)
    assert other.candidate == "a", "who is proven no more is no proposal"


def test_harm_of_who_was_not_chosen_takes_nothing_back() -> None:
    """A straggling verdict on another candidate would abort the promotion; one on the chosen would not."""
    p = several()
    state = begun(p)
    state, _ = rollout.step(p, state, of(state, proven="b"), 2.0)
    same, _ = rollout.step(p, state, of(state, harmed="ac"), 3.0)
    assert same == state
    back, _ = rollout.step(p, state, of(state, harmed="b"), 3.0)
    assert (back.phase, back.candidate, verdicts(back)["b"]) == (Phase.ABORTED, "b", "Failed")


def test_a_proof_before_the_last_step_promotes_nobody() -> None:
    """A candidate would take over without the steps that the file wants."""
    p = several(
        steps.SetWeight(100_000), steps.Analysis(None, None), steps.SetWeight(200_000), steps.Analysis(None, None)
    )
    state = begun(p)
    state, _ = rollout.step(p, state, of(state, proven="a"), 2.0)
    assert (state.phase, state.weight_ppm, state.step) == (Phase.PROGRESSING, 200_000, 3)


def test_a_step_waits_for_all_that_are_in_the_race() -> None:
    """One candidate would be promoted on the samples of another."""
    p = several()
    state = begun(p)
    few = of(state, n=1, proven="a")
    assert rollout.step(p, state, few, 2.0)[0].phase is Phase.PROGRESSING


def test_the_time_that_is_over_promotes_who_is_proven_and_else_nobody() -> None:
    """A proof would be thrown away at maxDuration, or silence be taken for one."""
    p = several(max_duration_s=10.0)
    state = begun(p)
    assert rollout.step(p, state, of(state, proven="c"), 1000.0)[0].candidate == "c"
    held, _ = rollout.step(p, state, of(state), 1000.0)
    assert (held.phase, held.verdict) == (Phase.PAUSED, "Inconclusive")


def test_an_operator_has_to_say_whom() -> None:
    """`promote --full` would promote whoever is listed first."""
    p = several()
    state = begun(p)
    with pytest.raises(IllegalEvent, match="say which, of a, b, c"):
        rollout.step(p, state, Promote("eve", full=True), 2.0)
    with pytest.raises(IllegalEvent, match="x is no candidate of this rollout: the candidates are a, b, c"):
        rollout.step(p, state, Promote("eve", full=True, candidate="x"), 2.0)
    with pytest.raises(IllegalEvent, match="a step is one of all candidates"):
        rollout.step(p, state, Promote("eve", candidate="c"), 2.0)
    after, _ = rollout.step(p, state, Promote("eve", full=True, candidate="c"), 2.0)
    assert (after.phase, after.candidate, after.racing) == (Phase.PROMOTING, "c", ("c",))


def test_nobody_else_is_promoted_than_who_is_named() -> None:
    """`promote --candidate b` while a bakes would end the bake of a, and b be thought to be live."""
    p = several(bake=steps.Bake(60.0, 0))
    state = begun(p)
    out, _ = rollout.step(p, state, of(state, harmed="a"), 2.0)
    with pytest.raises(IllegalEvent, match=r"a is out of the race \(a is bad\); choose of b, c"):
        rollout.step(p, out, Promote("eve", full=True, candidate="a"), 3.0)
    state, _ = rollout.step(p, state, Promote("eve", full=True, candidate="c"), 2.0)
    state, _ = rollout.step(p, state, Applied(state.stage), 3.0)
    assert state.phase is Phase.BAKING
    with pytest.raises(IllegalEvent, match=r"b is out of the race \(c takes over\); choose of c"):
        rollout.step(p, state, Promote("eve", full=True, candidate="b"), 4.0)
    assert rollout.step(p, state, Promote("eve", candidate="c"), 4.0)[0].phase is Phase.SUCCEEDED


@pytest.mark.parametrize("paused", [False, True], ids=["Progressing", "Paused"])
def test_an_operator_takes_one_out_and_the_others_go_on(paused: bool) -> None:
    """A candidate that people complain of could only be stopped together with the good ones."""
    p = several(*LAST[:1], steps.Pause(None)) if paused else several()
    before = begun(p)
    state, actions = rollout.step(p, before, Abort("ann", "too slow", "b"), 2.0)
    assert (state.phase, state.racing, state.candidate) == (before.phase, ("a", "c"), "a")
    assert (state.stage, state.weight_ppm) == (before.stage + 1, before.weight_ppm)
    out = state.race[1]
    assert (out.verdict, out.decided_by, out.reason, out.left_s) == (
        "Inconclusive", "operator", "aborted by ann: too slow", 2.0)  # fmt: skip
    assert actions == (
        Route(), Record("drop", "b leaves the race, a, c go on: aborted by ann: too slow", "ann",
                        {"aborted": {"candidate": "b", "reason": "too slow"}})
    )  # fmt: skip
    assert rollout.step(p, state, Abort("bob", "again", "b"), 3.0) == (state, ()), "told twice"
    front, _ = rollout.step(p, state, Abort("ann", "", "a"), 3.0)
    assert (front.candidate, front.racing) == ("c", ("c",))


def test_the_last_one_taken_out_by_hand_ends_it() -> None:
    """A rollout would go on with nobody, or end as if harm were proven."""
    p = several()
    state = begun(p)
    for name in "ab":
        state, _ = rollout.step(p, state, Abort("ann", "", name), 2.0)
    state, actions = rollout.step(p, state, Abort("ann", "no luck", "c"), 3.0)
    assert (state.phase, state.verdict, state.decided_by) == (Phase.ABORTED, "Inconclusive", "operator")
    assert (state.weight_ppm, state.reason) == (0, "aborted by ann: no luck")
    assert [action.actor for action in actions if isinstance(action, Record)] == ["ann"]
    assert rollout.step(p, state, Abort("ann", "", "c"), 4.0) == (state, ())


def test_a_name_that_nobody_has_is_refused_in_every_phase() -> None:
    """A slip of the pen would be taken for a candidate that is out, or end the whole rollout."""
    p, alone = several(), plan(*LAST)
    state = begun(p)
    for each in (state, rollout.step(p, state, Abort("ann"), 2.0)[0]):
        with pytest.raises(IllegalEvent, match="x is no candidate of this rollout: the candidates are a, b, c"):
            rollout.step(p, each, Abort("ann", "", "x"), 3.0)
    only = rollout.begin(alone, 0.0)[0]
    with pytest.raises(IllegalEvent, match="x is no candidate of this rollout: the candidate is v2"):
        rollout.step(alone, only, Abort("ann", "", "x"), 1.0)
    assert rollout.step(alone, only, Abort("ann", "why", "v2"), 1.0) == rollout.step(
        alone, only, Abort("ann", "why"), 1.0
    )


def test_who_takes_over_is_taken_back_by_name_and_who_was_not_chosen_has_nothing() -> None:
    """`abort --candidate` would do nothing, or take back the wrong one, once one of them is promoted."""
    p = several()
    state = begun(p)
    state, _ = rollout.step(p, state, of(state, proven="b"), 2.0)
    with pytest.raises(IllegalEvent, match="a was not chosen and has no traffic: b takes over"):
        rollout.step(p, state, Abort("ann", "", "a"), 3.0)
    back, _ = rollout.step(p, state, Abort("ann", "", "b"), 3.0)
    assert (back.phase, back.weight_ppm, verdicts(back)["b"]) == (Phase.ABORTED, 0, "Inconclusive")


def test_what_was_taken_out_by_hand_stays_out_until_retry() -> None:
    """An edit of the list would bring back whom an operator has taken out."""
    p = several()
    state = begun(p)
    state, _ = rollout.step(p, state, Abort("ann", "too slow", "a"), 2.0)
    fewer = replace(p, rivals=RIVALS[:2], candidate_digest="ab")
    again, _ = rollout.adopt(fewer, state, 3.0)
    assert (again.racing, verdicts(again)["a"]) == (("b",), "Inconclusive")
    assert rollout.adopt(fewer, again, 4.0) == (again, ())
    alone, _ = rollout.adopt(replace(p, rivals=(), candidate_digest="digest of a"), state, 3.0)
    assert (alone.phase, alone.verdict, alone.decided_by) == (Phase.ABORTED, "Inconclusive", "operator")
    assert alone.reason == "it was taken out before, and stays out until retry: aborted by ann: too slow"
    ended, _ = rollout.step(p, state, Abort("ann"), 4.0)
    assert rollout.step(p, ended, Retry("eve"), 5.0)[0].racing == ("a", "b", "c")


def test_what_was_found_to_do_harm_stays_out_until_retry() -> None:
    """An edit of the list would give a version another chance that did harm an hour ago."""
    p = several()
    state = begun(p)
    state, _ = rollout.step(p, state, of(state, harmed="a"), 2.0)
    fewer = replace(p, rivals=RIVALS[:2], candidate_digest="ab")
    again, _ = rollout.adopt(fewer, state, 3.0)
    assert (again.racing, again.candidate, verdicts(again)["a"]) == (("b",), "b", "Failed")
    alone, actions = rollout.adopt(replace(p, rivals=(), candidate_digest="digest of a"), state, 3.0)
    assert (alone.phase, alone.verdict, alone.weight_ppm) == (Phase.ABORTED, "Failed", 0)
    assert "stays out until retry" in alone.reason
    assert [action.kind for action in actions if isinstance(action, Record)] == ["begin", "abort"]
    other = replace(p, rivals=(replace(RIVALS[0], digest="a rebuilt"), *RIVALS[1:]), candidate_digest="a'bc")
    assert rollout.adopt(other, state, 3.0)[0].racing == ("a", "b", "c")
    for _ in range(2):
        state, _ = rollout.step(p, state, of(state, harmed="abc"), 4.0)
    assert rollout.step(p, state, Retry("eve"), 5.0)[0].racing == ("a", "b", "c")


def test_one_that_was_aborted_alone_stays_out_of_a_race() -> None:
    """A race would be a way round the latch."""
    alone = plan(*LAST, candidate="a", candidate_digest="digest of a")
    state = rollout.begin(alone, 0.0)[0]
    state, _ = rollout.step(alone, state, Look(Verdict(abort=True)), 1.0)
    assert rollout.adopt(several(), state, 2.0)[0].racing == ("b", "c")


@given(st.lists(st.tuples(st.sampled_from(["", "a", "b", "c", "ab", "abc"]), st.sampled_from(["", "a", "b", "bc"]),
                          st.integers(0, 200)), max_size=12))  # fmt: skip
def test_whatever_is_seen_the_race_keeps_its_word(looks: list[tuple[str, str, int]]) -> None:
    """Somebody would come back who has left, a version with proven harm be promoted, or weights of a stage change."""
    p = several()
    state = rollout.begin(p, 0.0)[0]
    for second, (harmed, proven, n) in enumerate(looks, 1):
        known = {name for name, verdict in verdicts(state).items() if verdict == "Failed"} | set(harmed)
        event = of(state, n, "".join(known), "".join(set(proven) - known))
        after, actions = rollout.step(p, state, event, float(second))
        assert set(after.racing) <= set(state.racing)
        assert (after.stage != state.stage) == ((after.weight_ppm, after.racing) != (state.weight_ppm, state.racing)
                                                and after.phase is not Phase.SUCCEEDED)  # fmt: skip
        assert (after.stage != state.stage) == any(isinstance(action, Route) for action in actions)
        if after.phase is Phase.PROMOTING and state.phase is not Phase.PROMOTING:
            assert after.candidate in proven
            assert after.candidate not in known
        if after.phase is Phase.ABORTED:
            assert not [name for name in state.racing if name not in known]
            return
        state = after


def test_one_candidate_makes_no_race() -> None:
    """The rollout of a single candidate would be kept, shown or judged in another form than before."""
    p = plan(*LAST)
    state = rollout.begin(p, 0.0)[0]
    assert (state.race, state.racing, race.names(p)) == ((), ("v2",), "v2")
    after, _ = rollout.step(p, state, seen(state.stage), 1.0)
    assert race.chosen(after, 2.0) is after


# --- a whole controller


def document(*ladder: dict[str, Any], names: tuple[str, ...] = ("v2", "v3", "v4"), **more: Any) -> dict[str, Any]:
    found = config(*(ladder or STEPS[:2]), **more)
    found["backends"] = [{"name": f"v{n}", "endpoints": [f"http://127.0.0.1:900{n}"]} for n in range(1, 6)]
    refs = found["routes"][0]["backendRefs"]
    refs[1:] = [{"name": name, "role": "canary"} for name in names]
    return found


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with playing(tmp_path, document()) as made:
        yield made


def weights(world: World) -> dict[str, float]:
    return {arm["backend"]: arm["weight"] for arm in world.first["arms"] if arm["role"] != "shadow"}


def standing(world: World) -> dict[str, tuple[bool, str]]:
    return {each["name"]: (each["racing"], each["verdict"]) for each in world.first["candidates"]}


async def until_left(world: World, name: str, **traffic: Any) -> dict[str, Any]:
    for _ in range(100):
        route = await world.second(**traffic)
        if name not in route["racing"]:
            return route
    raise AssertionError(f"{name} is still in the race: {world.first}")


BAD = {"v2": 2, "v3": 7}


async def test_the_broken_leaves_first_then_the_bad_and_the_good_is_promoted(world: World) -> None:
    """Several candidates would need several rollouts, one after the other."""
    assert weights(world) == {"v1": 40.0, "v2": 20.0, "v3": 20.0, "v4": 20.0}
    first = await until_left(world, "v2", fail=BAD)
    assert first["racing"] == ["v3", "v4"]
    assert weights(world) == {"v1": 60.0, "v2": 0.0, "v3": 20.0, "v4": 20.0}
    route = await world.until("Succeeded", "Aborted", fail=BAD)
    assert (route["phase"], route["candidate"]) == ("Succeeded", "v4"), route["reason"]
    assert standing(world) == {"v2": (False, "Failed"), "v3": (False, "Not chosen"), "v4": (False, "Successful")} or (
        standing(world)["v3"] == (False, "Failed")
    )
    assert {name for name, weight in weights(world).items() if weight} == {"v4"}
    kinds = [entry["kind"] for entry in await world.controller.records.history("r", 100, None)]
    assert "drop" in kinds
    assert world.controller.status()["differences"][0]["text"].startswith("v4 ")


async def test_each_sees_its_own_requests_alone(tmp_path: Path) -> None:
    """Samples of one candidate would be evidence of another."""
    world = World(tmp_path, document({"setWeight": 20}, {"pause": {}}))
    await world.start()
    for _ in range(5):
        await world.second(fail={"v2": 10}, label="fine")
    route = await world.second(busy=False)
    found = {each["name"]: each["metrics"][0] for each in route["candidates"]}
    assert [metric["nCandidate"] for metric in found.values()] == [5 * 2 * 20] * 3
    assert [metric["nStable"] for metric in found.values()] == [world.arm("stable")["requests"]] * 3
    assert [round(metric["candidate"], 3) for metric in found.values()] == [0.1, 0.0, 0.0]
    for each in route["candidates"]:
        assert each["ratio"]["expectedShare"] == pytest.approx(20 / 60)
        assert not each["ratio"]["flagged"]
    await world.close()


async def test_all_gone_is_aborted(world: World) -> None:
    """A rollout would wait for ever for nobody."""
    route = await world.until("Succeeded", "Aborted", fail={"v2": 2, "v3": 2, "v4": 2})
    assert (route["phase"], route["verdict"]) == ("Aborted", "Failed")
    assert {verdict for _, verdict in standing(world).values()} == {"Failed"}
    assert {name for name, weight in weights(world).items() if weight} == {"v1"}


@pytest.mark.parametrize("reboot", [False, True], ids=["killed", "rebooted"])
async def test_a_crash_forgets_nobody(world: World, reboot: bool) -> None:
    """Who has left would come back, or evidence be lost, with a process or with the machine."""
    await until_left(world, "v2", fail=BAD)
    await world.second(busy=False)
    before = world.first
    await (world.reboot() if reboot else world.kill())
    await world.start()
    after = world.first
    for key in ("phase", "weight", "stage", "racing", "candidate", "candidates", "startedAt", "arms"):
        assert after[key] == before[key], key
    assert (await world.until("Succeeded", "Aborted", fail=BAD))["candidate"] == "v4"


async def test_one_is_taken_out_by_hand(world: World) -> None:
    """A command would end all of the rollout, bring its share to another candidate, or be forgotten in a crash."""
    for _ in range(3):
        await world.second()
    controller = world.controller
    route = await controller.act("r", "abort", "ann", reason="too slow", candidate="v3")
    await world.settled()
    assert (route["phase"], route["racing"]) == ("Progressing", ["v2", "v4"])
    assert weights(world) == {"v1": 60.0, "v2": 20.0, "v3": 0.0, "v4": 20.0}
    assert standing(world)["v3"] == (False, "Inconclusive")
    entry = (await controller.records.history("r", 1, None))[0]
    assert (entry["kind"], entry["actor"]) == ("drop", "ann")
    assert (await controller.act("r", "abort", "bob", candidate="v3"))["stage"] == route["stage"], "told twice"
    assert (await controller.records.history("r", 1, None))[0]["id"] == entry["id"]
    found = await controller.records.why("r", entry["id"])
    assert found["agrees"] is True
    assert [each["text"].split(" has ")[0] for each in controller.status()["differences"]] == ["v3"]
    with pytest.raises(IllegalEvent, match="v9 is no candidate of this rollout: the candidates are v2, v3, v4"):
        await controller.act("r", "abort", "ann", candidate="v9")
    shown = Console(width=200, record=True, file=io.StringIO())
    shown.print(console.acted(world.first))
    assert "left: aborted by hand" in shown.export_text()
    assert "| v3 | left: aborted by hand |" in markdown(world.first | {"webhooks": []}, [])
    await world.kill()
    await world.start()
    controller = world.controller
    assert (world.first["racing"], standing(world)["v3"]) == (["v2", "v4"], (False, "Inconclusive"))
    route = await world.until("Succeeded", "Aborted", fail={"v2": 2})
    assert (route["phase"], route["candidate"]) == ("Succeeded", "v4"), "the others were not disturbed"
    assert found["note"] == "decided by ann, beside the evidence: v3 was taken out by hand"
    source = await recorded(world)
    again = backtest(loads(yaml.safe_dump(world.config), "new").config, "r", source)["replayed"]
    assert (again["phase"], again["decided"]) == ("Succeeded", True), again
    drops = [moment["text"] for moment in again["moments"] if moment["kind"] == "drop"]
    assert drops[0] == "v3 leaves the race, v2, v4 go on: aborted by ann: too slow", "taken out there as well"
    alone = backtest(loads(yaml.safe_dump(document(names=("v4",))), "new").config, "r", source)["replayed"]
    assert alone["phase"] == "Succeeded", "and no trouble of a file that has it not"
    found = await controller.records.why("r", (await controller.records.history("r", 1, None))[0]["id"])
    assert found["note"] == ""


async def test_every_decision_follows_from_its_evidence(world: World) -> None:
    """Nobody could show on what each candidate was dropped or promoted."""
    await world.until("Succeeded", "Aborted", fail=BAD)
    await world.kill()
    await world.start()
    records = world.controller.records
    for entry in await records.history("r", 100, None):
        found = await records.why("r", entry["id"])
        if entry["kind"] == "begin":
            continue
        assert found["agrees"] is True, (entry, found["differences"])
        assert [each["name"] for each in found["derived"]["candidates"]] == ["v2", "v3", "v4"]
        if entry["kind"] == "drop":
            assert entry["details"]["candidates"]["v2"]["abort"]


async def test_the_same_file_decides_the_same_again(world: World) -> None:
    """A backtest would mix the candidates up, or lose those that go on when one leaves."""
    await world.second()
    await world.until("Succeeded", "Aborted", fail=BAD)
    source = await recorded(world)
    answer = backtest(loads(yaml.safe_dump(world.config), "new").config, "r", source)
    assert (answer["replayed"]["phase"], answer["replayed"]["decided"]) == ("Succeeded", True), answer["replayed"]
    entries = (await world.controller.records.history("r", 50, None))[::-1]
    live = [(entry["kind"], entry["text"]) for entry in entries if entry["kind"] != "begin"]
    assert [(each["kind"], each["text"]) for each in answer["replayed"]["moments"] if each["kind"] != "begin"] == live
    alone = backtest(loads(yaml.safe_dump(document(names=("v4",))), "new").config, "r", source)
    assert alone["replayed"]["phase"] == "Succeeded", "one of those that were recorded, alone"
    strange = backtest(loads(yaml.safe_dump(document(names=("v5",))), "new").config, "r", source)["replayed"]
    assert (strange["decided"], strange["stopped"]) == (False, "no slice of v5 was recorded")


async def test_reports_tell_of_each(world: World) -> None:
    """People would see the front alone, and take its numbers for those of all."""
    route = await until_left(world, "v2", fail=BAD)
    text = markdown(route | {"webhooks": []}, [])
    assert text.startswith("# r: v2 and v3 and v4 against v1")
    assert "each of v3, v4" in text
    assert "| v2 | left: harm is proven |" in text
    for name in ("v2", "v3", "v4"):
        assert f"## Metrics of {name}\n" in text
    shown = Console(width=200, record=True, file=io.StringIO())
    shown.print(console.route(route))
    told = shown.export_text()
    assert "left: harm is proven" in told
    assert all(f"Evidence of {name}" in told for name in ("v2", "v3", "v4"))
    assert "v3, v4" in told, "who is in the race"


async def test_copies_are_compared_for_each(tmp_path: Path) -> None:
    """Pairs of one candidate would be counted for another."""
    world = World(tmp_path, document({"setMirror": {"percent": 100}}, {"pause": {}}, {"setWeight": 20}))
    await world.start()
    for _ in range(4):
        await world.second()
    route = await world.second(busy=False)
    assert [each["racing"] for each in route["candidates"]] == [True] * 3
    assert [each["metrics"][0]["nCandidate"] for each in route["candidates"]] == [4 * 2 * 100] * 3
    await world.close()


async def test_a_baseline_is_the_control_of_all(tmp_path: Path) -> None:
    """Each candidate would be compared with another control, or with stable in spite of the baseline."""
    given = document({"setWeight": 20}, {"analysis": {}})
    given["routes"][0]["backendRefs"].append({"name": "v5", "role": "baseline"})
    world = World(tmp_path, given)
    await world.start()
    assert weights(world) == {"v1": 20.0, "v2": 20.0, "v3": 20.0, "v4": 20.0, "v5": 20.0}
    slow_start = {"v2": 2, "v3": 8, "v4": 8, "v5": 8}
    route = await until_left(world, "v2", fail=slow_start)
    assert {each["ratio"]["expectedShare"] for each in route["candidates"]} == {0.5}
    route = await world.until("Succeeded", "Aborted", fail=slow_start)
    assert (route["phase"], route["candidate"]) == ("Succeeded", "v3"), route["reason"]
    await world.close()
