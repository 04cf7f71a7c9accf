"""Medians over rounds, ratios within a round, and the goals. Pure.

A ratio of two peers is taken in each round and then its median over the rounds: what slows the machine down for a
minute slows down both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Any, Final

Round = Mapping[str, float]
"""One measurement of one case: figures by name."""
Rounds = Mapping[int, Round]
"""The rounds in which a case could be measured, by number."""


@dataclass(frozen=True, slots=True)
class Goal:
    """An upper bound of a figure of ours over the same figure of a peer; both are (peer, mode)."""

    text: str
    ours: tuple[str, str]
    theirs: tuple[str, str]
    at_most: float
    figure: str = "cpuMicroseconds"


OURS: Final = "understudy"
GOALS: Final = (
    Goal("CPU per request, against Envoy", (OURS, "plain"), ("envoy", "plain"), 0.6),
    Goal("CPU per request, against nginx", (OURS, "plain"), ("nginx", "plain"), 1.3),
    Goal("CPU per request, against an aiohttp proxy", (OURS, "plain"), ("aiohttp", "plain"), 1 / 6),
    Goal("the same with predictions read, against Envoy, which reads none", (OURS, "predictions"), ("envoy", "plain"),
         0.75),
    Goal("100 % mirroring and pairs compared, against Envoy, which compares nothing", (OURS, "mirror"),
         ("envoy", "mirror"), 0.8),
    Goal("64 KiB both ways, against Envoy", (OURS, "64KiB"), ("envoy", "64KiB"), 1.0),
    Goal("1 MiB both ways, against Envoy", (OURS, "1MiB"), ("envoy", "1MiB"), 1.0),
    Goal("latency at a fixed rate, median, against Envoy", (OURS, "plain"), ("envoy", "plain"), 1.0,
         "latencyP50Microseconds"),
    Goal("latency at a fixed rate, p99, against Envoy", (OURS, "plain"), ("envoy", "plain"), 1.0,
         "latencyP99Microseconds"),
)  # fmt: skip
"""Whole latencies stand for added ones: the way without a proxy is the same for both, and noise in it cannot decide."""


def medians(rounds: Rounds) -> dict[str, float]:
    """The median of each figure over the rounds that have it."""
    names = dict.fromkeys(name for one in rounds.values() for name in one)
    return {name: median(one[name] for one in rounds.values() if name in one) for name in names}


def added(rounds: Rounds, direct: Rounds) -> dict[int, dict[str, float]]:
    """The rounds with what the peer adds to the latency quantiles of the way without a proxy, in the same round.

    It is a difference of quantiles, not the quantile of differences: nobody can send one request both ways.
    """
    found = {}
    for number, one in rounds.items():
        base = direct.get(number, {})
        more = {
            name.replace("latency", "added"): value - base[name]
            for name, value in one.items()
            if name.startswith("latency") and name in base
        }
        found[number] = {**one, **more}
    return found


def ratio(ours: Rounds, theirs: Rounds, figure: str) -> float | None:
    """The median over rounds of our figure over theirs; None without a round that has both above zero."""
    found = ratios(ours, theirs, figure)
    return median(found) if found else None


def ratios(ours: Rounds, theirs: Rounds, figure: str) -> list[float]:
    """Our figure over theirs in each round that has both above zero."""
    return [
        ours[number][figure] / theirs[number][figure]
        for number in ours
        if number in theirs and ours[number].get(figure, 0) > 0 and theirs[number].get(figure, 0) > 0
    ]


def middle(values: Sequence[float]) -> tuple[float, float] | None:
    """Between which values the middle half lies; None of fewer than four."""
    if len(values) < 4:
        return None
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, high


def judged(cases: Mapping[tuple[str, str], Rounds], goals: Sequence[Goal] = GOALS) -> list[dict[str, Any]]:
    """Each goal with its ratio, the range of its middle half and whether it holds; None where a side was not
    measured."""
    found = []
    for goal in goals:
        seen = ratios(cases.get(goal.ours, {}), cases.get(goal.theirs, {}), goal.figure)
        value = median(seen) if seen else None
        holds = None if value is None else value <= goal.at_most
        found.append(
            {"goal": goal.text, "atMost": goal.at_most, "ratio": value, "middleHalf": middle(seen), "holds": holds}
        )
    return found


def against(
    cases: Mapping[tuple[str, str], Rounds], peers: Sequence[str], unlike: Mapping[str, str]
) -> dict[tuple[str, str], dict[str, float]]:
    """CPU per request of each case over that of each of the peers in the same mode, by case and peer.

    `unlike` names the mode to compare with where the peers cannot do the same.
    """
    found: dict[tuple[str, str], dict[str, float]] = {}
    for (name, mode), rounds in cases.items():
        ratios = {
            peer: ratio(rounds, cases.get((peer, unlike.get(mode, mode)), {}), "cpuMicroseconds") for peer in peers
        }
        found[name, mode] = {peer: value for peer, value in ratios.items() if value is not None}
    return found
