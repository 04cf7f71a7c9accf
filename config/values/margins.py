"""Margins: sizes that carry their unit, since a threshold without one is the most common mistake in such files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from config.values.problems import Finding, Loc, shown
from config.values.section import Parsed, refusal, refusals

_BOUND: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?(%|pp|sd)")

Unit = Literal["%", "pp", "sd"]


@dataclass(frozen=True, slots=True)
class Bound:
    """A size with its unit, in the words of the file: `Bound(10.0, "%")` is 10 %."""

    value: float
    unit: Unit

    @property
    def amount(self) -> float:
        """The size as a plain factor: 10% and 10pp are 0.1, 0.05sd is 0.05."""
        return self.value if self.unit == "sd" else self.value / 100

    def __str__(self) -> str:
        return f"{self.value:g}{self.unit}"


Margin = tuple[Bound, ...]
"""Of several bounds the one that allows more counts."""


def _bound(value: object, units: tuple[Unit, ...]) -> Bound:
    choices = {
        "%": "% (relative to stable)",
        "pp": "pp (percentage points)",
        "sd": "sd (standard deviations of stable)",
    }
    if isinstance(value, int | float) and not isinstance(value, bool):
        remedy = f"add one: {' or '.join(choices[unit] for unit in units)}"
        if 0 < value < 1 and ("sd" not in units or "%" in units):
            remedy += f"; as a fraction it would be {value * 100:g}{units[0]}"
        raise refusal(f"{shown(value)} has no unit", remedy)
    found = _BOUND.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        ways = ", ".join(f"0.5{unit}" for unit in units)
        raise refusal(
            f"{shown(value)} is not a margin", f"write a number of zero or more with its unit, such as {ways}"
        )
    bound = Bound(float(found[1]), found[2])  # type: ignore[arg-type]  # the pattern allows the three units alone
    if bound.unit not in units:
        raise refusal(f"{value} is in {bound.unit}", f"write it in {' or '.join(choices[unit] for unit in units)}")
    return bound


def margin_in(*units: Unit) -> Parsed:
    """One bound or a list of bounds in any of these units, each unit at most once."""

    def parse(value: object) -> Margin:
        if not isinstance(value, tuple):
            return (_bound(value, units),)
        if not value:
            raise refusal("is empty", f"write one bound at least, such as 10{units[0]}")
        bounds, findings = [], []
        for place, item in enumerate(value):
            try:
                bounds.append(_bound(item, units))
            except ValueError as error:
                findings.append(_at((place,), error))
        if not findings and len({bound.unit for bound in bounds}) < len(bounds):
            findings.append(Finding((), "has one unit twice", "keep the larger of the two"))
        if findings:
            raise refusals(*findings)
        return tuple(bounds)

    one = {"type": "string", "pattern": _pattern(units)}
    many = {"type": "array", "items": one, "minItems": 1, "maxItems": len(units)}
    title = f"margin in {' or '.join(units)}"
    if len(units) == 1:
        return Parsed(parse, _show_margin, {**one, "title": title})
    return Parsed(
        parse, _show_margin, {"anyOf": [one, many], "title": f"{title}, or a list of which the larger counts"}
    )


def _pattern(units: tuple[Unit, ...]) -> str:
    return rf"^[0-9]+(\.[0-9]+)? ?({'|'.join(units)})$"


def _at(loc: Loc, error: ValueError) -> Finding:
    context = getattr(error, "context", None) or {}
    return Finding(loc, str(context.get("message", error)), str(context.get("remedy", "")))


def _show_margin(value: Margin) -> str | list[str]:
    return str(value[0]) if len(value) == 1 else [str(bound) for bound in value]


def size_in(*units: Unit) -> Parsed:
    """A single size in any of these units."""
    schema = {"type": "string", "pattern": _pattern(units), "title": f"size in {', '.join(units)}"}
    return Parsed(lambda value: _bound(value, units), str, schema)


def points() -> Parsed:
    """A single size in percentage points."""
    return Parsed(
        lambda value: _points(value), str, {"type": "string", "pattern": _pattern(("pp",)), "title": "size in pp"}
    )


def _points(value: object) -> Bound:
    bound = _bound(value, ("pp",))
    if not 0 < bound.value < 100:
        raise refusal(f"{value} is not between 0pp and 100pp", "write a size between them, such as 20pp")
    return bound
