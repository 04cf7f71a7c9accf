"""What is measured: modes of traffic, and the cases (a peer in a mode) in the order of a round."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

USERS: Final = 2000
CANARY_PERCENT: Final = 10
TARGET: Final = "/v2/models/m/infer"
KEY_HEADER: Final = "x-user-id"
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Mode:
    """A kind of traffic. The answer has 150 bytes, and as many as the request where that has over 1 KiB."""

    name: str
    title: str
    request_bytes: int = 100
    predictions: bool = False
    canary_percent: int = CANARY_PERCENT
    mirror: bool = False
    latency: bool = False
    """Whether the latency at a fixed rate is measured as well."""
    streamed: bool = False
    """Whether bodies are too large to be held: nginx is told not to collect them, and no timeout counts."""
    clients: int = 0
    """Connections that are open at a time, where that is more than a proxy takes unasked."""
    workers: int = 1
    beside: str = ""
    """The mode that peers which cannot do this one are compared in."""


PLAIN: Final = Mode("plain", "weighted and sticky", latency=True)
MODES: Final = {
    mode.name: mode
    for mode in (
        PLAIN,
        Mode("predictions", "with predictions read", predictions=True, beside="plain"),
        Mode("mirror", "with 100 % mirroring", predictions=True, canary_percent=0, mirror=True),
        Mode("64KiB", "64 KiB both ways", request_bytes=64 << 10),
        Mode("1MiB", "1 MiB both ways", request_bytes=1 << 20),
    )
}
DEFAULT_MODES: Final = tuple(MODES)
STREAMED: Final = Mode("streamed", "bodies of any size", canary_percent=0, streamed=True)


@dataclass(frozen=True, slots=True)
class Case:
    """A peer in a mode, by their names."""

    peer: str
    mode: str


def plan(peers: Iterable[tuple[str, Sequence[str]]], modes: Sequence[str]) -> list[Case]:
    """The cases of a round: each peer in those of the modes that it can do."""
    return [Case(peer, mode) for peer, able in peers for mode in modes if mode in able]


def groups(cases: Sequence[Case]) -> list[list[Case]]:
    """The cases by what they are compared with: those of one mode, and of the mode beside it."""
    found: dict[str, list[Case]] = {}
    for case in cases:
        found.setdefault(MODES[case.mode].beside or case.mode, []).append(case)
    return list(found.values())


def order(items: Iterable[T], number: int) -> list[T]:
    """Cases, or groups of them, in the order of one round or bout: shuffled, so that no peer always comes after the
    same other one."""
    shuffled = list(items)
    random.Random(number).shuffle(shuffled)
    return shuffled
