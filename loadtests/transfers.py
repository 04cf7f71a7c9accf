"""Bodies of 1 GiB through each proxy, both ways and in both framings: are they whole, and what do they cost?

The memory of the processes that carry the transfer is looked at every 50 ms; its growth is the highest look less the
one before the first byte. The client hashes what it gets and the model what it gets, so their speed is a bound.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

from loadtests import peers, procfs
from loadtests.bounds import bound
from loadtests.cases import STREAMED, TARGET
from loadtests.compare import Cores, upstream
from loadtests.model import WANT_HEADER, blocks
from loadtests.peers import PEERS, PeerError, Running
from loadtests.report import figure, goals, left_out, measured, table

HELP: Final = "1 GiB up and down: growth of memory, wholeness, throughput"
AT_MOST_MIB: Final = 16.0
LOOK_S: Final = 0.05
TIMEOUT_S: Final = 120.0
_READ_BYTES: Final = 256 << 10
_PEERS: Final = ("nginx", "haproxy", "envoy", "understudy")


@dataclass(frozen=True, slots=True)
class Transfer:
    """One direction in one framing."""

    up: bool
    chunked: bool

    @property
    def title(self) -> str:
        """For people."""
        return f"{'upload' if self.up else 'download'}, {'chunked' if self.chunked else 'Content-Length'}"


TRANSFERS: Final = tuple(Transfer(up, chunked) for up in (True, False) for chunked in (False, True))


def options(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("--mib", type=int, default=1024, help="of each transfer (default: %(default)s)")


def measure(asked: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """All transfers through all the proxies that are here."""
    cores, length = Cores.of_machine(), asked.mib << 20
    os.sched_setaffinity(0, cores.load)
    digest = hashlib.sha256()
    for block in blocks(length):
        digest.update(block)
    cases: list[dict[str, Any]] = []
    lost: dict[str, str] = {}
    with upstream(cores.load, "loadtests.model") as ports:
        for peer in (peer for peer in PEERS if peer.name in _PEERS):
            try:
                if peer.missing():
                    raise PeerError(peer.missing())
                for transfer in TRANSFERS:
                    with peers.running(peer, STREAMED, ports, cores.proxy) as proxy:
                        found = _one(proxy, transfer, length, digest.hexdigest())
                    cases.append({"peer": peer.name, "title": peer.title, "transfer": transfer.title, **found})
                    say(f"{peer.title}, {transfer.title}: {found}")
            except (PeerError, OSError, http.client.HTTPException) as failure:
                lost[peer.name] = str(failure)
                say(f"{peer.name}: LEFT OUT: {failure}")
    return {"goals": judged(cases, asked.mib), "cases": cases, "leftOut": lost, "mib": asked.mib}


def judged(cases: list[dict[str, Any]], mib: int) -> list[dict[str, Any]]:
    """The goals of our own transfers."""
    ours = [case for case in cases if case["peer"] == "understudy"]
    grown = max((case["growthMiB"] for case in ours), default=None)
    broken = float(sum(not case["whole"] for case in ours)) if ours else None
    return [
        bound(f"growth of the worker by {mib:,} MiB, the most of all transfers", grown, AT_MOST_MIB, "MiB"),
        bound("transfers that did not arrive whole and unchanged", broken, 0.0, ""),
    ]


def section(results: dict[str, Any]) -> str:
    """The part of the document."""
    rows = [
        [
            f"{case['title']}, {case['transfer']}",
            "yes" if case["whole"] else "**no**",
            figure(case["growthMiB"]),
            figure(case["mibPerSecond"], 0),
            figure(case["cpuSecondsPerGiB"], 2),
        ]
        for case in results["cases"]
    ]
    head = [f"{results['mib']:,} MiB", "whole and unchanged", "growth, MiB", "MiB/s", "CPU s per GiB"]
    return (
        f"## Large bodies\n\n{measured(results)}\n{goals(results)}\n{table(head, rows)}\n"
        "Growth is that of the worker's resident memory, and of all processes of the other proxies. nginx is told to "
        "pass bodies\non as they come (`proxy_request_buffering off`), as the others do. Client and model hash what "
        "they get, and bound the\nthroughput.\n" + left_out(results)
    )


def _one(proxy: Running, transfer: Transfer, length: int, expected: str) -> dict[str, Any]:
    run = _upload if transfer.up else _download
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=TIMEOUT_S)
    with closing(connection), _watched(proxy.carriers()) as looks:
        used_s, start_s = procfs.cpu_s(proxy.pids()), time.monotonic()
        found = run(connection, length, chunked=transfer.chunked)
        took_s, used_s = time.monotonic() - start_s, procfs.cpu_s(proxy.pids()) - used_s
    first = looks[0]
    return {
        "whole": found == (length, expected),
        "growthMiB": max(look.rss_mib for look in looks) - first.rss_mib,
        "mibPerSecond": length / took_s / (1 << 20),
        "cpuSecondsPerGiB": used_s / length * (1 << 30),
        "before": asdict(first),
    }


@contextmanager
def _watched(pids: list[int]) -> Iterator[list[procfs.Memory]]:
    """Memory of the processes, looked at before a block and all through it."""
    looks, over = [procfs.memory(pids)], threading.Event()

    def look() -> None:
        while not over.wait(LOOK_S):
            looks.append(procfs.memory(pids))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield looks
    finally:
        over.set()
        thread.join()
        looks.append(procfs.memory(pids))


def _upload(connection: http.client.HTTPConnection, length: int, *, chunked: bool) -> tuple[int, str]:
    """Length and hash of what the model got."""
    framing = {"transfer-encoding": "chunked"} if chunked else {"content-length": str(length)}
    headers = {WANT_HEADER: "digest", **framing}
    connection.request("POST", TARGET, body=blocks(length), headers=headers, encode_chunked=chunked)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise PeerError(f"the upload was answered with {answer.status}")
    facts = json.loads(text)
    return facts["bytes"], facts["sha256"]


def _download(connection: http.client.HTTPConnection, length: int, *, chunked: bool) -> tuple[int, str]:
    """Length and hash of what the client got."""
    connection.request("POST", TARGET, headers={WANT_HEADER: f"{'chunks' if chunked else 'body'} {length}"})
    answer = connection.getresponse()
    if answer.status != 200:
        raise PeerError(f"the download was answered with {answer.status}")
    digest, got, buffer = hashlib.sha256(), 0, bytearray(_READ_BYTES)
    view = memoryview(buffer)
    while count := answer.readinto(buffer):
        digest.update(view[:count])
        got += count
    return got, digest.hexdigest()
