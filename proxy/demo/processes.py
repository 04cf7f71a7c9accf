"""What the demo has started, and how all of it is stopped again.

Each process gets a session of its own, so that Ctrl-C in the terminal reaches the demo alone, which then stops them
in order; and a log file, so that the terminal is left to the view. They are plain `Popen` objects: asyncio kills its
children when its loop ends, and `--keep` must not.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

START_TIMEOUT_S = 60.0
"""Importing scikit-learn takes 2 s on a quiet machine; a cold disk and busy cores take many times that."""
STOP_TIMEOUT_S = 15.0
"""What a process is given to end after SIGTERM; the supervisor waits for its workers meanwhile."""
POLL_S = 0.1
LOG_LINES_SHOWN = 15


class StartError(RuntimeError):
    """A process did not come up; the text has the end of its log."""


@dataclass(slots=True)
class Processes:
    """All processes of one demo. `logs` is the folder of their output."""

    logs: Path
    _started: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, arguments: Sequence[str]) -> None:
        """Start a module of this program in the background: `arguments` as after `python -m`."""
        with self.log(name).open("ab") as log:
            self._started[name] = subprocess.Popen(  # noqa: S603  its own modules, its own arguments
                [sys.executable, "-m", *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=_environment(), start_new_session=True,
            )  # fmt: skip

    async def ready(self, name: str, url: str) -> None:
        """Wait until the process answers 200 at this address.

        Raises:
            StartError: it ended, or did not within START_TIMEOUT_S.
        """
        timeout = aiohttp.ClientTimeout(total=2)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(START_TIMEOUT_S), aiohttp.ClientSession(timeout=timeout) as session:
                while self._started[name].poll() is None:
                    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                        async with session.get(url) as response:
                            if response.status == 200:
                                return
                    await asyncio.sleep(POLL_S)
        raise StartError(self.failure(name))

    def log(self, name: str) -> Path:
        """The file with what a process wrote."""
        return self.logs / f"{name}.log"

    def failure(self, name: str) -> str:
        """Why a process is not there, with the end of its log."""
        code = self._started[name].poll()
        state = "does not answer" if code is None else f"ended with status {code}"
        lines = self.log(name).read_text("utf-8", "replace").splitlines()[-LOG_LINES_SHOWN:]
        return "\n".join(
            [f"the process {name} {state}; the end of {self.log(name)}:", *(f"  {line}" for line in lines)]
        )

    def check(self) -> None:
        """See that all are running.

        Raises:
            StartError: one has ended.
        """
        for name, process in self._started.items():
            if process.poll() is not None:
                raise StartError(self.failure(name))

    def pids(self) -> dict[str, int]:
        """The running processes by name."""
        return {name: process.pid for name, process in self._started.items() if process.poll() is None}

    async def stop(self) -> None:
        """Stop everything, the newest first; what does not end in time is killed with all that it started."""
        for process in reversed(self._started.values()):
            if process.poll() is None:
                process.terminate()
                try:
                    await asyncio.to_thread(process.wait, STOP_TIMEOUT_S)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)  # its session is its own, and so is its group
                    process.wait()


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that nobody listens on now."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


def _environment() -> dict[str, str]:
    """One thread for each process: numerical libraries would fight with the proxy for the cores."""
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    return {**os.environ, **single, "PYTHONUNBUFFERED": "1"}
