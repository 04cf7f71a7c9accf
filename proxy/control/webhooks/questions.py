"""Questions to webhooks: which are out, what was answered, and when each is asked again.

A question is asked beside the tick and never holds it up. Its answer counts for the step and the attempt that it was
asked for; a yes goes stale, so that one which was given long ago, when the evidence was another, has to be given again.
The first sample of a candidate begins the clock of its step anew, and no other step: what was answered while it was
waited for counts on. What is known here dies with the controller: the next one asks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from config.routes.webhooks import Webhook
from proxy.control.machine.gates import Answers
from proxy.control.machine.state import Phase, State
from proxy.control.webhooks import messages
from proxy.control.webhooks.sending import Answer, Sender

STALE_INTERVALS: Final = 3
"""A yes counts for so many intervals of its webhook, and the time that one answer may take."""
_LOG = structlog.get_logger("understudy.webhooks")


@dataclass(slots=True)
class _Question:
    """What is known of one webhook's question. `id` is what the receiver knows it by, `now` what it would be known by
    if it were asked for the first time, `at` where the rollout stood. `noes` counts the answers in a row that were not
    yes."""

    id: str
    now: str
    at: tuple[object, ...]
    waiting: bool
    hook: Webhook
    task: asyncio.Task[None] | None = None
    answer: Answer | None = None
    asked_s: float = 0.0
    noes: int = 0


class Questions:
    """The questions of all routes. `clock` is steady."""

    def __init__(self, sender: Sender, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._sender, self._clock, self._monotonic = sender, clock, monotonic
        self._questions: dict[tuple[str, str], _Question] = {}

    def ask(self, hooks: Sequence[Webhook], state: State, types: Iterable[str]) -> None:
        """Have the webhooks of these types asked, each when its time has come."""
        wanted = frozenset(types)
        for hook in hooks:
            if hook.type not in wanted:
                continue
            question = self._question(hook, state)
            waited_s = self._monotonic() - question.asked_s
            if question.task is None and (question.answer is None or waited_s >= hook.interval):
                known = messages.facts(state, self._clock(), kind=hook.type, text=state.reason)
                question.task = asyncio.create_task(self._ask(question, known))

    def answers(self, hooks: Sequence[Webhook], state: State) -> Answers:
        """What the webhooks say of where the rollout stands."""
        said: dict[str, str] = {}
        confirmed: set[str] = set()
        harm = ""
        for hook in hooks:
            if hook.told:
                continue
            question = self._question(hook, state)
            yes = question.answer is not None and question.answer.yes and not self._stale(question)
            if hook.type == "rollback":
                harm = harm or (f"webhook {hook.name} asked for a rollback" if yes else "")
                continue
            if not yes:
                said.setdefault(hook.type, f"{hook.type} by webhook {hook.name}: {_said(question)}")
            if hook.abort_after is not None and question.noes >= hook.abort_after:
                harm = harm or f"webhook {hook.name} failed {question.noes} times in a row: {_said(question)}"
            confirmed.add(hook.type)
        return Answers(frozenset(confirmed - said.keys()), said, harm)

    def last(self, route: str, hook: Webhook) -> tuple[str, float | None]:
        """What a webhook answered last and how many seconds ago, for people; an empty text before it was asked."""
        question = self._questions.get((route, hook.name))
        if question is None or question.answer is None or question.hook != hook:
            return "", None
        return question.answer.said, self._monotonic() - question.asked_s

    def keep(self, hooks: Iterable[tuple[str, str]]) -> None:
        """Only these (route, webhook) are there: the others are asked nothing any more."""
        known = frozenset(hooks)
        for key in [key for key in self._questions if key not in known]:
            self._drop(self._questions.pop(key))

    async def close(self) -> None:
        """Ask nobody any more."""
        tasks = [question.task for question in self._questions.values() if question.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._questions.clear()

    def _question(self, hook: Webhook, state: State) -> _Question:
        """The question as it stands now; one for another step, attempt or webhook is dropped with its answer."""
        key, id_ = (state.route, hook.name), messages.question_id(state.route, hook, state)
        known = self._questions.get(key)
        at, waiting = messages.place(state), state.phase is Phase.WAITING
        if known is not None and known.hook == hook:
            has_begun = known.waiting and known.at == at and state.phase is Phase.PROGRESSING
            if known.now == id_ or has_begun:
                known.now, known.at, known.waiting = id_, at, waiting
                return known
        fresh = _Question(id_, id_, at, waiting, hook)
        if known is not None:
            self._drop(known)
            if known.hook == hook and hook.type == "rollout":
                fresh.noes = known.noes  # a step that is over does not make a failing check sound
        self._questions[key] = fresh
        return fresh

    @staticmethod
    def _drop(question: _Question) -> None:
        if question.task is not None:
            question.task.cancel()

    def _stale(self, question: _Question) -> bool:
        age_s = self._monotonic() - question.asked_s
        return age_s > STALE_INTERVALS * question.hook.interval + question.hook.timeout

    async def _ask(self, question: _Question, known: messages.Json) -> None:
        hook, before = question.hook, question.answer
        answer = await self._sender.ask(hook, known, question.id)
        question.answer, question.asked_s, question.task = answer, self._monotonic(), None
        question.noes = 0 if answer.yes else question.noes + 1
        if before is None or before.said != answer.said:
            log = _LOG.info if answer.yes or hook.type == "rollback" else _LOG.warning
            log("webhook answered", route=known["name"], webhook=hook.name, type=hook.type, said=answer.said)


def _said(question: _Question) -> str:
    if question.answer is None:
        return "asked, and no answer yet"
    return f"{question.answer.said}, and that was long ago" if question.answer.yes else question.answer.said
