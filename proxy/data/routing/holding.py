"""Requests that wait while their route is held: one version stops, and another one has yet to start.

    enter ─▶ by priority, then as they came ─▶ the hold ends ─▶ released, few at first and twice as many every second
       └─ no room, no time: refused at once        └─ no time left, or the client has gone: out of the queue

A version is chosen when a request is released, by the snapshot of that moment, and its arrival is counted then: what it
waited here is nobody's latency. While the queue empties, what comes meanwhile queues up behind, so that a model that
has just started is met by the slow start alone. A queue that is empty, and a route that is not held, cost nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from math import ceil, log
from typing import Final, Protocol, cast

from proxy.data.requests.router import Condition, Head, any_of
from proxy.faults import Fault
from proxy.ledger.guards import DISPLACED, EXPIRED, HELD, HOLD_REFUSED, LEFT, RELEASED, WAITING, RouteCounts
from proxy.snapshot import Hold

BODY_BYTES: Final = 256 << 10
"""What a request whose length is not known, or is longer, is expected to take while it waits: above this much its
client is not read (`proxy.data.exchanges.attempt.PENDING_BYTES`)."""
_DOUBLINGS: Final = 40.0
"""Of the release rate: by then it is no bound any more."""
_LONGEST_GUESS_S: Final = 60.0
_CLIENT_WAITS: Final = ((b"x-envoy-expected-rq-timeout-ms", 0.001), (b"x-stainless-read-timeout", 1.0))
"""Fields in which clients say how long they wait, with the unit in seconds: Envoy's, and that of the clients of OpenAI
and Anthropic."""


class Waiter(Protocol):
    """A request that waits. Its deadline is looked at by the worker's sweep."""

    deadline_s: float

    def released(self, now_s: float) -> None:
        """Go on."""

    def turned_away(self, fault: Fault, detail: str, retry_after_s: int) -> None:
        """Answer that it cannot wait."""


class Room:
    """The queue of one route in one worker. `workers` is how many share the release rate."""

    def __init__(self, route: str, counts: RouteCounts, workers: int) -> None:
        self._route = route
        self._counts = counts
        self._workers = workers
        self._hold = Hold()
        self._levels: list[OrderedDict[Waiter, int]] = [OrderedDict()]
        self._conditions: tuple[Condition | None, ...] = ()
        self._bytes = 0
        self._size = 0
        self._closed = False
        self._since_s = self._open_s = 0.0
        """When the hold was first noticed here, and when its end was; 0 is not yet."""
        self._let_go = 0
        """How many were released since the end of the hold."""
        counts.put(WAITING, 0)

    def __len__(self) -> int:
        return self._size

    @property
    def idle(self) -> bool:
        """Whether nobody waits, and nobody has to."""
        return not self._closed and not self._size

    def hold(self, hold: Hold) -> None:
        """Let nobody go, by these settings."""
        if not self._closed:
            self._closed, self._since_s = True, 0.0
        if hold.priorities != self._hold.priorities or not self._conditions:
            self._conditions = tuple(any_of(matches) for matches in hold.priorities)
            waiting = [item for level in self._levels for item in level.items()]
            self._levels = [OrderedDict() for _ in range(len(self._conditions) + 1)]
            self._levels[-1].update(waiting)  # those who came under other priorities have none
        self._hold = hold

    def open(self) -> None:
        """Let those who wait go, few at first."""
        if self._closed:
            self._closed, self._open_s, self._let_go = False, 0.0, 0

    # ------------------------------------------------------------------ requests
    def takes(self, waiter: Waiter, head: Head, now_s: float) -> bool:
        """Whether a request may not go on: it waits, or was refused already."""
        if not self._closed and not self._size:
            return False
        hold = self._hold
        self._since_s = self._since_s or now_s
        wait_s = min(hold.timeout_s, _client_waits_s(head))
        if self._closed and now_s + wait_s < self._since_s + hold.at_least_s:
            self._refuse(waiter, f"it waits {wait_s:g} s at most, and the hold takes longer than that", now_s)
            return True
        size = BODY_BYTES if head.chunked else min(head.length or 0, BODY_BYTES)
        level = self._level(head)
        if not self._make_room(level, size, now_s):
            self._refuse(waiter, f"{self._size} requests wait already", now_s, full=True)
            return True
        waiter.deadline_s = now_s + wait_s
        self._levels[level][waiter] = size
        self._bytes += size
        self._count(HELD, 1)
        return True

    def leave(self, waiter: object) -> None:
        """The request has ended while it waited: its client has gone, or what it sent is no request."""
        if self._drop(cast("Waiter", waiter)):
            self._count(LEFT, -1)

    def expire(self, waiter: Waiter, now_s: float) -> None:
        """The time of a request is over."""
        if self._drop(waiter):
            self._count(EXPIRED, -1)
            waiter.turned_away(Fault.HOLD_TIMEOUT, f"route {self._route} is held", self._retry_after_s(now_s))

    def clear(self, now_s: float) -> None:
        """Turn away all who wait: this worker ends."""
        for level in self._levels:
            for waiter in list(level):
                self._drop(waiter)
                self._count(EXPIRED, -1)
                waiter.turned_away(Fault.DRAINING, f"route {self._route} is held", self._retry_after_s(now_s))

    def sweep(self, now_s: float) -> None:
        """Let go of those whose turn it is."""
        if self._closed or not self._size:
            self._since_s = self._since_s or now_s
            return
        self._open_s = self._open_s or now_s
        doublings = min(now_s - self._open_s, _DOUBLINGS)
        # The integral of a rate that doubles each second; one goes at once, so that a slow rate is no longer hold.
        due = 1 + int(self._hold.release_rate / self._workers * (2.0**doublings - 1) / log(2))
        while self._size and self._let_go < due:
            self._let_go += 1
            self._release(now_s)

    # ------------------------------------------------------------------ the queue
    def _level(self, head: Head) -> int:
        for level, holds in enumerate(self._conditions):
            if holds is None or holds(head):
                return level
        return len(self._levels) - 1

    def _make_room(self, level: int, size: int, now_s: float) -> bool:
        """Whether a request fits, once the last of lower levels have gone; nobody goes in vain."""
        hold = self._hold
        below = self._levels[level + 1 :]
        count = sum(len(one) for one in below)
        held = sum(sum(one.values()) for one in below)
        if self._size - count >= hold.max_requests or self._bytes - held + size > hold.max_bytes:
            return False
        for one in reversed(below):
            while one and (self._size >= hold.max_requests or self._bytes + size > hold.max_bytes):
                last = next(reversed(one))
                self._drop(last)
                self._count(DISPLACED, -1)
                last.turned_away(Fault.HOLD_FULL, "one of a higher priority has come", self._retry_after_s(now_s))
        return True

    def _release(self, now_s: float) -> None:
        for level in self._levels:
            if level:
                waiter = next(iter(level))
                self._drop(waiter)
                self._count(RELEASED, -1)
                waiter.released(now_s)
                return

    def _drop(self, waiter: Waiter) -> bool:
        for level in self._levels:
            size = level.pop(waiter, None)
            if size is not None:
                self._bytes -= size
                return True
        return False

    def _count(self, cell: int, step: int) -> None:
        self._size += step
        self._counts.add(cell)
        self._counts.put(WAITING, self._size)

    def _refuse(self, waiter: Waiter, why: str, now_s: float, full: bool = False) -> None:
        self._counts.add(HOLD_REFUSED)
        fault = Fault.HOLD_FULL if full else Fault.HOLD_TIMEOUT
        waiter.turned_away(fault, f"route {self._route} is held: {why}", self._retry_after_s(now_s))

    def _retry_after_s(self, now_s: float) -> int:
        """When a request may fare better: at the end of the hold as far as it is known, else after as long again as it
        has lasted, which is the best guess about what one knows nothing of."""
        if not self._closed:
            return 1
        since_s = self._since_s or now_s
        left_s = since_s + self._hold.at_least_s - now_s
        return max(1, ceil(left_s if left_s > 0 else min(now_s - since_s, _LONGEST_GUESS_S)))


def _client_waits_s(head: Head) -> float:
    """How long the client says that it waits; what is no such number says nothing."""
    least_s = float("inf")
    for name, unit_s in _CLIENT_WAITS:
        value = head.header(name)
        if value is not None:
            least_s = min(least_s, _seconds(value, unit_s))
    prefer = head.header(b"prefer")
    if prefer is not None:
        for preference in prefer.split(b","):
            key, _, value = preference.partition(b"=")
            if key.strip().lower() == b"wait":
                least_s = min(least_s, _seconds(value, 1.0))
    return least_s


def _seconds(value: bytes, unit_s: float) -> float:
    text = value.strip().strip(b'"')
    # Digits alone: what float() takes beside them, such as 1e9 or nan, nobody sends in these fields.
    whole, _, part = text.partition(b".")
    if not whole.isdigit() or (part and not part.isdigit()) or len(text) > 12:
        return float("inf")
    return float(text) * unit_s
