"""Read the records, run the rollout on them, and tell what came of it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Final

import typer

from config.loader import Loaded
from config.schema import Route
from config.values.problems import Problem
from proxy.control.evidence import holdings
from proxy.simulation.clock import Simulation
from proxy.simulation.order import seconds
from proxy.simulation.records import Lines, RefusedError
from proxy.simulation.stream import blocks
from proxy.terminal import print_json, telling

EXIT_BAD_INPUT: Final = 2
"""As wrong usage: what was given cannot be simulated. 0 is a simulation that came to its end, whatever it says."""
STDIN: Final = "-"


def simulate(loaded: Loaded, route: str, samples: str | None, last_stage: int | None, as_json: bool) -> None:
    """Simulate, and print the outcome."""
    found = next((each for each in loaded.config.routes if each.name == route), None)
    if found is None:
        names = ", ".join(each.name for each in loaded.config.routes)
        raise typer.BadParameter(f"there is no route {route!r}; there are {names}", param_hint="--route")
    with _opened(samples) as (source, raw):
        try:
            simulation = run(loaded, found, raw, last_stage)
        except RefusedError as error:
            problem = Problem(source, error.line, 1 if error.line else 0, "", error.message, error.remedy)
            if as_json:
                print_json({"problems": [asdict(problem)]})
            typer.echo(f"understudy: {problem}", err=True)
            raise typer.Exit(EXIT_BAD_INPUT) from error
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--route") from error
        if not simulation.records:
            typer.echo(f"understudy: {source} has no records", err=True)
        if simulation.unknown:
            typer.echo(f"understudy: {source}: {_unknown(simulation)}", err=True)
    try:
        _tell(simulation, as_json)
    finally:
        simulation.close()


def run(loaded: Loaded, route: Route, raw: IO[bytes], last_stage: int | None = None) -> Simulation:
    """The simulation on all records, or up to the one that decided.

    Raises:
        RefusedError: a record cannot be used.
        ValueError: the route has no rollout.
    """
    simulation = Simulation(loaded.config, route, last_stage)
    try:
        for second in seconds(blocks(raw), Lines([*holdings.output_kinds(route)])):
            simulation.feed(second)
            if simulation.ended:
                break
        simulation.finish()
    except BaseException:
        simulation.close()
        raise
    return simulation


def _unknown(simulation: Simulation) -> str:
    return (
        f"routing of {simulation.subject.name} is sticky, and {simulation.unknown:,} of {simulation.records:,} records "
        "have no `user`: the requests of one user count as if they were of many, so that equal versions may seem to "
        "differ; add `user` to the records"
    )


@contextlib.contextmanager
def _opened(samples: str | None) -> Iterator[tuple[str, IO[bytes]]]:
    """The records, and what they are called."""
    if samples in (None, STDIN):
        # Where the standard input was closed Python has none.
        if sys.stdin is None or (samples is None and sys.stdin.isatty()):
            raise typer.BadParameter("where are the records? name a file, or pipe them in", param_hint="--samples")
        yield "stdin", sys.stdin.buffer
        return
    try:
        with Path(str(samples)).open("rb") as raw:
            yield str(samples), raw
    except OSError as error:
        said = (error.strerror or str(error)).lower()
        raise typer.BadParameter(f"{samples} cannot be read: {said}", param_hint="--samples") from error


def _tell(simulation: Simulation, as_json: bool) -> None:
    from proxy.simulation import outcome

    if as_json:
        print_json(outcome.document(simulation))
        return
    with telling():
        if sys.stdout.isatty():
            from rich.console import Console
            from rich.markdown import Markdown

            Console().print(Markdown(outcome.markdown(simulation)))
        else:
            typer.echo(outcome.markdown(simulation), nl=False)
