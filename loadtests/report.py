"""docs/performance.md out of the results. Pure: the same results give the same document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from loadtests.cases import CANARY_PERCENT, DEFAULT_MODES, MODES, USERS
from loadtests.closedloop import CONNECTIONS

Results = dict[str, Any]
BUSY: Final = 0.95
"""A proxy that used less of its core than this was waiting for the load: it can do more requests than it was given."""

OTHERS_BUSY: Final = 0.05
"""With more than this of the proxy's core taken by others, caches and clocks are no longer the proxy's own."""

_HOLDS: Final = {True: "held", False: "**missed**", None: "not measured"}

_INTRODUCTION: Final = """\
This page is written by `make bench`; the figures are in [compare.json](../loadtests/results/compare.json) and the files
beside it. They compare within one run alone: one machine, one upstream, one load, the proxies in turn in every round.
Where the time goes, and what would be next for a goal that is missed: [profile.md](profile.md).

![CPU time per request of each proxy](../loadtests/results/compare.svg)
"""

_METHOD: Final = """\
## How it is measured

- Every proxy runs on one core, upstream and load generators on the others. It is started anew in every round and
  warmed up for two seconds. Then the proxies take turns, in bouts of a shuffled order: one serves and the processes of
  the others stand still. Whoever goes on has half a second for what came due meanwhile before it is loaded and its CPU
  time is read. Figures are medians over the bouts, and ratios are taken within a bout before their median, since a
  shared machine is quick for some seconds and slow for some.
- The load is POST with a body of 100 bytes over {connections} keep-alive connections, by {users} users in turn, named
  in `x-user-id`. The upstream answers an Open Inference V2 JSON of 150 bytes, or as much as it got. {percent} % of the
  users go to the canary, always the same ones. With mirroring all live traffic goes to stable, and every request is
  copied to a third version.
- CPU time is user and system time of all processes of the proxy (`/proc/PID/stat`), network stack included, over the
  requests that wrk completed.
- Added latency is the quantile through the proxy less the quantile straight to the upstream, in the same round, at a
  fixed rate, from the moment when a request was meant to start. Generator and upstream share their cores.
- Understudy alone records latency, outcome and user of every request for each version; with predictions it reads label
  and score out of every answer, and with mirroring it compares both with those of the copy. The others do none of
  this. `Understudy` is everything that `understudy serve` starts, with one worker; `one worker alone` leaves out
  supervisor and controller; `interpreted` is `Understudy` from its sources, without what mypyc compiles for the wheel.
- The others are given what makes them quickest at this: one worker or thread, upstream connections kept open, no access
  log, no health checks, whole bodies in memory where they would write files. They split and hash as Understudy does.
- What the peers are given is in [settings.py](../loadtests/settings.py). haproxy copies requests only with the help of
  a script or an agent, and is not measured with mirroring.
"""


def markdown(results: Results) -> str:
    """The whole document."""
    parts = [_INTRODUCTION, _machine(results), _goals(results), _cpu(results), _throughput(results), _latency(results)]
    parts += [_memory(results), left_out(results)]
    parts.append(_METHOD.format(connections=CONNECTIONS, users=USERS, percent=CANARY_PERCENT))
    return "\n".join(part for part in parts if part)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the first column is text and the others are figures."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def figure(value: float | None, digits: int = 1) -> str:
    """A figure for a table; a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"  # noqa: RUF001 - an en dash is meant


def measured(results: Results) -> str:
    """When and where a section was measured."""
    machine = results["machine"]
    return (
        f"Measured on {results['date']} by `{results['command']}`.\nMachine: {machine['cpu']}, {machine['cores']} "
        f"cores, {machine['memoryMiB']:,} MiB, Linux {machine['kernel']}, Python {machine['python']}.\n"
    )


def goals(results: Results) -> str:
    """The goals of a section, each in its unit."""
    rows = [
        [
            goal["goal"],
            f"{goal['atMost']:g} {goal['unit']}".strip(),
            "–" if goal["value"] is None else f"{goal['value']:.4g} {goal['unit']}".strip(),  # noqa: RUF001
            _HOLDS[goal["holds"]],
        ]
        for goal in results["goals"]
    ]
    return table(["goal", "at most", "measured", ""], rows)


def _machine(results: Results) -> str:
    machine, options = results["machine"], results["options"]
    others = max(case["median"]["othersBusy"] for case in results["cases"])
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    return (
        f"Measured on {results['date']} by `{results['command']}`: rounds: {options['rounds']}, bouts of each: "
        f"{options['bouts']}, each load {options['seconds']} s.\nMachine: {machine['cpu']}, {machine['cores']} cores, "
        f"{machine['memoryMiB']:,} MiB, Linux {machine['kernel']}, Python {machine['python']}.\nVersions: {versions}.\n"
        f"Other processes took up to {others:.0%} of the proxy's core"
        + (": **the machine was not idle, so measure again.**\n" if others > OTHERS_BUSY else ".\n")
    )


def _goals(results: Results) -> str:
    rows = [
        [
            goal["goal"],
            figure(goal["atMost"], 2),
            figure(goal["ratio"], 2),
            " to ".join(figure(value, 2) for value in goal["middleHalf"] or ()) or figure(None),
            _HOLDS[goal["holds"]],
        ]
        for goal in results["goals"]
    ]
    head = ["Understudy over the peer", "at most", "measured", "half of the bouts", ""]
    return f"## Goals\n\n{table(head, rows)}"


def _cpu(results: Results) -> str:
    modes = [mode for mode in MODES if any(case["mode"] == mode for case in results["cases"])]
    head = ["CPU µs per request", *(MODES[mode].title for mode in modes)]
    rows = [
        [title, *(figure(_median(results, peer, mode, "cpuMicroseconds")) for mode in modes)]
        for peer, title in _peers(results)
    ]
    ratios = [
        [
            f"{case['title']}, {MODES[case['mode']].title}",
            *(figure(case["over"].get(to), 2) for to in ("nginx", "envoy")),
        ]
        for case in _ordered(results)
        if case["peer"] in ("understudy", "worker", "interpreted")
    ]
    text = "## CPU time\n\n" + table(head, rows)
    if ratios:
        text += "\nAs a ratio (with predictions: over the plain forwarding of the peers, which read none):\n\n"
        text += table(["CPU per request", "over nginx", "over Envoy"], ratios)
    return text


def _throughput(results: Results) -> str:
    rows = []
    for case in _ordered(results):
        median = case["median"]
        least = "≥ " if median["busy"] < BUSY else ""
        checked = [figure(median["canaryShare"] * 100), figure(median["copiesPerRequest"], 2)]
        name = f"{case['title']}, {MODES[case['mode']].title}"
        rate = least + figure(median["requestsPerSecond"], 0)
        rows.append([name, rate, figure(median["busy"] * 100, 0), *checked, figure(median["errors"], 0)])
    head = ["", "requests/s", "core busy %", "canary %", "copies per request", "errors"]
    note = f"“≥” stands where the proxy used less than {BUSY:.0%} of its core: the load was the limit.\n"
    return f"## Requests per second on one core\n\n{note}\n{table(head, rows)}"


def _latency(results: Results) -> str:
    whole = ("latencyP50Microseconds", "latencyP99Microseconds", "latencyP999Microseconds")
    names = (*whole, *(name.replace("latency", "added") for name in whole), "fixedRateErrors")
    rows = [
        [title, *(figure(median.get(name), 0) for name in names)]
        for title, median in (
            ("without a proxy", results["direct"]),
            *((case["title"], case["median"]) for case in _ordered(results)),
        )
        if whole[0] in median
    ]
    head = ["µs", "p50", "p99", "p99.9", "added p50", "added p99", "added p99.9", "errors"]
    return f"## Latency at {results['options']['rate']:,} requests/s\n\n{table(head, rows)}" if rows else ""


def _memory(results: Results) -> str:
    rows = [
        [case["title"], figure(case["median"]["rssMiB"])]
        for case in _ordered(results)
        if case["mode"] == DEFAULT_MODES[0]
    ]
    head = ["after the load", "MiB resident, all processes"]
    note = "\nPages that processes share are counted in each. What the sidecar takes in proportion stands below.\n"
    return f"## Memory\n\n{table(head, rows)}{note}" if rows else ""


def left_out(results: Results) -> str:
    """What could not be measured, and why."""
    if not results["leftOut"]:
        return ""
    return "\n### Left out\n\n" + "".join(f"- {name}: {reason}\n" for name, reason in results["leftOut"].items())


def _ordered(results: Results) -> list[dict[str, Any]]:
    places = list(MODES)
    return sorted(results["cases"], key=lambda case: places.index(case["mode"]))


def _peers(results: Results) -> list[tuple[str, str]]:
    return list(dict.fromkeys((case["peer"], case["title"]) for case in results["cases"]))


def _median(results: Results, peer: str, mode: str, name: str) -> float | None:
    found = (case["median"].get(name) for case in results["cases"] if (case["peer"], case["mode"]) == (peer, mode))
    return next(found, None)
