"""What the command line shows: tables of rich, made from the JSON of the admin API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from config.values.problems import Problem
from proxy.admin import ramping, waiting, words

Json = dict[str, Any]
_COLOURS: Final = {
    "Waiting": "yellow",
    "Progressing": "cyan",
    "Paused": "yellow",
    "Promoting": "cyan",
    "Baking": "cyan",
    "Swapping": "yellow",
    "Reverting": "yellow",
    "Succeeded": "green",
    "Aborted": "red",
    "Failed": "red",
}


def status(answer: Json) -> RenderableType:
    """The process, its configuration, its workers and its routes."""
    config = answer["config"]
    lines = [
        Text(f"understudy {answer['version']}, process {answer['pid']}, since {words.moment(answer['startedAt'])}"),
        Text(f"configuration {config['path']} (digest {config['digest'][:12]}), generation {config['generation']}"),
    ]
    if config["lastError"] is not None:
        lines.append(Text("the last edit of the configuration was refused; what runs stayed as it was:", "red"))
        lines += [Text(f"  {problem(item)}", "red") for item in config["lastError"]["problems"]]
    lines.append(_store(answer["store"]))
    if answer["store"]["error"]:
        lines.append(
            Text(f"the store {answer['store']['url']} fails, rollouts stand still: {answer['store']['error']}", "red")
        )
    for fault in answer["faultInjection"]:
        lines.append(Text(f"faults are injected on purpose: {fault['injects']} of route {fault['route']}", "bold red"))
    for item in answer["differences"]:
        lines.append(Text(f"live and file differ: route {item['route']}: {item['text']}; {item['remedy']}", "yellow"))
    if answer["restartNeeded"]:
        changed = ", ".join(answer["restartNeeded"])
        lines.append(Text(f"changed in the file, and needs a restart: {changed}", "yellow"))
    tables = (_workers(answer["workers"], config["generation"]), _backends(answer["backends"]))
    return Group(*lines, *tables, routes(answer["routes"]))


def _store(store: Json) -> Text:
    used, most = store["bytes"], store["maxBytes"]
    size = "" if used is None or most is None else f", {used / 1e6:,.1f} of {most / 1e6:,.1f} MB"
    full = used is not None and most is not None and used > most
    return Text(f"store {store['url']} (instance {store['instance']}){size}", "red" if full else "")


def _workers(workers: Sequence[Json], generation: int) -> Table:
    table = table_of("Worker", "Process", "State", "Generation", "Connections", "In flight", title="Workers")
    for worker in workers:
        state = Text("serving", "green") if worker["alive"] else Text("down", "red")
        held = Text(str(worker["generation"]), "" if worker["generation"] == generation else "yellow")
        table.add_row(str(worker["index"]), str(worker["pid"]), state, held,
                      words.count(worker["connections"]), words.count(worker["inFlight"]))  # fmt: skip
    return table


def _backends(backends: Sequence[Json]) -> Table:
    """One line for each backend: how many of its endpoints are usable, what is wrong with the others, and which of them
    are away since they are being replaced."""
    table = table_of("Backend", "Endpoints", "Healthy", "In flight", "", title="Backends")
    for backend in backends:
        out = [line for line in backend["endpoints"] if line["out"]]
        lines = [line for line in backend["endpoints"] if not line["out"]]
        wrong = [f"{line['address']} {_wrong(line)}" for line in lines if line["state"] in ("unhealthy", "ejected")]
        if backend["panic"]:
            wrong.insert(0, "too few are usable, so that health is ignored:")
        healthy = sum(1 for line in lines if line["state"] == "healthy")
        table.add_row(
            Text(backend["name"]),
            words.count(len(lines)),
            Text(words.count(healthy), "red" if wrong else ""),
            words.count(sum(line["inFlight"] for line in backend["endpoints"])),
            Text("\n".join(wrong), "red") + Text("\n" * bool(wrong and out)) + _away(out),
        )
    return table


def _away(out: Sequence[Json]) -> Text:
    return Text("\n".join(f"{line['address']} is {words.PLACES[line['out']]}" for line in out), "yellow")


def _wrong(line: Json) -> str:
    if line["state"] == "ejected":
        return f"is ejected until {words.moment(line['ejectedUntil'])}"
    return f"is unhealthy: {line['reason']}"


def routes(summaries: Sequence[Json]) -> Table:
    """One line for each route."""
    table = table_of("Route", "Stable", "Candidate", "Phase", "Verdict", "Weight", "Mirror", "Reason", title="Routes")
    for route in summaries:
        table.add_row(
            Text(route["name"]),
            Text(route["stable"] or words.NOTHING),
            Text(", ".join(route["racing"]) if len(route["racing"]) > 1 else route["candidate"] or words.NOTHING),
            phase(route["phase"]),
            route["verdict"] or words.NOTHING,
            f"{words.plain(route['weight'])} %" if route["phase"] else words.NOTHING,
            f"{words.plain(route['mirror'])} %" if route["phase"] else words.NOTHING,
            Text(route["reason"]),
        )
    return table


def acted(answer: Json) -> RenderableType:
    """A route after a command, of several candidates each."""
    return Group(routes([answer]), *([_candidates(answer["candidates"])] if answer["candidates"] else []))


def phase(name: str) -> Text:
    """A phase in its colour."""
    return Text(name or "no rollout", _COLOURS.get(name, ""))


def route(answer: Json) -> RenderableType:
    """One route: where its rollout is, its metrics and its versions."""
    parts: list[RenderableType] = [routes([answer])]
    if answer["candidates"]:
        parts.append(_candidates(answer["candidates"]))
        parts += [metrics(each["metrics"], each["name"]) for each in answer["candidates"] if each["metrics"]]
    elif answer["metrics"]:
        parts.append(metrics(answer["metrics"]))
    parts.append(_arms(answer["arms"]))
    if answer["endpoints"]:
        parts.append(_endpoints(answer["endpoints"]))
    if answer["feedback"] is not None:
        parts.append(_feedback(answer))
    if answer["held"] is not None:
        parts.append(_held(answer["held"]))
    parts += [Text(f"{name}: {text}") for name, text in ramping.facts(answer)]
    parts += [Text(f"still missing: {text}") for text in answer["missing"]]
    parts += [Text(text) for text in words.latched(answer)]
    return Group(*parts)


def _held(counts: Json) -> Table:
    table = table_of("Requests that had to wait", "", title="Held")
    for text, number in waiting.facts(counts):
        table.add_row(text, number)
    return table


def _candidates(candidates: Sequence[Json]) -> Table:
    table = table_of("Candidate", "", "Weight", "Harm", "Why", title="Candidates")
    for each in candidates:
        standing = words.candidate(each)
        colour = {"Failed": "red", "Successful": "green"}.get(each["verdict"], "")
        weight = f"{words.plain(each['weight'])} %"
        table.add_row(Text(each["name"]), Text(standing, colour), weight, words.odds(each["abortEvidence"]),
                      Text(each["reason"]))  # fmt: skip
    return table


def metrics(readings: Sequence[Json], of: str = "") -> Table:
    """The evidence of each metric, or of one of several candidates."""
    title = f"Evidence of {of}" if of else "Evidence"
    control = words.control(readings).capitalize()
    table = table_of("Metric", control, "Candidate", "Effect", "Margin", "For", "Against", "Verdict", title=title)
    for metric in readings:
        colour = "red" if metric["harmed"] else "green" if metric["passed"] else ""
        table.add_row(
            Text(metric["name"]),
            words.level(metric["kind"], metric["stable"]),
            words.level(metric["kind"], metric["candidate"]),
            words.difference(metric),
            metric["margin"],
            words.odds(metric["evidencePass"]),
            words.odds(metric["evidenceHarm"]),
            Text(words.verdict(metric), colour),
        )
    return table


def _arms(arms: Sequence[Json]) -> Table:
    table = table_of("Version", "Role", "Weight", "Requests", "Failed", "Users", "p50", "p99", title="Versions")
    for arm in arms:
        table.add_row(
            Text(arm["backend"]),
            arm["role"],
            f"{words.plain(arm['weight'])} %",
            words.count(arm["requests"]),
            words.failures(arm),
            words.count(arm["users"]),
            words.milliseconds(arm["latencyMs"]["p50"]),
            words.milliseconds(arm["latencyMs"]["p99"]),
        )
    return table


def _endpoints(endpoints: Sequence[Json]) -> Table:
    table = table_of("Version", "Endpoint", "", title="Endpoints")
    for endpoint in endpoints:
        colour = {"serving": "green", "stopped": ""}.get(endpoint["status"], "yellow")
        what = Text(words.PLACES[endpoint["status"]], colour)
        table.add_row(Text(endpoint["backend"]), Text(endpoint["address"]), what)
    return table


def _feedback(answer: Json) -> Table:
    waiting = answer["feedback"]["waiting"]
    title = "Feedback" + (f" ({words.count(waiting)} truths are not in the evidence yet)" if waiting else "")
    table = table_of("Version", "Truths", "Wrong", "Log-loss", title=title)
    for arm in answer["arms"]:
        if told := arm["feedback"]:
            table.add_row(Text(arm["backend"]), words.count(told["truths"]), words.percent(told["wrong"]),
                          words.plain(told["logLoss"]))  # fmt: skip
    return table


def problem(item: Json) -> str:
    """A problem of a configuration file as `file:line:column: path: message; remedy`."""
    return str(Problem(**{name: item[name] for name in Problem.__dataclass_fields__}))


def table_of(*columns: str, title: str) -> Table:
    """An empty table."""
    table = Table(title=title, title_justify="left", header_style="bold", expand=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


# --- planning


def plan(answer: Json) -> RenderableType:
    """What each metric needs, by weight: in half of the rollouts, and in nine of ten."""
    table = Table(title=f"{answer['route']} at {words.plain(answer['ratePerSecond'])} requests/s")
    for column in ("metric", "weight", "to prove its margin", "nine of ten", f"to find {answer['times']:g} margins",
                   "nine of ten"):  # fmt: skip
        table.add_column(column)
    for metric in answer["metrics"]:
        for at in metric["at"]:
            weight = "copies" if at["weight"] is None else f"{words.plain(at['weight'])} %"
            cells = [cell for kind in ("prove", "find") for cell in _effort(at[kind], metric["unit"])]
            table.add_row(metric["name"], weight, *cells)
        if not metric["at"]:
            table.add_row(metric["name"], words.NOTHING, *["no step looks at it"] * 4)
    lines = [Text(f"assumed: {text}", "yellow") for text in answer["assumed"]]
    lines += [Text(f"warning: {text}", "red") for text in answer["warnings"]]
    return Group(table, *([Text(ramping.forecast(answer))] if answer["ramp"] else []), *lines)


def _effort(effort: Json | None, unit: str) -> tuple[str, str]:
    if effort is None:
        return words.NOTHING, words.NOTHING
    half = f"{words.span(effort['seconds'])} ({words.count(effort['requests'])} {unit})"
    return half, words.span(effort["seconds90"])
