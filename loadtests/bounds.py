"""Figures with a bound of their own, which no peer has to set. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def bound(text: str, value: float | None, at_most: float, unit: str) -> dict[str, Any]:
    """A goal in a unit, judged; one that was not measured neither holds nor is missed."""
    return {
        "goal": text,
        "atMost": at_most,
        "value": value,
        "unit": unit,
        "holds": None if value is None else value <= at_most,
    }


def growth(before: float, after: float) -> float:
    """By how much a figure has grown, as a share of what it was."""
    return (after - before) / before


def missed(results: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The goals that were measured and do not hold, of all the measurements."""
    return [
        f"{name}: {goal['goal']}"
        for name, one in results.items()
        for goal in one.get("goals", ())
        if goal["holds"] is False
    ]
