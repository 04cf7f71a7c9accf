"""What /proc tells: CPU time and memory of a tree of processes, and what the machine is."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of some processes: pages in all of them, and with shared pages divided among their users."""

    rss_mib: float
    pss_mib: float


def tree(roots: Iterable[int]) -> list[int]:
    """The processes and all that descend from them."""
    found: list[int] = []
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                waiting += map(int, task.read_text().split())
    return found


def cpu_s(pids: Iterable[int]) -> float:
    """CPU seconds that the processes have used, user and system, exact to one tick (10 ms) each."""
    return sum(cpu_ticks(Path(f"/proc/{pid}/stat").read_text()) for pid in pids) / _TICKS_PER_S


def cpu_ticks(stat: str) -> int:
    """User and system ticks out of a /proc/PID/stat line; the name in it may hold blanks and parentheses."""
    fields = stat.rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def cores_busy_s(cores: Iterable[int]) -> float:
    """CPU seconds that the cores were busy for anybody, since boot, time stolen by the machine's host included."""
    lines = Path("/proc/stat").read_text().splitlines()
    return sum(busy_ticks(line) for line in lines if line.split()[0] in {f"cpu{core}" for core in cores}) / _TICKS_PER_S


def busy_ticks(line: str) -> int:
    """Ticks of a core's line in /proc/stat: user, nice, system, irq, softirq and steal, without idle and iowait."""
    fields = [int(field) for field in line.split()[1:9]]
    return sum(fields) - fields[3] - fields[4]


def command(pid: int) -> list[str]:
    """The words of a process's command; none of a process that is gone."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    return []


def memory(pids: Iterable[int]) -> Memory:
    """Memory of the processes together."""
    rss_kib = pss_kib = 0
    for pid in pids:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            name, _, value = line.partition(":")
            if name == "Rss":
                rss_kib += int(value.split()[0])
            elif name == "Pss":
                pss_kib += int(value.split()[0])
    return Memory(rss_kib / 1024, pss_kib / 1024)


def machine() -> dict[str, str | int]:
    """What the figures were measured on."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    total_kib = int(Path("/proc/meminfo").read_text().split("MemTotal:")[1].split()[0])
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memoryMiB": total_kib // 1024,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
