"""Where the time of one worker goes: `make profile ARGS=64KiB`. docs/profile.md says what was found.

Each view is a load of its own, since each tool slows the worker down in its own way: samples of the CPU clock say what
share each library and the kernel have (perf), counts of system calls (strace), and instructions outside of the kernel
say how much work a request is, whatever else the machine does (valgrind). A tool that is missing is left out.
"""

from __future__ import annotations

import argparse
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from loadtests import closedloop, peers
from loadtests.cases import MODES, PLAIN, Mode
from loadtests.compare import Cores, upstream
from loadtests.peers import PEERS, Peer, Running

WORKER: Final = next(peer for peer in PEERS if peer.name == "worker")
PARTS: Final = {
    "kernel": "[kernel", "compiled request path": "__mypyc", "parser (httptools)": "parser.", "loop (uvloop)": "loop.",
    "Python": "python", "C library": "libc.",
}  # fmt: skip
"""What the parts of a worker are called in the names of their files."""
OTHERS: Final = "other libraries"
_PACKAGES: Final = {"perf": "linux-perf"}
_ATTACH_S: Final = 0.5
_READ: Final = "__pyx_f_6uvloop_4loop___uv_stream_on_read"
"""What uvloop runs when bytes have come. What else a worker does goes by the clock, and under valgrind time is long."""
_SLOW_START_S: Final = 120.0
"""Under valgrind a worker takes its time to be ready."""
_SAMPLE: Final = re.compile(r"^\s*([\d.]+)%\s+(\S+)", re.MULTILINE)
_CALLS: Final = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)\s*$", re.MULTILINE)


def shares(report: str) -> dict[str, float]:
    """The percent of each part, of what `perf report --sort dso` says."""
    found = dict.fromkeys([*PARTS, OTHERS], 0.0)
    for percent, name in _SAMPLE.findall(report):
        part = next((part for part, mark in PARTS.items() if mark in name), OTHERS)
        found[part] += float(percent)
    return found


def calls(report: str, requests: int) -> dict[str, float]:
    """The system calls per request, of what `strace -c` says; what is seldom is left out."""
    counted = {name: int(count) / requests for count, name in _CALLS.findall(report)}
    return {name: each for name, each in counted.items() if each >= 0.01 and name != "total"}


def instructions(dump: str) -> int:
    """All instructions of a dump of callgrind."""
    found = re.search(r"^(?:summary|totals): (\d+)", dump, re.MULTILINE)
    return int(found[1]) if found else 0


def main(argv: Sequence[str]) -> int:
    """Print all views; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.profile", description=__doc__)
    parser.add_argument("mode", nargs="?", choices=list(MODES), default=PLAIN.name)
    parser.add_argument("--seconds", type=int, default=5, help="of each load (default: %(default)s)")
    asked = parser.parse_args(argv)
    mode, cores = MODES[asked.mode], Cores.of_machine()
    views = {"perf": _perf, "strace": _strace, "valgrind": _valgrind}
    with upstream(cores.load) as ports, tempfile.TemporaryDirectory(prefix="understudy-profile-") as folder:
        for tool, view in views.items():
            if shutil.which(tool) is None:
                print(f"{tool}: left out, it is not installed: apt-get install {_PACKAGES.get(tool, tool)}")
                continue
            for name, value in view(mode, ports, cores, asked.seconds, Path(folder) / tool).items():
                print(f"{tool}: {name}: {value:,.2f}", flush=True)
    return 0


def _perf(mode: Mode, ports: dict[str, int], cores: Cores, seconds: int, out: Path) -> dict[str, float]:
    with _warm(WORKER, mode, ports, cores) as worker:
        record = ["perf", "record", "-q", "-e", "cpu-clock", "-F", "1999", "-o", str(out), "-p", str(worker.root)]
        with _attached(record):
            closedloop.drive(worker.port, mode, seconds, cores.load)
    report = subprocess.run(
        ["perf", "report", "-i", str(out), "--sort", "dso", "--stdio"], capture_output=True, text=True, check=True
    )
    return {f"% of the time, {part}": share for part, share in shares(report.stdout).items()}


def _strace(mode: Mode, ports: dict[str, int], cores: Cores, seconds: int, out: Path) -> dict[str, float]:
    with _warm(WORKER, mode, ports, cores) as worker, _attached(_strace_command(worker, out)):
        load = closedloop.drive(worker.port, mode, seconds, cores.load)
    return {f"{name} per request": each for name, each in calls(out.read_text(), load.requests).items()}


def _strace_command(worker: Running, out: Path) -> list[str]:
    return ["strace", "-c", "-f", "-o", str(out), "-p", str(worker.root)]


def _valgrind(mode: Mode, ports: dict[str, int], cores: Cores, seconds: int, out: Path) -> dict[str, float]:
    wrap = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--toggle-collect={_READ}",
            f"--callgrind-out-file={out}"]  # fmt: skip

    def launch(*given: object) -> peers.Launch:
        plain = WORKER.launch(*given)  # type: ignore[arg-type]
        return replace(plain, command=[*wrap, *plain.command])

    with _warm(replace(WORKER, launch=launch), mode, ports, cores, _SLOW_START_S) as worker:
        _control("--instr=on", worker)
        load = closedloop.drive(worker.port, mode, seconds, cores.load)
        _control("--dump", worker)
    (dump,) = out.parent.glob(f"{out.name}.*")
    return {"instructions per request, outside of the kernel": instructions(dump.read_text()) / load.requests}


@contextmanager
def _warm(
    peer: Peer, mode: Mode, ports: dict[str, int], cores: Cores, ready_s: float = peers.READY_S
) -> Iterator[Running]:
    with peers.running(peer, mode, ports, cores.proxy, ready_s) as worker:
        closedloop.drive(worker.port, mode, 1, cores.load)
        yield worker


@contextmanager
def _attached(command: Sequence[str]) -> Iterator[None]:
    """A tool that watches the worker for the length of a block."""
    tool = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        time.sleep(_ATTACH_S)
        yield
    finally:
        tool.send_signal(signal.SIGINT)
        tool.wait()


def _control(what: str, worker: Running) -> None:
    subprocess.run(
        ["callgrind_control", what, str(worker.root)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
