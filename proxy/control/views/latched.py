"""How versions that stay out of a route look to people and programs."""

from __future__ import annotations

from typing import Any

from proxy.control.machine import latches
from proxy.control.machine.state import State

Json = dict[str, Any]


def view(state: State | None) -> list[Json]:
    """Who stays out until a retry, the newest first; this rollout's own candidates too, once they are out."""
    return [
        {
            "name": runner.name,
            "digest": runner.digest,
            "verdict": latches.verdict_of(runner),
            "decidedBy": runner.decided_by,
            "reason": runner.reason,
            "at": runner.left_s,
        }
        for runner in reversed(() if state is None else latches.of(state))
    ]
