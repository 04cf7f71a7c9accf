"""Smoke requests: what every endpoint of an idle version is asked before all traffic goes to it.

Asked is in rounds, all endpoints side by side, until one passes as a whole. Whoever has a health check must have
passed it first.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from config.rollouts.takeover import SmokeRequest
from proxy.control.endpoints.asking import NoAnswerError, Question, ask, session
from proxy.control.endpoints.health import Condition
from proxy.snapshot import Backend, Endpoint

AGAIN_S: Final = 2.0
"""From the end of a round that failed to the next one."""
Key = tuple[str, int, int]
"""(route, stage, step): what a round is for."""
_TOLERANCE: Final = 1e-6
_USER_AGENT: Final = "understudy-smoke"
_LOG = structlog.get_logger("understudy.smoke")


@dataclass(slots=True)
class _Round:
    key: Key
    task: asyncio.Task[str]
    failed_before: int = 0
    ended_s: float = math.inf


class Smokes:
    """The rounds that are under way, one for each route; of rounds that failed the next one begins by itself."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._rounds: dict[str, _Round] = {}

    def ask(self, key: Key, backend: Backend, requests: Sequence[SmokeRequest], known: Sequence[Condition | None]
            ) -> str | None:  # fmt: skip
        """What the last round for this key has found, "" if all is well; None while there is nothing to tell.

        `known` is the health of the endpoints, in their order; None where an endpoint is not checked.
        """
        at = self._rounds.get(key[0])
        if at is not None and at.key != key:
            at.task.cancel()
            at = None
        if at is None or self._monotonic() - at.ended_s >= AGAIN_S:
            before = None if at is None else at.task.result()
            failed = self.failed(key[0]) if at is not None else 0
            self._rounds[key[0]] = self._begin(key, backend, requests, known)
            self._rounds[key[0]].failed_before = failed
            return before
        return at.task.result() if at.task.done() else None

    def failed(self, route: str) -> int:
        """How many rounds in a row have failed for the present key."""
        at = self._rounds.get(route)
        if at is None:
            return 0
        return at.failed_before + bool(at.task.done() and at.task.result())

    def forget(self, route: str) -> None:
        """Nothing is asked for this route any more."""
        at = self._rounds.pop(route, None)
        if at is not None:
            at.task.cancel()

    async def close(self) -> None:
        """Ask nobody any more."""
        tasks = [at.task for at in self._rounds.values()]
        self._rounds.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(
        self, key: Key, backend: Backend, requests: Sequence[SmokeRequest], known: Sequence[Condition | None]
    ) -> _Round:
        found = _Round(key, asyncio.create_task(_round(backend, requests, known)))

        def ended(task: asyncio.Task[str]) -> None:
            found.ended_s = self._monotonic()
            if not task.cancelled() and task.result():
                _LOG.info("smoke requests fail", route=key[0], backend=backend.name, reason=task.result())

        found.task.add_done_callback(ended)
        return found


async def _round(backend: Backend, requests: Sequence[SmokeRequest], known: Sequence[Condition | None]) -> str:
    """Why the first of the endpoints is not fit to serve, "" if all are."""
    for endpoint, condition in zip(backend.endpoints, known, strict=True):
        if condition is not None and condition.healthy is not True:
            return f"{endpoint}: {condition.reason or 'its health check has not passed yet'}"
    found = await asyncio.gather(*(_ask_all(endpoint, backend, requests) for endpoint in backend.endpoints))
    return next(filter(None, found), "")


async def _ask_all(endpoint: Endpoint, backend: Backend, requests: Sequence[SmokeRequest]) -> str:
    async with session(endpoint, _USER_AGENT) as through:
        for request in requests:
            question = Question(request.path, request.timeout, request.verb, request.fields, request.data,
                                reads=bool(request.expect.json_values))  # fmt: skip
            try:
                status, body = await ask(through, endpoint, backend.tls, question)
                failure = differs(request, status, body)
            except NoAnswerError as error:
                failure = str(error)
            if failure:
                path = request.path.partition("?")[0]  # parameters may be credentials, and reasons are told to all
                return f"{endpoint}: {request.verb} {path}: {failure}"
    return ""


def differs(request: SmokeRequest, status: int, body: bytes) -> str:
    """How an answer is not what was expected, "" if it is."""
    expect = request.expect
    if status != expect.status:
        return f"status {status}, expected {expect.status}"
    if not expect.json_values:
        return ""
    try:
        answer = json.loads(body)
    except ValueError:
        return "the answer is not JSON"
    for path, wanted in expect.json_values.items():
        try:
            found = _value(answer, path)
        except (KeyError, IndexError, TypeError, ValueError):
            return f"the answer has no {path}"
        if not _same(found, wanted):
            return f"{path} is {_short(found)}, expected {_short(wanted)}"
    return ""


def _value(answer: Any, path: str) -> Any:
    for part in path.split("."):
        answer = answer[int(part)] if isinstance(answer, list) else answer[part]
    return answer


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    if isinstance(found, int | float) and isinstance(wanted, int | float):
        return math.isclose(found, wanted, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    if isinstance(wanted, list | tuple):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(_same, found, wanted))
    if isinstance(wanted, Mapping):
        return isinstance(found, dict) and all(key in found and _same(found[key], wanted[key]) for key in wanted)
    return bool(found == wanted)


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 100 else f"{text[:99]}…"
