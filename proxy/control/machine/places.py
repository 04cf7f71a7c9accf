"""The endpoints of two versions while one replaces the other: who serves, and whose turn is next. Pure.

    stable      serving ─▶ leaving ─▶ stopped           (and back, in a reversal: stopped ─▶ starting ─▶ serving)
    candidate   stopped ─▶ starting ─▶ warming ─▶ serving

A batch takes some endpoints of one version out and puts some of the other in. It is found from how the endpoints stand,
and from nothing else, so that a reversal is the same in the other direction, and so that an edit of the file, or a
controller that dies, in the middle of one leaves something that can be gone on with.

What holds after every batch and within it, for N endpoints of stable: at least N - `max_unavailable` serve, and at most
N + `max_surge` are not stopped. An address that both versions have is used by one of them at a time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

from proxy.snapshot import CIRCLE

Side = Literal["stable", "candidate"]
Status = Literal["serving", "warming", "leaving", "stopped", "starting"]
SERVES: Final[frozenset[Status]] = frozenset({"serving", "warming"})


@dataclass(frozen=True, slots=True)
class Place:
    """One endpoint of a version. `leaving` gets no request any more, `warming` gets few as yet."""

    side: Side
    address: str
    status: Status

    @property
    def serves(self) -> bool:
        """Whether requests go there."""
        return self.status in SERVES


Places = tuple[Place, ...]


@dataclass(frozen=True, slots=True)
class Rolling:
    """How endpoints are replaced. Addresses are those of the file, in its order, of each version as many.

    `drain_s` is how long requests under way may take to end, `deadline_s` how long all else of a batch may take;
    `warm_s` is the time of the slow start, which begins with `warm_share`; 0 is none.
    """

    stable: tuple[str, ...]
    candidate: tuple[str, ...]
    max_unavailable: int
    max_surge: int
    drain_s: float
    deadline_s: float
    warm_s: float = 0.0
    warm_share: float = 0.1


@dataclass(frozen=True, slots=True)
class Batch:
    """What is taken out and stopped, and what is started once that is done."""

    leaving: Places = ()
    starting: Places = ()


def initial(rolling: Rolling) -> Places:
    """Everything is stable's."""
    return (
        *(Place("stable", address, "serving") for address in rolling.stable),
        *(Place("candidate", address, "stopped") for address in rolling.candidate),
    )


def known(rolling: Rolling, places: Places) -> Places:
    """The endpoints of a file as they stand; of those that are new nothing was replaced yet. What the candidate runs at
    others, which only an edit can have taken away, is to be stopped."""
    standing = {(place.side, place.address): place for place in places}
    listed = [standing.pop((place.side, place.address), place) for place in initial(rolling)]
    running = (place for place in standing.values() if place.side == "candidate" and place.status != "stopped")
    return (*listed, *(replace(place, status="leaving") for place in running))


def is_done(places: Places, to: Side) -> bool:
    """Whether a version has taken all places."""
    return all(place.status == ("serving" if place.side == to else "stopped") for place in places)


def weight_ppm(places: Places, share: float = 1.0) -> int:
    """The candidate's part of what serves, where one that is warming counts as so much.

    >>> two = Place("stable", "a", "serving"), Place("candidate", "b", "warming")
    >>> weight_ppm(two), weight_ppm(two, 0.25), weight_ppm(two[1:], 0.25)
    (500000, 200000, 1000000)
    """
    old = sum(place.serves for place in places if place.side == "stable")
    new = sum(share if place.status == "warming" else place.serves for place in places if place.side == "candidate")
    return round(CIRCLE * new / (old + new)) if new else 0


def next_batch(rolling: Rolling, places: Places, to: Side) -> Batch:
    """The next endpoints to be replaced, with those that an interrupted batch has left; empty when all is done."""
    spare = sum(place.serves for place in places) - (len(rolling.stable) - rolling.max_unavailable)
    wanted = {place.address for place in places if place.side == to and place.status in ("stopped", "leaving")}
    serving = [place for place in places if place.side != to and place.serves]
    serving.sort(key=lambda place: place.address not in wanted)  # those in the way first, then as in the file
    left = [place for place in places if place.status == "leaving"]
    leaving = (*left, *serving[: max(0, spare)])
    if to == "stable" and not leaving and not startable(rolling, places, to):
        leaving = tuple(serving[:1])  # the file has other limits than those that this began with: back it goes
    return Batch(leaving, startable(rolling, turned(places, leaving, "stopped"), to))


def startable(rolling: Rolling, places: Places, to: Side) -> Places:
    """The endpoints of a version that may be started now, with those that were told to already."""
    begun = tuple(place for place in places if place.side == to and place.status == "starting")
    taken = {place.address for place in places if place.side != to and place.status != "stopped"}
    free = [p for p in places if p.side == to and p.status == "stopped" and p.address not in taken]
    room = len(rolling.stable) + rolling.max_surge - sum(place.status != "stopped" for place in places)
    return (*begun, *free[: max(0, room)])


def batches(rolling: Rolling, places: Places | None = None) -> list[Places]:
    """How endpoints stand after each batch that is left until the candidate has all places.

    Raises:
        ValueError: there is no way to replace them: nothing may be away, and there is no place to start at.
    """
    places, found = initial(rolling) if places is None else places, list[Places]()
    while not is_done(places, "candidate"):
        batch = next_batch(rolling, places, "candidate")
        after = turned(turned(places, batch.leaving, "stopped"), batch.starting, "serving")
        after = tuple(replace(place, status="serving") if place.status == "warming" else place for place in after)
        if after == places:
            raise ValueError("no endpoint can be replaced: none may be away, and none of the candidate's is free")
        places = after
        found.append(places)
    return found


def turned(places: Places, some: Iterable[Place], status: Status) -> Places:
    """All endpoints, and some of them with another status."""
    which = {(place.side, place.address) for place in some}
    return tuple(replace(place, status=status) if (place.side, place.address) in which else place for place in places)
