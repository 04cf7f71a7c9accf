"""One line of the results: how many of how many, and how many a build that is right may have."""

from __future__ import annotations

from typing import Any

from tests.support.rollouts import least, limit


def alarms(group: str, what: str, count: int, runs: int, risk: float | None, **where: Any) -> dict[str, Any]:
    """Wrong answers; held to `risk`, or (None) shown only."""
    most = None if risk is None else limit(runs, risk)
    holds = most is None or count <= most
    return {"group": group, "what": what, **where, "count": count, "runs": runs, "risk": risk, "limit": most,
            "holds": holds}  # fmt: skip


def tempted(group: str, what: str, count: int, runs: int, power: float, **where: Any) -> dict[str, Any]:
    """Answers that must come: at least as many as a build (or a stream) of that power has but once in a million."""
    fewest = least(runs, power)
    return {"group": group, "what": what, **where, "count": count, "runs": runs, "power": power, "least": fewest,
            "holds": count >= fewest}  # fmt: skip
