"""`make bench`: compare the proxies, and write the results, the document and the picture.

Exit status: 0 measured · 1 Understudy itself could not be measured · 2 wrong usage, or a tool is missing.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from loadtests import procfs, summary
from loadtests.cases import DEFAULT_MODES, MODES, plan
from loadtests.compare import Comparison, Options
from loadtests.peers import PEERS, ROOT, PeerError
from loadtests.report import markdown

_PYTHON_WITH_MATPLOTLIB: Final = ROOT / "build" / "bench" / "bin" / "python"
_LIKE: Final = {"predictions": "plain"}
"""The mode that peers are compared in where they cannot do ours."""


def main(argv: Sequence[str]) -> int:
    """Run the comparison; returns the exit status."""
    options = _parser().parse_args(argv)
    if shutil.which("wrk") is None:
        say("wrk is not installed: apt-get install wrk")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    wanted = [peer for peer in PEERS if peer.name in options.peers]
    missing = {peer.name: peer.missing() for peer in wanted if peer.missing()}
    for name, reason in missing.items():
        say(f"{name}: LEFT OUT: {reason}")
    able = {peer.name: peer for peer in wanted if peer.name not in missing}
    amount = Options(options.rounds, options.seconds, options.latency_seconds, options.rate)
    comparison = Comparison(amount, say)
    comparison.left_out.update(missing)
    start_s = time.monotonic()
    comparison.run(plan(((name, peer.modes) for name, peer in able.items()), options.modes), able)
    if not comparison.figures:
        say("nothing was measured")
        return 1
    write(gather(comparison, amount, argv), options.out)
    say(f"took {time.monotonic() - start_s:.0f} s")
    return int(any(name.split(",")[0] == summary.OURS for name in comparison.left_out))


def say(text: str) -> None:
    """A line to whoever waits."""
    print(text, flush=True)


def gather(comparison: Comparison, options: Options, argv: Sequence[str]) -> dict[str, Any]:
    """All results as one JSON document."""
    figures = {case: summary.added(rounds, comparison.direct) for case, rounds in comparison.figures.items()}
    over = summary.against(figures, ("nginx", "envoy"), _LIKE)
    by_name = {peer.name: peer for peer in PEERS}
    places = list(by_name)
    cases = [
        {
            "peer": name,
            "title": by_name[name].title,
            "mode": mode,
            "median": summary.medians(rounds),
            "over": over[name, mode],
            "rounds": rounds,
        }
        for (name, mode), rounds in sorted(figures.items(), key=lambda item: places.index(item[0][0]))
    ]
    arguments = f' ARGS="{shlex.join(argv)}"' if argv else ""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "command": f"make bench{arguments}",
        "machine": procfs.machine(),
        "versions": {peer.title: peer.version() for peer in PEERS if any(name == peer.name for name, _ in figures)},
        "options": asdict(options),
        "direct": summary.medians(comparison.direct),
        "goals": summary.judged(figures),
        "cases": cases,
        "leftOut": comparison.left_out,
    }


def write(results: dict[str, Any], out: Path | None) -> None:
    """Results, document and picture: in their places in the project, or all in one folder."""
    data = (out or ROOT / "loadtests" / "results") / "compare.json"
    document = out / "performance.md" if out else ROOT / "docs" / "performance.md"
    picture = data.with_suffix(".svg")
    data.parent.mkdir(parents=True, exist_ok=True)
    data.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    document.write_text(markdown(json.loads(data.read_text())))
    say(f"wrote {data} and {document}")
    if not _PYTHON_WITH_MATPLOTLIB.exists():
        say(f"no picture: {_PYTHON_WITH_MATPLOTLIB} is missing, which `make bench` builds")
        return
    command = [str(_PYTHON_WITH_MATPLOTLIB), "-m", "loadtests.picture", str(data), str(picture)]
    done = subprocess.run(command, cwd=ROOT, check=False)
    say(f"no picture: drawing failed with status {done.returncode}" if done.returncode else f"wrote {picture}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description="What the proxy costs beside its peers.")
    default = Options()
    add = parser.add_argument
    add("--rounds", type=int, default=default.rounds, help="about 100 s each (default: %(default)s)")
    add("--seconds", type=int, default=default.seconds, help="of each full load (default: %(default)s)")
    add("--latency-seconds", type=float, default=default.latency_s, help="of each fixed rate (default: %(default)s)")
    add("--rate", type=int, default=default.rate, help="requests/s of the fixed rate (default: %(default)s)")
    names = [peer.name for peer in PEERS]
    add("--peers", nargs="+", choices=names, default=names, metavar="PEER", help=f"of {', '.join(names)}")
    add("--modes", nargs="+", choices=list(MODES), default=list(DEFAULT_MODES), metavar="MODE",
        help=f"of {', '.join(MODES)} (default: {', '.join(DEFAULT_MODES)})")  # fmt: skip
    add("--out", type=Path, help="write everything into this folder instead, as for a trial")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except PeerError as failure:
        say(str(failure))
        sys.exit(1)
