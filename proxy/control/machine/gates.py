"""Where webhooks have a say in a rollout, and what they have said. Pure.

A rollout stands at a gate until every webhook of its type has said yes. No answer is no; a no never ends a rollout by
itself, and a yes that was given for another step is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

Gate = Literal["confirm-rollout", "pre-rollout", "confirm-traffic-increase", "confirm-promotion", "rollout", "rollback"]
BEFORE: Final[tuple[Gate, ...]] = ("confirm-rollout", "pre-rollout")
"""Gates before a candidate gets anything, in their order."""
ALWAYS: Final[frozenset[str]] = frozenset({"rollout", "rollback"})
"""Asked at every look of a rollout that goes on, and not at one place of it."""


@dataclass(frozen=True, slots=True)
class Answers:
    """What webhooks say of where a rollout stands: the gates at which all have said yes, the first of the other answers
    of each gate in words, and why the rollout is to be aborted, empty where nobody wants that."""

    confirmed: frozenset[str] = frozenset()
    said: Mapping[str, str] = field(default_factory=dict)
    harm: str = ""


UNASKED: Final = Answers()


def waiting(gate: str, answers: Answers) -> str:
    """What a rollout waits for at a gate, in words; "" for nothing."""
    if gate in answers.confirmed:
        return ""
    return answers.said.get(gate, f"{gate}: asked, and no answer yet")
