"""Two workers beside one, at the same fixed rate and on the same cores: what does the second one cost?

A rate that leaves one worker room is what people run. CPU per request rises with idle cores, since fewer events are
taken at a time; both have the same cores here, so only the worker that is added can make the difference.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

from loadtests import peers, procfs, summary
from loadtests.bounds import bound
from loadtests.cases import PLAIN
from loadtests.compare import Cores, fixed_rate, upstream
from loadtests.peers import PEERS
from loadtests.report import figure, goals, measured, table

HELP: Final = "two workers beside one: CPU per request at the same rate"
AT_MOST: Final = 1.10
WARM_UP_S: Final = 1.0
_COUNTS: Final = (1, 2)
CPU: Final = "cpuMicroseconds"


def options(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("--rounds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each load (default: %(default)s)")
    parser.add_argument("--rate", type=int, default=4000, help="requests/s (default: %(default)s)")


def measure(asked: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Rounds of both, in turn, and the other one first in every second round."""
    cores = Cores.of_machine(max(_COUNTS))
    found: dict[int, dict[int, dict[str, float]]] = {count: {} for count in _COUNTS}
    with upstream(cores.load) as ports:
        for number in range(1, asked.rounds + 1):
            for count in _COUNTS if number % 2 else reversed(_COUNTS):
                found[count][number] = _one(count, ports, cores, asked)
                say(f"round {number}: workers: {count}: {found[count][number]}")
    return {
        "goals": judged(found),
        "cases": [{"workers": count, "median": summary.medians(found[count]), "rounds": found[count]}
                  for count in _COUNTS],
        "rate": asked.rate,
        "proxyCores": len(cores.proxy),
        "loadCores": len(cores.load),
    }  # fmt: skip


def judged(found: Mapping[int, summary.Rounds]) -> list[dict[str, Any]]:
    """The goal, as a ratio within rounds."""
    ratio = summary.ratio(found[2], found[1], CPU)
    return [bound("CPU per request of two workers, over that of one", ratio, AT_MOST, "")]


def section(results: dict[str, Any]) -> str:
    """The part of the document."""
    rows = [
        [
            str(case["workers"]),
            figure(case["median"][CPU]),
            figure(case["median"]["p50Microseconds"], 0),
            figure(case["median"]["p99Microseconds"], 0),
            figure(case["median"]["errors"], 0),
        ]
        for case in results["cases"]
    ]
    head = ["workers", "CPU µs per request", "p50 µs", "p99 µs", "errors"]
    return (
        f"## Two workers\n\n{measured(results)}\n{goals(results)}\n{table(head, rows)}\n"
        f"At {results['rate']:,} requests/s. The proxy had {results['proxyCores']} of the machine's cores and the load "
        f"{results['loadCores']}, with one worker as\nwith two. On four cores two are the proxy's and two the load's; "
        "on two cores both workers share\none, and what is seen is the price of switching between them.\n"
    )


def _one(count: int, ports: dict[str, int], cores: Cores, asked: argparse.Namespace) -> dict[str, float]:
    serve = next(peer for peer in PEERS if peer.name == summary.OURS)
    with peers.running(serve, replace(PLAIN, workers=count), ports, cores.proxy) as proxy:
        fixed_rate(proxy.port, asked.rate, WARM_UP_S, cores.load)
        pids = proxy.pids()
        used_s = procfs.cpu_s(pids)
        facts = fixed_rate(proxy.port, asked.rate, asked.seconds, cores.load)
        used_s = procfs.cpu_s(pids) - used_s
    return {
        CPU: used_s / facts["sent"] * 1e6,
        "p50Microseconds": facts["p50_us"],
        "p99Microseconds": facts["p99_us"],
        "errors": float(facts["errors"]),
    }
