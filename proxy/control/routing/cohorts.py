"""Where on the circle the versions of a rollout have their users, and what share of what is compared each has. Pure.

    0          home of B       home of baseline
    ├ A ┤······├ B ┤···········├ base ┤··········   · stable

Every version beside stable grows from a home of its own, and homes lie evenly: raising a weight takes users from stable
alone, lowering it or taking a version out gives users back to stable alone, and nobody ever goes from one candidate to
another. The circle has as many homes as there are versions beside stable, and `config.dividing` keeps each weight below
the distance between two. A single candidate has the home 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from config import schema
from proxy.snapshot import CIRCLE, Segment


def stable_of(route: schema.Route) -> str:
    """The version that serves, of a route with a strategy."""
    return next(ref.name for ref in route.backend_refs if ref.role == "stable")


def baseline_of(route: schema.Route) -> str:
    """The version that stable is represented by; empty where stable itself is compared."""
    return next((ref.name for ref in route.backend_refs if ref.role == "baseline"), "")


def candidates_of(route: schema.Route) -> tuple[str, ...]:
    """The candidates, in the order of the file."""
    return tuple(ref.name for ref in route.backend_refs if ref.role == "canary")


def homes(versions: int) -> tuple[int, ...]:
    """Where the part of each version beside stable begins.

    >>> homes(1), homes(3)
    ((0,), (0, 333333, 666666))
    """
    return tuple(place * CIRCLE // versions for place in range(versions))


def segments(parts: Sequence[tuple[int, int, int]], rest: int) -> tuple[Segment, ...]:
    """The circle, from (home, length, arm) of parts that do not overlap, and the arm that owns what is between."""
    found: list[Segment] = []
    below = 0
    for home, ppm, arm in sorted(part for part in parts if part[1]):
        if home > below:
            found.append(Segment(home, rest))
        below = home + ppm
        found.append(Segment(below, arm))
    return (*found, Segment(CIRCLE, rest)) if below < CIRCLE else tuple(found)


def compared_share(weight_ppm: int, baseline: bool, racing: int = 1) -> float:
    """A candidate's part of the requests that are compared: its own, and those of stable or of a baseline as large.

    `racing` candidates have this weight each.

    >>> compared_share(200_000, baseline=False, racing=3), compared_share(200_000, baseline=True, racing=3)
    (0.3333333333333333, 0.5)
    """
    if not 0 < weight_ppm < CIRCLE:
        return weight_ppm / CIRCLE
    return 0.5 if baseline else weight_ppm / (CIRCLE - (racing - 1) * weight_ppm)
