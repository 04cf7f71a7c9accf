"""The commands a person types. They talk to the admin API, and decide nothing.

Exit status: 0 done · 1 refused or failed · 2 wrong usage · 3 the admin API cannot be reached. `--json` prints what
the API answered, for machines. What is heavy is imported by the command that needs it: `understudy --help` is quick.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from proxy import past
from proxy.admin.client import DEFAULT_ADDRESS, Keys
from proxy.gitops import diff
from proxy.simulation.command import simulate
from proxy.terminal import (
    EXIT_REFUSED,
    KEYS,
    Admin,
    AsJson,
    RouteName,
    asking,
    checked,
    members,
    print_json,
    show,
)

app = typer.Typer(
    name="understudy",
    help="Rehearse new versions of a model on live traffic, and promote them when the evidence says so.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigFile = Annotated[Path, typer.Argument(metavar="FILE", help="The configuration file.")]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"understudy {version('understudy')}")
        raise typer.Exit


@app.callback()
def _main(
    token: Annotated[
        str,
        typer.Option(
            envvar="UNDERSTUDY_TOKEN",
            metavar="TOKEN",
            help="Who asks the admin API. Better by the variable: others see what is on a command line.",
        ),
    ] = "",
    ca_file: Annotated[
        str,
        typer.Option(
            envvar="UNDERSTUDY_CA_FILE",
            metavar="FILE",
            help="Authorities of the admin API's certificate, if not those of the system.",
        ),
    ] = "",
    cert_file: Annotated[
        str,
        typer.Option(
            envvar="UNDERSTUDY_CERT_FILE", metavar="FILE", help="A certificate with its key, to show to the admin API."
        ),
    ] = "",
    _show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""
    KEYS.set(Keys(token, ca_file, cert_file))


# --- running


@app.command()
def serve(
    config: Annotated[
        Path, typer.Option("--config", "-c", envvar="UNDERSTUDY_CONFIG", metavar="FILE", help="The configuration file.")
    ],
    takeover: Annotated[
        bool, typer.Option("--takeover", help="Take the sockets over from the one that runs, if one does.")
    ] = False,
    takeover_timeout: Annotated[
        float, typer.Option(min=1.0, metavar="SECONDS", help="How long a takeover may take; then the old one goes on.")
    ] = 60.0,
    runtime_dir: Annotated[
        str, typer.Option(envvar="UNDERSTUDY_RUNTIME_DIR", metavar="FOLDER", help="Where releases find each other.")
    ] = "",
) -> None:
    """Serve traffic: check the configuration, then become the supervisor of workers and controller."""
    checked(config)
    from dataclasses import replace

    from proxy.control.process.launch import default_runtime_dir, plan_launch
    from proxy.control.process.supervisor import role_command

    launch = plan_launch(config)
    if takeover and not launch.admin[1]:
        raise typer.BadParameter("the admin API has port 0, by which nobody is found: give it a port")
    launch = replace(
        launch,
        runtime_dir=runtime_dir or default_runtime_dir(),
        takeover_timeout_s=takeover_timeout if takeover else 0.0,
    )
    sys.stdout.flush()
    os.execv(sys.executable, [*role_command(), "supervise", "--launch", launch.to_json()])  # noqa: S606


@app.command()
def demo(
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the outcome here, for machines.")
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running afterwards, to play with.")] = False,
) -> None:
    """Show the main job on real models: promote a good version, abort a bad one."""
    from proxy.demo.run import demo_command

    raise typer.Exit(demo_command(json_file=json_file, keep=keep))


# --- the configuration


@app.command()
def validate(file: ConfigFile, as_json: AsJson = False) -> None:
    """Check a configuration file, and print every problem as file:line:column."""
    from proxy.admin.planned import unprovable

    if as_json:
        from config.loader import load
        from config.values.problems import ConfigError

        problems: list[dict[str, Any]] = []
        doubts: list[str] = []
        try:
            doubts = list(unprovable(load(file).config))
        except ConfigError as error:
            problems = [members(problem) for problem in error.problems]
        print_json({"valid": not problems, "problems": problems, "warnings": doubts})
        raise typer.Exit(EXIT_REFUSED if problems else 0)
    loaded = checked(file)
    backends, routes = len(loaded.config.backends), len(loaded.config.routes)
    typer.echo(f"{file}: valid; backends: {backends}, routes: {routes}, digest: {loaded.digest[:12]}")
    for route in loaded.config.routes:
        if route.fault is not None:
            typer.echo(f"{file}: route {route.name} injects {route.fault}, on purpose", err=True)
    for doubt in unprovable(loaded.config):
        typer.echo(f"{file}: warning: {doubt}", err=True)


@app.command()
def schema(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the reference of all settings instead.")] = False,
) -> None:
    """Print the JSON Schema of the configuration, for editors."""
    from config.reference import reference_markdown, schema_json

    typer.echo(reference_markdown() if markdown else json.dumps(schema_json(), indent=2))


@app.command()
def reload(admin: Admin = DEFAULT_ADDRESS, as_json: AsJson = False) -> None:
    """Have the configuration file read again, now."""
    with asking(admin, as_json) as client:
        answer = client.reload()
    if as_json:
        print_json(answer)
        return
    workers = f"{answer['workersAcknowledged']} of {answer['workers']} workers hold it"
    typer.echo(f"generation {answer['generation']} is live; {workers}")
    for name in answer["restartNeeded"]:
        typer.echo(f"{name}: changed in the file, and needs a restart of `understudy serve`")


app.command()(diff)


# --- looking


@app.command()
def status(admin: Admin = DEFAULT_ADDRESS, as_json: AsJson = False) -> None:
    """Show the process, its configuration, its workers and its routes."""
    from proxy.admin import console

    with asking(admin, as_json) as client:
        answer = client.status()
    show(answer, as_json, console.status)


@app.command()
def routes(
    route: Annotated[str | None, typer.Argument(metavar="[ROUTE]", help="Show this one in full.")] = None,
    admin: Admin = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """List the routes, or show one with its evidence."""
    from proxy.admin import console

    with asking(admin, as_json) as client:
        answer: Any = client.routes() if route is None else client.route(route)
    show(answer, as_json, console.routes if route is None else console.route)


@app.command()
def report(
    route: RouteName,
    raw: Annotated[bool, typer.Option("--raw", help="Print Markdown also on a terminal.")] = False,
    admin: Admin = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Compare the versions of a route: verdict, evidence, predictions, timeline (Markdown if redirected)."""
    with asking(admin, as_json) as client:
        answer: Any = client.report(route) if as_json else client.report_markdown(route)
    if as_json:
        print_json(answer)
    elif raw or not sys.stdout.isatty():
        typer.echo(answer, nl=False)
    else:
        from rich.console import Console
        from rich.markdown import Markdown

        Console().print(Markdown(answer))


past.add_to(app)


@app.command()
def plan(
    route: RouteName,
    rate: Annotated[
        float | None, typer.Option("--rate", min=0.001, metavar="N", help="Requests per second; else what is measured.")
    ] = None,
    times: Annotated[
        float, typer.Option("--find", min=1.1, metavar="TIMES", help="The regression to find, in margins.")
    ] = 2.0,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="Plan by this file, and ask no admin API.")
    ] = None,
    admin: Admin = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Tell how many requests and how long it takes to prove each margin, and to find a regression."""
    from time import time

    from proxy.admin import console
    from proxy.admin.planned import planned, planned_live

    try:
        if config is not None:
            answer = planned(checked(config).config, route, rate, times)
        else:
            with asking(admin, as_json) as client:
                answer = planned_live(client, route, rate, times, time())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    show(answer, as_json, console.plan)


app.command()(simulate)


# --- commanding


@app.command()
def feedback(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Records as NDJSON, one on each line; - reads standard input.")
    ],
    admin: Admin = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Tell what turned out true of answers, by their x-understudy-id. Telling it twice is harmless."""
    from proxy.admin.telling import tell

    try:
        source = sys.stdin.buffer if str(file) == "-" else file.open("rb")
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}") from error
    with source, asking(admin, as_json) as client:
        told = tell(client, source)
    show(told.document() if as_json else told, as_json, lambda told: "\n".join(told.lines()))
    raise typer.Exit(0 if told.whole else EXIT_REFUSED)


@app.command()
def promote(
    route: RouteName,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Command nothing: print the file in which the candidate is stable.")
    ] = False,
    write: Annotated[
        bool,
        typer.Option(
            "--write",
            help="Command nothing: make the candidate stable in the file. Without --full it must be live already.",
        ),
    ] = False,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="The file, if not the one that is served.")
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="All traffic to the candidate, whatever the evidence says.")
    ] = False,
    candidate: Annotated[
        str,
        typer.Option("--candidate", metavar="NAME", help="Of several candidates this: with --full, or for the file."),
    ] = "",
    admin: Admin = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Let a rollout go one step further, or with --full to its end; or edit the file as it will be then."""
    if print_config or write:
        from proxy.gitops import edit

        with asking(admin, as_json) as client:
            edit(client, route, config, write=write, full=full, named=candidate)
    else:
        _act(admin, as_json, route, "promote", full=full, **({"candidate": candidate} if candidate else {}))


@app.command()
def abort(
    route: RouteName,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the history.")] = "",
    candidate: Annotated[
        str, typer.Option("--candidate", metavar="NAME", help="Of several candidates this alone; the others go on.")
    ] = "",
    admin: Admin = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Give all traffic back to stable, now; or of several candidates that of one."""
    _act(admin, as_json, route, "abort", reason=reason, **({"candidate": candidate} if candidate else {}))


@app.command()
def pause(route: RouteName, admin: Admin = DEFAULT_ADDRESS, as_json: AsJson = False) -> None:
    """Hold a rollout where it is; its guardrails go on."""
    _act(admin, as_json, route, "pause")


@app.command()
def resume(route: RouteName, admin: Admin = DEFAULT_ADDRESS, as_json: AsJson = False) -> None:
    """Let a paused rollout go on."""
    _act(admin, as_json, route, "resume")


@app.command()
def retry(route: RouteName, admin: Admin = DEFAULT_ADDRESS, as_json: AsJson = False) -> None:
    """Begin again with a version that was aborted, with fresh evidence."""
    _act(admin, as_json, route, "retry")


@app.command()
def undo(
    route: RouteName,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the history.")] = "",
    admin: Admin = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Take a promotion back: all traffic to the version that was stable before, now."""
    _act(admin, as_json, route, "undo", reason=reason)


def _act(admin: str, as_json: bool, route: str, verb: str, **options: Any) -> None:
    from proxy.admin import console

    with asking(admin, as_json) as client:
        client.act(route, verb, **options)
        answer = client.route(route)
    show(answer, as_json, console.acted)
