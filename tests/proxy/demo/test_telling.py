"""What is printed at the end has what the demo promises to say."""

import io
from pathlib import Path

from rich.console import Console

from proxy.demo import telling
from proxy.demo.account import Rollout
from tests.support.fake_controller import STARTED_S, history_entries, route_document

ENTRY = {
    "candidate": "fraud-v2", "phase": "Aborted", "seconds": 12.4, "candidateCopies": 1_234, "candidateRequests": 56,
    "candidateUsers": 7, "candidateErrors": 1, "report": "/tmp/d/report-v3.md",
}  # fmt: skip
OUTCOME = {
    "ok": True, "seconds": 71.2, "rollouts": [ENTRY], "clientRequests": 9_000, "clientErrors": 1,
    "clientErrorsUnexplained": 0, "clientUsers": 240, "accuracyByBackend": {"fraud-v1": 0.94}, "folder": "/tmp/d",
    "admin": "http://127.0.0.1:9901",
}  # fmt: skip


def printed(outcome: dict) -> str:
    console = Console(file=io.StringIO(), width=130)
    route = route_document() | {"history": history_entries()}
    telling.tell(console, [Rollout(route, "/tmp/d/report-v3.md")], outcome, STARTED_S, keep=False)
    return console.file.getvalue()


def test_the_end_has_timeline_comparison_numbers_and_places() -> None:
    """Broken: the demo would end without saying what it has shown."""
    text = printed(OUTCOME)
    for part in (
        "60.0 s", "fraud-v2 is rehearsed on route fraud", "prediction.label", "worse than its margin", "1,234",
        "7 of 240", "9,000 requests; 1 errors, 0 of them not answered", "fraud-v1 94 %", "/tmp/d/report-v3.md",
        "dashboard and admin API: http://127.0.0.1:9901", "as it should be: fraud-v2 Aborted; 71 s in all",
    ):  # fmt: skip
        assert part in text
    assert text.index("is rehearsed") < text.index("go on | after lunch")


def test_a_demo_that_went_wrong_says_so() -> None:
    """Broken: a failed demo would look like a good one."""
    text = printed(OUTCOME | {"ok": False})
    assert "not as it should be" in text
    nothing = OUTCOME | {"ok": False, "rollouts": [], "accuracyByBackend": {}}
    console = Console(file=io.StringIO(), width=130)
    telling.tell(console, [], nothing, STARTED_S, keep=False)
    assert "no rollout ended" in console.file.getvalue()


def test_what_is_left_running_can_be_stopped() -> None:
    """Broken: after `--keep` nobody would know which processes are there."""
    console = Console(file=io.StringIO(), width=130)
    pids = {"model-v1": 11, "serve": 12, "traffic": 13}
    telling.leave(console, "http://127.0.0.1:8080", "http://127.0.0.1:9901", Path("/tmp/d/understudy.yaml"), pids)
    text = console.file.getvalue()
    assert "kill 13 12 11" in text
    assert "--admin http://127.0.0.1:9901" in text
    assert "http://127.0.0.1:9901/#/routes/" in text
