"""The supervisor, with small children of its own in the place of the controller and the workers."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from proxy.control.process.supervisor import Launch

ROOT = Path(__file__).parents[4]
STUB = """
import signal, sys, time
def end(*_):
    print("term", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
signal.signal(signal.SIGHUP, lambda *_: open(sys.argv[1] + "/hup", "w").close())
open(sys.argv[1] + "/" + sys.argv[2], "w").close()
while True:
    time.sleep(60)
"""
STUBBORN = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open(sys.argv[1] + "/" + sys.argv[2], "w").close()
while True:
    time.sleep(60)
"""
SUPERVISE = """
import sys
from proxy.control.process.child import Spec
from proxy.control.process.supervisor import Launch, Supervisor, log_to_stderr, open_estate
import proxy.control.process.supervisor as module
launch = Launch.from_json(sys.argv[1])
log_to_stderr("info")
module.KILL_MARGIN_S = 0.0
def commands(launch, estate):
    print(estate.folder, flush=True)
    python = [sys.executable, "-S", "-c"]
    worker = sys.argv[3]
    return (
        Spec("controller", [*python, sys.argv[2], sys.argv[4], "controller"]),
        [Spec(f"worker {i}", [*python, worker, sys.argv[4], f"worker{i}"]) for i in range(launch.workers)],
    )
sys.exit(Supervisor(launch, open_estate(launch), commands).run())
"""


MAIN = "import sys; from proxy.control.process.supervisor import main; sys.exit(main(sys.argv[1:]))"


class Running:
    """A supervisor under test: its process and its log."""

    def __init__(self, folder: Path, worker: str, drain_timeout_s: float, drain_delay_s: float) -> None:
        address = ("127.0.0.1", 0)
        launch = Launch("c.yaml", (address,), address, 2, 4, 1, "", drain_timeout_s, drain_delay_s)
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISE, launch.to_json(), STUB, worker, str(folder)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
        )
        self.lines: list[dict[str, Any]] = []
        self._rest = b""
        assert self.process.stdout is not None
        self.folder = Path(self.process.stdout.readline().decode().strip())

    def wait_for(self, holds: Callable[[list[dict[str, Any]]], bool], timeout_s: float = 10.0) -> float:
        """Read the log until it holds; returns the seconds that took."""
        assert self.process.stderr is not None
        fd, began_s = self.process.stderr.fileno(), time.monotonic()
        while not holds(self.lines):
            left_s = began_s + timeout_s - time.monotonic()
            assert left_s > 0, self.lines
            assert select.select([fd], [], [], left_s)[0], self.lines
            data = os.read(fd, 65536)
            assert data, self.lines
            *whole, self._rest = (self._rest + data).split(b"\n")
            self.lines += [json.loads(line) for line in whole]
        return time.monotonic() - began_s

    def pid(self, child: str) -> int:
        """The number of a child's newest process."""
        return int(next(line["child_pid"] for line in reversed(self.lines) if line.get("child") == child))


def events(lines: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == event]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    running: list[Running] = []

    def begin(worker: str = STUB, drain_timeout_s: float = 5.0, drain_delay_s: float = 0.0) -> Running:
        running.append(Running(tmp_path, worker, drain_timeout_s, drain_delay_s))
        running[-1].wait_for(lambda lines: len(events(lines, "started")) == 3)
        return running[-1]

    yield begin
    for one in running:
        if one.process.poll() is None:
            one.process.kill()
        one.process.communicate()


def until(holds: Callable[[], bool], timeout_s: float = 10.0) -> None:
    end_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


@pytest.mark.slow
def test_dead_children_are_started_again(start: Callable[..., Running], tmp_path: Path) -> None:
    """A worker or controller that was killed would stay away, or be back late, or its death would go unexplained."""
    running = start()
    for child in ("worker 1", "controller"):
        before = running.pid(child)
        os.kill(before, signal.SIGKILL)
        took_s = running.wait_for(
            lambda lines, child=child: any(e["child"] == child for e in events(lines, "restarted"))
        )
        assert took_s < 0.3
        assert running.pid(child) != before
        death = next(e for e in events(running.lines, "died") if e["child"] == child)
        assert (death["child_pid"], death["reason"]) == (before, "signal SIGKILL")


@pytest.mark.slow
def test_a_child_that_keeps_dying_waits_longer_each_time(start: Callable[..., Running]) -> None:
    """A release that dies at its start would be forked as fast as the machine can."""
    running = start("import sys; sys.exit(3)")
    running.wait_for(lambda lines: len([e for e in events(lines, "died") if e["child"] == "worker 0"]) >= 4)
    waits = [e["again_in_s"] for e in events(running.lines, "died") if e["child"] == "worker 0"]
    assert waits[:4] == [0.0, 0.2, 0.4, 0.8]
    assert events(running.lines, "died")[0]["reason"] == "exit status 3"


@pytest.mark.slow
def test_sigterm_drains_workers_first_and_leaves_nothing(start: Callable[..., Running], tmp_path: Path) -> None:
    """A shutdown would cut requests, judge without the last seconds, or leave its folder or a child behind."""
    running = start()
    until(lambda: all((tmp_path / name).exists() for name in ("controller", "worker0", "worker1")))
    os.kill(running.process.pid, signal.SIGTERM)
    running.wait_for(lambda lines: len(events(lines, "ended")) == 3)
    assert running.process.wait(5) == 0
    ended = events(running.lines, "ended")
    assert ended[-1]["child"] == "controller"
    assert {e["reason"] for e in ended} == {"exit status 0"}
    assert not running.folder.exists()


@pytest.mark.slow
def test_a_worker_that_does_not_end_is_killed(start: Callable[..., Running], tmp_path: Path) -> None:
    """One hung worker would keep a shutdown from ever ending."""
    running = start(STUBBORN, drain_timeout_s=0.3)
    until(lambda: all((tmp_path / name).exists() for name in ("worker0", "worker1")))
    os.kill(running.process.pid, signal.SIGINT)
    running.wait_for(lambda lines: len(events(lines, "ended")) == 3)
    assert {e["child"] for e in events(running.lines, "killed")} == {"worker 0", "worker 1"}
    assert running.process.wait(5) == 0


@pytest.mark.slow
def test_a_second_signal_cuts_the_drain_short(start: Callable[..., Running], tmp_path: Path) -> None:
    """Somebody who cannot wait would have to look for the workers' numbers and kill them one by one."""
    running = start(STUBBORN, drain_timeout_s=60)
    until(lambda: all((tmp_path / name).exists() for name in ("controller", "worker0", "worker1")))
    os.kill(running.process.pid, signal.SIGTERM)
    running.wait_for(lambda lines: bool(events(lines, "draining")))
    os.kill(running.process.pid, signal.SIGTERM)
    running.wait_for(lambda lines: len(events(lines, "ended")) == 3)
    assert {e["child"] for e in events(running.lines, "killed")} == {"worker 0", "worker 1"}
    assert events(running.lines, "ended")[-1]["reason"] == "exit status 0", "the controller kept what it had"
    assert running.process.wait(5) == 0


@pytest.mark.slow
def test_children_are_kept_alive_while_the_delay_lasts(start: Callable[..., Running], tmp_path: Path) -> None:
    """A worker that dies while clients are still being sent to us would leave them waiting."""
    running = start(drain_delay_s=60)
    until(lambda: all((tmp_path / name).exists() for name in ("controller", "worker0", "worker1")))
    os.kill(running.process.pid, signal.SIGTERM)
    running.wait_for(lambda lines: bool(events(lines, "draining")))
    os.kill(running.pid("worker 1"), signal.SIGKILL)
    running.wait_for(lambda lines: bool(events(lines, "restarted")))
    os.kill(running.process.pid, signal.SIGINT)
    running.wait_for(lambda lines: len(events(lines, "ended")) == 3)
    assert running.process.wait(5) == 0


@pytest.mark.slow
def test_sighup_reaches_the_controller(start: Callable[..., Running], tmp_path: Path) -> None:
    """`kill -HUP` of the first process would not reload the configuration."""
    running = start()
    until((tmp_path / "controller").exists)
    os.kill(running.process.pid, signal.SIGHUP)
    until((tmp_path / "hup").exists)


@pytest.mark.slow
def test_no_orphan_keeps_the_port(start: Callable[..., Running], tmp_path: Path) -> None:
    """After kill -9 of the first process its workers would go on under a configuration that nobody can change."""
    running = start()
    until(lambda: all((tmp_path / name).exists() for name in ("controller", "worker0", "worker1")))
    pids = [running.pid(child) for child in ("controller", "worker 0", "worker 1")]
    os.kill(running.process.pid, signal.SIGKILL)
    until(lambda: all(gone(pid) for pid in pids))


def test_a_taken_address_is_named() -> None:
    """Somebody whose port is taken would not be told which one, or get a traceback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        launch = Launch("c.yaml", (("127.0.0.1", port),), ("127.0.0.1", 0), 1, 4, 1, "")
        done = subprocess.run(
            [sys.executable, "-c", MAIN, "--launch", launch.to_json()],
            capture_output=True,
            cwd=ROOT,
            timeout=20,
            check=False,
        )
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in json.loads(done.stderr)["reason"]


def test_only_the_standard_library_is_imported() -> None:
    """The process that must never die would depend on packages, and take their memory and start time."""
    code = (
        "import sys; import proxy.__main__, proxy.control.process.supervisor;"
        "own = {'proxy', '__main__'} | set(sys.stdlib_module_names);"
        "print([name for name in sys.modules if name.partition('.')[0] not in own])"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_launch_survives_its_json() -> None:
    """The supervisor would be told other facts than `serve` worked out."""
    launch = Launch(
        "/etc/u.yaml",
        (("0.0.0.0", 80), ("::", 81)),
        ("127.0.0.1", 9901),
        4,
        72,
        8,
        "sqlite:////u.db",
        12.5,
        2.5,
        "debug",
    )
    assert Launch.from_json(launch.to_json()) == launch
