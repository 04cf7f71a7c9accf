"""Readings in words, for report and command line; what is not known is a dash. Numbers as in `analysis.wording`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from analysis import wording

NOTHING: Final = "–"  # noqa: RUF001 (the dash of an empty cell)
PLACES: Final = {
    "serving": "serving",
    "warming": "starting slowly",
    "leaving": "draining",
    "stopped": "stopped",
    "starting": "being started",
}
"""What becomes of an endpoint that is replaced."""


def odds(evidence: float | None) -> str:
    """Evidence (an e-value) as betting odds.

    >>> odds(1234.5), odds(0.05), odds(None)
    ('1,234 : 1', '1 : 20', '–')
    """
    return NOTHING if evidence is None else wording.odds(evidence)


def percent(share: float | None) -> str:
    """A share of one in percent.

    >>> percent(0.01234), percent(0.00004)
    ('1.23 %', '0.004 %')
    """
    return NOTHING if share is None else wording.percent(share)


def plain(number: float | None) -> str:
    """A number with three digits that count.

    >>> plain(12.345), plain(None)
    ('12.3', '–')
    """
    return NOTHING if number is None else wording.number(number)


def count(number: float | None) -> str:
    """A count with thousands separated."""
    return NOTHING if number is None else wording.count(number)


def part(some: float, whole: float) -> str:
    """A count, and its share of a whole.

    >>> part(3, 200), part(0, 0)
    ('3 (1.5 %)', '0')
    """
    return f"{count(some)} ({percent(some / whole)})" if whole else count(some)


def failures(arm: dict[str, Any]) -> str:
    """How many requests of a version failed, and how many of these failures its clients saw, if a retry hid some.

    >>> failures({"failed": 1200.0, "failedToClients": 1200.0}), failures({"failed": 1200.0, "failedToClients": 7.0})
    ('1,200', '1,200 (7 to clients)')
    """
    failed, seen = arm["failed"], arm["failedToClients"]
    return count(failed) if seen == failed else f"{count(failed)} ({count(seen)} to clients)"


def milliseconds(number: float | None) -> str:
    """A latency that is given in milliseconds.

    >>> milliseconds(12.34), milliseconds(2500.0)
    ('12.3 ms', '2.5 s')
    """
    return NOTHING if number is None else wording.time_of(number / 1000)


def level(kind: str, value: float | None) -> str:
    """What a metric is at in one arm: a share, a latency (in seconds) or a mean, by the metric's kind.

    >>> level("errors", 0.012), level("latency", 0.0421), level("number", 0.5), level("accuracy", 0.1)
    ('1.2 %', '42.1 ms', '0.5', '10 % wrong')
    """
    if value is None:
        return NOTHING
    match kind:
        case "latency":
            return wording.time_of(value)
        case "number" | "loss":
            return wording.number(value)
        case "accuracy":
            return f"{wording.percent(value)} wrong"
        case _:
            return wording.percent(value)


def control(metrics: Sequence[dict[str, Any]]) -> str:
    """What the candidate is compared with in these readings: stable, or a baseline that stands for it.

    >>> control([{"name": "pair.label"}, {"name": "errors", "control": "baseline"}]), control([])
    ('baseline', 'stable')
    """
    return next((name for each in metrics if (name := str(each.get("control", "stable"))) != "stable"), "stable")


def effect(unit: str, value: float | None) -> str:
    """A difference between the arms in its metric's unit, with its sign.

    >>> effect("pp", 0.21), effect("%", -3.0), effect("sd", 0.0)
    ('+0.21 pp', '-3 %', '0 sd')
    """
    return NOTHING if value is None else f"{wording.signed(value)} {unit}"


def difference(metric: dict[str, Any]) -> str:
    """What a metric differs by between the arms; pairs have one share, and no difference without a control."""
    return NOTHING if _is_share(metric) else effect(metric["unit"], metric["effect"])


def interval(metric: dict[str, Any]) -> str:
    """The bounds of a metric's difference, or of the share of pairs that disagree."""
    low, high = (_end(metric, metric[end]) for end in ("low", "high"))
    if low is None or high is None:  # one end of the interval of a quantile may be beyond all that was looked at
        return f"over {low}" if low else f"under {high}" if high else NOTHING
    return f"{low} to {high}"


def _end(metric: dict[str, Any], end: float | None) -> str | None:
    if end is None:
        return None
    return f"{wording.number(end)} %" if _is_share(metric) else effect(metric["unit"], end)


def _is_share(metric: dict[str, Any]) -> bool:
    """Whether the effect of a metric is a share of pairs, for stable was never asked twice."""
    return metric["kind"] == "pair" and metric["stable"] is None


def verdict(metric: dict[str, Any]) -> str:
    """What the evidence says of one metric (a metric reading as the API answers it)."""
    if metric["harmed"]:
        return "worse than its margin"
    if metric["passed"]:
        return "within its margin"
    if not metric["nCandidate"]:
        return "no data yet"
    if metric["role"] != "guardrail":
        return "not shown to be worse"
    return f"open: {odds(metric['evidencePass'])} of {odds(metric['neededPass'])}"


def candidate(one: dict[str, Any]) -> str:
    """Where one of several candidates stands.

    >>> candidate({"racing": True, "verdict": ""}), candidate({"racing": False, "verdict": "Not chosen"})
    ('in the race', 'not chosen')
    >>> candidate({"racing": False, "verdict": "Inconclusive", "leftAt": 5.0})
    'left: aborted by hand'
    """
    if one["racing"]:
        return "in the race"
    if one["verdict"] == "Inconclusive" and one["leftAt"] is not None:
        return "left: aborted by hand"
    known = {"Failed": "left: harm is proven", "Not chosen": "not chosen", "Successful": "proven"}
    if one["verdict"] == "Failed" and one.get("decidedBy") == "health":
        return "left: not well any more"
    return known.get(one["verdict"], "not decided")


def latched(route: dict[str, Any]) -> list[str]:
    """Versions that are no candidates of a route now, and would get nothing if they were.

    >>> out = {"name": "v2", "reason": "errors rose", "at": 1_800_000_000.0}
    >>> latched({"candidate": "v3", "candidates": [], "latched": [out, out | {"name": "v3"}]})
    ['v2 is out until retry, since 2027-01-15 08:00:00 UTC: errors rose']
    """
    shown = {route["candidate"], *(each["name"] for each in route["candidates"])}
    return [
        f"{each['name']} is out until retry, since {moment(each['at'])}: {each['reason']}"
        for each in route["latched"] if each["name"] not in shown
    ]  # fmt: skip


def span(seconds: float | None) -> str:
    """A length of time, roughly."""
    return NOTHING if seconds is None else wording.duration(seconds)


def moment(at_s: float | None) -> str:
    """A time of the wall clock (seconds since 1970) in UTC.

    >>> moment(1_800_000_000.5)
    '2027-01-15 08:00:00 UTC'
    """
    return NOTHING if at_s is None else datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def visible(text: str) -> str:
    """A text from outside as a terminal may have it: what is no letter, digit, sign or space is written as its code.
    Control characters would move the cursor, colour what follows, or have the terminal answer; others turn the order
    of what stands beside them around, or cannot be seen.

    >>> visible("red \\x1b[31m, \\u202eback")
    'red \\\\x1b[31m, \\\\u202eback'
    """
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)
