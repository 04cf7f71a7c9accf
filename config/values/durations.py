"""Durations of the Gateway API (GEP-2257): whole numbers with the units h, m, s and ms, such as 1h30m."""

from __future__ import annotations

import re
from typing import Final

from config.values.problems import shown
from config.values.section import Parsed, refusal

_UNIT_MS: Final = {"h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_DURATION: Final = re.compile(r"(?:[0-9]{1,5}(?:h|ms|m|s)){1,4}")
_DURATION_PART: Final = re.compile(r"([0-9]+)(h|ms|m|s)")


def parse_duration(value: object) -> float:
    """Seconds of a duration such as 1h30m.

    >>> parse_duration("1h30m"), parse_duration("500ms")
    (5400.0, 0.5)
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise refusal(f"{shown(value)} has no unit", f"write {value}s for seconds or {value}ms for milliseconds")
    if not isinstance(value, str) or not _DURATION.fullmatch(value):
        raise refusal(
            f"{shown(value)} is not a duration",
            "write whole numbers with the units h, m, s and ms, such as 1h30m, 10s or 500ms",
        )
    return sum(int(number) * _UNIT_MS[unit] for number, unit in _DURATION_PART.findall(value)) / 1000


def format_duration(seconds: float) -> str:
    """The shortest usual way to write a duration; the other way round from `parse_duration` (to the millisecond).

    >>> format_duration(5400), format_duration(0.5), format_duration(0)
    ('1h30m', '500ms', '0s')
    """
    rest, parts = round(seconds * 1000), ""
    for unit, size in _UNIT_MS.items():
        count, rest = divmod(rest, size)
        parts += f"{count}{unit}" if count else ""
    return parts or "0s"


def duration(low_s: float, high_s: float, *, whole: bool = False) -> Parsed:
    """A duration within bounds; `whole` refuses parts of a second."""

    def parse(value: object) -> float:
        seconds = parse_duration(value)
        wanted = f"give a duration from {format_duration(low_s)} to {format_duration(high_s)}"
        if seconds < low_s:
            raise refusal(f"{value} is shorter than {format_duration(low_s)}", wanted)
        if seconds > high_s:
            raise refusal(f"{value} is longer than {format_duration(high_s)}", wanted)
        if whole and seconds % 1:
            raise refusal(f"{value} is not a number of whole seconds", "write whole seconds, such as 1s")
        return seconds

    said = f"duration, {format_duration(low_s)} to {format_duration(high_s)}" + (", whole seconds" if whole else "")
    return Parsed(parse, format_duration, {"type": "string", "title": said, "pattern": f"^{_DURATION.pattern}$"})
