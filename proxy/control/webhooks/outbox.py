"""News for webhooks: kept in the store until they are told, each at least once and in their order.

    transition ─▶ store (with the state, or not at all) ─▶ `take` ─▶ told ─▶ dropped from the store
                                                              └─ not within giveUpAfter ─▶ log, journal, dropped

A letter that was told just before the controller died is told again by the next one, under the same id.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import structlog

from config.routes.webhooks import Webhook
from config.values.durations import format_duration
from proxy.control.storage.entries import Entry
from proxy.control.storage.errors import StoreError
from proxy.control.storage.keeper import Keeper
from proxy.control.storage.store import Letter
from proxy.control.webhooks.sending import Sender

Key = tuple[str, str]
"""(route, webhook)."""
MAX_WAITING: Final = 1000
"""Letters that wait for one webhook; beyond it the oldest is given up at once, but for the one that is being tried. A
rollout has some dozens."""
STORE_AGAIN_S: Final = 5.0
_LOG = structlog.get_logger("understudy.webhooks")


@dataclass(slots=True)
class _Box:
    """The letters for one webhook, and what became of those before."""

    waiting: deque[Letter] = field(default_factory=deque)
    task: asyncio.Task[None] | None = None
    over: deque[Letter] = field(default_factory=deque)
    """Given up for want of room, and not said yet. A store that is away adds none: letters come with what it keeps."""
    saying: asyncio.Task[None] | None = None
    told: int = 0
    given_up: int = 0


class Outbox:
    """The letters of all routes. `clock` is steady."""

    def __init__(self, sender: Sender, keeper: Keeper, clock: Callable[[], float]) -> None:
        self._sender, self._keeper, self._clock = sender, keeper, clock
        self._hooks: dict[Key, Webhook] | None = None
        """None until a configuration is live: before, nobody knows who is to be told."""
        self._boxes: dict[Key, _Box] = {}
        self._known: set[str] = set()

    def follow(self, hooks: Mapping[Key, Webhook]) -> None:
        """These webhooks are there from now on. A letter goes by the settings of the moment at which it is sent."""
        for key, box in self._boxes.items():
            if self._hooks is not None and self._hooks.get(key) != hooks.get(key) and box.task is not None:
                box.task.cancel()
                box.task = None
        self._hooks = dict(hooks)
        for key in list(self._boxes):
            self._go_on(key)

    async def recover(self) -> None:
        """Take up what a controller before left.

        Raises:
            StoreError: the store cannot be read.
        """
        self.take(await self._keeper.ask(lambda store: store.letters()))

    def take(self, letters: Iterable[Letter]) -> None:
        """Tell these, which the store has."""
        for letter in letters:
            if letter.id in self._known:
                continue
            self._known.add(letter.id)
            key = (letter.route, letter.hook)
            box = self._boxes.setdefault(key, _Box())
            box.waiting.append(letter)
            self._bound(box)
            self._go_on(key)

    @property
    def waiting(self) -> list[Letter]:
        """What has yet to be told, in no order between webhooks."""
        return [letter for box in self._boxes.values() for letter in (*box.over, *box.waiting)]

    def counts(self, key: Key) -> tuple[int, int, int]:
        """How many letters wait for a webhook, were told, and were given up since the controller began."""
        box = self._boxes.get(key, _Box())
        return len(box.waiting), box.told, box.given_up

    async def close(self) -> None:
        """Send nothing any more; what waits stays in the store."""
        tasks = [task for box in self._boxes.values() for task in (box.task, box.saying) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _go_on(self, key: Key) -> None:
        box = self._boxes[key]
        if self._hooks is not None and box.waiting and (box.task is None or box.task.done()):
            box.task = asyncio.create_task(self._empty(key, box))

    def _bound(self, box: _Box) -> None:
        """Give up the oldest beyond the bound. The first one is kept while somebody may be listening to it."""
        first = int(box.task is not None and not box.task.done())
        while len(box.waiting) > MAX_WAITING:
            box.over.append(box.waiting[first])
            del box.waiting[first]
            box.given_up += 1
        if box.over and (box.saying is None or box.saying.done()):
            box.saying = asyncio.create_task(self._say(box))

    async def _say(self, box: _Box) -> None:
        while box.over:
            letter = box.over[0]
            await self._give_up(letter, f"more than {MAX_WAITING} wait for it")
            self._known.discard(letter.id)
            await self._drop(letter)
            box.over.popleft()

    async def _empty(self, key: Key, box: _Box) -> None:
        while box.waiting:
            letter, hook = box.waiting[0], (self._hooks or {}).get(key)
            if hook is None or not hook.told:
                await self._give_up(letter, "it is no longer in the configuration")
                box.given_up += 1
            else:
                left_s = letter.at_s + hook.retries.give_up_after - self._clock()
                answer = await self._sender.tell(hook, letter.facts, letter.id, left_s)
                if answer.yes:
                    box.told += 1
                else:
                    within = format_duration(hook.retries.give_up_after)
                    await self._give_up(letter, f"not taken within {within}: {answer.said}")
                    box.given_up += 1
            box.waiting.popleft()
            self._known.discard(letter.id)
            await self._drop(letter)

    async def _give_up(self, letter: Letter, why: str) -> None:
        text = f"webhook {letter.hook} was not told of {letter.facts['kind']}: {why}"
        _LOG.error("webhook given up", route=letter.route, webhook=letter.hook, kind=letter.facts["kind"], reason=why)
        entry = Entry(0, self._clock(), letter.route, "webhook", "rollout", text)
        try:
            await self._keeper.ask(lambda store: store.record(entry))
        except StoreError:
            return  # the keeper has said so, and the log has this

    async def _drop(self, letter: Letter) -> None:
        """It is the store's no longer; until it can be dropped there, nothing else is sent, so that a new start does
        not repeat more than this one."""
        while True:
            try:
                await self._keeper.ask(lambda store: store.forget_letter(letter.id))
            except StoreError:
                await asyncio.sleep(STORE_AGAIN_S)
            else:
                return
