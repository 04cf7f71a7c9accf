"""The view on a terminal, and the lines that take its place elsewhere."""

import io

import pytest
from rich.console import Console

from proxy.demo.view import View, line, picture
from tests.support.fake_controller import route_document


def printed(*, terminal: bool, updates: list[tuple[dict, float]]) -> str:
    out = io.StringIO()
    with View(Console(file=out, force_terminal=terminal, width=130)) as view:
        for route, elapsed_s in updates:
            view.update(route, "clients: 5 requests, 0 errors", elapsed_s)
    return out.getvalue()


def test_a_line_has_phase_weights_and_evidence() -> None:
    """Broken: logs of the demo would not show how a verdict came about."""
    text = line(route_document(), "clients: 5 requests, 0 errors", 12.4)
    assert text.startswith("   12 s  fraud-v2 Progressing: weight 5 %, copies 0 %; errors open")
    assert "latency.p99 within its margin" in text
    assert "prediction.label worse than its margin" in text
    assert text.endswith("clients: 5 requests, 0 errors")


def test_plain_lines_come_with_changes_and_every_five_seconds() -> None:
    """Broken: a log would have a line for each look, or none while nothing changes."""
    same = route_document()
    changed = same | {"weight": 50.0}
    text = printed(terminal=False, updates=[(same, 0), (same, 1), (same, 5.5), (changed, 6), (changed, 7)])
    assert [row[:7] for row in text.splitlines()] == ["    0 s", "    6 s", "    6 s"]
    assert "\x1b" not in text


def test_terminal_shows_steps_weights_evidence_and_clients() -> None:
    """Broken: the live view would hide what the demo is about."""
    text = printed(terminal=True, updates=[(route_document(), 1.0)])
    for part in ("fraud-v2", "setWeight 5 %", "users on", "copied to", "latency.p99", "out at 20 : 1", "5 requests"):
        assert part in text


@pytest.mark.parametrize("changes", [{"metrics": [], "abortEvidence": None}, {"steps": []}, {"candidate": None}])
def test_a_rollout_that_has_just_begun_can_be_shown(changes: dict) -> None:
    """Broken: the view would fail before the first evidence is there."""
    route = route_document() | changes
    Console(file=io.StringIO(), width=100).print(picture(route, "", 0.0))
    assert line(route, "", 0.0)
