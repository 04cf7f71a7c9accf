"""Many keep-alive connections that wait: what does one of them cost the worker?

Each has made one request when the memory is read, and each makes another afterwards. The clients come from several
addresses of the loopback network, so that no pair of addresses runs out of ports.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any, Final

from loadtests import peers, procfs
from loadtests.bounds import bound
from loadtests.cases import KEY_HEADER, TARGET, Mode
from loadtests.compare import Cores, upstream
from loadtests.peers import PEERS, PeerError, Running
from loadtests.report import figure, goals, left_out, measured, table

HELP: Final = "10,000 idle keep-alive connections: memory of each"
AT_MOST_KIB: Final = 12.0
ADDRESSES: Final = 8
WARM_UP: Final = 500
SETTLE_S: Final = 2.0
"""The worker looks at its connections once a second; the second look finds all of them as they will stay."""
SPARE_DESCRIPTORS: Final = 256
_PEERS: Final = ("nginx", "haproxy", "envoy", "understudy")
_REQUEST: Final = f"POST {TARGET} HTTP/1.1\r\nHost: bench\r\n{KEY_HEADER}: u7\r\ncontent-length: 2\r\n\r\n{{}}".encode()


def options(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("--connections", type=int, default=10_000, help="default: %(default)s")


def measure(asked: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """The memory of each idle connection, in every proxy that is here."""
    allow_descriptors(asked.connections + SPARE_DESCRIPTORS)
    cores = Cores.of_machine()
    os.sched_setaffinity(0, cores.load)
    mode = Mode("idle", "idle connections", clients=asked.connections)
    cases: list[dict[str, Any]] = []
    lost: dict[str, str] = {}
    with upstream(cores.load) as ports:
        for peer in (peer for peer in PEERS if peer.name in _PEERS):
            try:
                if peer.missing():
                    raise PeerError(peer.missing())
                with peers.running(peer, mode, ports, cores.proxy) as proxy:
                    found = _one(proxy, asked.connections)
                cases.append({"peer": peer.name, "title": peer.title, **found})
                say(f"{peer.title}: {found}")
            except (PeerError, OSError) as failure:
                lost[peer.name] = str(failure)
                say(f"{peer.name}: LEFT OUT: {failure}")
    return {"goals": judged(cases), "cases": cases, "leftOut": lost, "connections": asked.connections}


def judged(cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The goals of our own connections."""
    ours = next((case for case in cases if case["peer"] == "understudy"), None)
    silent = float(ours["connections"] - ours["answered"]) if ours else None
    return [
        bound("each idle connection, in the worker's resident memory", ours and ours["kibEach"], AT_MOST_KIB, "KiB"),
        bound("connections that did not answer again", silent, 0.0, ""),
    ]


def section(results: dict[str, Any]) -> str:
    """The part of the document."""
    rows = [
        [
            case["title"],
            figure(case["kibEach"]),
            figure(case["before"]["rss_mib"]),
            figure(case["after"]["rss_mib"]),
            figure(case["answered"], 0),
        ]
        for case in results["cases"]
    ]
    head = [f"{results['connections']:,} connections", "KiB each", "MiB before", "MiB with them", "answered again"]
    return (
        f"## Idle connections\n\n{measured(results)}\n{goals(results)}\n{table(head, rows)}\n"
        "Resident memory of the worker, of all processes for the other proxies, once each connection has made a "
        "request. What\nthe kernel holds for a socket is not in it.\n" + left_out(results)
    )


def allow_descriptors(wanted: int) -> None:
    """Raise the limit of open files for this process and those that it starts.

    Raises:
        PeerError: the machine does not allow so many.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise PeerError(f"{wanted} open files are needed, `ulimit -Hn` allows {hard}: raise it, or give --connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def source(number: int) -> str:
    """The address that a connection comes from."""
    return f"127.0.0.{2 + number % ADDRESSES}"


def _one(proxy: Running, connections: int) -> dict[str, Any]:
    with ExitStack() as stack:
        warm = stack.enter_context(_connected(proxy.port, 0))
        if not all(_answers(warm) for _ in range(WARM_UP)):
            raise PeerError("it did not answer before there was any load")
        pids = proxy.carriers()
        before = procfs.memory(pids)
        opened = [stack.enter_context(_connected(proxy.port, number)) for number in range(connections)]
        if sum(map(_answers, opened)) < connections:
            raise PeerError("it did not answer on every connection")
        time.sleep(SETTLE_S)
        after = procfs.memory(pids)
        answered = sum(map(_answers, opened))
    return {
        "connections": connections,
        "answered": answered,
        "kibEach": (after.rss_mib - before.rss_mib) * 1024 / connections,
        "before": asdict(before),
        "after": asdict(after),
    }


def _connected(port: int, number: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source(number), 0))


def _answers(sock: socket.socket) -> bool:
    """Whether a request gets a 200; the answer is small, and comes in one or a few pieces."""
    try:
        sock.sendall(_REQUEST)
        data = b""
        while b"\r\n\r\n" not in data or not data.endswith(b"}"):
            more = sock.recv(65536)
            if not more:
                return False
            data += more
    except OSError:
        return False
    return data.startswith(b"HTTP/1.1 200")
