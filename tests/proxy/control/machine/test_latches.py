"""Versions that stay out: through other candidates, through lists, through a route that was gone, until a retry."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.control.machine import latches, rollout, state_codec, steps
from proxy.control.machine.places import Rolling
from proxy.control.machine.rollout import (
    TERMINAL,
    Abort,
    Applied,
    IllegalEvent,
    Look,
    Phase,
    Plan,
    Promote,
    Record,
    Retry,
    Route,
    State,
    Swapped,
    Undo,
)
from proxy.control.machine.state import Runner
from proxy.control.machine.swaps import PARTS
from tests.proxy.control.machine.test_rollout import HARM, Verdict, plan
from tests.support.control_plane import STEPS, World

LAST = (steps.SetWeight(100_000), steps.Analysis(None, None))
NAMES = "abcd"


def one(name: str, **rest: Any) -> Plan:
    """A plan of a single candidate."""
    given: dict[str, Any] = {"candidate": name, "candidate_digest": f"digest of {name}"}
    return plan(*rest.pop("ladder", LAST), **{"min_duration_s": 0.0, "min_samples": 1, **given, **rest})


def several(names: str, **rest: Any) -> Plan:
    """A plan of these candidates; of one as a plan without a race."""
    if len(names) == 1:
        return one(names, **rest)
    rivals = tuple(Runner(name, f"digest of {name}") for name in names)
    return one(names[0], rivals=rivals, candidate_digest=f"digest of {names}", **rest)


def harmed(p: Plan, now_s: float = 1.0, kept: State | None = None) -> State:
    """A rollout that has ended by harm."""
    state = rollout.adopt(p, kept, now_s)[0]
    return rollout.step(p, state, HARM, now_s)[0]


def test_a_version_stays_out_though_another_one_was_in_the_file() -> None:
    """The revert of a revert would give clients the version that has just failed them."""
    first = harmed(one("a"))
    second = rollout.adopt(one("b"), first, 2.0)[0]
    assert (second.phase, second.latched) == (Phase.WAITING, latches.of(first))
    third, actions = rollout.adopt(one("a"), second, 3.0)
    assert (third.phase, third.verdict, third.decided_by) == (Phase.ABORTED, "Failed", "errors")
    assert (third.weight_ppm, third.mirror_ppm, third.ended_s) == (0, 0, 3.0)
    assert third.reason == f"it was found to do harm before, and stays out until retry: {first.reason}"
    assert third.stage > second.stage
    assert isinstance(actions[0], Route)
    assert [action.kind for action in actions[1:] if isinstance(action, Record)] == ["begin", "abort"]
    assert rollout.adopt(one("a"), third, 4.0) == (third, ())


def test_what_is_said_of_it_is_what_was_found() -> None:
    """Each time that the file has it again, the reason would be a sentence longer, and the time another."""
    state = harmed(one("a"))
    found = latches.of(state)
    for now_s, name in enumerate("babca", start=2):
        state = rollout.adopt(one(name), state, float(now_s))[0]
    assert state.reason.count("stays out until retry") == 1
    assert latches.of(state) == found
    assert (found[0].name, found[0].verdict, found[0].left_s) == ("a", "Failed", 1.0)


def test_retry_lets_in_the_version_of_the_file_and_no_other() -> None:
    """A retry would do nothing, or let in what nobody has spoken of."""
    state = harmed(one("b"), 2.0, harmed(one("a")))
    state = rollout.adopt(one("a"), state, 3.0)[0]
    again, _ = rollout.step(one("a"), state, Retry("ann"), 4.0)
    assert (again.phase, again.weight_ppm, again.attempt) == (Phase.WAITING, 100_000, 2)
    assert [runner.name for runner in again.latched] == ["b"]
    other = rollout.adopt(one("b"), again, 5.0)[0]
    assert (other.phase, [runner.name for runner in other.latched]) == (Phase.ABORTED, ["b"])
    free = rollout.adopt(one("a"), other, 6.0)[0]
    assert free.phase is Phase.WAITING, "it was retried, and nothing was found since"


def test_lists_are_no_way_round_it() -> None:
    """[a, b], then [b], then [a, b] would let a in again."""
    p = several("ab")
    state = rollout.adopt(p, None, 0.0)[0]
    state = rollout.step(p, state, Abort("ann", "too slow", "a"), 1.0)[0]
    for now_s, names in enumerate(("b", "c", "ab"), start=2):
        state = rollout.adopt(several(names), state, float(now_s))[0]
    assert (state.phase, state.racing) == (Phase.WAITING, ("b",))
    state = rollout.adopt(several("a"), state, 9.0)[0]
    assert (state.phase, state.verdict) == (Phase.ABORTED, "Inconclusive")


def test_what_ends_a_race_as_a_whole_ends_it_for_each() -> None:
    """An operator would abort all of them, and the next list bring them back one by one."""
    p = several("abc")
    state = rollout.step(p, rollout.adopt(p, None, 0.0)[0], Abort("ann", "stop it"), 1.0)[0]
    assert [runner.name for runner in latches.of(state)] == ["a", "b", "c"]
    alone = rollout.adopt(several("b"), state, 2.0)[0]
    assert (alone.phase, alone.decided_by) == (Phase.ABORTED, "operator")


def test_who_was_not_chosen_may_come_again() -> None:
    """A good version would be locked out since another one was chosen."""
    p = several("ab")
    state = rollout.step(p, rollout.adopt(p, None, 0.0)[0], Promote("ann", full=True, candidate="a"), 1.0)[0]
    state = rollout.step(p, state, Abort("ann", "", "a"), 2.0)[0]
    assert [runner.name for runner in latches.of(state)] == ["a"]
    assert rollout.adopt(several("b"), state, 3.0)[0].phase is Phase.WAITING


def test_what_was_only_replaced_in_the_file_is_not_out() -> None:
    """Whoever corrects the file in the middle could not go back."""
    state = rollout.adopt(one("a"), None, 0.0)[0]
    for now_s, name in enumerate("ba", start=1):
        state = rollout.adopt(one(name), state, float(now_s))[0]
    assert (state.phase, state.latched) == (Phase.WAITING, ())


def test_another_version_of_the_same_name_is_another_version() -> None:
    """The mended build would be refused as the broken one."""
    state = harmed(one("b"), 2.0, harmed(one("a")))
    assert rollout.adopt(one("a", candidate_digest="digest of a mended"), state, 3.0)[0].phase is Phase.WAITING


def test_the_newest_are_remembered() -> None:
    """The state of a route would grow for ever, or forget who has failed last."""
    state: State | None = None
    for number in range(latches.MOST + 5):
        state = harmed(one(f"v{number}"), float(number), state)
    assert state is not None
    assert [runner.name for runner in latches.of(state)] == [f"v{number}" for number in range(5, latches.MOST + 5)]
    assert rollout.adopt(one("v5"), state, 99.0)[0].phase is Phase.ABORTED
    assert rollout.adopt(one("v4"), state, 99.0)[0].phase is Phase.WAITING


@pytest.mark.parametrize("parts", [1, 4], ids=["nothing stopped", "stable stopped"])
def test_in_the_middle_of_a_swap_stable_is_put_back(parts: int) -> None:
    """Requests would be held for a version that is out, or be let go to a stable that is stopped."""
    state = harmed(one("a", ending=steps.Swap(10.0, 60.0)))
    swap = one("b", ladder=(steps.SetWeight(0),), ending=steps.Swap(10.0, 60.0))
    state = rollout.adopt(swap, state, 2.0)[0]
    state = rollout.step(swap, state, Applied(state.stage), 2.0)[0]
    for part in PARTS[1:parts]:
        state = rollout.step(swap, state, Swapped(state.stage, part), 3.0)[0]
    stopped = state.stopped
    out = replace(swap, candidate="a", candidate_digest="digest of a")
    after, _ = rollout.adopt(out, state, 4.0)
    assert after.phase is (Phase.REVERTING if stopped else Phase.ABORTED)
    assert (after.weight_ppm, bool(stopped)) == (0, parts == 4)
    if stopped:
        after = rollout.step(out, after, Applied(after.stage), 5.0)[0]
        for part in PARTS[1:]:
            after = rollout.step(out, after, Swapped(after.stage, part), 6.0)[0]
    assert (after.phase, after.verdict) == (Phase.ABORTED, "Failed")
    assert "stays out until retry" in after.reason


def test_several_that_wait_for_endpoints_are_out_each_by_itself() -> None:
    """Where the file has several candidates while endpoints of another one are half there, an abort would be of a
    version that nobody has."""
    p = one("d", **KINDS["rolling"])
    state = rollout.adopt(p, None, 0.0)[0]
    for event in (Swapped(state.stage, "ready"), Applied(state.stage + 1), Swapped(state.stage + 1, "drain")):
        state = rollout.step(p, state, event, 1.0)[0]
    state = rollout.adopt(several("ab"), state, 3.0)[0]
    assert (state.phase, state.former, state.candidate) == (Phase.PAUSED, "d", "a")
    state = rollout.step(several("ab"), state, Abort("ann"), 4.0)[0]
    assert [runner.digest for runner in latches.of(state)] == ["digest of a", "digest of b"]


def test_a_route_that_was_gone_remembers() -> None:
    """Taking the route out of the file and putting it back would be a way round the latch."""
    going = rollout.adopt(one("b"), harmed(one("a")), 2.0)[0]
    rest = latches.rest(going, 3.0)
    assert rest is not None
    assert (rest.phase, rest.stopped, rest.racing) == (Phase.ABORTED, "", ("",))
    assert state_codec.decode(state_codec.encode(rest)) == rest
    back, actions = rollout.adopt(one("b"), rest, 4.0)
    assert (back.phase, back.latched) == (Phase.WAITING, going.latched)
    assert "begins: the route is there again" in next(a.text for a in actions if isinstance(a, Record))
    assert rollout.adopt(one("a"), rest, 4.0)[0].phase is Phase.ABORTED
    assert latches.rest(rollout.adopt(one("b"), None, 0.0)[0], 1.0) is None


# --- whatever is edited

ROLLING = Rolling(("http://s:1", "http://s:2"), ("http://c:1", "http://c:2"), 1, 0, 1.0, 60.0)
REPLACING = tuple(
    step for batch in (1, 2) for step in (steps.Replace(batch * 500_000, batch, 2), steps.Analysis(None, None))
)[:-1]
KINDS: dict[str, dict[str, Any]] = {
    "canary": {},
    "longer": {"ladder": (steps.SetMirror(1_000_000), steps.Analysis(1, None), *LAST), "digest": "longer"},
    "baking": {"bake": steps.Bake(5.0, 0), "digest": "baking"},
    "swap": {"ladder": (steps.SetWeight(0),), "ending": steps.Swap(10.0, 60.0), "digest": "swap"},
    "rolling": {"ladder": REPLACING, "ending": steps.Promotion(False), "rolling": ROLLING, "digest": "rolling"},
}


@dataclass(frozen=True)
class Panel(Verdict):
    """A verdict on several."""

    candidates: tuple[tuple[str, Verdict], ...] = ()


class Model:
    """A route of which this is remembered: who was aborted, by name. Nothing of it is the machine's own memory."""

    def __init__(self) -> None:
        self.plan = one("a")
        self.state = rollout.adopt(self.plan, None, 0.0)[0]
        self.now_s = 0.0
        self.out: set[str] = set()

    def edit(self, names: str, kind: str) -> None:
        self.now_s += 1.0
        self.plan = several(names, **KINDS[kind if len(names) == 1 else "canary"])
        self._take(rollout.adopt(self.plan, self.state, self.now_s)[0])

    def fire(self, what: str) -> None:
        self.now_s += 1.0
        retried = what == "retry" and self.state.phase in TERMINAL
        try:
            after = rollout.step(self.plan, self.state, self._event(what), self.now_s)[0]
        except IllegalEvent:
            return
        self.out -= set(self.names) if retried else set()
        self._take(after)

    def restart(self) -> None:
        self.state = state_codec.decode(state_codec.encode(self.state))

    @property
    def names(self) -> list[str]:
        return [runner.name for runner in self.plan.rivals] or [self.plan.candidate]

    def _event(self, what: str) -> rollout.Event:
        state, first = self.state, self.state.racing[0] if self.state.racing else self.state.candidate
        match what:
            case "abort":
                return Abort("ann")
            case "abort one":
                return Abort("ann", "", first)
            case "promote":
                return Promote("ann", full=True, candidate=first)
            case "retry":
                return Retry("ann")
            case "undo":
                return Undo("ann")
            case "done":
                return Swapped(state.stage, state.doing)
            case "applied":
                return Applied(state.stage)
            case _:
                return self._look(what, first)

    def _look(self, what: str, first: str) -> Look:
        def on(name: str) -> Verdict:
            bad = what == "all harmed" or (what == "one harmed" and name == first)
            return Verdict(self.state.stage, 100, 100, abort=bad, proven=what == "proven")

        each = tuple((name, on(name)) for name in self.state.racing)
        whole = Panel(self.state.stage, 100, 100, abort=all(own.abort for _, own in each), proven=what == "proven")
        return Look(replace(whole, candidates=each))  # type: ignore[arg-type]

    def _take(self, after: State) -> None:
        """What everybody can see: who had a part in what has ended, or has left. While endpoints are put back for
        another candidate in the file, nobody was found to be bad."""
        ended = after.phase in (Phase.ABORTED, Phase.FAILED) or (after.phase is Phase.REVERTING and not after.former)
        was_live = self.state.phase not in TERMINAL
        if ended and (was_live or after.candidate != self.state.candidate):
            self.out |= set(after.racing) if after.candidate else set()
        self.out |= {runner.name for runner in after.race if runner.verdict in ("Failed", "Inconclusive")}
        self.state = after

    def check(self) -> None:
        state = self.state
        gets = state.weight_ppm or state.mirror_ppm or state.phase in (Phase.SWAPPING, Phase.PROMOTING, Phase.BAKING)
        going_back = state.phase is Phase.REVERTING or state.former
        if gets and not going_back:
            assert not self.out & set(state.racing), f"{state.racing} get traffic, and {self.out} are out"
        assert self.out <= {runner.name for runner in latches.of(state)}


EDITS = st.tuples(st.just("edit"), st.sampled_from([*NAMES, "ab", "bc", "abc", "cd"]), st.sampled_from(sorted(KINDS)))
EVENTS = st.tuples(
    st.just("fire"),
    st.sampled_from(["abort", "abort one", "all harmed", "one harmed", "proven", "fine", "promote", "retry", "undo",
                     "done", "done", "applied", "applied"]),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.one_of(EDITS, EVENTS, st.just(("restart",))), max_size=40))
def test_who_was_aborted_gets_nothing_until_retry(script: list[tuple[str, ...]]) -> None:
    """Some way of editing the file would give clients a version again that was taken from them."""
    model = Model()
    for what, *rest in script:
        getattr(model, what)(*rest)
        model.check()


# --- a whole controller


async def edit(world: World, *candidates: str) -> dict[str, Any]:
    """Give the route these candidates; the route afterwards."""
    edited = copy.deepcopy(world.config)
    edited["routes"][0]["backendRefs"] = [
        {"name": "v1", "role": "stable"}, *({"name": name, "role": "canary"} for name in candidates)
    ]  # fmt: skip
    world.write(edited)
    assert world.controller is not None
    assert (await world.controller.reload("ann"))["ok"]
    await world.settled()
    return world.first


def sent(world: World) -> set[str]:
    """The versions that any worker gives requests or copies."""
    snapshot = world.workers[0].snapshot
    (route, *_) = snapshot.routes
    upper, found = 0, set()
    for segment in route.segments:
        found |= {snapshot.backends[route.arms[segment.arm].backend].name} if segment.upper > upper else set()
        upper = segment.upper
    return found | {snapshot.backends[mirror.backend].name for mirror in route.mirrors if mirror.share}


async def test_revert_of_the_revert(world: World) -> None:
    """Clients would meet the version again that has failed them, also where the controller has died in between."""
    aborted = await world.until("Aborted", fail={"v2": 2})
    assert (await edit(world, "v3"))["phase"] == "Waiting"
    for _ in range(2):
        await world.second()
    await world.kill()
    await world.start()
    back = await edit(world, "v2")
    assert (back["phase"], back["verdict"], sent(world)) == ("Aborted", "Failed", {"v1"})
    assert back["reason"].endswith(f"stays out until retry: {aborted['reason']}")
    assert [(one["name"], one["reason"]) for one in back["latched"]] == [("v2", aborted["reason"])]
    await world.second()
    assert world.first["phase"] == "Aborted"
    assert world.controller is not None
    records = world.controller.records
    (last, *_) = await records.history("r", 1, None)
    assert (last["kind"], last["details"]["latched"]["candidate"]) == ("abort", "v2")
    told = await records.why("r", last["id"])
    assert told is not None
    assert told["note"] == f"v2 was out already, and stays out until retry: {aborted['reason']}"
    await world.controller.act("r", "retry", "ann")
    await world.settled()
    assert sent(world) == {"v1", "v2"}
    assert world.first["latched"] == []


async def test_a_list_does_not_let_it_in_again(world: World) -> None:
    """[v2, v3], then [v3], then [v2, v3] would give clients v2 again."""
    world.config["routes"][0]["strategy"]["canary"]["steps"] = STEPS[:2]
    await edit(world, "v2", "v3")
    for _ in range(60):
        if [one["name"] for one in (await world.second(fail={"v2": 1}))["latched"]]:
            break
    assert (world.first["racing"], sent(world)) == (["v3"], {"v1", "v3"})
    for candidates in (("v3",), ("v2", "v3")):
        route = await edit(world, *candidates)
        assert (route["phase"], sent(world)) == ("Waiting", {"v1", "v3"})
        assert [one["name"] for one in route["latched"]] == ["v2"]


@pytest.mark.parametrize("killed", [False, True], ids=["", "killed"])
async def test_a_route_that_comes_back_remembers(world: World, killed: bool) -> None:
    """Taking the route out of the file for a moment would let everybody in again."""
    await world.until("Aborted", fail={"v2": 2})
    await edit(world, "v3")
    with_route = copy.deepcopy(world.config)
    without = copy.deepcopy(world.config)
    without["routes"] = [{"name": "other", "backendRefs": [{"name": "v1"}]}]
    world.write(without)
    assert world.controller is not None
    assert (await world.controller.reload("ann"))["ok"]
    if killed:
        await world.kill()
        await world.start()
    world.write(with_route)
    assert (await world.controller.reload("ann"))["ok"]
    assert world.first["phase"] == "Waiting", "what went on begins anew"
    await world.settled()
    assert sent(world) == {"v1", "v3"}
    assert (await edit(world, "v2"))["phase"] == "Aborted"
    assert sent(world) == {"v1"}
