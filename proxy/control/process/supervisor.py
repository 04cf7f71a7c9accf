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

from proxy.control.process.activation import activated, open_or_take
from proxy.control.process.child import WORKER_HEAP, Child, Spec, reason
from proxy.control.process.closing import HANDSHAKE_S, turn_away_new
from proxy.control.process.listening import BACKLOG, clear, shown
from proxy.control.process.stderr import log_to_stderr, say
from proxy.control.process.takeover import Heir, Predecessor, find, path_of
from proxy.ledger import layout
from proxy.slot import Slot

CONTROLLER_DRAIN_S: Final = 5.0
"""How long the controller may take to end after the workers have."""
KILL_MARGIN_S: Final = 2.0
"""A worker ends by itself at the drain timeout; it is killed only if it is still there this much later."""
FOLLOW_LOOK_S: Final = 0.05
"""How often it is looked whether the workers of a new release serve."""
_SIGNALS: Final = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGIO)


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
    runtime_dir: str = ""
    takeover_timeout_s: float = 0.0
    instance: str = "understudy"

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
    shared: frozenset[socket.socket] = frozenset()
    """Listening sockets that somebody else goes on to hold when we end."""
    predecessor: Predecessor | None = None

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
    tie = () if estate.predecessor is None else (estate.predecessor.conn.fileno(),)
    controller = Spec(
        "controller",
        [*python, "controller", "--launch", launch.to_json(), *shared,
         "--channel-fd", str(channel), "--admin-fd", str(admin)],
        (estate.ledger_fd, estate.slot_fd, channel, admin, *tie),
    )  # fmt: skip
    listen = tuple(sock.fileno() for sock in estate.listen)
    workers = [
        Spec(
            f"worker {index}",
            [*python, "worker", "--index", str(index), *shared, "--channel", estate.channel_path,
             "--listen-fds", ",".join(map(str, listen)), "--drain-timeout", str(launch.drain_timeout_s),
             "--log-level", launch.log_level],
            (estate.ledger_fd, estate.slot_fd, *listen),
            WORKER_HEAP,
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
    except (OSError, ValueError) as error:
        say(logging.ERROR, "cannot start", reason=str(error))
        return 1
    return Supervisor(launch, estate).run()


def open_estate(launch: Launch) -> Estate:
    """Open all that children inherit.

    Raises:
        OSError: an address cannot be listened on; the message names it.
    """
    given = activated(os.environ)
    predecessor = find(path_of(launch.runtime_dir, launch.admin)) if launch.takeover_timeout_s else None
    passed = predecessor.sockets if predecessor else ()
    opened, left = open_or_take((*launch.listen, launch.admin), [*given, *passed])
    unknown = [shown(sock) for sock in left if sock in given]
    if unknown:
        raise OSError(f"systemd passed {', '.join(unknown)}, which neither `listen` nor `admin` names")
    if predecessor is not None:
        predecessor.release_store()
        given += [sock for sock, is_shared in zip(passed, predecessor.shared, strict=True) if is_shared]
    for sock in left:
        sock.close()
    *listen, admin = opened
    folder = Path(tempfile.mkdtemp(prefix="understudy-"))  # mkdtemp makes it 0700: nobody else can connect
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    channel.bind(str(folder / "channel"))
    channel.listen(BACKLOG)
    ledger_fd = layout.create(launch.workers, launch.rows, launch.tables)
    shared = frozenset(given).intersection(listen)
    estate = Estate(tuple(listen), admin, channel, folder, ledger_fd, Slot.create(), shared, predecessor)
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
        self._takeover_timeout_s = launch.takeover_timeout_s
        self._runtime_dir = launch.runtime_dir
        self._heir: Heir | None = None
        self._estate = estate
        self._controller = Child(controller)
        self._workers = [Child(spec) for spec in workers]

    def run(self) -> int:
        """Keep the children alive until SIGTERM or SIGINT, then drain them; returns the exit status 0.

        1 where a predecessor could not be followed, which goes on.
        """
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            if self._estate.predecessor is not None and not self._follow(self._estate.predecessor):
                return 1
            self._be_followed()
            self._leave(self._keep_alive(None))
        finally:
            if self._heir is not None:
                self._heir.close()
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
                case signal.SIGIO:
                    if self._asked():
                        return signal.SIGIO
                case _:
                    self._reap(restart=True)
        return None

    def _follow(self, predecessor: Predecessor) -> bool:
        """Serve beside the one that runs, then have it drain; or end, if that takes too long or nobody wants it."""
        end_s = time.monotonic() + self._takeover_timeout_s
        why, wanted = f"workers did not serve within {self._takeover_timeout_s:g} s", None
        while not layout.serving(self._estate.ledger_fd) and wanted is None and time.monotonic() < end_s:
            wanted = self._keep_alive(time.monotonic() + FOLLOW_LOOK_S)
        if wanted is None and layout.serving(self._estate.ledger_fd):
            predecessor.drain()
            say(logging.INFO, "took over")
            return True
        say(logging.ERROR, "cannot take over: the one that ran goes on", reason=wanted.name if wanted else why)
        self._end([self._controller], CONTROLLER_DRAIN_S)
        self._end(self._workers, self._drain_timeout_s + KILL_MARGIN_S)
        return False

    def _be_followed(self) -> None:
        """Let a new release ask for our sockets."""
        host, port = self._estate.admin.getsockname()[:2]
        if self._runtime_dir:
            try:
                self._heir = Heir(path_of(self._runtime_dir, (host, port)))
            except OSError as error:
                say(logging.WARNING, "no release can take over from this one", folder=self._runtime_dir,
                    reason=str(error))  # fmt: skip

    def _asked(self) -> bool:
        """Do what a successor asks; whether it wants us to end."""
        heir, estate = self._heir, self._estate
        if heir is None:
            return False
        while requests := heir.asked():  # again: what comes while the controller ends is not announced twice
            for request in requests:
                say(logging.INFO, "successor", request=request)
                if request == "sockets":
                    sockets = (*estate.listen, estate.admin)
                    heir.offer(sockets, [sock in estate.shared for sock in sockets], self._controller.pid or 0)
                elif request == "store":
                    wanted = self._end([self._controller], CONTROLLER_DRAIN_S)
                    self._controller.due_s = None
                    heir.confirm()
                    if wanted is not None:
                        os.kill(os.getpid(), wanted)  # it was meant for all of us
                elif request == "gone" and self._controller.process is None:
                    self._controller.due_s = time.monotonic()
                elif request == "drain":
                    return True
        return False

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
        handed_over = self._heir is not None and self._heir.present
        ours = [] if handed_over else [sock for sock in self._estate.listen if sock not in self._estate.shared]
        if not hurry and turn_away_new(ours):
            hurry = self._keep_alive(time.monotonic() + HANDSHAKE_S) is not None
        for sock in self._estate.listen:
            sock.close()
        self._end(self._workers, 0.0 if hurry else self._drain_timeout_s + KILL_MARGIN_S)
        self._end([self._controller], CONTROLLER_DRAIN_S)

    def _end(self, children: list[Child], patience_s: float) -> int | None:
        """SIGTERM, and SIGKILL for whoever is still there when patience is over, or when somebody asks again.

        Answers the signal of whoever did.
        """
        for child in children:
            child.signal(signal.SIGTERM)
        wanted: int | None = None
        until_s: float | None = time.monotonic() + patience_s
        while any(child.process for child in children):
            self._reap(restart=False)
            if not any(child.process for child in children):
                return wanted
            number = self._next_signal(until_s)
            if number in (signal.SIGTERM, signal.SIGINT):
                wanted = number
                self._kill(children, f"a second signal: {signal.Signals(number).name}")
            elif number is None and until_s is not None:
                until_s = None
                self._kill(children, f"not done {patience_s:g} s after SIGTERM")
        return wanted

    @staticmethod
    def _kill(children: list[Child], why: str) -> None:
        for child in children:
            if child.process is not None:
                say(logging.WARNING, "killed", child=child.spec.name, child_pid=child.pid, reason=why)
                child.signal(signal.SIGKILL)
