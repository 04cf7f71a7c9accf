"""The tables of docs/statistics.md, from the planner: `python -m tests.prove.handbook` writes them anew."""

from __future__ import annotations

from pathlib import Path

from analysis.plan import Gate, Plan
from analysis.planning import Baseline, counted_per_s, least_seconds, need, seconds_for
from analysis.wording import count, duration

HANDBOOK = Path(__file__).parents[2] / "docs" / "statistics.md"
BEGIN, END = "<!-- from the planner: python -m tests.prove.handbook -->\n", "<!-- end -->\n"
GATES = {
    "errors at 1 %, margin +20 %": Gate("errors", "errors", margin_relative=0.2),
    "errors at 1 %, margin +0.5 pp": Gate("errors", "errors", margin_absolute=0.005),
    "latency p50, margin +10 %": Gate("latency.p50", "latency", quantile=0.5, margin_relative=0.10),
    "latency p99, margin +20 %": Gate("latency.p99", "latency", quantile=0.99, margin_relative=0.20),
    "a label of 50 %, margin 2 pp": Gate("labels", "category", output="label", margin_absolute=0.02),
    "a score, margin 0.05 sd": Gate("score", "number", output="score", margin_sd=0.05),
    "wrong predictions at 10 %, margin 1 pp (truths)": Gate("accuracy", "accuracy", margin_absolute=0.01),
    "pairs that disagree, limit 1 %": Gate("pairs", "pair", output="label", margin_absolute=0.01),
    "pairs beyond a noise of 2 %, limit 1 %, a tenth asked twice": Gate(
        "pairs", "pair", output="label", margin_absolute=0.01, repeats=0.1
    ),
}
RATES = (1.0, 10.0, 100.0, 1000.0)
TIMES = 2.0
KNOWN = Baseline(noise=0.02)


def table() -> str:
    """Requests and times that half of the rollouts need, at weights of 5 and 50 %."""
    head = ["metric alone", "weight", "to", "requests", *(f"{count(rate)}/s" for rate in RATES)]
    lines = [head, ["---", "---", "---", *["---:"] * (1 + len(RATES))]]
    for name, gate in GATES.items():
        plan = Plan((gate,))
        for share in (0.05, 0.50) if gate.kind != "pair" else (1.0,):
            found = need(gate, plan, share if gate.kind != "pair" else 0.5, KNOWN, TIMES)
            weight = f"{100 * share:g} %" if gate.kind != "pair" else "all copied"
            for goal, effort, alpha in (("prove", found.prove, plan.alpha_promote),
                                        ("find", found.find, plan.alpha_abort)):  # fmt: skip
                assert effort is not None
                least = least_seconds(alpha, plan.block_s)
                counted = [counted_per_s(gate, rate, plan.block_s) for rate in RATES]
                times = [max(least, seconds_for(effort.half, rate) or 0.0) for rate in counted]
                lines.append([name, weight, goal, _rounded(effort.half), *map(duration, times)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def filled(text: str) -> str:
    """The handbook with the table of now."""
    before, rest = text.split(BEGIN)
    return before + BEGIN + table() + END + rest.split(END)[1]


def _rounded(n: float) -> str:
    digits = max(0, len(f"{n:.0f}") - 2)
    return count(round(n, -digits))


if __name__ == "__main__":
    HANDBOOK.write_text(filled(HANDBOOK.read_text(encoding="utf-8")), encoding="utf-8")
