"""Real processes: they come up, their failures are told, and none is left behind."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from proxy.demo.processes import Processes, StartError, free_ports

WEB = ["http.server", "--bind", "127.0.0.1"]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.system
async def test_started_processes_answer_and_are_stopped(tmp_path: Path) -> None:
    """Broken: the demo would leave processes behind, or begin before they answer."""
    processes = Processes(tmp_path)
    ports = free_ports(2)
    for port in ports:
        processes.start(f"web-{port}", [*WEB, str(port)])
    try:
        for port in ports:
            await processes.ready(f"web-{port}", f"http://127.0.0.1:{port}/")
        processes.check()
        pids = list(processes.pids().values())
        assert len(pids) == 2
    finally:
        await processes.stop()
    assert not any(alive(pid) for pid in pids)
    assert processes.pids() == {}


@pytest.mark.slow
@pytest.mark.system
async def test_a_process_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    """Broken: a demo that fails would not tell what went wrong."""
    processes = Processes(tmp_path)
    processes.start("broken", ["proxy.no_such_module"])
    with pytest.raises(StartError, match=r"broken ended with status 1[^$]*No module named proxy.no_such_module"):
        await processes.ready("broken", "http://127.0.0.1:1/")


@pytest.mark.slow
@pytest.mark.system
async def test_a_process_that_ended_is_noticed(tmp_path: Path) -> None:
    """Broken: the demo would wait for a verdict that nobody can give any more."""
    processes = Processes(tmp_path)
    (port,) = free_ports(1)
    processes.start("web", [*WEB, str(port)])
    await processes.ready("web", f"http://127.0.0.1:{port}/")
    pid = processes.pids()["web"]
    os.kill(pid, signal.SIGKILL)
    await asyncio.to_thread(os.waitid, os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(StartError, match="web ended with status -9"):
        processes.check()


def test_free_ports_are_different() -> None:
    """Broken: two servers of the demo would want one port."""
    assert len(set(free_ports(8))) == 8
