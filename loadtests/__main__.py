"""`make bench`: measure, and write results, document and pictures.

    python -m loadtests                       all measurements, the soak for a minute only
    python -m loadtests [compare] --rounds 5  the comparison alone, with its options
    python -m loadtests soak --minutes 10     another one alone

Exit status: 0 measured · 1 Understudy itself could not be measured · 2 wrong usage, or a tool is missing ·
3 with --strict: a goal is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from loadtests import procfs
from loadtests.bounds import missed
from loadtests.document import MEASUREMENTS, document
from loadtests.peers import ROOT, PeerError

_PYTHON_WITH_MATPLOTLIB: Final = ROOT / "build" / "bench" / "bin" / "python"
_PICTURED: Final = ("compare", "soak")
_SHORT: Final = {"soak": ["--minutes", "1"]}
"""What measurements are given where all are run."""


def main(argv: Sequence[str]) -> int:
    """Run what is asked for; returns the exit status."""
    if shutil.which("wrk") is None:
        say("wrk is not installed: apt-get install wrk")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    start_s, status = time.monotonic(), 0
    results = {}
    for name, options in chosen(argv):
        say(f"--- {name}")
        asked = parser(name).parse_args(options)
        found = measured(name, asked, options)
        if found is None:
            say(f"{name}: nothing was measured")
            return 1
        results[name] = found
        write(name, found, asked.out)
        status |= int("understudy" in {left.split(",")[0] for left in found.get("leftOut", ())})
    say(f"took {time.monotonic() - start_s:.0f} s")
    lost = missed(results)
    for goal in lost:
        say(f"missed: {goal}")
    return status or (3 if lost and "--strict" in argv else 0)


def say(text: str) -> None:
    """A line to whoever waits."""
    print(text, flush=True)


def chosen(argv: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The measurements to make, each with its options. Options alone are those of the comparison.

    With none but `--strict` and `--out FOLDER` all are made.
    """
    if argv and argv[0] in MEASUREMENTS:
        return [(argv[0], list(argv[1:]))]
    common = argparse.ArgumentParser(add_help=False)
    _common(common)
    _, own = common.parse_known_args(argv)
    if own:
        return [("compare", list(argv))]
    return [(name, [*argv, *_SHORT.get(name, ())]) for name in MEASUREMENTS]


def parser(name: str) -> argparse.ArgumentParser:
    """The options of one measurement."""
    measurement = MEASUREMENTS[name]
    others = "; ".join(f"{other}: {module.HELP}" for other, module in MEASUREMENTS.items())
    made = argparse.ArgumentParser(prog=f"python -m loadtests {name}", description=measurement.HELP, epilog=others)
    measurement.options(made)
    _common(made)
    return made


def measured(name: str, asked: argparse.Namespace, options: Sequence[str]) -> dict[str, Any] | None:
    """The results of one measurement, with when and where; None if there are none."""
    machine, available = procfs.machine(), os.sched_getaffinity(0)
    try:
        found = MEASUREMENTS[name].measure(asked, say)
    finally:
        os.sched_setaffinity(0, available)  # a measurement may have moved this process out of the proxy's way
    if not found:
        return None
    arguments = shlex.join([name, *options])
    facts = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": f'make bench ARGS="{arguments}"',
        "machine": machine,
    }
    return {**facts, **found}


def write(name: str, results: dict[str, Any], out: Path | None) -> None:
    """Results, the document of all results that are kept, and a picture: in the project, or all in one folder."""
    folder = out or ROOT / "loadtests" / "results"
    folder.mkdir(parents=True, exist_ok=True)
    data = folder / f"{name}.json"
    data.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    page = out / "performance.md" if out else ROOT / "docs" / "performance.md"
    page.write_text(document(kept(folder)))
    say(f"wrote {data} and {page}")
    if name in _PICTURED:
        _draw(data, data.with_suffix(".svg"))


def kept(folder: Path) -> dict[str, dict[str, Any]]:
    """All results of a folder, by measurement."""
    paths = {name: folder / f"{name}.json" for name in MEASUREMENTS}
    return {name: json.loads(path.read_text()) for name, path in paths.items() if path.exists()}


def _draw(data: Path, picture: Path) -> None:
    if not _PYTHON_WITH_MATPLOTLIB.exists():
        say(f"no picture: {_PYTHON_WITH_MATPLOTLIB} is missing, which `make bench` builds")
        return
    command = [str(_PYTHON_WITH_MATPLOTLIB), "-m", "loadtests.picture", str(data), str(picture)]
    done = subprocess.run(command, cwd=ROOT, check=False)
    say(f"no picture: drawing failed with status {done.returncode}" if done.returncode else f"wrote {picture}")


def _common(made: argparse.ArgumentParser) -> None:
    made.add_argument("--out", type=Path, help="write everything into this folder instead, as for a trial")
    made.add_argument("--strict", action="store_true", help="end with status 3 if a goal is missed")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except PeerError as failure:
        say(str(failure))
        sys.exit(1)
