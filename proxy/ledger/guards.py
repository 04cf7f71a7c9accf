"""What guards routes, in the ledger: counts by route, and what rate limits have let through, key by key.

Both are tables of the worker's slab which only that worker writes, and in which a thing is found by the hash of its
name: nothing has to be lent, and what a dead worker left is found again by the next one.

A bucket is one number: when it will be full again. Every worker tells what it knows of a key, and the latest of these
times is what they know together, so that a limit holds for the proxy as a whole, without a lock and with one writer for
each cell. Two workers that let a request through in the same microsecond charge one of the two. A key whose cell was
taken by another key is known to its own worker alone until its next request there.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from xxhash import xxh3_64_intdigest

from proxy.ledger.layout import (
    G_KEYS,
    GUARD_KEYS,
    GUARD_ROUTE_CELLS,
    GUARD_ROUTES,
    Shape,
)

RATE_LIMITED: Final = 1
"""Cells of a route, after its tag: requests that a rate limit turned away, those that a fault was injected into, and
those that asked for a version by its name."""
DELAYED: Final = 2
ABORTED: Final = 3
DIRECT: Final = 4
HELD: Final = 5
"""Requests that waited while their route was held, and what became of them: each ends in one of the next four cells,
unless its worker dies."""
RELEASED: Final = 6
EXPIRED: Final = 7
DISPLACED: Final = 8
LEFT: Final = 9
HOLD_REFUSED: Final = 10
"""Requests that could not wait, for want of room or of time."""
WAITING: Final = 11
"""How many wait now."""
CAPTURE_LIMITED: Final = 12
"""Requests that were not captured: beyond `perMinute`, and for want of room on the way up."""
CAPTURE_DROPPED: Final = 13


@dataclass(frozen=True, slots=True)
class GuardTotals:
    """What the guards of a route did, in one worker."""

    rate_limited: int = 0
    delayed: int = 0
    aborted: int = 0
    direct: int = 0
    held: int = 0
    released: int = 0
    expired: int = 0
    displaced: int = 0
    left: int = 0
    hold_refused: int = 0
    waiting: int = 0
    capture_limited: int = 0
    capture_dropped: int = 0


class RouteCounts:
    """A worker's counts of one route. A route that found no room is counted where nobody reads."""

    __slots__ = ("_at", "_cells")

    def __init__(self, cells: memoryview[float], at: int) -> None:
        self._cells = cells
        self._at = at

    def add(self, cell: int) -> None:
        """Count one."""
        self._cells[self._at + cell] += 1

    def put(self, cell: int, value: int) -> None:
        """Say how many there are."""
        self._cells[self._at + cell] = value


class SharedTimes:
    """When the buckets of keys will be full again, as all workers know it."""

    __slots__ = ("_cells", "_others", "_own")

    def __init__(self, cells: memoryview[float], shape: Shape, worker: int) -> None:
        self._cells = cells
        self._own = shape.guards(worker) + G_KEYS
        self._others = tuple(shape.guards(other) + G_KEYS for other in range(shape.workers))

    def latest(self, digest: int) -> float:
        """The latest time that a worker knows, 0 where none does. A dead predecessor's is among them."""
        cells = self._cells
        tag, place = _tag(digest), 2 * (digest % GUARD_KEYS)
        latest = 0.0
        for base in self._others:
            at = base + place
            # The tag is read again: between the two reads the cells may have gone to another key.
            if cells[at] == tag and (full_s := cells[at + 1]) > latest and cells[at] == tag:
                latest = full_s
        return latest

    def tell(self, digest: int, full_s: float) -> None:
        """Have all workers know a time."""
        cells = self._cells
        tag, at = _tag(digest), self._own + 2 * (digest % GUARD_KEYS)
        if cells[at] != tag:
            cells[at + 1] = 0.0
            cells[at] = tag
        cells[at + 1] = full_s


class Guards:
    """A worker's side of its own tables."""

    def __init__(self, cells: memoryview[float], shape: Shape, worker: int) -> None:
        self._cells = cells
        self._base = shape.guards(worker)
        self.times = SharedTimes(cells, shape, worker)
        self.salt = shape.boot
        """What keys are hashed with: the same in all workers, and unknown outside."""

    def route(self, name: str) -> RouteCounts:
        """The counts of a route; they go on where a predecessor left them."""
        tag = _tag(xxh3_64_intdigest(name.encode()))
        for at in _places(self._base, tag):
            if self._cells[at] in (0.0, tag):
                self._cells[at] = tag
                return RouteCounts(self._cells, at)
        return RouteCounts(self._cells, self._base + GUARD_ROUTES * GUARD_ROUTE_CELLS)

    def begin(self, names: Iterable[str]) -> None:
        """The worker has just started: nobody waits in it, whatever its predecessor left behind."""
        for name in names:
            tag = _tag(xxh3_64_intdigest(name.encode()))
            for at in _places(self._base, tag):
                if self._cells[at] == tag:
                    self._cells[at + WAITING] = 0.0
                if self._cells[at] in (0.0, tag):
                    break


def totals(cells: memoryview[float], base: int, name: str) -> GuardTotals:
    """What the table of a worker, whose guards begin at `base`, says of a route."""
    tag = _tag(xxh3_64_intdigest(name.encode()))
    for at in _places(base, tag):
        if cells[at] == tag:
            return GuardTotals(*(int(cells[at + cell]) for cell in range(RATE_LIMITED, CAPTURE_DROPPED + 1)))
        if not cells[at]:
            break
    return GuardTotals()


def _places(base: int, tag: int) -> Iterable[int]:
    """First cells of the places where a route may be, in the order in which they are tried."""
    return (base + (tag + step) % GUARD_ROUTES * GUARD_ROUTE_CELLS for step in range(GUARD_ROUTES))


def _tag(digest: int) -> int:
    """What stands for a hash in a cell: 53 bits, which a float holds exactly, and never 0."""
    return digest >> 11 | 1
