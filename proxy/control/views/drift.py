"""Where what is live is not what the file says: it does not know which rollouts have ended, and who has left a race.

The file is intent, and stays as people wrote it; here is what to do about the difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from proxy.control.evidence.subject import Subject
from proxy.control.machine.rollout import Phase
from proxy.control.views.paired import front
from proxy.snapshot import CIRCLE

Json = dict[str, Any]


def differences(subjects: Iterable[Subject]) -> list[Json]:
    """Each difference, and its remedy."""
    return [
        {"route": subject.name, "text": text, "remedy": remedy}
        for subject in subjects
        for text, remedy in (_ended(subject) if not subject.active else _left(subject))
    ]


def _ended(subject: Subject) -> Iterator[tuple[str, str]]:
    """What the file does not know of a rollout that has ended."""
    phase = subject.state.phase if subject.state else None
    name = front(subject) or (subject.plan.candidate if subject.plan else "")
    weight_ppm = subject.state.weight_ppm if subject.state else 0
    if phase is Phase.SUCCEEDED and weight_ppm < CIRCLE:
        strategy = subject.plan.strategy if subject.plan else ""
        text = f"{name} is the canary in the file, and its {strategy} has ended"
        yield text, "give the route another strategy, or take it out of the file"
    elif phase is Phase.SUCCEEDED:
        text = f"{name} has all traffic, and is the canary in the file"
        stopped = subject.state.stopped if subject.state else ""
        text += f"; {stopped}, which the file calls stable, is stopped" if stopped else ""
        yield text, f"understudy promote {subject.name} --write"
    elif phase is Phase.ABORTED:
        text = f"{name} was aborted and gets nothing, and is the canary in the file"
        yield text, f"take it out of the file, or understudy retry {subject.name}"


def _left(subject: Subject) -> Iterator[tuple[str, str]]:
    """Of several candidates those that get nothing any more, while the others go on."""
    for runner in subject.state.race if subject.state else ():
        if runner.verdict in ("Failed", "Inconclusive"):
            text = f"{runner.name} has left the race and gets nothing, and is a canary in the file"
            yield text, "leave it there until the rollout has ended: another list begins another rollout"
