"""docs/proofs.md from docs/proofs.json."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

_HEAD = """# Proofs

What the statistics promise, tried on {runs:,} simulated rollouts by `{command}`:
{held} of {all} checks hold. This page is made from [proofs.json](proofs.json), which that command writes; the seeds are
fixed. Quick versions of the same run in every `make test` (`tests/analysis/test_guarantees.py`). What the words mean:
[statistics.md](statistics.md).

Every check has an exact binomial limit: a build whose true risk is the promised one exceeds it once in a million runs
of that check, so a red line means a fault, not bad luck. "Promised" is {alpha} where nothing else is said.

## Looking often: the tests that people know

Two versions that do not differ, 1,000 requests a look, a verdict after each. Everything sees the very same requests.
The right answer is never to stop. The three others are two-sided at 5 %; ours watches three metrics with one budget.

![Share of rollouts that were stopped although nothing differs, by number of looks](images/proofs-peeking.svg)
"""

_ENGINE = """
## On the margin, the engine alone

The worst truth that each promise covers: the candidate lies exactly on its margin, so that to abort it and to promote
it are both wrong. No block cap, no dispersion, no restarts, which would hide faults of the engine: {looks:,} looks,
1,000 requests each. Wrong answers in percent of the rollouts.
"""

_JUDGE = """
## On the margin, the whole Judge

The same as shipped: cap, dispersion, restarts, rules of promotion; {looks} looks of 2,000 requests, a verdict at each.
The cap costs power and buys a distance from the promise that real traffic needs (below).

![Measured shares of wrong answers on the margin, with exact intervals, and the promise](images/proofs-margins.svg)
"""

_BREAKER = """
## On the margin, the breaker

Stable fails 5 % of its requests and the candidate 25 %, which is the margin of 20 pp, at 5 % of 50 requests/s.
{looks:,} looks and glances in two minutes end slices early and begin alarms in the middle of them, as the controller's
do. Its alpha is 5 % here, so that few rollouts show a fault; as shipped it is 0.1 %.
"""

_SHOWN = """
## What is shown

Intervals are for the eye, and promise no less: that one ever misses the truth has a chance of 5 % at most. {looks}
looks of 500 requests (pairs: 50), few failures or none, values with heavy tails; read from the whole Judge at every
fifth look. Rollouts in which an interval was ever wrong, in percent.
"""

_HAZARDS = """
## Real traffic

Drift and ramps are covered by the promise. Noise of one version alone (bursts, an instance that wanders, a few heavy
users) is covered by no proof: here is what is measured. False aborts of equal versions, in percent.

![False aborts under drift, bursts, noise and sticky users](images/proofs-hazards.svg)
"""

_LATE = """
## Late regressions

The candidate is as good as the stable for a while, then its errors rise from 1 % (weight 5 %, margin +20 %, odds of
120 : 1 needed). Median seconds from then to the abort; the design's prototype knew no dispersion. Bets start anew every
300 s, so that an onset between two starts (750 s) is found later.
"""

_THIN = """
## Thin traffic

A few requests a second, gathered over windows as shipped (cap, dispersion and restarts on), while traffic and errors
rise and fall over the day: 1 pp of errors more is allowed, and the candidate fails just that. Wrong answers at any
look, in percent of the rollouts.
"""

_SOONER = """
How long decisions take there: errors of 1 %, a margin of 1 pp, a weight of 10 %, odds of 20 : 1. Seconds, median and in
brackets nine of ten of {runs} rollouts, by slices of a second and in windows; "never" is not within twelve hours.
"""

_POWER = """
## How much traffic a decision takes

Thousands of requests of both arms, median of {runs} rollouts, by the engine alone (harm needs 120 : 1, pass 20 : 1),
and in brackets what the prototype of the design needed, which shares no code with this. A line holds if the exact
interval of our median, give or take a quarter, reaches that.

![Our medians against those of the design](images/proofs-power.svg)
"""

_WHOLE = """
## Whole rollouts

5, 25, 50 %, ten minutes each at 1,000 requests/s, a look every 5 s, a horizon of 45 minutes, promotion from 25 minutes
on; margins: errors +0.2 pp, p50 +5 %, p99 +10 %, labels 1 pp, score 0.05 sd. In percent of {runs} rollouts each.
"""


def markdown(facts: dict[str, Any]) -> str:
    """The document."""
    checks: list[dict[str, Any]] = facts["checks"]
    by = {group: [one for one in checks if one["group"] == group] for group in
          ("peeking", "naive", "engine", "judge", "breaker", "shown", "hazard", "late", "thin", "sooner", "power",
           "whole")}  # fmt: skip
    parts = [
        _HEAD.format(
            command=facts["command"],
            runs=_rollouts(checks),
            held=sum(one["holds"] for one in checks),
            all=len(checks),
            alpha="5 %",
        ),
        _peeking(by["peeking"]),
        _ENGINE.format(looks=by["engine"][0]["looks"]),
        _margins([*by["engine"], *by["naive"]]),
        _JUDGE.format(looks=by["judge"][0]["looks"]),
        _margins(by["judge"]),
        _BREAKER.format(looks=by["breaker"][0]["looks"]),
        _margins(by["breaker"]),
        _SHOWN.format(looks=by["shown"][0]["looks"]),
        _margins(by["shown"]),
        _HAZARDS,
        _hazards(by["hazard"]),
        _LATE,
        _late(by["late"]),
        _THIN,
        _margins(by["thin"]),
        _SOONER.format(runs=by["sooner"][0]["runs"]),
        _sooner(by["sooner"]),
        _POWER.format(runs=by["power"][0]["runs"]),
        _power(by["power"]),
        _WHOLE.format(runs=by["whole"][0]["runs"]),
        _whole(by["whole"]),
    ]
    return "".join(parts)


def _rollouts(checks: Sequence[dict[str, Any]]) -> int:
    """Simulated rollouts; checks of one simulation count it once."""
    return sum({str((one["group"], one.get("metric", one["what"]), one.get("share"), one.get("at"), one.get("users"))):
                one["runs"] for one in checks}.values())  # fmt: skip


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _share(one: dict[str, Any]) -> str:
    return f"{100 * one['count'] / one['runs']:.1f}"


def _held(one: dict[str, Any]) -> str:
    """Measured, and the limit where there is one."""
    if one.get("limit") is None:
        return _share(one)
    limit = 100 * one["limit"] / one["runs"]
    return f"{_share(one)} (≤ {limit:.1f})" if one["holds"] else f"**{_share(one)} > {limit:.1f}**"


def _percent(share: float | str) -> str:
    return share if isinstance(share, str) else f"{100 * share:g} %"


def _peeking(checks: list[dict[str, Any]]) -> str:
    shares = sorted({one["share"] for one in checks})
    names = list(dict.fromkeys(one["what"] for one in checks))
    head = ["stopped, % of the rollouts", *(f"weight {_percent(share)}, first look" for share in shares),
            *(f"weight {_percent(share)}, {one['looks']} looks" for share in shares
              for one in checks[:1])]  # fmt: skip
    rows = []
    for name in names:
        mine = {one["share"]: one for one in checks if one["what"] == name}
        rows.append([name, *(f"{100 * mine[share]['curve'][0]:.1f}" for share in shares),
                     *(_held(mine[share]) for share in shares)])  # fmt: skip
    return _table(head, rows)


def _margins(checks: list[dict[str, Any]]) -> str:
    shares = sorted({one["share"] for one in checks})
    lines = list(dict.fromkeys((one["metric"], one["what"]) for one in checks))
    rows = []
    for metric, what in lines:
        mine = {one["share"]: one for one in checks if (one["metric"], one["what"]) == (metric, what)}
        rows.append([f"{metric}: {what}", *(_held(mine[share]) if share in mine else "" for share in shares)])
    return _table(["metric", *(f"weight {_percent(share)}" for share in shares)], rows)


def _hazards(checks: list[dict[str, Any]]) -> str:
    lines = list(dict.fromkeys((one["what"].partition(": ")[0], one["metric"], one["share"]) for one in checks))
    rows = []
    for what, metric, share in lines:
        key = (what, metric, share)
        mine = [one for one in checks if (one["what"].partition(": ")[0], one["metric"], one["share"]) == key]
        cells = [_held(one) for one in mine] + [""] * (3 - len(mine))
        rows.append([f"{what} ({metric}, weight {_percent(share)})", *cells])
    return _table(["hazard", "as shipped", "cap and dispersion off, or users unknown", "z-test"], rows)


def _late(checks: list[dict[str, Any]]) -> str:
    names = list(checks[0]["delays"])
    rows = []
    for one in checks:
        delays = [f"{delay:.0f}" if delay is not None else "over 900" for delay in one["delays"].values()]
        design = "" if one["design"] is None else str(one["design"])
        rows.append([f"after {one['at']} s, 1 → {_percent(one['rate'])}", *delays, design, _share(one)])
    return _table(["onset", *names, "design", "found in 15 min, %"], rows)


def _sooner(checks: list[dict[str, Any]]) -> str:
    def took(found: list[float | None]) -> str:
        half, most = ("never" if one is None else f"{one:,.0f}" for one in found)
        return f"{half} ({most})"

    rows = [[f"{one['what']}, {one['rate']:g} requests/s", took(one["slices"]), took(one["windows"])] for one in checks]
    return _table(["decision", "slices", "windows"], rows)


def _power(checks: list[dict[str, Any]]) -> str:
    shares = sorted({one["share"] for one in checks})
    rows = []
    for name in dict.fromkeys(one["what"] for one in checks):
        mine = {one["share"]: one for one in checks if one["what"] == name}
        rows.append([name, *(_median(mine[share]) if share in mine else "" for share in shares)])
    return _table(["truth, test, margin", *(f"weight {_percent(share)}" for share in shares)], rows)


def _median(one: dict[str, Any]) -> str:
    text = f"{one['median'] / 1000:.3g} ({one['reference'] / 1000:.4g})" if one["median"] < 1e6 else (
        f"{one['median'] / 1000:.0f} ({one['reference'] / 1000:.4g})")  # fmt: skip
    return text if one["holds"] else f"**{text}**"


def _whole(checks: list[dict[str, Any]]) -> str:
    rows = []
    for one in {one["metric"]: one for one in checks}.values():
        cells = []
        for end in ("aborted", "promoted", "inconclusive"):
            at = one["medians"][end]
            cells.append(f"{100 * one['ends'][end] / one['runs']:.0f}" + (f" (at {at:,.0f} s)" if at else ""))
        rows.append([one["metric"], *cells, ", ".join(one["blamed"])])
    return _table(["truth", "aborted", "promoted", "inconclusive", "decided by"], rows)
