"""What the clients met, and how the two rollouts ended: the numbers at the end of the demo, and its JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from proxy.demo.traffic import Answered

Json = dict[str, Any]
FINAL = frozenset({"Succeeded", "Aborted", "Failed"})


@dataclass(frozen=True, slots=True)
class Met:
    """What clients saw of one version before the end of its rollout. Copies are never among it."""

    requests: int
    users: int
    errors: int


@dataclass(frozen=True, slots=True)
class Rollout:
    """How one rollout ended. `route` is the admin API's last word on it, `report` the file with its report."""

    route: Json
    report: str

    @property
    def candidate(self) -> str:
        """The version that was tried."""
        return str(self.route["candidate"])

    @property
    def ended_at(self) -> float:
        """Seconds since 1970; far in the future while it goes on."""
        ended: float | None = self.route["endedAt"]
        return float("inf") if ended is None else ended

    @property
    def seconds(self) -> float | None:
        """From the first look to the end."""
        return None if self.route["endedAt"] is None else self.route["endedAt"] - self.route["startedAt"]

    @property
    def copies(self) -> int:
        """Requests that were rehearsed: the candidate was sent a copy, and nobody its answer."""
        return sum(arm["requests"] for arm in self.route["arms"] if arm["role"] == "shadow")

    def met(self, answers: Sequence[Answered]) -> Met:
        """What clients saw of the candidate."""
        mine = [answer for answer in answers if answer.backend == self.candidate and answer.sent_at <= self.ended_at]
        return Met(len(mine), len({answer.user for answer in mine}), sum(answer.failed for answer in mine))


def unexplained(answers: Sequence[Answered], faulty: str) -> list[Answered]:
    """Errors that clients saw and that the faulty version did not answer itself: there must be none."""
    return [answer for answer in answers if answer.failed and not (answer.by_model and answer.backend == faulty)]


def went_back(answers: Sequence[Answered], rollout: Rollout) -> int:
    """Users who met the candidate and then the stable version again while its weight stood or rose."""
    met: set[str] = set()
    back: set[str] = set()
    for answer in sorted(answers, key=lambda answer: answer.sent_at):
        if answer.sent_at > rollout.ended_at:
            break
        if answer.backend == rollout.candidate:
            met.add(answer.user)
        elif answer.user in met:
            back.add(answer.user)
    return len(back)


def accuracy(answers: Sequence[Answered]) -> dict[str, float]:
    """The share of right answers that clients got from each version."""
    given = Counter(answer.backend for answer in answers if answer.status == 200)
    right = Counter(answer.backend for answer in answers if answer.right)
    return {backend: right[backend] / count for backend, count in sorted(given.items())}


def summary(rollouts: Sequence[Rollout], answers: Sequence[Answered], faulty: str) -> Json:
    """The outcome for machines."""
    errors = Counter(answer.backend or "none" for answer in answers if answer.failed)
    return {
        "rollouts": [_entry(rollout, answers) for rollout in rollouts],
        "clientRequests": len(answers),
        "clientErrors": errors.total(),
        "clientErrorsByBackend": dict(errors),
        "clientErrorsUnexplained": len(unexplained(answers, faulty)),
        "clientUsers": len({answer.user for answer in answers}),
        "accuracyByBackend": {name: round(share, 4) for name, share in accuracy(answers).items()},
    }


def _entry(rollout: Rollout, answers: Sequence[Answered]) -> Json:
    met = rollout.met(answers)
    return {
        "candidate": rollout.candidate,
        "stable": rollout.route["stable"],
        "phase": rollout.route["phase"],
        "verdict": rollout.route["verdict"],
        "seconds": None if rollout.seconds is None else round(rollout.seconds, 1),
        "candidateRequests": met.requests,
        "candidateUsers": met.users,
        "candidateErrors": met.errors,
        "candidateCopies": rollout.copies,
        "usersWhoWentBack": went_back(answers, rollout),
        "decidedBy": rollout.route["decidedBy"],
        "reason": rollout.route["reason"],
        "report": rollout.report,
    }
