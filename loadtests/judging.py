"""What the analysis costs: one look, twenty routes, a day of looks, and how much of it depends on what is behind.

    python -m loadtests.judging [--looks 20000] [--out FOLDER]

A look is a slice observed and a verdict given, as the controller does at each interval; its details are read only where
something is decided or somebody asks, so what they cost is told beside it. Times are CPU time of the one thread, since
the machine is shared; slices are drawn before the clock starts.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, Final

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from analysis.plan import Gate, Plan
from analysis.summaries import ArmCounts, Grid, Moments, PairCounts, Slice
from analysis.verdict import Judge
from loadtests import procfs

ROOT: Final = Path(__file__).parents[1]
_DRAWING: Final = ROOT / "build" / "bench" / "bin" / "python"
GRID: Final = Grid()
GATES: Final = (
    Gate("errors", "errors", margin_relative=0.2, margin_absolute=0.002),
    *(Gate(f"latency.p{100 * q:g}", "latency", quantile=q, margin_relative=0.1) for q in (0.5, 0.95, 0.99)),
    *(Gate(f"label{i}", "category", output=f"label{i}", margin_absolute=0.02) for i in range(3)),
    *(Gate(f"score{i}", "number", output=f"score{i}", margin_sd=0.05) for i in range(4)),
    Gate("pair.label", "pair", output="label0", margin_absolute=0.01),
)
GOALS: Final = {"lookMs": 3.0, "routesMs": 40.0, "dayMiB": 64.0}
ROUTES: Final = 20
_TRIED: Final = 200


def arm(random: np.random.Generator, n: float) -> ArmCounts:
    """n requests with three labels of ten values, four numbers, and latencies around 50 ms."""
    seconds = np.exp(random.normal(np.log(0.05), 0.4, 1000))
    buckets = np.floor(np.log(seconds / GRID.lowest_s) / np.log(GRID.base))
    latency = np.bincount(np.clip(buckets, 0, GRID.buckets - 1).astype(int), minlength=GRID.buckets) * (n / 1000)
    shares = random.multinomial(1000, [0.1] * 10) * (n / 1000)
    labels = {f"label{i}": {f"class {k}": float(share) for k, share in enumerate(shares)} for i in range(3)}
    numbers = {f"score{i}": Moments(n, float(random.normal(0, n**0.5)), n) for i in range(4)}
    nothing = np.zeros(64)
    return ArmCounts(n, n, n, 0.01 * n, latency, labels, numbers, {}, nothing, nothing.copy(), {}, {}, {})


def slice_of(random: np.random.Generator, n: float) -> Slice:
    """A look of n requests, a tenth of them the candidate's, and n / 100 pairs."""
    pairs = PairCounts(n / 100, {"label0": (n / 100, n / 20_000)}, np.zeros(256))
    return Slice(0, 0.0, 1.0, 0.1, arm(random, 0.9 * n), arm(random, 0.1 * n), pairs, None, False)


def look_ms(judges: list[Judge], slices: list[Slice], read: bool = False) -> list[float]:
    """Milliseconds of each look at all judges, if wanted with all that there is to be read."""
    took = []
    for one in slices:
        start_s = time.thread_time()
        for judge in judges:
            judge.observe(one)
            verdict = judge.verdict(0.0)
            if read:
                verdict.details()
        took.append(1000 * (time.thread_time() - start_s))
    return took


def behind(random: np.random.Generator, samples: float) -> dict[str, float]:
    """A look at a Judge with that many samples behind it."""
    judge = Judge(Plan(GATES))
    for _ in range(40):
        judge.observe(slice_of(random, samples / 40))
    slices = [slice_of(random, max(samples / 40, 100.0)) for _ in range(_TRIED)]
    return {"samples": samples, **_figures([judge], slices)}


def routes(random: np.random.Generator) -> dict[str, float]:
    """A look at every route."""
    judges = [Judge(Plan(GATES)) for _ in range(ROUTES)]
    slices = [slice_of(random, 1000.0) for _ in range(60)]
    look_ms(judges, slices[:10])
    return {"routes": ROUTES, **_figures(judges, slices[10:])}


def _figures(judges: list[Judge], slices: list[Slice]) -> dict[str, float]:
    """Of looks, and of looks that are read, slice by slice in turns: both see the same moments of the machine."""
    took: dict[bool, list[float]] = {False: [], True: []}
    for number, slice_ in enumerate(slices):
        took[number % 2 == 1] += look_ms(judges, [slice_], read=number % 2 == 1)
    looks, read = took[False], took[True]
    return {"medianMs": median(looks), "p95Ms": float(np.quantile(looks, 0.95)), "readMedianMs": median(read)}


def day(random: np.random.Generator, looks: int) -> dict[str, Any]:
    """A rollout with a look each second: memory of the process before and after, and the size of its evidence."""
    slices = [slice_of(random, 1000.0) for _ in range(100)]
    judge = Judge(Plan(GATES))
    look_ms([judge], slices)
    gc.collect()
    before, size = _resident_mib(), len(judge.dump())
    for number in range(looks):
        judge.observe(slices[number % len(slices)])
        if number % 10 == 0:
            judge.verdict(float(number))
    gc.collect()
    arrays = sum(array.nbytes for array in judge._state().values())
    return {
        "looks": looks,
        "grownMiB": _resident_mib() - before,
        "residentMiB": _resident_mib(),
        "evidenceKiB": arrays / 1024,
        "storedKiB": len(judge.dump()) / 1024,
        "storedBeforeKiB": size / 1024,
    }


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def main() -> int:
    """Measure and write; a goal that is missed is in the results, as in the comparison of the proxies."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.judging", description="What the analysis costs.")
    parser.add_argument(
        "--looks", type=int, default=20_000, help="of the long rollout; 86400 is a day (default: 20000)"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "loadtests" / "results")
    options = parser.parse_args()
    random = np.random.default_rng(1)
    sizes = [behind(random, 10.0**power) for power in range(3, 10)]
    facts: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": "python -m loadtests.judging",
        "machine": procfs.machine(),
        "metrics": len(GATES),
        "goals": GOALS,
        "behind": sizes,
        "routes": routes(random),
        "day": day(random, options.looks),
    }
    facts["held"] = {
        "lookMs": all(one["medianMs"] <= GOALS["lookMs"] for one in sizes),
        "routesMs": facts["routes"]["medianMs"] <= GOALS["routesMs"],
        "dayMiB": facts["day"]["grownMiB"] <= GOALS["dayMiB"],
    }
    data = options.out / "judging.json"
    data.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(json.dumps({key: facts[key] for key in ("behind", "routes", "day", "held")}, indent=1))
    if _DRAWING.exists():
        picture = ["-m", "loadtests.judging_picture", str(data), str(data.with_suffix(".svg"))]
        subprocess.run([str(_DRAWING), *picture], cwd=ROOT, check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
