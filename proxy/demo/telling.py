"""What the demo says at its end: the timeline, the comparisons, what the clients met, and where to look further."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from proxy.admin import console as shown
from proxy.admin import words
from proxy.demo.account import Rollout
from proxy.demo.settings import ROUTE
from proxy.demo.traffic import Answered

Json = dict[str, Any]


def accuracy(console: Console, shares: Mapping[str, float]) -> None:
    """How good the models are that were just trained."""
    text = ", ".join(f"{version} {100 * share:.1f} %" for version, share in shares.items())
    console.print(Text(f"        trained on digits; right on rows that none of them has seen: {text}"), soft_wrap=True)


def clients(answers: Sequence[Answered]) -> str:
    """What clients have seen so far, in a few words."""
    failed = sum(answer.failed for answer in answers)
    return f"clients: {len(answers):,} requests, {failed} errors"


def tell(console: Console, rollouts: Sequence[Rollout], outcome: Json, started_at: float, keep: bool) -> None:
    """All that is worth reading afterwards."""
    if rollouts:
        console.print(Rule("Timeline", align="left"), _timeline(rollouts[-1].route["history"], started_at))
    for rollout in rollouts:
        console.print(Rule(f"{rollout.candidate} against {rollout.route['stable']}", align="left"))
        console.print(shown.metrics(rollout.route["metrics"]))
    console.print(Rule("What the clients met", align="left"), _met(outcome))
    console.print(Text(_errors(outcome)))
    console.print(Rule("Where to look", align="left"))
    for entry in outcome["rollouts"]:
        console.print(Text(f"report on {entry['candidate']}: {entry['report']}"), soft_wrap=True)
    console.print(Text(f"configuration, logs, models: {outcome['folder']}"), soft_wrap=True)
    console.print(
        Text(f"dashboard and admin API: {outcome['admin']} ({'stays' if keep else 'ends now; --keep leaves it'})")
    )
    style = "bold green" if outcome["ok"] else "bold red"
    console.print(Text(_conclusion(outcome), style))


def leave(console: Console, url: str, admin: str, file: Path, pids: Mapping[str, int]) -> None:
    """How to play with what was left running, and how to stop it."""
    running = ", ".join(f"{name} {pid}" for name, pid in pids.items())
    for what, how in (
        ("still running", running),
        ("look", f"{admin}/#/routes/{ROUTE}"),
        ("see", f"understudy report {ROUTE} --admin {admin}"),
        ("try v3 again", f"understudy retry {ROUTE} --admin {admin}"),
        ("edit, live at once", str(file)),
        ("ask a model", f"curl {url}/v2/models/{ROUTE}"),
        ("stop all", f"kill {' '.join(str(pid) for pid in reversed(list(pids.values())))}"),
    ):
        console.print(Text(f"{what:>18}: {how}"), soft_wrap=True)


def _timeline(entries: Sequence[Json], started_at: float) -> Table:
    table = _table("After", "What", "Who", "")
    for entry in sorted(entries, key=lambda entry: entry["id"]):
        table.add_row(f"{entry['at'] - started_at:.1f} s", entry["kind"], entry["actor"], Text(entry["text"]))
    return table


def _met(outcome: Json) -> Table:
    table = _table("Candidate", "End", "After", "Rehearsed on copies", "Requests before the end", "Users", "Errors")
    for entry in outcome["rollouts"]:
        table.add_row(
            entry["candidate"],
            shown.phase(entry["phase"]),
            words.span(entry["seconds"]),
            words.count(entry["candidateCopies"]),
            words.count(entry["candidateRequests"]),
            f"{entry['candidateUsers']} of {outcome['clientUsers']}",
            words.count(entry["candidateErrors"]),
        )
    return table


def _errors(outcome: Json) -> str:
    right = ", ".join(f"{name} {words.percent(share)}" for name, share in outcome["accuracyByBackend"].items())
    return (
        f"{outcome['clientRequests']:,} requests; {outcome['clientErrors']} errors, "
        f"{outcome['clientErrorsUnexplained']} of them not answered by the faulty version itself\n"
        f"right answers as clients saw them: {right or words.NOTHING}"
    )


def _conclusion(outcome: Json) -> str:
    ends = ", ".join(f"{entry['candidate']} {entry['phase']}" for entry in outcome["rollouts"]) or "no rollout ended"
    return f"{'as it should be' if outcome['ok'] else 'not as it should be'}: {ends}; {outcome['seconds']:.0f} s in all"


def _table(*columns: str) -> Table:
    table = Table(header_style="bold", expand=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
