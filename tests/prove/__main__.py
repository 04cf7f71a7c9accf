"""`make prove`: the promises of the statistics, by simulation; results, document and pictures in docs/.

    streams ──► margins   on the margin: every kind of metric, every weight, the engine alone and the whole Judge
                peeking   nothing differs: the tests that people know, beside ours
                hazards   drift, bursts, noise of one arm, sticky users, late regressions
                thin      a few requests a second: on the margin over a day, and how long it takes
                power     how much traffic a decision takes, beside the figures of the design
                shown     the intervals that people see, at small counts and with heavy tails
                whole     rollouts from 5 to 50 %, all metrics at once
                outage    the breaker at its margin, with the looks and glances of the controller
            ──► result    how many of how many, and how many there may be ──► docs/proofs.json ──► report, pictures

Each check fails a build that is right at most once in a million. Seeds are fixed: a second run gives the same file.
Exit status: 0 all checks hold · 1 some do not.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple
from zlib import crc32

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from analysis.engine import HARM, PASS
from tests.prove import hazards, margins, outage, peeking, power, shown, thin, whole
from tests.prove.report import markdown
from tests.prove.streams import METRICS, WEIGHTS

ROOT: Final = Path(__file__).parents[2]
_DRAWING: Final = ROOT / "build" / "prove" / "bin" / "python"

Check = Callable[..., list[dict[str, Any]]]


class Task(NamedTuple):
    """One simulation; its seed comes from its name and arguments."""

    check: Check
    arguments: tuple[Any, ...]

    @property
    def name(self) -> str:
        """For people, and for the seed."""
        return f"{self.check.__module__.rpartition('.')[2]}.{self.check.__name__}{self.arguments}"


def tasks(scale: float) -> list[Task]:
    """All of them; `scale` multiplies the number of rollouts."""

    def runs(n: int) -> int:
        return max(4, round(n * scale))

    found = [Task(peeking.equal, (share, runs(150), 400)) for share in (0.05, 0.50)]
    found += [Task(whole.verdicts, (truth, runs(30))) for truth in whole.TRUTHS]
    for metric, subject in METRICS.items():
        shares = WEIGHTS if subject.knows_weights else (0.10,)
        found += [Task(margins.judged, (metric, share, runs(100), 150)) for share in shares]
    found += [Task(margins.bare, (table, share, runs(400), 1000)) for table in margins.TABLES for share in WEIGHTS]
    found += [
        Task(margins.means, (law, share, runs(400), 1000)) for law in ("normal", "exponential") for share in WEIGHTS
    ]
    found += [Task(margins.split, (share, runs(300), 150)) for share in WEIGHTS]
    found += [Task(shown.missed, (case, share, runs(60), 100)) for case, one in shown.CASES.items()
              for share in one.shares]  # fmt: skip
    found += [Task(hazards.sticky, (users, share, runs(60), 300)) for users, share in
              ((5000, 0.05), (5000, 0.50), (100_000, 0.05))]  # fmt: skip
    found += [Task(hazards.onset, arguments) for arguments in
              ((0, 0.02, runs(60), 165), (600, 0.02, runs(60), 215), (750, 0.02, runs(60), None),
               (1200, 0.02, runs(60), 240), (1200, 0.05, runs(60), 175))]  # fmt: skip
    found += [Task(hazards.drift, (runs(300), 1800))]
    found += [Task(hazards.bursts, (share, runs(300), 1800)) for share in (0.05, 0.50)]
    found += [Task(hazards.noise, (table, share, runs(300), 1800)) for table in (hazards.EQUAL, hazards.TWENTY)
              for share in (0.10, 0.50)]  # fmt: skip
    found += [Task(thin.margin, (rate, share, side, runs(500))) for rate in thin.RATES for share in thin.SHARES
              for side in (HARM, PASS)]  # fmt: skip
    found += [Task(thin.sooner, (goal, rate, runs(250))) for goal in thin.GOALS for rate in (1.0, 10.0)]
    found += [Task(outage.margin, (kind, runs(400), 120)) for kind in outage.KINDS]
    found += [Task(power.measure, (case, share, runs(200))) for case in power.ALL for share in WEIGHTS]
    return found


def run(task: Task) -> list[dict[str, Any]]:
    """One task, with its own seed."""
    return task.check(np.random.default_rng(crc32(task.name.encode())), *task.arguments)


def main() -> int:
    """Run all; returns the exit status."""
    parser = argparse.ArgumentParser(prog="make prove", description="The promises of the statistics, by simulation.")
    add = parser.add_argument
    add("--scale", type=float, default=1.0, help="times as many rollouts (default: 1, about a quarter of an hour)")
    add("--processes", type=int, default=2, help="at once (default: 2)")
    add("--only", default="", help="tasks whose name holds this text; nothing is written then")
    add("--out", type=Path, default=ROOT / "docs", help="where the results go (default: docs)")
    options = parser.parse_args()
    chosen = [task for task in tasks(options.scale) if options.only in task.name]
    start_s, results = time.monotonic(), []
    with ProcessPoolExecutor(options.processes, multiprocessing.get_context("fork")) as pool:
        for number, (task, found) in enumerate(zip(chosen, pool.map(run, chosen), strict=True), 1):
            results += found
            broken = [f"{one['what']}: {one}" for one in found if not one["holds"]]
            line = f"{time.monotonic() - start_s:5.0f} s  {number}/{len(chosen)}  {task.name}"
            print(line, *(f"\n  DOES NOT HOLD  {each}" for each in broken), flush=True)
    if options.only:
        print(json.dumps(results, indent=1, ensure_ascii=False))
    else:
        _write(results, options.out, options.scale)
    held = sum(one["holds"] for one in results)
    print(f"{held} of {len(results)} checks hold; took {time.monotonic() - start_s:.0f} s")
    return int(held < len(results))


def _write(results: list[dict[str, Any]], out: Path, scale: float) -> None:
    data = out / "proofs.json"
    versions = {"python": platform.python_version(), "numpy": np.__version__}
    command = "make prove" if scale == 1 else f'make prove ARGS="--scale {scale:g}"'
    facts = {"command": command, "scale": scale, "versions": versions, "checks": results}
    data.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / "proofs.md").write_text(markdown(json.loads(data.read_text(encoding="utf-8"))), encoding="utf-8")
    print(f"wrote {data} and {out / 'proofs.md'}")
    if not _DRAWING.exists():
        print(f"no pictures: {_DRAWING} is missing, which `make prove` builds")
        return
    command = [str(_DRAWING), "-m", "tests.prove.pictures", str(data), str(out / "images")]
    subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    sys.exit(main())
