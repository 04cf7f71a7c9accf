"""The cost of a look by the samples behind it; run by a Python that has matplotlib.

build/bench/bin/python -m loadtests.judging_picture RESULTS.json PICTURE.svg
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt


def draw(facts: dict[str, Any], path: Path) -> None:
    """Median and 95th percentile, the median of looks that are read, and the goal."""
    mpl.rcParams["svg.hashsalt"] = "understudy"
    figure, panel = plt.subplots(figsize=(6, 2.6), layout="constrained")
    samples = [one["samples"] for one in facts["behind"]]
    panel.plot(samples, [one["medianMs"] for one in facts["behind"]], marker=".", color="#1f6feb", label="median")
    panel.plot(samples, [one["p95Ms"] for one in facts["behind"]], color="#79b0ff", label="95th percentile")
    read = [one["readMedianMs"] for one in facts["behind"]]
    panel.plot(samples, read, color="#8250df", linestyle="--", label="median, read as well")
    panel.axhline(facts["goals"]["lookMs"], color="#24292f", linewidth=0.8, linestyle=":", label="goal")
    panel.set_xscale("log")
    panel.set_ylim(0, None)
    panel.set_xlabel("samples behind the look")
    panel.set_ylabel(f"ms a look, {facts['metrics']} metrics")
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False, fontsize=8)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
