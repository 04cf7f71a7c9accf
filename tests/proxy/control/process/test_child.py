"""A supervised process: what it is given."""

from __future__ import annotations

import os
import sys

import pytest

from proxy.control.process.child import WORKER_HEAP, Child, Spec
from proxy.control.process.supervisor import Launch, commands, open_estate

SHOW = "import os; print(os.environ.get('MALLOC_TRIM_THRESHOLD_'), os.environ.get('OWN'), flush=True)"


@pytest.mark.parametrize("said", [None, "131072"])
def test_variables_are_those_of_the_environment_first(
    said: str | None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """An operator who tunes the allocator would be overruled, or the worker would miss everything else it was given."""
    monkeypatch.setenv("OWN", "kept")
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    if said is not None:
        monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", said)
    child = Child(Spec("worker 0", [sys.executable, "-S", "-c", SHOW], (), WORKER_HEAP))
    child.start(0.0, ())
    assert child.process is not None
    assert child.process.wait(10) == 0
    assert capfd.readouterr().out == f"{said or WORKER_HEAP['MALLOC_TRIM_THRESHOLD_']} kept\n"


def test_workers_keep_their_heap_and_the_controller_does_not() -> None:
    """Without it a worker gives its memory back to the kernel and takes it again with every long body."""
    address = ("127.0.0.1", 0)
    launch = Launch("c.yaml", (address,), address, 2, 4, 1, "", 1.0, 0.0)
    estate = open_estate(launch)
    try:
        controller, workers = commands(launch, estate)
        assert [spec.variables for spec in workers] == [WORKER_HEAP] * 2
        assert controller.variables == {}
    finally:
        for sock in (*estate.listen, estate.admin, estate.channel):
            sock.close()
        for fd in (estate.ledger_fd, estate.slot_fd):
            os.close(fd)
