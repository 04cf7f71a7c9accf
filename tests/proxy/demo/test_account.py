"""What clients met is counted from what they saw, and from nothing else."""

from typing import Any

from proxy.demo.account import Met, Rollout, accuracy, summary, unexplained, went_back
from proxy.demo.traffic import Answered


def answered(user: str, sent_at: float, backend: str, status: int = 200, **changes: Any) -> Answered:
    known = {"latency_s": 0.01, "by_model": True, "right": status == 200}
    return Answered(user=user, sent_at=sent_at, backend=backend, status=status, **(known | changes))


def rollout(candidate: str = "v2", ended_at: float | None = 20.0) -> Rollout:
    route = {
        "candidate": candidate, "stable": "v1", "phase": "Succeeded", "verdict": "Successful", "reason": "proven",
        "decidedBy": "", "startedAt": 10.0, "endedAt": ended_at,
        "arms": [{"role": "stable", "requests": 90}, {"role": "shadow", "requests": 7}],
    }  # fmt: skip
    return Rollout(route, report="report.md")


def test_only_requests_before_the_end_meet_the_candidate() -> None:
    """Broken: a promoted version's own traffic would count as its trial."""
    answers = [
        answered("a", 11, "v1"), answered("b", 12, "v2"), answered("b", 13, "v2", 500), answered("c", 14, "v2"),
        answered("d", 21, "v2"),
    ]  # fmt: skip
    assert rollout().met(answers) == Met(requests=3, users=2, errors=1)
    assert rollout(ended_at=None).met(answers) == Met(requests=4, users=3, errors=1)


def test_an_error_is_explained_only_if_the_faulty_model_wrote_it_itself() -> None:
    """Broken: an error of the proxy would hide behind a version that fails anyway."""
    own = answered("a", 1, "v3", 500)
    proxys = answered("a", 2, "v3", 502, by_model=False)
    others = answered("a", 3, "v2", 500)
    none = answered("a", 4, "", 0, by_model=False)
    assert unexplained([own, proxys, others, none, answered("a", 5, "v3")], "v3") == [proxys, others, none]


def test_a_user_who_returns_to_stable_went_back() -> None:
    """Broken: users who flip between versions would not be noticed."""
    there = [answered("a", 11, "v1"), answered("a", 12, "v2"), answered("b", 12, "v1")]
    assert went_back(there, rollout()) == 0
    assert went_back([*there, answered("a", 13, "v1"), answered("a", 14, "v1")], rollout()) == 1
    assert went_back([*there, answered("a", 25, "v1")], rollout()) == 0


def test_accuracy_is_of_answers_that_were_given() -> None:
    """Broken: a version's failures would be called wrong answers."""
    answers = [answered("a", 1, "v1"), answered("a", 2, "v1", right=False), answered("a", 3, "v1", 500)]
    assert accuracy(answers) == {"v1": 0.5}


def test_summary_has_what_machines_are_promised() -> None:
    """Broken: `understudy demo --json` would lack a key that scripts read."""
    answers = [answered("a", 11, "v1"), answered("a", 12, "v2"), answered("b", 13, "v2", 500)]
    outcome = summary([rollout()], answers, faulty="v2")
    (entry,) = outcome["rollouts"]
    promised = ("candidate", "phase", "verdict", "seconds", "candidateRequests", "candidateUsers", "reason")
    assert [entry[key] for key in promised] == ["v2", "Succeeded", "Successful", 10.0, 2, 2, "proven"]
    assert (entry["candidateCopies"], entry["candidateErrors"]) == (7, 1)
    assert (outcome["clientRequests"], outcome["clientErrors"], outcome["clientErrorsUnexplained"]) == (3, 1, 0)
    assert outcome["clientErrorsByBackend"] == {"v2": 1}
