"""What webhooks are asked, and for how long an answer counts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from config.routes.webhooks import Webhook
from proxy.control.machine.gates import waiting
from proxy.control.machine.rollout import Phase
from proxy.control.webhooks.questions import Questions
from proxy.control.webhooks.sending import Answer
from tests.proxy.control.webhooks.test_messages import STATE, hook
from tests.support.control_plane import Time


class PlayedSender:
    """Answers by webhook; None never answers."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer | None] = {}
        self.asked: list[tuple[str, Mapping[str, Any], str]] = []
        self.cancelled = 0

    async def ask(self, hook: Webhook, facts: Mapping[str, Any], id_: str) -> Answer:
        self.asked.append((hook.name, facts, id_))
        answer = self.answers.get(hook.name, Answer(True, "answered 200"))
        if answer is None:
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled += 1
        assert answer is not None
        return answer


class World:
    def __init__(self) -> None:
        self.time, self.sender = Time(), PlayedSender()
        self.questions = Questions(self.sender, lambda: self.time.wall_s, lambda: self.time.monotonic_s)  # type: ignore[arg-type]

    async def ask(self, hooks: tuple[Webhook, ...], *gates: str, state: Any = STATE) -> None:
        self.questions.ask(hooks, state, gates)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


@pytest.fixture
def world() -> World:
    return World()


NO = Answer(False, "answered 403")
CONFIRM = hook("confirm-promotion")


async def test_a_yes_confirms(world: World) -> None:
    """Broken: a rollout would stand at its gate for ever, or never stand there."""
    answers = world.questions.answers((CONFIRM,), STATE)
    expected = "confirm-promotion by webhook on-confirm-promotion: asked, and no answer yet"
    assert waiting("confirm-promotion", answers) == expected
    await world.ask((CONFIRM,), "confirm-promotion")
    assert waiting("confirm-promotion", world.questions.answers((CONFIRM,), STATE)) == ""


async def test_a_no_is_said_with_its_webhook(world: World) -> None:
    """Broken: nobody at night would know who holds the rollout up."""
    world.sender.answers["on-confirm-promotion"] = NO
    await world.ask((CONFIRM,), "confirm-promotion")
    answers = world.questions.answers((CONFIRM,), STATE)
    expected = "confirm-promotion by webhook on-confirm-promotion: answered 403"
    assert waiting("confirm-promotion", answers) == expected
    assert answers.harm == ""
    said, ago_s = world.questions.last("m", CONFIRM)
    assert (said, ago_s) == ("answered 403", 0.0)


async def test_only_what_is_wanted_is_asked(world: World) -> None:
    """Broken: a person would be asked to confirm a promotion that is days away."""
    await world.ask((CONFIRM, hook("rollout")), "rollout")
    assert [name for name, _, _ in world.sender.asked] == ["on-rollout"]


async def test_all_webhooks_of_a_gate_have_to_say_yes(world: World) -> None:
    """Broken: one of two people would be enough."""
    second = hook("confirm-promotion", name="second")
    world.sender.answers["second"] = NO
    await world.ask((CONFIRM, second), "confirm-promotion")
    assert "webhook second: answered 403" in waiting(
        "confirm-promotion", world.questions.answers((CONFIRM, second), STATE)
    )


async def test_asked_again_after_the_interval_and_not_before(world: World) -> None:
    """Broken: a receiver would be asked at every tick, or a person who changes their mind would not be heard."""
    world.sender.answers["on-confirm-promotion"] = NO
    for _ in range(3):
        await world.ask((CONFIRM,), "confirm-promotion")
        world.time.move(1.0)
    assert len(world.sender.asked) == 1
    world.time.move(8.0)
    world.sender.answers.clear()
    await world.ask((CONFIRM,), "confirm-promotion")
    assert len(world.sender.asked) == 2
    assert not waiting("confirm-promotion", world.questions.answers((CONFIRM,), STATE))


async def test_one_question_is_out_at_a_time(world: World) -> None:
    """Broken: a receiver that hangs would be sent more and more."""
    world.sender.answers["on-confirm-promotion"] = None
    for _ in range(5):
        await world.ask((CONFIRM,), "confirm-promotion")
        world.time.move(60.0)
    assert len(world.sender.asked) == 1


@pytest.mark.parametrize("change", [{"step": 2}, {"attempt": 2}, {"candidate_digest": "other"}])
async def test_a_yes_counts_for_what_it_was_asked_for(world: World, change: dict[str, Any]) -> None:
    """Broken: the yes to 5 % would be one to 50 %, or one to a version that nobody has looked at."""
    await world.ask((CONFIRM,), "confirm-promotion")
    moved = replace(STATE, **change)
    assert waiting("confirm-promotion", world.questions.answers((CONFIRM,), moved))
    await world.ask((CONFIRM,), "confirm-promotion", state=moved)
    first, second = (id_ for _, _, id_ in world.sender.asked)
    assert first != second


async def test_the_first_sample_asks_nobody_again(world: World) -> None:
    """Broken: a receiver would be asked the same twice within seconds, and the yes to it be thrown away."""
    check = hook("rollout")
    waits = replace(STATE, phase=Phase.WAITING)
    begun = replace(waits, phase=Phase.PROGRESSING, step_started_s=STATE.step_started_s + 7)
    await world.ask((check,), "rollout", state=waits)
    world.questions.answers((check,), waits)
    world.time.move(7.0)
    assert not waiting("rollout", world.questions.answers((check,), begun))
    await world.ask((check,), "rollout", state=begun)
    assert len(world.sender.asked) == 1
    world.time.move(check.interval)
    await world.ask((check,), "rollout", state=begun)
    first, second = (id_ for _, _, id_ in world.sender.asked)
    assert first == second, "and its receiver knows it again"
    again = replace(begun, step_started_s=STATE.step_started_s + 900)
    assert waiting("rollout", world.questions.answers((check,), again)), "a step that began anew is another one"


@pytest.mark.parametrize("change", [{"stage": 9}, {"step": 2}, {"candidate": "v9"}, {"phase": Phase.PAUSED}])
async def test_the_first_sample_of_another_rollout_has_its_own(world: World, change: dict[str, Any]) -> None:
    """Broken: the yes to a rollout that was taken out of the file would be one to the next."""
    waits = replace(STATE, phase=Phase.WAITING)
    await world.ask((CONFIRM,), "confirm-promotion", state=waits)
    begun = replace(waits, phase=Phase.PROGRESSING, step_started_s=STATE.step_started_s + 7)
    moved = replace(begun, **change)
    assert waiting("confirm-promotion", world.questions.answers((CONFIRM,), moved))


async def test_a_yes_goes_stale(world: World) -> None:
    """Broken: a yes to a promotion that was not made then would hold when the evidence is another."""
    await world.ask((CONFIRM,), "confirm-promotion")
    world.time.move(3 * CONFIRM.interval + CONFIRM.timeout)
    assert not waiting("confirm-promotion", world.questions.answers((CONFIRM,), STATE))
    world.time.move(1.0)
    assert "long ago" in waiting("confirm-promotion", world.questions.answers((CONFIRM,), STATE))


async def test_another_address_is_asked_anew(world: World) -> None:
    """Broken: after an edit of the file the old receiver's yes would count for the new one."""
    await world.ask((CONFIRM,), "confirm-promotion")
    other = CONFIRM.model_copy(update={"url": "http://other/"})
    assert waiting("confirm-promotion", world.questions.answers((other,), STATE))
    assert world.questions.last("m", other) == ("", None)


async def test_a_failing_check_aborts_only_where_it_is_asked_to(world: World) -> None:
    """Broken: a check that fails would roll back by itself, or never though the file says so."""
    plain, counted = hook("rollout"), hook("rollout", name="counted", abortAfter=3)
    world.sender.answers |= {"on-rollout": NO, "counted": NO}
    for step in range(3):
        assert world.questions.answers((plain, counted), STATE).harm == ""
        await world.ask((plain, counted), "rollout", state=replace(STATE, step=step))
        world.time.move(11.0)
    last = replace(STATE, step=2)
    assert world.questions.answers((plain,), last).harm == ""
    expected = "webhook counted failed 3 times in a row: answered 403"
    assert world.questions.answers((plain, counted), last).harm == expected


async def test_a_yes_to_a_rollback_aborts(world: World) -> None:
    """Broken: the button that takes a candidate back would do nothing, or a no would."""
    button = hook("rollback")
    world.sender.answers["on-rollback"] = NO
    await world.ask((button,), "rollback")
    assert world.questions.answers((button,), STATE).harm == ""
    world.time.move(10.0)
    world.sender.answers.clear()
    await world.ask((button,), "rollback")
    assert world.questions.answers((button,), STATE).harm == "webhook on-rollback asked for a rollback"


async def test_who_is_gone_is_asked_no_more(world: World) -> None:
    """Broken: tasks of routes that are gone would pile up."""
    world.sender.answers["on-confirm-promotion"] = None
    await world.ask((CONFIRM,), "confirm-promotion")
    world.questions.keep(set())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert world.sender.cancelled == 1
    await world.ask((CONFIRM,), "confirm-promotion")
    await world.questions.close()
    assert world.sender.cancelled == 2
