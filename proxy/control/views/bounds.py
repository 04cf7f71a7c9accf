"""The margin of a metric as numbers, for pictures: where harm begins, in the unit of the metric's effect.

Read from the words in which the engine tells the margin as it is tested, which are kept with every verdict; a test
holds this to what each meter writes.
"""

from __future__ import annotations

import re
from typing import Any, Final

Json = dict[str, Any]
_AMOUNT: Final = re.compile(r"([0-9][0-9,.]*(?:e[-+]?[0-9]+)?)\s*(pp|%|sd)")


def bounds(metric: Json) -> Json:
    """The effects beyond which it is harm: `low` below, `high` above; None for a side that does no harm, or where it
    is not known yet.

    >>> bounds({"effectiveMargin": "+0.24 pp at the stable's 1.2 %", "unit": "pp", "kind": "errors"})
    {'low': None, 'high': 0.24}
    >>> bounds({"effectiveMargin": "0.05 sd, up or down (sd 0.11)", "unit": "sd", "kind": "number"})
    {'low': -0.05, 'high': 0.05}
    """
    text = str(metric["effectiveMargin"])
    wanted = "%" if metric["kind"] == "pair" else metric["unit"]
    amount = next((float(number.replace(",", "")) for number, unit in _AMOUNT.findall(text) if unit == wanted), None)
    if amount is None:
        return {"low": None, "high": None}
    if "up or down" in text:
        return {"low": -amount, "high": amount}
    if ", down" in text:
        return {"low": -amount, "high": None}
    return {"low": None, "high": amount}


def all_bounds(metrics: list[Json]) -> Json:
    """Those of all metrics, by name."""
    return {str(metric["name"]): bounds(metric) for metric in metrics}
