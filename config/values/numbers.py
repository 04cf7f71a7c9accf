"""Numbers and percents within bounds. Nothing is guessed from text, and NaN is no number."""

from __future__ import annotations

import re
from typing import Annotated, Any

from config.values.problems import shown
from config.values.section import Parsed, refusal


def number(low: float, high: float, *, above: bool = False) -> Parsed:
    """A number within bounds; `above` leaves out the lower one."""
    wanted = f"give a number {'above' if above else 'from'} {low:g} {'and up to' if above else 'to'} {high:g}"

    def parse(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
            raise refusal(f"{shown(value)} is not a number", wanted)
        if value < low or (above and value == low):
            raise refusal(f"{shown(value)} is {'not above' if above else 'below'} {low:g}", wanted)
        if value > high:
            raise refusal(f"{shown(value)} is above {high:g}", wanted)
        return float(value)

    schema = {"type": "number", "exclusiveMinimum" if above else "minimum": low, "maximum": high}
    return Parsed(parse, float, {**schema, "title": f"number, {'above ' if above else ''}{low:g} to {high:g}"})


def whole(low: int, high: int, *words: str) -> Parsed:
    """A whole number within bounds, or one of some words."""
    wanted = f"give a whole number from {low} to {high}" + "".join(f", or {word}" for word in words)

    def parse(value: object) -> int | str:
        if isinstance(value, str) and value in words:
            return value
        if isinstance(value, bool) or not isinstance(value, int):
            raise refusal(f"{shown(value)} is not a whole number", wanted)
        if not low <= value <= high:
            raise refusal(
                f"{shown(value)} is {'below' if value < low else 'above'} {low if value < low else high}", wanted
            )
        return value

    schema: dict[str, Any] = {"type": "integer", "minimum": low, "maximum": high}
    title = f"whole number, {low} to {high:,}"
    if words:
        return Parsed(parse, _same, {"anyOf": [schema, {"enum": list(words)}], "title": f"{title}, or {words[0]}"})
    return Parsed(parse, _same, {**schema, "title": title})


def _percent(value: object) -> float:
    wanted = "give a number from 0 to 100, in percent, such as 5 or 0.5"
    if isinstance(value, str) and value.endswith("%") and _is_number(value[:-1]):
        raise refusal(f"{shown(value)} has a unit, and this is always in percent", f"write {value[:-1].strip()}")
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise refusal(f"{shown(value)} is not a number", wanted)
    if not 0 <= value <= 100:
        raise refusal(f"{shown(value)} is {'below 0' if value < 0 else 'above 100'}", wanted)
    if round(value * 10_000) != round(value * 10_000, 6):
        raise refusal(f"{shown(value)} is finer than one part in a million", "give up to four decimals")
    return float(value)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\s*[0-9]+(\.[0-9]+)?\s*", text) is not None


def show_number(value: float) -> int | float:
    """A number as people write it: 5 rather than 5.0."""
    return int(value) if value == int(value) else value


def _same(value: Any) -> Any:
    return value


Percent = Annotated[
    float, Parsed(_percent, show_number, {"type": "number", "minimum": 0, "maximum": 100, "title": "percent, 0 to 100"})
]
