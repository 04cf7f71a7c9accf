"""`understudy demo`: the play, from the first process to the exit status."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import shlex
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.text import Text

PLAIN_WIDTH = 130
"""Columns where the output is no terminal: tables would be folded at the usual 80."""
INTERRUPTED = 130
"""The exit status that shells give to a command ended by Ctrl-C."""


def demo_command(json_file: Path | None, keep: bool) -> int:
    """Run the demo. Exit status 0: v2 was promoted, v3 aborted, and clients met no error but v3's own."""
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH, highlight=False)
    if importlib.util.find_spec("sklearn") is None:
        pip = f"{shlex.quote(sys.executable)} -m pip install 'understudy[demo]'"
        console.print(
            Text(f"understudy: the demo trains scikit-learn models; install scikit-learn first: {pip}"), soft_wrap=True
        )
        return 1
    if json_file is not None and not json_file.absolute().parent.is_dir():
        console.print(Text(f"understudy: --json {json_file}: there is no such folder; make it first"), soft_wrap=True)
        return 1
    try:
        outcome = uvloop.run(_play(console, keep))
    except (KeyboardInterrupt, asyncio.CancelledError):
        console.print("stopped")
        return INTERRUPTED
    if json_file is not None:
        json_file.write_text(json.dumps(outcome, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0 if outcome["ok"] else 1


async def _play(console: Console, keep: bool) -> dict[str, Any]:
    from proxy.demo.play import Play  # needs scikit-learn

    this = asyncio.current_task()
    assert this is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, this.cancel)
    play = Play(console, Path(tempfile.mkdtemp(prefix="understudy-demo-")), keep)
    finished = False
    try:
        outcome = await play.run()
        finished = True
    finally:
        if not (keep and finished):
            await play.processes.stop()
    return outcome
