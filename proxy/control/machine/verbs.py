"""The verbs of an operator, and the event that each is to a rollout."""

from __future__ import annotations

from typing import Literal, assert_never

from proxy.control.machine.rollout import Abort, Event, Pause, Promote, Resume, Retry, Undo

Verb = Literal["promote", "abort", "pause", "resume", "retry", "undo"]


def event_of(verb: Verb, actor: str, full: bool, reason: str, candidate: str = "") -> Event:
    """The event of a verb."""
    match verb:
        case "promote":
            return Promote(actor, full, candidate)
        case "abort":
            return Abort(actor, reason, candidate)
        case "pause":
            return Pause(actor)
        case "resume":
            return Resume(actor)
        case "retry":
            return Retry(actor)
        case "undo":
            return Undo(actor, reason)
        case _:
            assert_never(verb)
