"""The commands about what was: what happened, why it was decided, which requests were captured, what another file would
have decided.

They are part of `cli`, and stand here since that is a file of its own size already.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from proxy.admin.client import DEFAULT_ADDRESS, Client
from proxy.terminal import EXIT_REFUSED, Admin, AsJson, RouteName, asking, checked, show

if TYPE_CHECKING:
    from config.schema import Config

journal = typer.Typer(help="The journal: all that was decided, by whom and on what.", no_args_is_help=True)


def history(
    route: RouteName,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many entries, newest first.")] = 50,
    admin: Admin = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Show what happened to a route: decisions with their reasons, and who gave which command."""
    from proxy.admin import retold

    with asking(admin, as_json) as client:
        answer = client.history(route, limit)
    show(answer, as_json, lambda page: retold.history(page["entries"]))


def why(
    route: RouteName,
    decision: Annotated[
        int | None, typer.Argument(metavar="[DECISION]", help="Its entry, as `history` lists them; else the last one.")
    ] = None,
    admin: Admin = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Show what a decision was made on, and derive it again from the evidence that was kept (exit 1: it disagrees)."""
    from proxy.admin import retold

    with asking(admin, as_json) as client:
        answer = client.why(route, decision)
    show(answer, as_json, retold.why)
    if answer["agrees"] is False or not answer["intact"]:
        raise typer.Exit(EXIT_REFUSED)


@journal.command()
def verify(
    expect: Annotated[
        str,
        typer.Option("--expect", metavar="HASH", help="A hash from the log or an earlier look that must be there."),
    ] = "",
    admin: Admin = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Follow the chain of the journal, and name the first entry that breaks it (exit 1)."""
    from proxy.admin import retold

    with asking(admin, as_json) as client:
        answer = client.verify(expect)
    show(answer, as_json, retold.verified)
    if not answer["holds"]:
        raise typer.Exit(EXIT_REFUSED)


def captures(
    route: RouteName,
    kind: Annotated[
        str | None, typer.Option("--kind", metavar="KIND", help="sample, disagreement or error alone.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="How many, the newest.")] = 5,
    before: Annotated[int | None, typer.Option("--before", metavar="ID", help="Those before this one.")] = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Take all of them away, for good; the journal says that it was done.")
    ] = False,
    admin: Admin = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Show captured requests with both answers side by side, as far as the file lets them be kept."""
    from proxy.admin import side_by_side

    if delete and (kind, before) != (None, None):
        raise typer.BadParameter("--delete takes all that was captured of a route away: leave --kind and --before out")
    with asking(admin, as_json) as client:
        answer = {"removed": client.forget_captures(route)} if delete else client.captures(route, kind, limit, before)
    if as_json:
        typer.echo(json.dumps(answer, indent=2))  # in ASCII: no text of a stranger reaches the terminal as it is
    elif delete:
        typer.echo(f"{answer['removed']} captured requests are taken away")
    else:
        show(answer, False, side_by_side.captures)


def backtest(
    config: Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The configuration to try.")],
    route: Annotated[
        str | None, typer.Option("--route", metavar="NAME", help="Only this route; else all that are recorded.")
    ] = None,
    run: Annotated[
        int | None,
        typer.Option("--run", metavar="ENTRY", help="The rollout that began with it; else the last."),
    ] = None,
    admin: Admin = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Run recorded rollouts again under another configuration: what would have been decided, and when."""
    from proxy.admin import retold
    from proxy.control.hindsight import backtest as module

    if run is not None and route is None:
        raise typer.BadParameter("--run is of one route: name it with --route")
    loaded = checked(config, as_json)
    with asking(admin, as_json) as client:
        names = [route] if route is not None else _recorded_routes(client, loaded.config)
        try:
            found = [module.backtest(loaded.config, name, client, run) for name in names]
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    if not found:
        raise typer.BadParameter("no route of the file has recorded evidence: it is recorded while a rollout goes on")
    show(found, as_json, retold.backtests)


def _recorded_routes(client: Client, config: Config) -> list[str]:
    """Routes with a rollout, in the file and in what is recorded."""
    live = {summary["name"] for summary in client.routes()}
    wanted = [each.name for each in config.routes if each.strategy is not None and each.name in live]
    return [name for name in wanted if client.recordings(name)]


def add_to(app: typer.Typer) -> None:
    """Make these commands part of another program."""
    app.command()(history)
    app.command()(why)
    app.command()(captures)
    app.command()(backtest)
    app.add_typer(journal, name="journal")
