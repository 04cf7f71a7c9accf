"""News for webhooks: told at least once and in their order, or given up aloud."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from config.routes.webhooks import Webhook
from proxy.control.storage.entries import Entry
from proxy.control.storage.keeper import Keeper
from proxy.control.storage.store import Letter
from proxy.control.webhooks.outbox import MAX_WAITING, Outbox
from proxy.control.webhooks.sending import Sender
from tests.proxy.control.webhooks.test_messages import STATE, entry, hook
from tests.support.receiver import Receiver

QUICK = {"baseInterval": "10ms", "maxInterval": "20ms"}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


class World:
    """An outbox before a real store and a real receiver; `restart` makes another one of both."""

    def __init__(self, path: Path, receiver: Receiver) -> None:
        self.path, self.receiver = path, receiver
        self.outbox: Outbox
        self._new()

    def _new(self) -> None:
        self.keeper, self.sender = Keeper(f"sqlite:///{self.path}"), Sender(time.time)
        self.outbox = Outbox(self.sender, self.keeper, time.time)

    def hook(self, **settings: Any) -> Webhook:
        return hook("event", **{"url": self.receiver.url("/e"), "retries": QUICK, **settings})

    async def keep(self, *texts: str, age_s: float = 0.0, hook: str = "on-event") -> list[Letter]:
        now_s = time.time() - age_s
        facts = [{"kind": "step", "message": text} for text in texts]
        letters = [Letter(f"id-{known['message']}", "m", hook, now_s, known) for known in facts]
        entries = [entry("step", text) for text in texts]
        await self.keeper.ask(lambda store: store.transition(STATE, b"", 0, None, entries, letters=letters))
        return letters

    async def restart(self) -> None:
        await self.close()
        self._new()

    async def close(self) -> None:
        await self.outbox.close()
        await self.sender.close()
        await self.keeper.close()

    async def waiting(self) -> list[Letter]:
        return await self.keeper.ask(lambda store: store.letters())

    async def journal(self) -> list[Entry]:
        return await self.keeper.ask(lambda store: store.journal("m", 50))


@pytest.fixture
async def world(tmp_path: Path, receiver: Receiver) -> AsyncIterator[World]:
    world = World(tmp_path / "a.db", receiver)
    yield world
    await world.close()


async def until(holds: Callable[[], Any], timeout_s: float = 10.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end_s
        await asyncio.sleep(0.01)


async def test_told_in_order_and_then_forgotten(world: World) -> None:
    """Broken: a chat would read that a rollout ended before it began, or hear it again at the next start."""
    world.outbox.follow({("m", "on-event"): world.hook()})
    world.receiver.answers["/e"] = [500, 200, 503, 200]
    world.outbox.take(await world.keep("a", "b", "c"))
    await until(lambda: world.outbox.counts(("m", "on-event")) == (0, 3, 0))
    assert [got.json["message"] for got in world.receiver.got] == ["a", "a", "b", "b", "c"]
    assert await world.waiting() == []


async def test_what_was_not_told_is_told_after_a_restart(world: World) -> None:
    """Broken: news of the last seconds before a crash would be lost."""
    world.receiver.answers["/e"] = 503
    world.outbox.follow({("m", "on-event"): world.hook()})
    world.outbox.take(await world.keep("a", "b"))
    await until(lambda: len(world.receiver.got) > 2)
    await world.restart()
    world.receiver.answers["/e"] = 200
    await world.outbox.recover()
    await asyncio.sleep(0.05)
    assert world.outbox.counts(("m", "on-event")) == (2, 0, 0), "nobody knows yet who is to be told"
    world.outbox.follow({("m", "on-event"): world.hook()})
    await until(lambda: world.outbox.counts(("m", "on-event")) == (0, 2, 0))
    assert {got.headers["x-understudy-delivery"] for got in world.receiver.got} == {"id-a", "id-b"}


async def test_given_up_aloud(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: news that nobody got would be gone without a word."""
    world.receiver.answers["/e"] = 500
    world.outbox.follow({("m", "on-event"): world.hook(retries={**QUICK, "giveUpAfter": "1s"})})
    world.outbox.take(await world.keep("a", age_s=0.7))
    await until(lambda: world.outbox.counts(("m", "on-event")) == (0, 0, 1))
    assert (await world.journal())[0].text == (
        "webhook on-event was not told of step: not taken within 1s: answered 500"
    )
    assert "webhook given up" in capsys.readouterr().out
    await until(lambda: world.outbox.counts(("m", "on-event"))[0] == 0)


async def test_what_has_waited_too_long_already_is_tried_once(world: World) -> None:
    """Broken: after a long night with the controller down everything would be given up unseen."""
    world.outbox.follow({("m", "on-event"): world.hook(retries={**QUICK, "giveUpAfter": "1s"})})
    world.outbox.take(await world.keep("a", age_s=3600))
    await until(lambda: world.outbox.counts(("m", "on-event")) == (0, 1, 0))


async def test_a_webhook_that_is_gone_is_told_nothing(world: World) -> None:
    """Broken: a receiver that was taken out of the file would still hear of everything."""
    world.outbox.follow({})
    world.outbox.take(await world.keep("a"))
    await until(lambda: world.outbox.counts(("m", "on-event"))[2] == 1)
    assert world.receiver.got == []
    assert "no longer in the configuration" in (await world.journal())[0].text


async def test_one_dead_receiver_holds_up_no_other(world: World) -> None:
    """Broken: a chat that is down would keep the pager silent."""
    world.receiver.answers["/e"] = 500
    pager = world.hook(name="pager", url=world.receiver.url("/pager"))
    world.outbox.follow({("m", "on-event"): world.hook(), ("m", "pager"): pager})
    world.outbox.take([*await world.keep("a"), *await world.keep("b", hook="pager")])
    await until(lambda: world.outbox.counts(("m", "pager")) == (0, 1, 0))
    assert world.outbox.counts(("m", "on-event"))[0] == 1


async def test_new_settings_count_at_once(world: World) -> None:
    """Broken: a wrong address would be tried until it is given up, though it was mended."""
    world.receiver.answers["/e"] = 500
    slow = {"baseInterval": "1m", "maxInterval": "1h"}
    world.outbox.follow({("m", "on-event"): world.hook(retries=slow)})
    world.outbox.take(await world.keep("a"))
    await until(lambda: world.receiver.got)
    world.outbox.follow({("m", "on-event"): world.hook(url=world.receiver.url("/right"))})
    await until(lambda: world.outbox.counts(("m", "on-event")) == (0, 1, 0))
    assert len(world.receiver.at("/right")) == 1


async def test_a_heap_has_a_bound(world: World) -> None:
    """Broken: a receiver that is away for long would have the controller's memory grow."""
    world.receiver.answers["/e"] = 200
    letters = [
        Letter(f"id{n}", "m", "on-event", time.time(), {"kind": "step", "message": str(n)})
        for n in range(MAX_WAITING + 2)
    ]
    world.outbox.take(letters)
    world.outbox.follow({("m", "on-event"): world.hook()})
    await until(lambda: world.receiver.got)
    await until(lambda: world.outbox.counts(("m", "on-event"))[2] == 2)
    assert world.receiver.got[0].json["message"] == "2"


async def test_a_heap_has_a_bound_while_a_letter_is_tried(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """Broken: a receiver that says no for hours would have the heap grow for as long as one letter may be tried; or the
    letter that is being tried would be taken for another one, and be told twice or never."""
    world.receiver.answers["/e"] = 500
    world.outbox.follow({("m", "on-event"): world.hook()})
    names = [str(n) for n in range(MAX_WAITING + 3)]
    world.outbox.take(await world.keep(names[0]))
    await until(lambda: world.receiver.got)
    world.outbox.take(await world.keep(*names[1:]))
    assert world.outbox.counts(("m", "on-event")) == (MAX_WAITING, 0, 3)
    await until(lambda: world.outbox._boxes["m", "on-event"].saying.done())
    kept = [letter.facts["message"] for letter in await world.waiting()]
    assert kept == [names[0], *names[4:]], "the oldest that nobody is told of are gone from the store as well"
    said = [entry.text for entry in await world.journal() if entry.kind == "webhook"]
    assert said == [f"webhook on-event was not told of step: more than {MAX_WAITING} wait for it"] * 3
    assert capsys.readouterr().out.count("webhook given up") == 3
    world.receiver.answers["/e"] = 200
    await until(lambda: world.outbox.counts(("m", "on-event"))[1] > 3)
    told = [got.json["message"] for got in world.receiver.got]
    assert [name for at, name in enumerate(told) if name not in told[:at]][:3] == [names[0], *names[4:6]]
