"""Passive ejection: who is left out for how long, and who comes back. Pure but for the standings that it changes."""

from __future__ import annotations

from collections.abc import Sequence

from proxy.data.backends.standing import Standing
from proxy.snapshot import Outliers


def eject(settings: Outliers, standing: Standing, all_: Sequence[Standing], now_s: float) -> bool:
    """Leave an endpoint out, unless too many are out already; whether it is now.

    The time is `ejection_s` for each of its ejections of late, up to `max_ejection_s`. One endpoint may always be
    ejected: whether a backend then has any left is for the panic threshold to say.
    """
    out = sum(1 for other in all_ if other.ejected_until_s)
    if out >= max(1, int(len(all_) * settings.max_ejected_share)):
        return False
    standing.ejections += 1
    standing.ejected += 1
    standing.ejected_until_s = now_s + ejection_s(settings, standing.ejections)
    standing.forgive()
    return True


def ejection_s(settings: Outliers, ejections: int) -> float:
    """How long the nth ejection in a row lasts.

    >>> [ejection_s(Outliers(ejection_s=30.0, max_ejection_s=75.0), n) for n in (1, 2, 3)]
    [30.0, 60.0, 75.0]
    """
    return min(settings.ejection_s * ejections, max(settings.max_ejection_s, settings.ejection_s))


def look(standings: Sequence[Standing], now_s: float) -> list[Standing]:
    """The look of one interval: who is back. Who was not out for all of it is forgiven one ejection."""
    back = []
    for standing in standings:
        if standing.ejected_until_s:
            if standing.ejected_until_s <= now_s:
                standing.ejected_until_s = 0.0
                standing.forgive()
                back.append(standing)
        elif standing.ejections:
            standing.ejections -= 1
    return back
