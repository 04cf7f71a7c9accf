"""What a person types: `understudy simulate`. All that is heavy is imported when it is asked for."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from proxy.terminal import checked


def simulate(
    config: Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The configuration file.")],
    route: Annotated[str, typer.Option("--route", metavar="NAME", help="The route whose rollout it is.")],
    samples: Annotated[
        str | None, typer.Option("--samples", metavar="FILE|-", help="The records, plain or gzip; by default stdin.")
    ] = None,
    last_stage: Annotated[
        int | None, typer.Option("--last-stage", min=0, metavar="N", help="The stage of the records that may promote.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Tell what a rollout would have come to on recorded requests (NDJSON; see docs/simulate.md)."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # no matrix here is large: more threads only take time to start
    with _uncollected():
        loaded = checked(config, as_json)
        from proxy.simulation.run import simulate as on_records

        on_records(loaded, route, samples, last_stage, as_json)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Neither modules nor records are garbage in cycles: looking for such is a tenth of the time, for nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
