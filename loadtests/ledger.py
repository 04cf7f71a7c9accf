"""What the ledger takes from a request, and from memory: an outcome counted, as an exchange has it counted.

One process counts, in the build that is shipped. The calls come from Python here and from C in a worker, so that what
is measured is a little more than what a request pays.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final, NamedTuple

from loadtests.bounds import bound
from loadtests.report import figure, goals, measured, table
from proxy.ledger import layout as at
from proxy.ledger import writer as ledger

HELP: Final = "what the ledger costs a request, and how much memory a row takes"
AT_MOST_US: Final = 0.6
READ_AT_MOST_US: Final = 1.5
_LABELS: Final = 5
_SAMPLES: Final = 512
_TENANT: Final = 7
NOW_S: Final = 1000.0


class Sample(NamedTuple):
    """One outcome: when it arrived and ended, whether it failed, whose it was, what its answer said."""

    arrived_s: float
    now_s: float
    failed: bool
    status: int
    user: int
    group: int
    readings: list[ledger.Reading]


def options(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("--rounds", type=int, default=15, help="default: %(default)s")
    parser.add_argument("--requests", type=int, default=100_000, help="of each round (default: %(default)s)")


def measure(asked: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Microseconds of CPU for each outcome, of three kinds in turn, and the memory of a row for each kind."""
    kinds = {name: samples(name) for name in KINDS}
    took: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(asked.rounds):
        for name, of_kind in kinds.items():
            took[name].append(_round_us(of_kind, asked.requests))
    cost = {name: median(each) for name, each in took.items()}
    memory = {name: _row_kib(of_kind) for name, of_kind in kinds.items()}
    say(f"{cost} µs; {memory} KiB")
    return {
        "goals": judged(cost),
        "microseconds": cost,
        "rounds": took,
        "rowKiB": memory,
        "reservedKiB": at.ROW_CELLS * 8 / 1024,
        "compiled": Path(ledger.__file__).suffix != ".py",
    }


KINDS: Final = ("latency and errors", "the same of sticky users", "with a label and a score")


def samples(kind: str) -> list[Sample]:
    """Outcomes within one slice, with latencies around 50 ms; one in a hundred failed."""
    draw = random.Random(1)
    sticky, read = kind != KINDS[0], kind == KINDS[2]
    found = []
    for _ in range(_SAMPLES):
        arrived_s, score = NOW_S + 0.9 * draw.random(), draw.random()
        label, number = draw.randrange(_LABELS), int(score * at.NUMBER_BUCKETS)
        readings = [ledger.Reading(0, labels=[label]), ledger.Reading(1, numbers=[score], number_buckets=[number])]
        user = draw.randrange(at.USER_SLOTS) if sticky else -1
        group = draw.randrange(at.GROUPS) if sticky else -1
        failed = draw.random() < 0.01
        ended_s = arrived_s + draw.lognormvariate(-3.0, 0.4)
        found.append(Sample(arrived_s, ended_s, failed, 500 if failed else 200, user, group, readings if read else []))
    return found


def judged(cost: dict[str, float]) -> list[dict[str, Any]]:
    """The two goals: without predictions, and with them."""
    plain, read = cost[KINDS[1]], cost[KINDS[2]]
    return [
        bound("the ledger's CPU per request: latency and errors of sticky users", plain, AT_MOST_US, "µs"),
        bound("the same with a label and a score", read, READ_AT_MOST_US, "µs"),
    ]


def section(results: dict[str, Any]) -> str:
    """The part of the document."""
    rows = [[kind, figure(results["microseconds"][kind], 2), figure(results["rowKiB"][kind], 0)] for kind in KINDS]
    build = "compiled" if results["compiled"] else "interpreted"
    return (
        f"## The ledger\n\n{measured(results)}\n{goals(results)}\n"
        + table(["outcomes", f"µs per request ({build})", "KiB of a row in use"], rows)
        + f"\nA row is what one worker counts of one (route, backend, stage); {figure(results['reservedKiB'], 0)} KiB "
        "of addresses are reserved\nfor each, of which only the pages that are written take memory: those of the 16 "
        "seconds that are kept, and of\nthe outputs, labels and groups of users that there are.\n"
    )


def _writer() -> tuple[ledger.Writer, ledger.Row, int]:
    fd = at.create(workers=1, rows=2, tables=1)
    counted = ledger.Writer(fd, 0)
    return counted, counted.occupy(0, _TENANT, 2), fd


def _round_us(of_kind: list[Sample], requests: int) -> float:
    writer, row, fd = _writer()
    calls = [of_kind[number % _SAMPLES] for number in range(requests)]
    _count(writer, row, of_kind)  # pages are there, lanes are open
    gc.disable()
    try:
        start_s = time.thread_time()
        for _ in calls:
            pass
        loop_s = time.thread_time() - start_s
        start_s = time.thread_time()
        _count(writer, row, calls)
        took_s = time.thread_time() - start_s
    finally:
        gc.enable()
        os.close(fd)
    return max(0.0, took_s - loop_s) / requests * 1e6


def _count(writer: ledger.Writer, row: ledger.Row, calls: Sequence[Sample]) -> None:
    arrive, finish = writer.arrive, writer.finish
    for arrived_s, now_s, failed, status, user, group, readings in calls:
        arrive(row, arrived_s, user)
        finish(row, arrived_s, now_s, failed, status, 0, group, readings)


def _row_kib(of_kind: list[Sample]) -> float:
    """What a row takes once it was in use for a while: all lanes, many users, several labels."""
    writer, row, fd = _writer()
    before = _shared_kib()
    for second in range(2 * at.LANES):
        _count(writer, row, [one._replace(arrived_s=one.arrived_s + second, now_s=one.now_s + second)
                             for one in of_kind])  # fmt: skip
    found = _shared_kib() - before
    os.close(fd)
    return found


def _shared_kib() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("RssShmem:"))
