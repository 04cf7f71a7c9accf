"""What is measured: modes of traffic, and the cases (a peer in a mode) in the order of a round."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

USERS: Final = 2000
CANARY_PERCENT: Final = 10
TARGET: Final = "/v2/models/m/infer"
KEY_HEADER: Final = "x-user-id"


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


PLAIN: Final = Mode("plain", "weighted and sticky", latency=True)
MODES: Final = {
    mode.name: mode
    for mode in (
        PLAIN,
        Mode("predictions", "with predictions read", predictions=True),
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


def order(cases: Sequence[Case], round_: int) -> list[Case]:
    """The cases in the order of one round: shuffled, so that no peer always comes after the same other one."""
    shuffled = list(cases)
    random.Random(round_).shuffle(shuffled)
    return shuffled
