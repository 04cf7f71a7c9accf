"""Turns of the comparison."""

import pytest

from loadtests import closedloop, compare, procfs
from loadtests.cases import Case
from loadtests.closedloop import Load


class Standing:
    """A peer that stands still, and says what is done to it."""

    port = 1
    reader = None

    def __init__(self, done):
        self._done = done

    def pids(self):
        return [1]

    def resume(self):
        self._done.append("resume")

    def halt(self):
        self._done.append("halt")


@pytest.fixture
def done(monkeypatch):
    """What happens in a turn, in its order; nothing of it takes any time."""
    happened = []
    cpu_s = iter([1.0, 1.5])

    def read(pids):
        happened.append("CPU")
        return next(cpu_s)

    def drive(port, mode, seconds, cores):
        happened.append("load")
        return Load(requests=10_000, seconds=1.0, errors=0)

    monkeypatch.setattr(compare.time, "sleep", lambda seconds: happened.append(seconds))
    monkeypatch.setattr(procfs, "cpu_s", read)
    monkeypatch.setattr(procfs, "cores_busy_s", lambda cores: 0.0)
    monkeypatch.setattr(procfs, "memory", lambda pids: procfs.Memory(1.0, 1.0))
    monkeypatch.setattr(closedloop, "drive", drive)
    monkeypatch.setattr(compare, "counts", lambda ports: dict.fromkeys(("stable", "canary", "shadow"), 0))
    return happened


@pytest.mark.parametrize("peer", ["understudy", "nginx"])
def test_what_came_due_in_a_standstill_is_done_before_the_load(done, peer):
    """A peer with timers would pay within its second of load for all the seconds in which the others had their turn;
    or one peer would be given time that another is not."""
    comparison = compare.Comparison(compare.Options(), lambda _: None)
    comparison._turn(1, Case(peer, "64KiB"), Standing(done), {})
    assert done == ["resume", compare.SETTLE_S, "CPU", "load", "CPU", compare.LAST_S, "halt"]
    assert compare.SETTLE_S >= 0.5
    assert comparison.figures[peer, "64KiB"][1]["cpuMicroseconds"] == 50.0
