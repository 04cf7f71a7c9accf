"""How a weight that rises by evidence looks to people: in reports, on the command line, and in a forecast."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from proxy.admin import words

Json = dict[str, Any]


def facts(route: Json) -> Iterator[tuple[str, str]]:
    """What a route's ramp has spent and is allowed, as names and texts; nothing for a route without one."""
    ramp = route["ramp"]
    if ramp is None:
        return
    yield "Bad requests", f"{words.plain(ramp['spent'])} of {words.count(ramp['budget'])} spent"
    yield "At stake", f"{words.plain(ramp['atStake'])} before a decision takes effect, if it is as bad as it may be"
    yield "Bad at most", f"{words.percent(ramp['worst'])} of its requests, beyond the margin of errors"
    if ramp["next"] is not None:
        needed = (
            "nothing is left for it" if ramp["needed"] is None else f"needs {words.percent(ramp['needed'])} or less"
        )
        wait = "" if ramp["waitS"] is None else f", in about {words.span(ramp['waitS'])}"
        yield "Next weight", f"{words.percent(ramp['next'])} {needed}{wait}"


def forecast(answer: Json) -> str:
    """When each weight begins, by `understudy plan`; empty for a route without a ramp."""
    ramp = answer["ramp"]
    if ramp is None:
        return ""
    steps = ", ".join(
        f"{words.plain(rung['weight'])} % after {words.span(rung['seconds'])}" for rung in ramp["weights"]
    )
    failing, hanging = (words.count(ramp["lateOutage"][kind]) for kind in ("failing", "hanging"))
    late = f"turning bad at the last weight costs up to {failing} requests until it is known, {hanging} if they hang"
    return f"ramp within {words.count(ramp['budget'])} bad requests: {steps or 'no weight fits'}; {late}"
