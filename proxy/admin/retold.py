"""What the command line shows of the past: what happened, why it was decided, whether the journal holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from proxy.admin import console, words

Json = dict[str, Any]
SHORT: Final = 12
"""Hex digits of a digest that are shown to people."""


def history(entries: Sequence[Json]) -> Table:
    """Journal entries, oldest first."""
    table = console.table_of("Entry", "When", "What", "Who", "Configuration", "", title="History")
    for entry in reversed(entries):
        text = entry["text"] + (f"\n{found}" if (found := _evidence(entry["details"])) else "")
        table.add_row(str(entry["id"]), words.moment(entry["at"]), Text(entry["kind"]), Text(entry["actor"]),
                      entry["config"][:SHORT] or words.NOTHING, Text(text))  # fmt: skip
    return table


def _evidence(details: Json) -> str:
    """The numbers that an entry was made on, in a line."""
    metrics = details.get("metrics")
    if not metrics:
        return ""
    parts = [
        f"{name} {words.odds(one['evidencePass'])} for, {words.odds(one['evidenceHarm'])} against"
        for name, one in metrics.items()
    ]
    return "evidence: " + "; ".join(parts)


def why(answer: Json) -> RenderableType:
    """A decision: what was decided, on which numbers, and whether the same follows from them now."""
    entry, verdict = answer["entry"], answer["verdict"]
    decided = entry["details"]
    lines = [
        Text(f"entry {entry['id']} of {words.moment(entry['at'])}: {entry['kind']}, by {entry['actor']}", "bold"),
        Text(entry["text"]),
        Text(f"configuration {entry['config'][:SHORT] or words.NOTHING}, hash {entry['hash'][:SHORT]}"),
    ]
    if decided:
        lines.append(Text(f"led to {decided['phase']} at weight {words.plain(decided['weight'])} %, mirror "
                          f"{words.plain(decided['mirror'])} %, stage {decided['stage']}"))  # fmt: skip
    parts: list[RenderableType] = [*lines]
    if verdict is not None:
        parts += _verdict(verdict)
    parts.append(_agreement(answer))
    if answer["note"] and answer["agrees"] is not None:
        parts.append(Text(answer["note"], "yellow"))
    parts += [
        Text(f"  {each['what']}: {each['kept']} then, {each['derived']} now", "red") for each in answer["differences"]
    ]
    if not answer["intact"]:
        parts.append(Text("verdict or evidence are not those of the journal: understudy journal verify", "bold red"))
    return Group(*parts)


def _verdict(verdict: Json) -> list[RenderableType]:
    parts: list[RenderableType] = [console.metrics(verdict["metrics"] or [])]
    harm, needed = words.odds(verdict["abortEvidence"]), words.odds(verdict["abortNeeded"])
    parts.append(Text(f"harm over all metrics: {harm}; {needed} aborts"))
    parts += [Text(metric["text"]) for metric in verdict["metrics"] or ()]
    if verdict["ratio"] is not None:
        parts.append(Text(f"split: {verdict['ratio']['text']}"))
    if verdict["reason"]:
        parts.append(Text(f"abort: {verdict['reason']}", "red"))
    if verdict["proven"]:
        parts.append(Text("proven: every guardrail is within its margin", "green"))
    parts += [Text(f"was still missing for a promotion: {text}") for text in verdict["missing"] or ()]
    return parts


def _agreement(answer: Json) -> Text:
    if answer["agrees"] is None:
        return Text(f"not derived again: {answer['note']}", "yellow")
    if answer["agrees"]:
        return Text("derived again from the evidence that was kept: the same verdict, number by number", "green")
    return Text("derived again from the evidence that was kept: ANOTHER verdict", "bold red")


def backtests(answers: Sequence[Json]) -> RenderableType:
    """What would have been decided, beside what was."""
    return Group(*(part for answer in answers for part in _backtest(answer)))


def _backtest(answer: Json) -> list[RenderableType]:
    was, now = answer["recorded"], answer["replayed"]
    title = f"Route {answer['route']}, the rollout that began with entry {answer['run']}"
    table = console.table_of("", "Phase", "After", "Decided by", "Why", title=title)
    then = words.NOTHING if was["seconds"] is None else words.span(was["seconds"])
    table.add_row("it was", console.phase(was["phase"] or "undecided"), then, was["decidedBy"] or words.NOTHING,
                  Text(was["reason"]))  # fmt: skip
    why_now = now["reason"] if now["decided"] else f"{now['stopped']}; {now['reason']}"
    phase = now["phase"] if now["decided"] else f"{now['phase']}, undecided"
    table.add_row("by this file", console.phase(phase), words.span(now["seconds"]),
                  now["decidedBy"] or words.NOTHING, Text(why_now))  # fmt: skip
    parts: list[RenderableType] = [table]
    moments = console.table_of("After", "In the recording", "What", "", title="What would have happened")
    for each in now["moments"]:
        moments.add_row(words.span(each["seconds"]), words.moment(each["at"]), each["kind"], Text(each["text"]))
    parts.append(moments)
    if now["metrics"]:
        parts.append(console.metrics(now["metrics"]))
        harm, needed = words.odds(now["abortEvidence"]), words.odds(now["abortNeeded"])
        parts.append(Text(f"harm over all metrics: {harm}; {needed} aborts"))
    parts += [Text(f"still missing: {text}") for text in now["missing"]]
    if now["skipped"]:
        left_out = f"{words.count(now['skipped'])} recorded seconds were left out"
        parts.append(Text(f"{left_out}: a step was done earlier, or no step has their weight", "yellow"))
    return parts


def verified(answer: Json) -> RenderableType:
    """Whether the journal holds."""
    if not answer["holds"]:
        return Text(f"the journal is broken at entry {answer['broken']}: {answer['reason']}", "bold red")
    lines = [Text(f"the journal holds: {answer['entries']:,} entries, {answer['first']} to {answer['last']}", "green")]
    if answer["removedThrough"]:
        lines.append(Text(f"entries up to {answer['removedThrough']} were taken away by retention, and signed off"))
    if answer["begunAnew"]:
        said = f"entry {answer['begunAnew']} says what became of the store's file, and which entries are missing"
        lines.append(Text(said, "bold yellow"))
    lines.append(Text(f"head: {answer['head']} (keep it elsewhere: `--expect` finds it later, or says so)"))
    return Group(*lines)
