"""Weights and evidence while the demo runs: a picture that changes on a terminal, plain lines everywhere else."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from proxy.admin import console as shown
from proxy.admin import words

Json = dict[str, Any]
PLAIN_EVERY_S = 5.0


class View:
    """One rollout as it goes. Entered and left around it; `update` may be called as often as one likes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._last: tuple[object, ...] = ()
        self._last_s = float("-inf")

    def __enter__(self) -> Self:
        """Take the terminal."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back."""
        if self._live is not None:
            self._live.stop()

    def update(self, route: Json, clients: str, elapsed_s: float) -> None:
        """Show the route as the admin API describes it, and a line on what clients see."""
        if self._live is not None:
            self._live.update(picture(route, clients, elapsed_s), refresh=True)
            return
        state = (route["candidate"], route["phase"], route["weight"], route["mirror"], route["step"])
        if state != self._last or elapsed_s - self._last_s >= PLAIN_EVERY_S:
            self._last, self._last_s = state, elapsed_s
            self._console.print(Text(line(route, clients, elapsed_s)), soft_wrap=True)


def picture(route: Json, clients: str, elapsed_s: float) -> RenderableType:
    """The whole view: where the rollout is, who gets what, the evidence, the clients."""
    head = Text.assemble(
        (f"{elapsed_s:5.0f} s  ", "dim"), (str(route["candidate"]), "bold"), f" against {route['stable']}   "
    )
    head.append_text(shown.phase(route["phase"]))
    parts: list[RenderableType] = [head, _steps(route), _bars(route)]
    if route["metrics"]:
        parts.append(shown.metrics(route["metrics"]))
    parts.append(Text(_harm(route)))
    if route["reason"]:
        parts.append(Text(route["reason"], "italic"))
    parts.append(Text(clients, "dim"))
    return Group(*parts)


def line(route: Json, clients: str, elapsed_s: float) -> str:
    """The same in one line."""
    metrics = ", ".join(f"{metric['name']} {words.verdict(metric)}" for metric in route["metrics"])
    weights = f"weight {words.plain(route['weight'])} %, copies {words.plain(route['mirror'])} %"
    head = f"{elapsed_s:5.0f} s  {route['candidate']} {route['phase']}"
    return f"{head}: {weights}; {metrics or 'no evidence yet'}; {clients}"


def _steps(route: Json) -> Text:
    text = Text()
    for number, name in enumerate(route["steps"]):
        style = "bold cyan" if number == route["step"] else "green" if number < route["step"] else "dim"
        text.append(name, style).append("  →  " if number < len(route["steps"]) - 1 else "", "dim")
    return text


def _bars(route: Json) -> Table:
    table = Table.grid(padding=(0, 2))
    shares: Sequence[tuple[str, float]] = (
        (f"users on {route['candidate']}", route["weight"]),
        (f"copied to {route['candidate']}", route["mirror"]),
    )
    for name, percent in shares:
        table.add_row(name, ProgressBar(total=100, completed=percent, width=40), f"{words.plain(percent)} %")
    return table


def _harm(route: Json) -> str:
    if route["abortEvidence"] is None:
        return "no evidence yet"
    return (
        f"harm, all metrics together: {words.odds(route['abortEvidence'])}, out at {words.odds(route['abortNeeded'])}"
    )
