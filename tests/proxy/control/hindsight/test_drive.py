"""Rollouts on a virtual clock: when they are looked at, what is answered for those who are not there, what is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from analysis import contest
from config.loader import loads
from proxy.control.evidence.subject import Collected, Subject
from proxy.control.hindsight.drive import Drive
from proxy.control.machine import steps
from proxy.control.machine.rollout import Action, Look, Phase, State
from tests.proxy.control.machine.test_rollout import Verdict
from tests.support.records import config

ASKING = {"blueGreen": {"smoke": [{"path": "/"}], "mirror": {"percent": 100}, "bake": "30s"}}


@dataclass
class Driven:
    """A rollout whose judge says what the test wants, every second."""

    strategy: dict[str, Any]
    interval: str = "1s"

    def __post_init__(self) -> None:
        text = config(lambda route: route.update(strategy=self.strategy), interval=self.interval)
        loaded = loads(text, "test").config
        self.subject = Subject.of(loaded, loaded.routes[0])
        self.subject.collected = Collected(judge=contest.begin(self.subject.question))
        assert self.subject.plan is not None
        self.drive = Drive(self.subject, steps.ungated(self.subject.plan), self.install)
        self.drive.move_to(100.0, 7000.0)
        self.drive.begin()

    def install(self, state: State, actions: Sequence[Action]) -> None:
        self.subject.install(state, self.subject.collected)

    def tick(self, monkeypatch: pytest.MonkeyPatch, **change: Any) -> State:
        """A second later; the verdict is of whatever stage there is."""
        state = self.drive.state
        assert state is not None
        said: Any = Verdict(stage=state.stage, **change)
        monkeypatch.setattr(Subject, "look", lambda subject, now_s: Look(said))
        self.drive.move_to(self.drive.now_s + 1.0, self.drive.at_s + 1.0)
        self.drive.tick()
        assert self.drive.state is not None
        return self.drive.state


def test_what_endpoints_and_workers_would_say_is_answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a rollout on records waits for ever for somebody who is not there."""
    driven = Driven(ASKING)
    assert driven.drive.state is not None
    assert driven.drive.state.weight_ppm == driven.drive.state.mirror_ppm == 0, "the checks come first"
    state = driven.tick(monkeypatch)
    assert state.mirror_ppm == 1_000_000, "the endpoints were well"
    for _ in range(200):
        state = driven.tick(monkeypatch, proven=True, stage_pairs=9_999.0, stage_candidate=9_999.0)
        if state.phase is Phase.BAKING:
            break
    assert state.phase is Phase.BAKING, "no worker has to hear of the promotion"
    kinds = [moment.what.kind for moment in driven.drive.moments]
    assert kinds == ["begin", "checked", "step", "progress", "promote", "bake"]
    assert not driven.drive.decided


def test_looks_are_an_interval_apart_and_moments_are_dated_by_both_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a simulation looks more often than the rollout would, or nobody finds in the recording what it tells."""
    driven = Driven({"canary": {"steps": [{"setWeight": 50}, {"analysis": {}}]}}, interval="5s")
    for _ in range(11):
        driven.tick(monkeypatch, stage_candidate=10.0)
    assert driven.drive.looks == 3
    progress = next(moment for moment in driven.drive.moments if moment.what.kind == "progress")
    assert (progress.seconds, progress.at_s) == (1.0, 7001.0)
    state = driven.tick(monkeypatch, abort=True, decided_by="errors", reason="worse")
    for _ in range(4):
        state = driven.tick(monkeypatch, abort=True, decided_by="errors", reason="worse")
    assert (state.phase, driven.drive.decided, driven.drive.decided_s) == (Phase.ABORTED, True, 116.0)
    looks = driven.drive.looks
    driven.drive.look()
    assert driven.drive.state == state, "what is decided stays decided"
    assert driven.drive.looks == looks + 1
