"""When a failed attempt is made again, how long it waits before, and what bounds all retries together.

    attempt fails ─▶ does the route ask for it? ─▶ may it? (method, body, attempts, time, budget) ─▶ wait ─▶ attempt

What is judged of a version is the FIRST attempt: its outcome is in the ledger the moment it fails, as if there were no
retries, and what follows only counts what became of the request. So retries serve clients, and hide nothing.

The wait is drawn from zero to a bound that doubles (full jitter), so that requests which failed together do not come
back together. The budget holds a version that is down or slow from being given the load several times: as in Envoy, of
the requests in flight at a backend only a share may be retries, those that wait included.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import random
from typing import Final

from proxy.data.backends.pool import Pool
from proxy.data.backends.upstream import Upstream
from proxy.faults import FACTS, Fault, Retry, Side, counts_against
from proxy.ledger.row import Row
from proxy.ledger.writer import Writer
from proxy.snapshot import Condition, Retries

_UNREACHED: Final = frozenset((Fault.CONNECT_FAILED, Fault.CONNECT_TIMEOUT, Fault.TLS_FAILED))
_UNANSWERED: Final = frozenset((Fault.UPSTREAM_RESET, Fault.BAD_RESPONSE, Fault.REQUEST_TIMEOUT))
_ANSWERED: Final = frozenset((Fault.NONE, Fault.INJECTED))
CONDITIONS: Final[dict[Condition, tuple[frozenset[Fault], range]]] = {
    "connect-failure": (_UNREACHED, range(0)),
    "refused-stream": (frozenset((Fault.OVERFLOW,)), range(0)),
    "reset": (_UNANSWERED, range(0)),
    "gateway-error": (_UNREACHED | _UNANSWERED, range(502, 505)),
    "5xx": (_UNREACHED | _UNANSWERED, range(500, 600)),
}
"""What each word stands for, in faults and in answers. As in Envoy `gateway-error` and `5xx` mean no answer too."""


class RetryPlan:
    """The retries of a route, ready for requests. `random` draws from [0, 1)."""

    __slots__ = ("_draw", "_faults", "_methods", "_settings", "_statuses")

    def __init__(self, settings: Retries, draw: Callable[[], float] = random) -> None:
        conditions = [CONDITIONS[word] for word in settings.conditions]
        self._settings = settings
        self._faults = frozenset().union(*(faults for faults, _ in conditions))
        self._statuses = frozenset(settings.statuses).union(*(statuses for _, statuses in conditions))
        self._methods = frozenset(method.encode("latin-1") for method in settings.methods)
        self._draw = draw

    def wants(self, fault: Fault, status: int) -> bool:
        """Whether the route asks for another attempt after this fault, or this answer where there was no fault, or
        where it was injected in the place of one."""
        return fault in self._faults if fault not in _ANSWERED else status in self._statuses

    def wait_s(self, retries: int) -> float:
        """How long to wait before another attempt, after so many retries."""
        settings = self._settings
        return self._draw() * min(settings.max_interval_s, settings.base_interval_s * 2.0**retries)

    def denial(
        self, upstream: Upstream, method: bytes, sent: bool, kept: bool, retries: int, left_s: float
    ) -> Retry | None:
        """Why there is no other attempt, or None if there is one.

        `sent` says that the backend may have seen the request, `kept` that its body can be sent again, `left_s` how
        much of its time is left after the wait. A request that was never sent may be sent by any method (RFC 9110,
        section 9.2.2).
        """
        settings = self._settings
        if sent and method not in self._methods:
            return Retry.METHOD
        if not kept:
            return Retry.NOT_REPLAYABLE
        if retries >= settings.attempts:
            return Retry.EXHAUSTED
        if left_s <= 0:
            return Retry.LATE
        others = upstream.retrying - 1 if retries else upstream.retrying
        if others >= max(settings.budget_floor, settings.budget_share * (upstream.in_flight + 1)):
            return Retry.OVER_BUDGET
        return None


class Retrying:
    """A request whose first attempt failed, from then to its end. There is none for any other request."""

    __slots__ = ("_row", "_timer", "_tried", "_under_way", "_upstream", "_writer", "retries")

    def __init__(self, upstream: Upstream, row: Row, writer: Writer) -> None:
        self._upstream = upstream
        self._row = row
        self._writer = writer
        self._timer: asyncio.TimerHandle | None = None
        self._under_way = False
        self._tried: list[Pool] = []
        """The endpoints that failed, the last one last."""
        self.retries = 0
        """How many were begun."""
        upstream.retrying += 1
        writer.retrying(row, 1.0)

    def wait(self, wait_s: float, begin: Callable[[], None], tried: Pool | None) -> None:
        """The attempt under way has failed; the next begins after a wait."""
        if self._under_way:
            self._count(Retry.FAILED)
        if tried is not None:
            self._tried.append(tried)
        self._timer = asyncio.get_running_loop().call_later(wait_s, begin)

    @property
    def waiting(self) -> bool:
        """Whether no attempt is under way."""
        return self._timer is not None

    def begin(self) -> Pool:
        """The wait is over: the endpoint that serves now, another than before if there is one."""
        self._timer = None
        self._under_way = True
        self.retries += 1
        return self._upstream.pool(self._tried)

    def field_lines(self, others: bytes) -> bytes:
        """The fields that tell the client of this, with others."""
        return b"%bx-understudy-attempts: %d\r\n" % (others, 1 + self.retries)

    def end(self, fault: Fault, status: int) -> None:
        """The request has ended, in whatever way."""
        self._upstream.retrying -= 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        elif self._under_way:
            if counts_against(fault, status):
                self._count(Retry.FAILED)
            else:
                self._count(Retry.SUCCEEDED if FACTS[fault].side is not Side.CLIENT else Retry.ABANDONED)
        self._writer.retrying(self._row, -1.0)

    def _count(self, result: Retry) -> None:
        self._under_way = False
        self._writer.retry(self._row, result)
