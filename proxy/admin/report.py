"""A rollout as a Markdown report: what was decided, on what evidence, and what happened when.

The report says the conclusion first and then what it rests on. Texts that come from outside (labels out of answers,
reasons, names of people) are escaped: they are shown, never interpreted.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from proxy.admin import ramping, waiting, words
from proxy.admin.markdown import safe as _safe
from proxy.admin.markdown import table as _table
from proxy.admin.pairs import pairs
from proxy.admin.words import NOTHING, count, effect, level, milliseconds, moment, odds, percent, plain, span

Json = dict[str, Any]
LABELS_SHOWN: Final = 20
_EXPERIMENTS: Final = ("mirror", "abTest")
"""Strategies that ask a question, and end with its answer."""
_ALL: Final = 100.0


def markdown(route: Json, entries: Sequence[Json]) -> str:
    """The report of one route, from its JSON and its journal entries (newest first)."""
    sections = [_header(route)]
    if route["phase"]:
        sections += [_steps(route), _missing(route), *_evidence(route)]
    sections += [
        _arms(route),
        _endpoints(route),
        _outcomes(route),
        _labels(route),
        _numbers(route),
        _feedback(route),
        _held(route),
        _distances(route),
        *pairs(route),
        _timeline(entries),
    ]
    if route["phase"]:
        sections.append(_LEGEND)
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


_LEGEND: Final = [
    "## How to read this",
    "",
    "Odds are e-values: what a fair bet against “the candidate is worse than its margin” (evidence for) or against "
    "“it is not worse” (evidence against) would have paid by now. They stay valid however often they are looked at, "
    "and so do the intervals: the chance that they ever miss the true effect stays below their level. Only requests of "
    "the same second are compared, so a drift that meets both versions does not count.",
]


# --- the conclusion


def _header(route: Json) -> list[str]:
    name = _safe(route["name"])
    if not route["phase"]:
        return [f"# {name}", "", "This route has no rollout: its weights are those of the file."]
    who = " and ".join(map(_safe, [each["name"] for each in route["candidates"]] or [route["candidate"]]))
    lines = [f"# {name}: {who} against {_safe(route['stable'])}", "", f"**{_conclusion(route)}**"]
    if route["reason"]:
        lines += ["", f"> {_safe(route['reason'])}"]
    lines += ["", *(f"- {_safe(text)}" for text in words.latched(route))] if words.latched(route) else []
    if route["error"]:
        lines += ["", f"**Evidence is not read at the moment, and nothing is decided: {_safe(route['error'])}**"]
    facts = [
        ("Phase", route["phase"]),
        ("Verdict", route["verdict"] or "none yet"),
        ("Decided by", _safe(route["decidedBy"]) or NOTHING),
        ("Candidate's weight", f"{plain(route['weight'])} %"),
        ("Copied to the candidate", f"{plain(route['mirror'])} %"),
        *([("Compared with", f"the baseline {_safe(route['baseline'])}")] if route["baseline"] else []),
        ("Started", moment(route["startedAt"])),
        ("Ended" if route["endedAt"] else "In this stage since", moment(route["endedAt"] or route["stageStartedAt"])),
    ]
    facts += [(name, _safe(text)) for name, text in ramping.facts(route)]
    if route["endedAt"] and route["startedAt"]:
        facts.append(("Took", span(route["endedAt"] - route["startedAt"])))
    return [*lines, "", *_table(("", ""), facts)]


def _conclusion(route: Json) -> str:
    candidate, stable = _safe(route["candidate"]), _safe(route["stable"])
    if len(route["racing"]) > 1:
        candidate = f"each of {', '.join(map(_safe, route['racing']))}"
    match route["phase"]:
        case "Succeeded":
            return _success(route, candidate, stable)
        case "Aborted" if route["winner"] == "stable":
            return f"{stable} wins: {candidate} is proven to do harm. {stable} serves all traffic."
        case "Aborted" if route["verdict"] == "Inconclusive" and route["strategy"] in _EXPERIMENTS:
            return f"Not decided: {stable} serves all traffic."
        case "Aborted":
            return f"{candidate} was aborted: {stable} serves all traffic."
        case "Failed":
            return f"The rollout of {candidate} failed: {stable} serves all traffic."
        case "Promoting":
            return f"{candidate} is being promoted."
        case "Baking":
            return (
                f"{candidate} serves all traffic and is watched: {stable} stays warm, and takes it back if it is worse."
            )
        case "Waiting":
            return f"Waiting for traffic to compare {candidate} with {stable}."
        case "Swapping":
            return f"{candidate} takes the place of {stable}: requests wait until it is there."
        case "Reverting":
            return f"{stable} is put back in the place of {candidate}: requests wait until it is there."
        case "Paused":
            return f"Paused with {candidate} at {plain(route['weight'])} % of the traffic."
        case _:
            return f"{candidate} is being compared with {stable} at {plain(route['weight'])} % of the traffic."


def _success(route: Json, candidate: str, stable: str) -> str:
    if route["strategy"] == "mirror":
        return f"{candidate} is proven to be within every margin, on copies: {stable} serves all traffic."
    match route["winner"]:
        case "none":
            return f"No winner: {candidate} is neither better nor worse. {stable} serves all traffic."
        case "candidate" if route["weight"] < _ALL:
            return f"{candidate} wins: it is proven to be better, and keeps {plain(route['weight'])} % of the traffic."
        case "candidate":
            return f"{candidate} wins: it is proven to be better, and serves all traffic."
        case _:
            return f"{candidate} was promoted: it serves all traffic."


def _steps(route: Json) -> list[str]:
    if not route["steps"]:
        return []
    done = route["phase"] == "Succeeded"
    taken = len(route["steps"]) - 1 if route["phase"] == "Baking" else route["step"]  # the bake is what comes last
    lines = ["## Steps", ""]
    for number, text in enumerate(route["steps"]):
        mark = "x" if done or number < taken else " "
        here = " **← here**" if number == taken and not done else ""
        lines.append(f"- [{mark}] {_safe(text)}{here}")
    return lines


def _missing(route: Json) -> list[str]:
    if route["phase"] in ("Succeeded", "Aborted", "Failed") or not route["missing"]:
        return []
    lines = ["## What a promotion still lacks", "", *(f"- {_safe(text)}" for text in route["missing"])]
    if route["forecastSeconds"] is not None:
        lines += ["", f"At this rate the evidence is there in about {span(route['forecastSeconds'])}."]
    return lines


# --- the evidence


def _evidence(route: Json) -> list[list[str]]:
    """The metrics and the split, of several candidates those of each."""
    if not route["candidates"]:
        return [_metrics(route), _ratio(route)]
    sections = [_candidates(route["candidates"])]
    for each in route["candidates"]:
        name = f" of {_safe(each['name'])}"
        sections += [_metrics(each, name), _ratio(each, name)]
    return sections


def _candidates(candidates: Sequence[Json]) -> list[str]:
    rows = [
        (_safe(each["name"]), words.candidate(each), f"{plain(each['weight'])} %", odds(each["abortEvidence"]),
         moment(each["leftAt"]) if each["leftAt"] else NOTHING, _safe(each["reason"]))
        for each in candidates
    ]  # fmt: skip
    head = ("Candidate", "", "Weight", "Evidence of harm", "Left at", "Why")
    return ["## Candidates", "", *_table(head, rows, numbers=range(2, 4))]


def _metrics(route: Json, of: str = "") -> list[str]:
    metrics = route["metrics"]
    if not metrics:
        return [f"## Metrics{of}", "", "No comparison yet."]
    control = words.control(metrics).capitalize()
    head = ("Metric", control, "Candidate", "Effect", "Interval", "Margin", "Evidence for", "Evidence against",
            "Requests", "Verdict")  # fmt: skip
    rows = [_metric(metric) for metric in metrics]
    lines = [f"## Metrics{of}", "", *_table(head, rows, numbers=range(1, 9)), ""]
    lines += [f"- {_safe(metric['text'])}" for metric in metrics if metric["text"]]
    if route["abortEvidence"] is not None:
        lines += [
            "",
            f"Weighted over all metrics, the evidence that the candidate does harm is {odds(route['abortEvidence'])}; "
            f"at {odds(route['abortNeeded'])} it is aborted.",
        ]
    return lines


def _metric(metric: Json) -> tuple[str, ...]:
    role = "" if metric["role"] == "guardrail" else f" ({_safe(metric['role'])})"
    return (
        f"{_safe(metric['name'])}{role}",
        level(metric["kind"], metric["stable"]),
        level(metric["kind"], metric["candidate"]),
        words.difference(metric),
        words.interval(metric),
        _safe(metric["margin"]),
        odds(metric["evidencePass"]),
        odds(metric["evidenceHarm"]),
        f"{count(metric['nStable'])} / {count(metric['nCandidate'])}",
        _safe(words.verdict(metric)),
    )


def _ratio(route: Json, of: str = "") -> list[str]:
    ratio = route["ratio"]
    if not ratio:
        return []
    lines = [f"## Sample ratio{of}", ""]
    if ratio["flagged"]:
        lines += [
            "**The comparison is unreliable: traffic is not split as configured. Nothing is promoted on it.**",
            "",
        ]
    if ratio["checked"] == "not checked":
        return [*lines, _safe(ratio["text"])]
    facts = [
        ("Counted by", ratio["checked"]),
        ("Candidate's share, configured", percent(ratio["expectedShare"])),
        ("Candidate's share, observed", percent(ratio["observedShare"])),
        ("Evidence that the split is off", odds(ratio["evidence"])),
    ]
    return [*lines, *_table(("", ""), facts), "", _safe(ratio["text"])]


# --- the arms


def _arms(route: Json) -> list[str]:
    head = ("Version", "Role", "Weight", "Requests", "Failed", "In flight", "Users", "p50", "p95", "p99")
    rows = []
    for arm in route["arms"]:
        latency = arm["latencyMs"]
        rows.append((
            _safe(arm["backend"]),
            arm["role"],
            NOTHING if arm["role"] == "shadow" else f"{plain(arm['weight'])} %",
            count(arm["requests"]),
            words.part(arm["failed"], arm["requests"]),
            count(arm["inFlight"]),
            count(arm["users"]),
            *(milliseconds(latency[quantile]) for quantile in ("p50", "p95", "p99")),
        ))  # fmt: skip
    lines = ["## Versions", "", *_table(head, rows, numbers=range(2, 10)), *_saved(route["arms"])]
    if route["phase"]:
        lines += ["", "Requests are of the whole rollout; latency and predictions of the stage that was compared last."]
    return lines


def _saved(arms: Iterable[Json]) -> list[str]:
    """What clients saw of the failures, where that is less than what is judged."""
    texts = [
        f"Of the {count(arm['failed'])} failures of {_safe(arm['backend'])} ({arm['role']}), which are those of first "
        f"attempts, clients saw {count(arm['failedToClients'])}: a retry answered the others."
        for arm in arms
        if arm["failedToClients"] != arm["failed"]
    ]
    return ["", *texts] if texts else []


def _endpoints(route: Json) -> list[str]:
    """Where endpoints are replaced one by one: whose turn it was, and who serves."""
    rows = [(_safe(e["backend"]), _safe(e["address"]), words.PLACES[e["status"]]) for e in route["endpoints"]]
    return ["## Endpoints", "", *_table(("version", "endpoint", ""), rows)] if rows else []


def _outcomes(route: Json) -> list[str]:
    arms = route["arms"]
    rows = []
    for group, title in (("statuses", "status"), ("faults", "fault"), ("retries", "retry"), ("skips", "copy skipped"),
                         ("repeats", "stable asked twice")):  # fmt: skip
        names = sorted({name for arm in arms for name in arm[group]})
        rows += [
            (f"{title} {_safe('none' if (group, name) == ('statuses', '0') else name)}",
             *(count(arm[group].get(name, 0)) for arm in arms))
            for name in names
        ]  # fmt: skip
    if not rows:
        return []
    return ["## Outcomes", "", *_table(("", *_titles(arms)), rows, numbers=range(1, 1 + len(arms)))]


def _labels(route: Json) -> list[str]:
    lines: list[str] = []
    arms = route["arms"]
    for output in _outputs(arms, "labels"):
        shown = [arm for arm in arms if arm["labels"].get(output)]
        shares = [arm["labels"][output] for arm in shown]
        largest = {name: max(s.get(name, 0) for s in shares) for share in shares for name in share}
        names = sorted(largest, key=lambda name: (-largest[name], name))
        head: tuple[str, ...] = ("Label", *_titles(shown))
        rows = [(_safe(name), *(percent(share.get(name, 0)) for share in shares)) for name in names[:LABELS_SHOWN]]
        by_role = {arm["role"]: arm["labels"][output] for arm in reversed(shown)}
        stable, candidate = by_role.get("baseline", by_role.get("stable")), by_role.get("canary", by_role.get("shadow"))
        if stable is not None and candidate is not None and len(route["candidates"]) < 2:
            head += ("Difference",)
            rows = [
                (*row, effect("pp", 100 * (candidate.get(name, 0) - stable.get(name, 0))))
                for row, name in zip(rows, names, strict=False)
            ]
        lines += ["", f"### {_safe(output)}", "", *_table(head, rows, numbers=range(1, len(head)))]
        if len(names) > LABELS_SHOWN:
            lines += ["", f"… and {len(names) - LABELS_SHOWN} rarer labels."]
    return ["## Predicted labels", *lines] if lines else []


def _numbers(route: Json) -> list[str]:
    rows = [
        (_safe(output), _safe(arm["backend"]), plain(number["mean"]), plain(number["sd"]), count(number["n"]))
        for output in _outputs(route["arms"], "numbers")
        for arm in route["arms"]
        if (number := arm["numbers"].get(output))
    ]
    if not rows:
        return []
    head = ("Output", "Version", "Mean", "Standard deviation", "Values")
    return ["## Predicted numbers", "", *_table(head, rows, numbers=range(2, 5))]


def _feedback(route: Json) -> list[str]:
    rows = [
        (_safe(arm["backend"]), count(told["truths"]), words.percent(told["wrong"]), plain(told["logLoss"]))
        for arm in route["arms"]
        if (told := arm["feedback"])
    ]
    if not rows:
        return []
    lines = ["## Feedback", "", *_table(("Version", "Truths", "Wrong", "Log-loss"), rows, numbers=range(1, 4))]
    if waiting := route["feedback"]["waiting"]:
        lines += ["", f"{count(waiting)} truths were told and are not in the evidence yet."]
    return lines


def _distances(route: Json) -> list[str]:
    rows = [
        (_safe(each["name"]), *(plain(each[size]) for size in ("psi", "jensenShannon", "wasserstein", "ks")))
        for each in route["distances"]
    ]
    if not rows:
        return []
    head = ("", "PSI", "Jensen-Shannon", "Wasserstein (sd)", "Kolmogorov-Smirnov")
    text = (
        "How far the two versions are apart: sizes to look at, by which nothing is decided. They are above 0 "
        "between equal versions too, the more so the fewer answers there are."
    )
    return ["## Distances", "", *_table(head, rows, numbers=range(1, 5)), "", text]


def _held(route: Json) -> list[str]:
    if route["held"] is None:
        return []
    return ["## Requests that had to wait", "", *_table(("", "Requests"), waiting.facts(route["held"]), [1])]


# --- the history


def _timeline(entries: Sequence[Json]) -> list[str]:
    if not entries:
        return []
    rows = [
        (moment(entry["at"]), _safe(entry["kind"]), _safe(entry["actor"]), _safe(entry["text"]))
        for entry in reversed(entries)
    ]
    return ["## Timeline", "", *_table(("When", "What", "Who", ""), rows)]


def _titles(arms: Iterable[Json]) -> tuple[str, ...]:
    return tuple(f"{_safe(arm['backend'])} ({arm['role']})" for arm in arms)


def _outputs(arms: Iterable[Json], group: str) -> list[str]:
    return list(dict.fromkeys(output for arm in arms for output in arm[group]))
