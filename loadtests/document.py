"""docs/performance.md out of all results. Pure: the same results give the same document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from loadtests import compare, footprint, idle, ledger, report, soak, transfers, workers

MEASUREMENTS: Final = {
    "compare": compare,
    "transfers": transfers,
    "idle": idle,
    "workers": workers,
    "footprint": footprint,
    "ledger": ledger,
    "soak": soak,
}
"""By the name of their command and of their results."""
_SECTIONS: Final = {
    "compare": report.markdown,
    "transfers": transfers.section,
    "idle": idle.section,
    "workers": workers.section,
    "footprint": footprint.section,
    "ledger": ledger.section,
    "soak": soak.section,
}
_TITLE: Final = "# What the proxy costs\n"


def document(results: Mapping[str, dict[str, Any]]) -> str:
    """The whole page: a section for each measurement that has results, in the order above."""
    return "\n".join([_TITLE, *(_SECTIONS[name](results[name]) for name in MEASUREMENTS if name in results)])
