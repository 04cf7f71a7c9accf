"""What a worker says, and how often."""

from __future__ import annotations

import json

import pytest

from proxy.data.logs import notices
from proxy.data.logs.notices import PAUSE_S, Seldom, log
from tests.support.plane import Clock

Capture = pytest.CaptureFixture[str]


def lines(capsys: Capture) -> list[dict[str, object]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_one_line_is_one_object(capsys: Capture) -> None:
    """Whoever collects logs reads them line by line."""
    log("warning", "a thing", reason="two\nlines")
    (line,) = lines(capsys)
    assert (line["level"], line["event"], line["reason"]) == ("warning", "a thing", "two\nlines")
    assert {"at", "pid", "process"} <= set(line)


def test_trouble_that_goes_on_is_told_seldom(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead backend would write a line for each request, and the log would be what is slow."""
    clock = Clock()
    monkeypatch.setattr(notices, "monotonic", clock)
    seldom = Seldom()
    for _ in range(1000):
        seldom.say("down", "refused", backend="v1")
    assert [line["times"] for line in lines(capsys)] == [1]
    clock.move(PAUSE_S)
    seldom.say("down", "refused", backend="v1")
    assert [line["times"] for line in lines(capsys)] == [1000]
    seldom.say("down", "expired", backend="v1")
    assert [line["reason"] for line in lines(capsys)] == ["expired"]
