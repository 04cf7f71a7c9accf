"""The first process: it opens what must outlive the others, starts them, and starts them again when they die.

    supervisor ── listening sockets, ledger, slot, channel socket: opened once, inherited, never closed by a death
       ├─ controller
       └─ worker 0 … N-1

Standard library only, one thread, no signal handlers: the signals are blocked and taken one by one with
`sigtimedwait`, so no death can slip between a check and a wait. SIGTERM and SIGINT drain: readiness fails first,
then nobody new is let in (`closing`), then the workers end, each with its requests answered, then the controller, so
that the last seconds are still judged and kept. A second one cuts what is under way. SIGHUP is passed on to the
controller, which reads its configuration again. If this process is killed, the others get SIGTERM from the kernel
(`child`). It also reaps what it inherits as process 1 of a container.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from proxy.control.child import Child, Spec, reason
from proxy.control.closing import HANDSHAKE_S, turn_away_new
from proxy.control.listening import BACKLOG, clear, open_socket, shown
from proxy.control.stderr import log_to_stderr, say
from proxy.ledger import layout
from proxy.slot import Slot

CONTROLLER_DRAIN_S: Final = 5.0
"""How long the controller may take to end after the workers have."""
KILL_MARGIN_S: Final = 2.0
"""A worker ends by itself at the drain timeout; it is killed only if it is still there this much later."""
_SIGNALS: Final = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass(frozen=True, slots=True)
class Launch:
    """All that the supervisor has to know.

    Addresses are (host, port), where port 0 takes a free one, or (unix:/PATH, mode).
    """

    config_path: str
    listen: tuple[tuple[str, int], ...]
    admin: tuple[str, int]
    workers: int
    rows: int
    tables: int
    store_url: str
    drain_timeout_s: float = 30.0
    drain_delay_s: float = 0.0
    log_level: str = "info"

    def to_json(self) -> str:
        """The facts as the text of `--launch`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Launch:
        """The facts of `--launch`.

        Raises:
            ValueError, TypeError, KeyError: the text is not what `to_json` wrote.
        """
        facts = json.loads(text)
        listen = tuple((str(host), int(port)) for host, port in facts.pop("listen"))
        host, port = facts.pop("admin")
        return cls(listen=listen, admin=(str(host), int(port)), **facts)


@dataclass(frozen=True, slots=True)
class Estate:
    """What outlives every child: descriptors, and the folder with the channel's socket."""

    listen: tuple[socket.socket, ...]
    admin: socket.socket
    channel: socket.socket
    folder: Path
    ledger_fd: int
    slot_fd: int

    @property
    def channel_path(self) -> str:
        """Where workers find the controller."""
        return str(self.folder / "channel")


Commands = Callable[[Launch, Estate], tuple[Spec, Sequence[Spec]]]
"""The controller and the workers to start."""


def role_command() -> list[str]:
    """How a role of this program is started; the role and its options follow.

    With -P a file `config.py` in the folder that somebody works in cannot take the place of our own package. A source
    tree that is not installed is found through that folder alone, so there it has to do without.
    """
    try:
        metadata.distribution("understudy")
    except metadata.PackageNotFoundError:
        return [sys.executable, "-m", "proxy"]
    return [sys.executable, "-P", "-m", "proxy"]


def commands(launch: Launch, estate: Estate) -> tuple[Spec, Sequence[Spec]]:
    """The controller's command and those of the workers."""
    python = role_command()
    ledger, slot = str(estate.ledger_fd), str(estate.slot_fd)
    shared = ["--ledger-fd", ledger, "--slot-fd", slot]
    channel, admin = estate.channel.fileno(), estate.admin.fileno()
    controller = Spec(
        "controller",
        [*python, "controller", "--launch", launch.to_json(), *shared,
         "--channel-fd", str(channel), "--admin-fd", str(admin)],
        (estate.ledger_fd, estate.slot_fd, channel, admin),
    )  # fmt: skip
    listen = tuple(sock.fileno() for sock in estate.listen)
    workers = [
        Spec(
            f"worker {index}",
            [*python, "worker", "--index", str(index), *shared, "--channel", estate.channel_path,
             "--listen-fds", ",".join(map(str, listen)), "--drain-timeout", str(launch.drain_timeout_s),
             "--log-level", launch.log_level],
            (estate.ledger_fd, estate.slot_fd, *listen),
        )
        for index in range(launch.workers)
    ]  # fmt: skip
    return controller, workers


def main(argv: Sequence[str]) -> int:
    """Run `supervise --launch JSON`; returns the exit status."""
    if len(argv) != 2 or argv[0] != "--launch":
        sys.stderr.write("usage: python -m proxy supervise --launch JSON (started by: understudy serve)\n")
        return 2
    launch = Launch.from_json(argv[1])
    log_to_stderr(launch.log_level)
    try:
        estate = open_estate(launch)
    except OSError as error:
        say(logging.ERROR, "cannot start", reason=str(error))
        return 1
    return Supervisor(launch, estate).run()


def open_estate(launch: Launch) -> Estate:
    """Open all that children inherit.

    Raises:
        OSError: an address cannot be listened on; the message names it.
    """
    listen = tuple(open_socket(host, port) for host, port in launch.listen)
    admin = open_socket(*launch.admin)
    folder = Path(tempfile.mkdtemp(prefix="understudy-"))  # mkdtemp makes it 0700: nobody else can connect
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    channel.bind(str(folder / "channel"))
    channel.listen(BACKLOG)
    ledger_fd = layout.create(launch.workers, launch.rows, launch.tables)
    estate = Estate(listen, admin, channel, folder, ledger_fd, Slot.create())
    say(
        logging.INFO,
        "listening",
        listen=[shown(sock) for sock in listen],
        admin=shown(admin),
        workers=launch.workers,
    )
    return estate


class Supervisor:
    """The loop that keeps the children alive."""

    def __init__(self, launch: Launch, estate: Estate, commands: Commands = commands) -> None:
        controller, workers = commands(launch, estate)
        self._drain_timeout_s, self._drain_delay_s = launch.drain_timeout_s, launch.drain_delay_s
        self._listen = launch.listen
        self._estate = estate
        self._controller = Child(controller)
        self._workers = [Child(spec) for spec in workers]

    def run(self) -> int:
        """Keep the children alive until SIGTERM or SIGINT, then drain them; returns the exit status 0."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            self._leave(self._keep_alive(None))
        finally:
            shutil.rmtree(self._estate.folder, ignore_errors=True)
            clear(self._listen)
        return 0

    @property
    def _children(self) -> list[Child]:
        return [self._controller, *self._workers]

    def _keep_alive(self, until_s: float | None) -> signal.Signals | None:
        """Until somebody wants the end, whose signal is answered, or until it is `until_s`."""
        while until_s is None or time.monotonic() < until_s:
            for child in self._children:
                if child.due_s is not None and child.due_s <= time.monotonic():
                    self._start(child)
            dues = [due_s for due_s in (until_s, *(child.due_s for child in self._children)) if due_s is not None]
            match self._next_signal(min(dues) if dues else None):
                case signal.SIGTERM | signal.SIGINT as number:
                    return signal.Signals(number)
                case signal.SIGHUP:
                    say(logging.INFO, "reload asked for", reason="SIGHUP")
                    self._controller.signal(signal.SIGHUP)
                case _:
                    self._reap(restart=True)
        return None

    def _start(self, child: Child) -> None:
        again = child.starts > 0
        try:
            pid = child.start(time.monotonic(), _SIGNALS)
        except (OSError, subprocess.SubprocessError) as error:
            wait_s = child.ended(time.monotonic())
            say(logging.ERROR, "start failed", child=child.spec.name, reason=str(error), again_in_s=wait_s)
            return
        say(logging.INFO, "restarted" if again else "started", child=child.spec.name, child_pid=pid)

    def _next_signal(self, until_s: float | None) -> int | None:
        """The next signal, or None once it is `until_s`."""
        if until_s is None:
            return signal.sigwaitinfo(_SIGNALS).si_signo
        info = signal.sigtimedwait(_SIGNALS, max(0.0, until_s - time.monotonic()))
        return None if info is None else info.si_signo

    def _reap(self, restart: bool) -> None:
        """Take note of everyone who died; one SIGCHLD may stand for several deaths."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for child in self._children:
                if child.process is not None and child.pid == pid:
                    child.process.returncode = os.waitstatus_to_exitcode(status)
                    self._note_death(child, pid, reason(status), restart)

    def _note_death(self, child: Child, pid: int, why: str, restart: bool) -> None:
        lived_s = round(time.monotonic() - child.started_s, 3)
        wait_s = child.ended(time.monotonic())
        if restart:
            say(logging.ERROR, "died", child=child.spec.name, child_pid=pid, reason=why, lived_s=lived_s,
                 again_in_s=wait_s)  # fmt: skip
        else:
            say(logging.INFO, "ended", child=child.spec.name, child_pid=pid, reason=why, lived_s=lived_s)

    def _leave(self, wanted_by: signal.Signals | None) -> None:
        """End everything, in an order that loses nobody. A second SIGTERM or SIGINT cuts what is under way.

        While the delay lasts all goes on as before, but readiness fails and answers tell clients to go: whoever
        balances over several of us has time to look elsewhere. Somebody who types Ctrl-C waits for no balancer.
        """
        delay_s = self._drain_delay_s if wanted_by == signal.SIGTERM else 0.0
        say(logging.INFO, "draining", reason=wanted_by.name if wanted_by else "", delay_s=delay_s)
        Slot(self._estate.slot_fd).announce_drain()
        hurry = bool(delay_s) and self._keep_alive(time.monotonic() + delay_s) is not None
        if not hurry and turn_away_new(self._estate.listen):
            hurry = self._keep_alive(time.monotonic() + HANDSHAKE_S) is not None
        for sock in self._estate.listen:
            sock.close()
        self._end(self._workers, 0.0 if hurry else self._drain_timeout_s + KILL_MARGIN_S)
        self._end([self._controller], CONTROLLER_DRAIN_S)

    def _end(self, children: list[Child], patience_s: float) -> None:
        """SIGTERM, and SIGKILL for whoever is still there when patience is over, or when somebody asks again."""
        for child in children:
            child.signal(signal.SIGTERM)
        until_s: float | None = time.monotonic() + patience_s
        while any(child.process for child in children):
            self._reap(restart=False)
            if not any(child.process for child in children):
                return
            number = self._next_signal(until_s)
            if number in (signal.SIGTERM, signal.SIGINT):
                self._kill(children, f"a second signal: {signal.Signals(number).name}")
            elif number is None and until_s is not None:
                until_s = None
                self._kill(children, f"not done {patience_s:g} s after SIGTERM")

    @staticmethod
    def _kill(children: list[Child], why: str) -> None:
        for child in children:
            if child.process is not None:
                say(logging.WARNING, "killed", child=child.spec.name, child_pid=child.pid, reason=why)
                child.signal(signal.SIGKILL)
