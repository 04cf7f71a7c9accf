"""Whether the endpoints of backends are well: each is asked, by the controller alone, and the workers are told.

    question ─▶ answer ─▶ `judged` (pure) ─▶ Condition ─▶ changed? ─▶ Snapshot.unhealthy ─▶ workers

What is not known yet counts as well. A controller that starts takes up what its predecessor told the workers, and
workers whose controller died go on with what they knew last. A name is asked as it is configured: where it has
several addresses, one of them answers for all.
"""

from __future__ import annotations

import asyncio
import random as randomness
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import aiohttp
import structlog

from config.backends.health import HealthCheck
from proxy.control.endpoints import asking
from proxy.snapshot import Backend, Endpoint, Snapshot, Tls

Key = tuple[str, Endpoint]
"""(backend's name, endpoint)."""
JITTER: Final = 0.1
"""Part of the interval that is added at random: endpoints and proxies that started together drift apart."""
FIRST_S: Final = 1.0
"""All endpoints are asked for the first time within this time, or within their interval if it is shorter."""
_USER_AGENT: Final = "understudy-health-check"
_LOG = structlog.get_logger("understudy.health")


@dataclass(frozen=True, slots=True)
class Condition:
    """What is known of an endpoint. `healthy` is None until enough answers have come.

    `streak` counts the answers in a row that speak against `healthy`. Times are seconds since 1970.
    """

    healthy: bool | None = None
    streak: int = 0
    reason: str = ""
    since_s: float = 0.0
    asked_s: float = 0.0

    @property
    def usable(self) -> bool:
        """Whether requests are sent there."""
        return self.healthy is not False


def doubt(endpoint: Endpoint, known: Condition | None, since_s: float, of: str = "") -> str:
    """Why an endpoint is not known to be well since then; "" if it is. `of` follows its name where others are meant as
    well."""
    if known is None or known.asked_s < since_s:
        return f"{endpoint} was not asked yet"
    if known.healthy is not True or known.reason:
        return f"{endpoint}{of}: {known.reason or 'its health check has not passed yet'}"
    return ""


def judged(known: Condition, reason: str, check: HealthCheck, now_s: float) -> Condition:
    """What is known after one more answer. `reason` says why it failed, and is empty where it passed."""
    passed = not reason
    if known.healthy is passed:
        return replace(known, streak=0, reason=reason, asked_s=now_s)
    needed = check.unhealthy_threshold if not passed else 1 if known.healthy is None else check.healthy_threshold
    if known.streak + 1 >= needed:
        return Condition(passed, 0, reason, now_s, now_s)
    return replace(known, streak=known.streak + 1, reason=reason or known.reason, asked_s=now_s)


@dataclass(frozen=True, slots=True)
class _Question:
    """What an endpoint is asked, and how it is reached."""

    endpoint: Endpoint
    check: HealthCheck
    tls: Tls


@dataclass(frozen=True, slots=True)
class _Probe:
    question: _Question
    task: asyncio.Task[None]


class Checks:
    """The checks that go on. `changed` is called when an endpoint became usable or unusable."""

    def __init__(
        self,
        changed: Callable[[], None],
        clock: Callable[[], float] = time.time,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        self._changed, self._clock, self._random = changed, clock, random
        self._probes: dict[Key, _Probe] = {}
        self._conditions: dict[Key, Condition] = {}
        self._met: set[Key] = set()
        """Endpoints that have been well while this controller was there."""

    @property
    def news(self) -> Callable[[], None]:
        """What is called when something has changed that workers have to be told."""
        return self._changed

    def inherit(self, snapshot: Snapshot | None) -> None:
        """Take up what the workers hold."""
        if snapshot is None:
            return
        for number, at in snapshot.unhealthy:
            backend = snapshot.backends[number]
            known = Condition(healthy=False, reason="found before the controller started", since_s=self._clock())
            self._conditions[backend.name, backend.endpoints[at]] = known

    def unhealthy(self, backends: Sequence[Backend]) -> tuple[tuple[int, int], ...]:
        """The endpoints that are not well, as (backend, endpoint) by number."""
        down = {key for key, known in self._conditions.items() if not known.usable}
        return tuple(
            (number, at)
            for number, backend in enumerate(backends)
            for at, endpoint in enumerate(backend.endpoints)
            if (backend.name, endpoint) in down
        )

    def condition(self, backend: str, endpoint: Endpoint) -> Condition | None:
        """What is known of an endpoint; None where it is not checked."""
        key = (backend, endpoint)
        return self._conditions.get(key, Condition() if key in self._probes else None)

    def down(self, backend: str) -> str:
        """Why no endpoint of a backend is well; "" as long as one is, or may be."""
        known = {key[1]: self._conditions.get(key, Condition()) for key in self._probes if key[0] == backend}
        if not known or any(condition.usable for condition in known.values()):
            return ""
        reasons = "; ".join(f"{endpoint}: {condition.reason}" for endpoint, condition in known.items())
        return f"no endpoint of {backend} is well: {reasons}"

    def outage(self, candidate: str, stable: str) -> str:
        """Why the candidate cannot be reached any more; "" while it is well, or never was. That stable is as badly off
        speaks against the network."""
        met = any(key[0] == candidate for key in self._met)
        return self.down(candidate) if met and not self.down(stable) else ""

    def outages(self, candidates: Iterable[str], stable: str) -> dict[str, str]:
        """Those of several candidates that cannot be reached any more, and why."""
        return {name: why for name in candidates if (why := self.outage(name, stable))}

    def follow(self, wanted: Iterable[tuple[Backend, HealthCheck | None]]) -> None:
        """Check these from now on. A check that did not change goes on, one that did keeps what it knows."""
        questions = {
            (backend.name, endpoint): _Question(endpoint, check, backend.tls)
            for backend, check in wanted
            if check is not None
            for endpoint in backend.endpoints
        }
        for key in [
            key for key, probe in self._probes.items() if questions.get(key) != probe.question or probe.task.done()
        ]:
            self._probes.pop(key).task.cancel()
        for key in [key for key in self._conditions if key not in questions]:
            del self._conditions[key]
        self._met &= questions.keys()
        for key, question in questions.items():
            if key not in self._probes:
                task = asyncio.create_task(self._ask_on(key, question))
                task.add_done_callback(_ended)
                self._probes[key] = _Probe(question, task)

    async def close(self) -> None:
        """Ask nobody any more."""
        tasks = [probe.task for probe in self._probes.values()]
        self._probes.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ask_on(self, key: Key, question: _Question) -> None:
        interval_s = question.check.interval
        await asyncio.sleep(self._random() * min(FIRST_S, interval_s))
        async with asking.session(question.endpoint, _USER_AGENT) as session:
            while True:
                asked_s = time.monotonic()
                self._note(key, question.check, await _ask(session, question))
                wait_s = interval_s * (1 + JITTER * self._random())
                await asyncio.sleep(max(0.0, asked_s + wait_s - time.monotonic()))

    def _note(self, key: Key, check: HealthCheck, failure: str) -> None:
        before = self._conditions.get(key, Condition())
        after = self._conditions[key] = judged(before, failure, check, self._clock())
        if after.healthy is before.healthy:
            return
        if after.healthy:
            self._met.add(key)
        if after.usable:
            _LOG.info("endpoint is well", backend=key[0], endpoint=str(key[1]))
        else:
            _LOG.warning("endpoint is not well", backend=key[0], endpoint=str(key[1]), reason=failure)
        if after.usable is not before.usable:
            self._changed()


def _ended(task: asyncio.Task[None]) -> None:
    """A check ends when it is cancelled; of any other end somebody has to know, as its endpoint stays what it is."""
    if not task.cancelled() and task.exception() is not None:
        _LOG.error("health check broke: it is not asked again before the next reload", exc_info=task.exception())


async def _ask(session: aiohttp.ClientSession, question: _Question) -> str:
    """Why an endpoint is not well; empty if it is."""
    check = question.check
    asked = asking.Question(check.path, check.timeout)
    try:
        status, _ = await asking.ask(session, question.endpoint, question.tls, asked)
    except asking.NoAnswerError as error:
        return str(error)
    expected = status in check.expected_statuses if check.expected_statuses else 200 <= status < 300
    return "" if expected else f"status {status}"
