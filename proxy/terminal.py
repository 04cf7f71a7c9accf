"""What the commands share: how they ask the admin API, how they print, and with which status they end.

What is heavy is imported where it is needed: `understudy --help` is quick.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from proxy.admin.client import Client, Keys, RefusedError, UnreachableError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from config.loader import Loaded

Admin = Annotated[
    str, typer.Option("--admin", envvar="UNDERSTUDY_ADMIN", metavar="URL", help="Where the admin API is.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
RouteName = Annotated[str, typer.Argument(metavar="ROUTE", help="The route's name.")]
EXIT_REFUSED: Final = 1
EXIT_UNREACHABLE: Final = 3
EXIT_UNTOLD: Final = 4
"""What was asked for is done, and cannot be told."""
REDIRECTED_WIDTH: Final = 160
"""Columns of a table where no terminal says how many there are; the usual 80 would fold every reason."""
KEYS: Final[ContextVar[Keys]] = ContextVar("keys")
"""What the options before the command said of who asks."""


@contextlib.contextmanager
def asking(admin: str, as_json: bool) -> Iterator[Client]:
    """A client of the admin API; its errors become lines on stderr (with --json: also JSON on stdout) and an exit."""
    try:
        client = Client(admin, keys=KEYS.get())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    try:
        yield client
    except UnreachableError as error:
        typer.echo(f"understudy: {error}", err=True)
        raise typer.Exit(EXIT_UNREACHABLE) from error
    except RefusedError as error:
        if as_json:
            print_json(error.problem)
        typer.echo(f"understudy: {error}", err=True)
        for problem in error.problem.get("problems", ()):
            from proxy.admin import console

            typer.echo(console.problem(problem), err=True)
        raise typer.Exit(EXIT_REFUSED) from error


def checked(file: Path, as_json: bool = False) -> Loaded:
    """A configuration file; its problems become lines on stderr (with --json: also JSON on stdout) and an exit."""
    from config import loader
    from config.values.problems import ConfigError

    try:
        return loader.load(file)
    except ConfigError as error:
        if as_json:
            print_json({"problems": [members(problem) for problem in error.problems]})
        for problem in error.problems:
            typer.echo(str(problem), err=True)
        raise typer.Exit(EXIT_REFUSED) from error


def members(problem: Any) -> dict[str, Any]:
    """A problem as JSON."""
    return {name: getattr(problem, name) for name in ("source", "line", "column", "path", "message", "remedy")}


@contextlib.contextmanager
def telling() -> Iterator[None]:
    """For what goes to stdout: where the disk is full or nobody reads, that is a line on stderr and an exit."""
    try:
        if sys.stdout is None:  # it was closed before the start
            raise OSError(errno.EBADF, "it is closed")
        yield
        sys.stdout.flush()
    except OSError as error:
        _let_go_of_stdout()
        said = "nobody reads it any more" if error.errno == errno.EPIPE else (error.strerror or str(error)).lower()
        text = f"understudy: standard output cannot be written: {said}; what is there of it is not complete"
        typer.echo(text, err=True)
        raise typer.Exit(EXIT_UNTOLD) from error


def _let_go_of_stdout() -> None:
    """What is still in the buffer would fail again at the exit, with a traceback."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show(answer: Any, as_json: bool, render: Any) -> None:
    """An answer for people, or as JSON for machines."""
    if as_json:
        print_json(answer)
        return
    from rich.console import Console

    shown: RenderableType = render(answer)
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    with telling():
        Console(width=None if known else REDIRECTED_WIDTH).print(shown)


def print_json(value: Any) -> None:
    """JSON on stdout."""
    with telling():
        typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
