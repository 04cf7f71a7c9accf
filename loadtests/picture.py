"""CPU time per request, or memory over a soak, as a picture; run by the Python of the bench, which has matplotlib.

build/bench/bin/python -m loadtests.picture RESULTS.json PICTURE.svg
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

from loadtests.cases import MODES

OURS = {"understudy": "#1f6feb", "worker": "#79b0ff"}
OTHERS = "#b8bfc8"


def draw(results: dict[str, Any], path: Path) -> None:
    """One panel per mode, one bar per proxy: the median, and a line from the least to the most of the rounds."""
    modes = [mode for mode in MODES if any(case["mode"] == mode for case in results["cases"])]
    heights = [sum(case["mode"] == mode for case in results["cases"]) for mode in modes]
    size = (8.0, 0.34 * sum(heights) + 0.7 * len(modes) + 0.6)
    mpl.rcParams["svg.hashsalt"] = "understudy"
    figure, panels = plt.subplots(
        len(modes), 1, figsize=size, sharex=True, squeeze=False, height_ratios=heights, layout="constrained"
    )
    for mode, panel in zip(modes, panels[:, 0], strict=True):
        _panel(panel, MODES[mode].title, [case for case in results["cases"] if case["mode"] == mode])
    panels[-1, 0].set_xlabel("CPU microseconds per request, all processes of the proxy")
    figure.savefig(path, metadata={"Date": None})


def _panel(panel: Any, title: str, cases: list[dict[str, Any]]) -> None:
    cases = sorted(cases, key=lambda case: -case["median"]["cpuMicroseconds"])
    for place, case in enumerate(cases):
        value = case["median"]["cpuMicroseconds"]
        seen = [one["cpuMicroseconds"] for one in case["rounds"].values()]
        panel.barh(place, value, color=OURS.get(case["peer"], OTHERS), height=0.7)
        panel.plot([min(seen), max(seen)], [place, place], color="#24292f", linewidth=1.2)
        panel.annotate(f"{value:.1f}", (max(seen), place), (5, 0), textcoords="offset points", va="center", fontsize=8)
    panel.set_yticks(range(len(cases)), [case["title"] for case in cases], fontsize=9)
    panel.set_title(title, loc="left", fontsize=10)
    panel.margins(x=0.1)
    panel.spines[["top", "right"]].set_visible(False)


def draw_soak(results: dict[str, Any], path: Path) -> None:
    """Resident memory of each process over time."""
    mpl.rcParams["svg.hashsalt"] = "understudy"
    figure, panels = plt.subplots(2, 1, figsize=(8.0, 4.0), sharex=True, layout="constrained")
    for role, panel in zip(("worker", "controller"), panels, strict=True):
        minutes, mib = zip(*((one["at"] / 60, one[role]) for one in results["looks"]), strict=True)
        panel.plot(minutes, mib, color=OURS["understudy"])
        panel.set_title(f"{role}, resident MiB", loc="left", fontsize=10)
        panel.set_ylim(0, 1.2 * max(mib))
        panel.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("minutes")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    kept = json.loads(Path(sys.argv[1]).read_text())
    (draw_soak if "looks" in kept else draw)(kept, Path(sys.argv[2]))
