"""The webhooks of all routes: what they are asked, what they are told, and how both look to people.

rollout.step ─▶ Ask ─▶ `questions` ─▶ answers ─▶ the next Look
           └─▶ Record ─▶ letters ─▶ store ─▶ `outbox` ─▶ told
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from config import schema
from config.routes.webhooks import Webhook
from proxy.control.machine.gates import UNASKED, Answers
from proxy.control.machine.state import State
from proxy.control.storage.entries import Entry
from proxy.control.storage.keeper import Keeper
from proxy.control.storage.store import Letter
from proxy.control.webhooks import messages
from proxy.control.webhooks.outbox import Outbox
from proxy.control.webhooks.questions import Questions
from proxy.control.webhooks.sending import Sender

Json = dict[str, Any]


class Hooks:
    """What the controller knows of webhooks. `clock` is steady."""

    def __init__(self, keeper: Keeper, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._sender = Sender()
        self._questions = Questions(self._sender, clock, monotonic)
        self._outbox = Outbox(self._sender, keeper, clock)
        self._clock = clock

    async def recover(self) -> None:
        """Take up what has yet to be told.

        Raises:
            StoreError: the store cannot be read.
        """
        await self._outbox.recover()

    def follow(self, routes: Sequence[schema.Route]) -> None:
        """Go by these routes from now on."""
        self._outbox.follow({(route.name, hook.name): hook for route in routes for hook in route.webhooks})
        self._questions.keep({(route.name, hook.name) for route in routes for hook in route.webhooks})

    def answers(self, hooks: Sequence[Webhook], state: State | None) -> Answers:
        """What the webhooks of a route say of where its rollout stands."""
        return self._questions.answers(hooks, state) if hooks and state is not None else UNASKED

    def ask(self, hooks: Sequence[Webhook], state: State, gates: Iterable[str]) -> None:
        """Have webhooks asked, each when its time has come; the answer comes with a later look."""
        self._questions.ask(hooks, state, gates)

    @staticmethod
    def letters(hooks: Sequence[Webhook], before: State | None, state: State, entries: Sequence[Entry]) -> list[Letter]:
        """What is to be told of a transition."""
        told = sum(hook.told for hook in hooks)
        ids = [uuid.uuid4().hex for _ in range(told * (len(entries) + 1))]
        return messages.letters(hooks, before, state, entries, ids)

    def take(self, letters: Iterable[Letter]) -> None:
        """Tell these, which the store has."""
        self._outbox.take(letters)

    @property
    def untold(self) -> list[Letter]:
        """What has yet to be told."""
        return self._outbox.waiting

    def view(self, route: schema.Route) -> list[Json]:
        """How the webhooks of a route look to people: no URL is among it."""
        found = []
        for hook in route.webhooks:
            said, ago_s = self._questions.last(route.name, hook)
            waiting, told, given_up = self._outbox.counts((route.name, hook.name))
            found.append({
                "name": hook.name,
                "type": hook.type,
                "answer": said,
                "answeredAt": None if ago_s is None else self._clock() - ago_s,
                "waiting": waiting,
                "told": told,
                "givenUp": given_up,
            })  # fmt: skip
        return found

    async def close(self) -> None:
        """Ask and tell nobody any more."""
        await self._questions.close()
        await self._outbox.close()
        await self._sender.close()
