"""Numbers, odds and times as people read them; one place, so that report and command line say the same."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

NOTHING: Final = "–"  # noqa: RUF001 (the dash of an empty cell)
_MANY: Final = 1_000_000.0


def odds(evidence: float | None) -> str:
    """Evidence (an e-value) as betting odds.

    >>> odds(1234.5), odds(4.25), odds(0.05), odds(3e9), odds(None)
    ('1,234 : 1', '4.2 : 1', '1 : 20', 'over 1,000,000 : 1', '–')
    """
    if evidence is None:
        return NOTHING
    if evidence >= 1:
        return f"over {_MANY:,.0f} : 1" if evidence > _MANY else f"{_short(evidence)} : 1"
    return f"1 : over {_MANY:,.0f}" if evidence * _MANY < 1 else f"1 : {_short(1 / evidence)}"


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 9.95 or number == 1 else f"{number:.1f}"


def percent(share: float | None) -> str:
    """A share of one in percent, with three significant digits.

    >>> percent(0.01234), percent(0.5), percent(0.0), percent(0.00004)
    ('1.23 %', '50 %', '0 %', '0.004 %')
    """
    return NOTHING if share is None else f"{plain(100 * share)} %"


def plain(number: float | None) -> str:
    """A number with three significant digits and no exponent where people would write none.

    >>> plain(0.1), plain(12.345), plain(98765.4), plain(0.0)
    ('0.1', '12.3', '98,765', '0')
    """
    if number is None:
        return NOTHING
    if abs(number) >= 999.5:
        return f"{number:,.0f}"
    return f"{number:.3g}"


def count(number: float | None) -> str:
    """A count with thousands separated."""
    return NOTHING if number is None else f"{number:,.0f}"


def milliseconds(number: float | None) -> str:
    """A latency that is given in milliseconds.

    >>> milliseconds(12.34), milliseconds(1234.0), milliseconds(0.4567)
    ('12.3 ms', '1,234 ms', '0.457 ms')
    """
    return NOTHING if number is None else f"{plain(number)} ms"


def level(kind: str, value: float | None) -> str:
    """What a metric is at in one arm: a share, a latency (in seconds) or a mean, by the metric's kind.

    >>> level("errors", 0.012), level("latency", 0.0421), level("number", 0.5)
    ('1.2 %', '42.1 ms', '0.5')
    """
    if value is None:
        return NOTHING
    match kind:
        case "latency":
            return milliseconds(1000 * value)
        case "number":
            return plain(value)
        case _:
            return percent(value)


def effect(unit: str, value: float | None) -> str:
    """A difference between the arms in its metric's unit, with its sign.

    >>> effect("pp", 0.21), effect("%", -3.0), effect("sd", 0.0)
    ('+0.21 pp', '−3 %', '0 sd')
    """
    if value is None:
        return NOTHING
    sign = "+" if value > 0 else "−" if value < 0 else ""  # noqa: RUF001
    return f"{sign}{plain(abs(value))} {unit}"


def interval(unit: str, low: float | None, high: float | None) -> str:
    """The bounds of an effect."""
    if low is None or high is None:
        return NOTHING
    return f"{effect(unit, low)} to {effect(unit, high)}"


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


def span(seconds: float | None) -> str:
    """A length of time in its two largest units.

    >>> span(45.2), span(754), span(7380), span(200000), span(None)
    ('45 s', '12 min 34 s', '2 h 3 min', '2 d 7 h', '–')
    """
    if seconds is None:
        return NOTHING
    rest = max(0, int(seconds))
    parts: list[tuple[int, str]] = []
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        amount, rest = divmod(rest, length)
        if amount or parts:
            parts.append((amount, unit))
    shown = [f"{amount} {unit}" for amount, unit in parts[:2] if amount]
    return " ".join(shown) or "0 s"


def moment(at_s: float | None) -> str:
    """A time of the wall clock (seconds since 1970) in UTC.

    >>> moment(1_800_000_000.5)
    '2027-01-15 08:00:00 UTC'
    """
    return NOTHING if at_s is None else datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
