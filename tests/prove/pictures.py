"""The pictures of docs/proofs.md; run by the Python of `make prove`, which has matplotlib.

build/prove/bin/python -m tests.prove.pictures docs/proofs.json docs/images
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
from scipy.special import betaincinv

mpl.use("svg")
import matplotlib.pyplot as plt

OURS, RAW, OTHERS, INK = "#1f6feb", "#79b0ff", ("#d1242f", "#bf8700", "#8250df"), "#24292f"


def draw(facts: dict[str, Any], folder: Path) -> None:
    """All of them."""
    mpl.rcParams.update({"svg.hashsalt": "understudy", "font.size": 9, "axes.spines.top": False,
                         "axes.spines.right": False})  # fmt: skip
    by: dict[str, list[dict[str, Any]]] = {}
    for one in facts["checks"]:
        by.setdefault(one["group"], []).append(one)
    pictures = {"peeking": _peeking(by["peeking"]), "margins": _margins([*by["engine"], *by["judge"]]),
                "hazards": _hazards(by["hazard"]), "power": _power(by["power"])}  # fmt: skip
    for name, figure in pictures.items():
        figure.savefig(folder / f"proofs-{name}.svg", metadata={"Date": None})


def _peeking(checks: list[dict[str, Any]]) -> Any:
    shares = sorted({one["share"] for one in checks})
    figure, panels = plt.subplots(1, len(shares), figsize=(8, 3.2), sharey=True, layout="constrained", squeeze=False)
    for panel, share in zip(panels[0], shares, strict=True):
        others = iter(OTHERS)
        for one in (each for each in checks if each["share"] == share):
            ours = one["risk"] is not None
            panel.plot(one["marks"], [100 * part for part in one["curve"]], label=one["what"], marker=".",
                       color=OURS if ours else next(others), linewidth=2.2 if ours else 1.4)  # fmt: skip
        panel.axhline(5, color=INK, linewidth=0.8, linestyle=":")
        panel.annotate(
            "promised: 5 %", (1, 5), (1, 5), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8
        )
        panel.set_xscale("log")
        panel.set_title(f"candidate weight {100 * share:g} %", loc="left", fontsize=9)
        panel.set_xlabel("looks, 1,000 requests each")
    panels[0][0].set_ylabel("stopped although nothing differs, %")
    panels[0][0].legend(frameon=False, fontsize=8)
    return figure


def _margins(checks: list[dict[str, Any]]) -> Any:
    checks = [one for one in checks if one["risk"] == 0.05]
    lines = list(dict.fromkeys((one["group"], one["metric"]) for one in checks))
    figure, panel = plt.subplots(figsize=(8, 0.3 * len(lines) + 1.2), layout="constrained")
    for place, line in enumerate(reversed(lines)):
        mine = [one for one in checks if (one["group"], one["metric"]) == line]
        for offset, one in enumerate(mine):
            count, runs = one["count"], one["runs"]
            low = 100 * betaincinv(count, runs - count + 1, 0.025) if count else 0.0
            high = 100 * betaincinv(count + 1, runs - count, 0.975)
            y = place + 0.7 * (offset / max(len(mine) - 1, 1) - 0.5)
            color = OURS if one["what"] == "false aborts" else OTHERS[1]
            panel.plot([low, high], [y, y], color=color, linewidth=0.8, alpha=0.6)
            panel.plot(100 * count / runs, y, marker=".", color=color, markersize=5)
    panel.axvline(5, color=INK, linewidth=0.8, linestyle=":")
    panel.set_yticks(range(len(lines)), [f"{metric} ({group})" for group, metric in reversed(lines)], fontsize=8)
    panel.set_xlabel("wrong answers, % of the rollouts, with 95 % interval; dotted: promised at most")
    panel.set_xlim(0, None)
    for color, name in ((OURS, "false aborts"), (OTHERS[1], "false promotions")):
        panel.plot([], [], marker=".", color=color, label=f"{name}, weights 1, 5, 10, 50 %")
    panel.legend(frameon=False, fontsize=8, loc="lower right")
    return figure


def _hazards(checks: list[dict[str, Any]]) -> Any:
    def line(one: dict[str, Any]) -> tuple[str, str]:
        what = one["what"].partition(": ")[0]
        weight = one["share"] if isinstance(one["share"], str) else f"{100 * one['share']:g} %"
        return what, f"{what}\n{one['metric']}, weight {weight}"

    lines = list(dict.fromkeys(line(one)[1] for one in checks))
    figure, panel = plt.subplots(figsize=(8, 0.5 * len(lines) + 0.8), layout="constrained")
    colors = {"as shipped": OURS, "z-test at every look": OTHERS[0]}
    for place, name in enumerate(reversed(lines)):
        for offset, one in enumerate(each for each in checks if line(each)[1] == name):
            kind = one["what"].partition(": ")[2]
            share = 100 * one["count"] / one["runs"]
            panel.barh(place + 0.26 - 0.26 * offset, share, height=0.24, color=colors.get(kind, RAW))
    panel.axvline(5, color=INK, linewidth=0.8, linestyle=":")
    panel.set_yticks(range(len(lines)), list(reversed(lines)), fontsize=8)
    panel.set_xlabel("false aborts, % of the rollouts")
    for name, color in ("as shipped", OURS), ("cap and dispersion off, or users unknown", RAW), (
        "z-test at every look", OTHERS[0]):  # fmt: skip
        panel.barh([0], [0], color=color, label=name)
    panel.legend(frameon=False, fontsize=8)
    return figure


def _power(checks: list[dict[str, Any]]) -> Any:
    figure, panel = plt.subplots(figsize=(5, 4.2), layout="constrained")
    for one in checks:
        color = OURS if "harm" in one["what"] else OTHERS[1]
        panel.plot([one["reference"]] * 2, [one["low"], one["high"]], color=color, linewidth=0.8, alpha=0.5)
        panel.plot(one["reference"], one["median"], marker=".", color=color)
    ends = [1e3, 3e6]
    panel.plot(ends, ends, color=INK, linewidth=0.8, linestyle=":")
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xlabel("requests to decision, prototype of the design (median)")
    panel.set_ylabel("requests to decision, this build (median)")
    for color, name in (OURS, "harm"), (OTHERS[1], "pass"):
        panel.plot([], [], marker=".", color=color, label=name)
    panel.legend(frameon=False)
    return figure


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), Path(sys.argv[2]))
