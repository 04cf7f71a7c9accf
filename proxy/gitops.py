"""The configuration file in version control: what an edit would do, and the edit that a promotion is.

What is heavy is imported where it is needed: `understudy --help` is quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from proxy.admin.client import DEFAULT_ADDRESS, Client
from proxy.terminal import EXIT_REFUSED, Admin, AsJson, asking, checked, show

if TYPE_CHECKING:
    from proxy.control.intent.moved import Difference, Live, RouteMoves

_ALL: Final = 100.0
"""Percent. A rehearsal, or a test that nobody has won, succeeds with less."""


def diff(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="The configuration file as it is.")],
    new: Annotated[Path, typer.Argument(metavar="NEW", help="The configuration file as it will be.")],
    live: Annotated[
        bool, typer.Option("--live", help="Ask the admin API how far rollouts are: no file has their weights.")
    ] = False,
    admin: Admin = DEFAULT_ADDRESS,
    as_json: AsJson = False,
) -> None:
    """Say which users an edit moves, and which share, before it is live."""
    from dataclasses import asdict

    from proxy.control.intent.moved import difference

    before, after = checked(old), checked(new)
    weights: dict[str, Live] | None = None
    if live:
        with asking(admin, as_json) as client:
            status = client.status()
            names = [route["name"] for route in status["routes"] if route["strategy"]]
            weights = {name: _live(client.route(name)) for name in names}
        if status["config"]["digest"] != before.digest:
            typer.echo(
                f"understudy: {old} is not the configuration that is live, which is {status['config']['path']}: "
                "weights are taken where it has the same rollout",
                err=True,
            )
    found = difference(before.config, after.config, weights)
    show(asdict(found) if as_json else found, as_json, told)


def _live(route: dict[str, Any]) -> Live:
    """How far a rollout is, as the admin API tells it; one that has not begun is Waiting."""
    from proxy.control.intent.moved import Live
    from proxy.control.machine.rollout import Phase

    candidates = [arm for arm in route["arms"] if arm["role"] == "canary"]
    return Live(
        stable=route["stable"],
        candidates=tuple(arm["backend"] for arm in candidates),
        racing=tuple(arm["backend"] for arm in candidates if arm["weight"]),
        phase=Phase(route["phase"] or "Waiting"),
        weight=route["weight"],
    )


def told(found: Difference) -> str:
    """What an edit does, for people."""
    return "\n".join([found.change, *(line for route in found.routes for line in _route(route))])


def edit(client: Client, route: str, config: Path | None, write: bool, full: bool, named: str = "") -> None:
    """Print the file in which the candidate of a route (of several the one that is named) is its stable version, or
    write it.

    What is written goes live at once where Understudy watches the file, so that a candidate which the rollout has not
    promoted is written with `full` alone.
    """
    from config.promoted import CannotEditError, promoted
    from proxy.admin import words
    from proxy.control.intent.file import write as write_file

    rollout = client.route(route)
    path = Path(client.status()["config"]["path"]) if config is None else config
    candidate = _meant(rollout, named)
    live = rollout["phase"] == "Succeeded" and rollout["weight"] == _ALL and candidate == rollout["candidate"]
    if write and not live and not full:
        stands = f"{rollout['phase']}, with {words.plain(rollout['weight'])} % of the traffic"
        _refuse(f"{candidate} is not promoted: the rollout is {stands}; wait for it, or give --full")
    try:
        text = path.read_bytes().decode("utf-8")
        after = promoted(text, route, candidate)
        if not write:
            typer.echo(after.encode("utf-8"), nl=False)
        elif after == text:
            typer.echo(f"{path}: {candidate} is stable already")
        else:
            write_file(path, after)
            typer.echo(f"{path}: {candidate} is stable")
    except (OSError, UnicodeDecodeError, CannotEditError) as error:
        _refuse(f"{path}: {error}")


def _meant(rollout: dict[str, Any], named: str) -> str:
    """The candidate of a route that is to be stable."""
    front, racing = str(rollout["candidate"]), rollout["racing"]
    if not front:
        _refuse(f"route {rollout['name']!r} has no candidate")
    known = {each["name"]: each for each in rollout["candidates"]} or {front: {"verdict": "", "reason": ""}}
    if named and named not in known:
        _refuse(f"{named} is no candidate of route {rollout['name']}; choose of {', '.join(known)}")
    if named and known[named]["verdict"] not in ("", "Successful"):
        _refuse(f"{named} is out of the race: {known[named]['reason'] or known[named]['verdict']}")
    if not named and len(racing) > 1:
        _refuse(f"no candidate is chosen yet, and in the race are {', '.join(racing)}: wait for its end, or name one "
                "with --candidate")  # fmt: skip
    return named or front


def _route(route: RouteMoves) -> list[str]:
    from proxy.admin.words import percent

    if not (route.was and route.route):
        return [f"route {note}" for note in route.notes]
    who = "users" if route.sticky else "requests"
    name = f"route {route.route}" if route.was == route.route else f"from route {route.was} to {route.route}"
    lines = [f"{name}: {percent(route.percent / 100)} of {who} move"]
    lines += [f"  {percent(move.percent / 100)} from {move.source} to {move.target}" for move in route.moves]
    lines += [f"  drawn anew: {route.redrawn}; shares are those to be expected"] if route.redrawn else []
    return [*lines, *(f"  {note}" for note in route.notes)]


def _refuse(reason: str) -> NoReturn:
    typer.echo(f"understudy: {reason}", err=True)
    raise typer.Exit(EXIT_REFUSED)
