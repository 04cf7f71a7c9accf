"""One supervised process: how it is started, and how soon it may be started again.

Standard library only. A child that dies is started again at once. Only one that dies again and again within seconds
of its start has to wait, longer each time and never longer than BACKOFF_MOST_S, so that a broken release does not
burn the machine and a mended one is back soon.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

YOUNG_S: Final = 5.0
"""A child that dies younger than this died of its start."""
BACKOFF_FIRST_S: Final = 0.2
BACKOFF_MOST_S: Final = 10.0
_PR_SET_PDEATHSIG: Final = 1
WORKER_HEAP: Final = {"MALLOC_TRIM_THRESHOLD_": str(4 << 20), "MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
"""What glibc's malloc gives back to the kernel in a worker: free memory above 4 MiB, not above 128 KiB. A worker that
passes bodies of 64 KiB on would give back what it takes again for the next one, at 8 page faults per request (44 of
them at 1 MiB). It has 1 to 2 MiB more for it. Other C libraries ignore this."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What to start: a name for logs, the command, the descriptors that it inherits, and variables that it is given
    where the environment of this process does not set them."""

    name: str
    command: Sequence[str]
    inherited: tuple[int, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Child:
    """A process that should be running. `due_s` is when to start it (monotonic), None while it runs."""

    spec: Spec
    due_s: float | None = 0.0
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    quick_deaths: int = 0
    starts: int = 0

    @property
    def pid(self) -> int | None:
        """The process's number while it runs."""
        return None if self.process is None else self.process.pid

    def start(self, now_s: float, blocked: Iterable[signal.Signals]) -> int:
        """Start the process and return its number. `blocked` are the signals that only the supervisor holds back.

        Raises:
            OSError: it cannot be started now (no memory, too many processes, no such program).
        """
        self.process = subprocess.Popen(  # noqa: S603 - the supervisor's own commands
            list(self.spec.command),
            pass_fds=self.spec.inherited,
            env={**self.spec.variables, **os.environ},
            preexec_fn=_before_exec(os.getpid(), tuple(blocked)),  # safe: the supervisor has one thread
            process_group=0,  # Ctrl-C at a terminal reaches the supervisor alone, which then drains the others
        )
        self.started_s, self.due_s = now_s, None
        self.starts += 1
        return self.process.pid

    def ended(self, now_s: float) -> float:
        """Note that the process is gone; returns the seconds to wait before it is started again."""
        self.process = None
        self.quick_deaths = self.quick_deaths + 1 if now_s - self.started_s < YOUNG_S else 0
        wait_s = backoff_s(self.quick_deaths)
        self.due_s = now_s + wait_s
        return wait_s

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the process runs."""
        if self.process is not None:
            os.kill(self.process.pid, number)  # not reaped yet, so the number is still its own


def backoff_s(quick_deaths: int) -> float:
    """Seconds before the next start after so many deaths in a row, each soon after a start.

    >>> [backoff_s(n) for n in (0, 1, 2, 3, 4, 20)]
    [0.0, 0.0, 0.2, 0.4, 0.8, 10.0]
    """
    if quick_deaths < 2:
        return 0.0
    return float(min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2 ** min(quick_deaths - 2, 30)))


def reason(status: int) -> str:
    """Why a process ended, from its wait status, in words.

    >>> reason(0), reason(9), reason(256)
    ('exit status 0', 'signal SIGKILL', 'exit status 1')
    """
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit status {code}"
    try:
        return f"signal {signal.Signals(-code).name}"
    except ValueError:
        return f"signal {-code}"


def _before_exec(supervisor: int, blocked: tuple[signal.Signals, ...]) -> Callable[[], None]:
    """What a child does between fork and exec: it gets its signals back and ends with its supervisor.

    An orphan would hold the port and serve what nobody can change any more. SIGTERM, not SIGKILL: a worker whose
    supervisor was killed closes its listening socket at once and still answers the requests that it has.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def run() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != supervisor:
            os._exit(1)

    return run
