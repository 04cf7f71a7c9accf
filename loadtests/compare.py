"""Rounds of measurements: every case once per round, in an order of its own, with one upstream for all of them.

One measurement starts the peer anew, warms it up, and reads the CPU time of all its processes around a full load by
wrk. The proxy has one core; upstream and load generators have the others, so with two cores in the machine a proxy
that is quicker than they are is not driven to its limit: `busy` tells.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

from loadtests import closedloop, peers, procfs, summary
from loadtests.cases import DEFAULT_MODES, MODES, Case, Mode, order, plan
from loadtests.peers import PEERS, Peer, PeerError, Running
from loadtests.settings import ROWS
from proxy.ledger.layout import LABELS

HELP: Final = "every proxy under the same loads, in rounds"
_LIKE: Final = {"predictions": "plain"}
"""The mode that peers are compared in where they cannot do ours."""
WARM_UP_S = 1
SETTLE_S = 0.1
"""For copies that are still under way when the clients have their answers."""


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured: rounds, seconds of each load, and the rate of the open loop per second."""

    rounds: int = 3
    seconds: int = 2
    latency_s: float = 5.0
    rate: int = 2000


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where."""

    proxy: set[int]
    load: set[int]

    @classmethod
    def of_machine(cls, wanted: int = 1) -> Cores:
        """The last cores for the proxy, at most half of them, and the others for the load; all share an only one."""
        available = sorted(os.sched_getaffinity(0))
        split = len(available) - max(min(wanted, len(available) // 2), 1)
        return cls(set(available[split:]), set(available[:split]) or set(available))


class Comparison:
    """Measures cases; keeps the figures of every round, and why a case has none."""

    def __init__(self, options: Options, say: Callable[[str], None]) -> None:
        self._options, self._say = options, say
        self._cores = Cores.of_machine()
        self.figures: dict[tuple[str, str], dict[int, dict[str, float]]] = {}
        self.direct: dict[int, dict[str, float]] = {}
        self.left_out: dict[str, str] = {}

    def run(self, cases: Sequence[Case], by_name: Mapping[str, Peer]) -> None:
        """All rounds. A case that fails is left out from then on."""
        with upstream(self._cores.load) as ports:
            for number in range(1, self._options.rounds + 1):
                if any(MODES[case.mode].latency for case in cases):
                    self.direct[number] = self._latency(ports["stable"])
                for case in order(cases, number):
                    name = f"{case.peer}, {case.mode}"
                    if name not in self.left_out:
                        self._case(number, case, by_name[case.peer], ports, name)

    def _case(self, number: int, case: Case, peer: Peer, ports: dict[str, int], name: str) -> None:
        mode = MODES[case.mode]
        try:
            with peers.running(peer, mode, ports, self._cores.proxy) as proxy:
                found = self._measure(proxy, mode, ports)
        except (PeerError, OSError, RuntimeError) as failure:  # OSError: a process of the peer is gone
            self.left_out[name] = str(failure)
            self._say(f"round {number}: {name}: LEFT OUT: {failure}")
            return
        self.figures.setdefault((case.peer, case.mode), {})[number] = found
        self._say(f"round {number}: {name}: {found['cpuMicroseconds']:.1f} us, {found['requestsPerSecond']:.0f}/s")

    def _measure(self, proxy: Running, mode: Mode, ports: dict[str, int]) -> dict[str, float]:
        options, cores = self._options, self._cores.load
        closedloop.drive(proxy.port, mode, WARM_UP_S, cores)
        time.sleep(SETTLE_S)
        pids = proxy.pids()
        seen, pairs, start_s = counts(ports), _pairs(proxy), time.monotonic()
        busy_s, used_s = procfs.cores_busy_s(self._cores.proxy), procfs.cpu_s(pids)
        load = closedloop.drive(proxy.port, mode, options.seconds, cores)
        busy_s, used_s = procfs.cores_busy_s(self._cores.proxy) - busy_s, procfs.cpu_s(pids) - used_s
        elapsed_s = time.monotonic() - start_s
        time.sleep(SETTLE_S)
        reached = {role: count - seen[role] for role, count in counts(ports).items()}
        memory = procfs.memory(pids)
        if not load.requests:
            raise PeerError("it answered no request under load")
        found = {
            "cpuMicroseconds": used_s / load.requests * 1e6,
            "requestsPerSecond": load.requests / load.seconds,
            "busy": used_s / elapsed_s,
            "othersBusy": max(busy_s - used_s, 0.0) / elapsed_s,
            "errors": float(load.errors),
            "canaryShare": reached["canary"] / max(reached["stable"] + reached["canary"], 1),
            "copiesPerRequest": reached["shadow"] / load.requests,
            "rssMiB": memory.rss_mib,
            "pssMiB": memory.pss_mib,
        }
        if proxy.reader is not None and mode.mirror:
            found["pairsPerRequest"] = (_pairs(proxy) - pairs) / load.requests
        if mode.latency:
            found.update(self._latency(proxy.port))
        return found

    def _latency(self, port: int) -> dict[str, float]:
        """Quantiles at the fixed rate."""
        facts = fixed_rate(port, self._options.rate, self._options.latency_s, self._cores.load)
        return {
            "latencyP50Microseconds": facts["p50_us"],
            "latencyP99Microseconds": facts["p99_us"],
            "latencyP999Microseconds": facts["p999_us"],
            "generatorLateP99Microseconds": facts["late_p99_us"],
            "fixedRateErrors": float(facts["errors"]),
        }


def options(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    default, add = Options(), parser.add_argument
    add("--rounds", type=int, default=default.rounds, help="about 150 s each (default: %(default)s)")
    add("--seconds", type=int, default=default.seconds, help="of each full load (default: %(default)s)")
    add("--latency-seconds", type=float, default=default.latency_s, help="of each fixed rate (default: %(default)s)")
    add("--rate", type=int, default=default.rate, help="requests/s of the fixed rate (default: %(default)s)")
    names = [peer.name for peer in PEERS]
    add("--peers", nargs="+", choices=names, default=names, metavar="PEER", help=f"of {', '.join(names)}")
    add("--modes", nargs="+", choices=list(MODES), default=list(DEFAULT_MODES), metavar="MODE",
        help=f"of {', '.join(MODES)} (default: all)")  # fmt: skip


def measure(asked: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """All rounds of the peers that are here; nothing if none could be measured."""
    wanted = [peer for peer in PEERS if peer.name in asked.peers]
    missing = {peer.name: peer.missing() for peer in wanted if peer.missing()}
    for name, reason in missing.items():
        say(f"{name}: LEFT OUT: {reason}")
    able = {peer.name: peer for peer in wanted if peer.name not in missing}
    amount = Options(asked.rounds, asked.seconds, asked.latency_seconds, asked.rate)
    comparison = Comparison(amount, say)
    comparison.left_out.update(missing)
    comparison.run(plan(((name, peer.modes) for name, peer in able.items()), asked.modes), able)
    return gather(comparison, amount) if comparison.figures else {}


def gather(comparison: Comparison, amount: Options) -> dict[str, Any]:
    """All figures, medians, ratios and goals."""
    figures = {case: summary.added(rounds, comparison.direct) for case, rounds in comparison.figures.items()}
    over = summary.against(figures, ("nginx", "envoy"), _LIKE)
    by_name = {peer.name: peer for peer in PEERS}
    places = list(by_name)
    cases = [
        {
            "peer": name,
            "title": by_name[name].title,
            "mode": mode,
            "median": summary.medians(rounds),
            "over": over[name, mode],
            "rounds": rounds,
        }
        for (name, mode), rounds in sorted(figures.items(), key=lambda item: places.index(item[0][0]))
    ]
    return {
        "versions": {peer.title: peer.version() for peer in PEERS if any(name == peer.name for name, _ in figures)},
        "options": asdict(amount),
        "direct": summary.medians(comparison.direct),
        "goals": summary.judged(figures),
        "cases": cases,
        "leftOut": comparison.left_out,
    }


@contextmanager
def upstream(cores: set[int], module: str = "loadtests.upstream") -> Iterator[dict[str, int]]:
    """The upstream for the length of a block; its ports by role."""
    process = peers.start([sys.executable, "-m", module], cores, subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield json.loads(process.stdout.readline())
    finally:
        peers.stop(process)
        process.stdout.close()


def fixed_rate(port: int, rate: int, seconds: float, cores: set[int]) -> dict[str, Any]:
    """The latency at a fixed rate (`openloop.Latency`), measured by a process of its own next to the upstream.

    Raises:
        PeerError: it could not be measured.
    """
    command = [sys.executable, "-m", "loadtests.openloop", "--port", str(port)]
    process = peers.start([*command, "--rate", str(rate), "--seconds", str(seconds)], cores, subprocess.PIPE)
    output, _ = process.communicate(timeout=seconds + 30)
    if process.returncode:
        raise PeerError(f"the load at a fixed rate failed with status {process.returncode}")
    return dict(json.loads(output))


def counts(ports: dict[str, int]) -> dict[str, int]:
    """How many requests each role of the upstream has had."""
    with closing(http.client.HTTPConnection("127.0.0.1", ports["control"], timeout=5)) as connection:
        connection.request("GET", "/")
        return json.load(connection.getresponse())


def _pairs(proxy: Running) -> float:
    """Pairs that a worker alone has compared by label."""
    if proxy.reader is None:
        return 0.0
    cells = proxy.reader.confusion(0, ROWS["shadow"].index, ROWS["shadow"].tenant, 0)
    assert cells is None or len(cells) == LABELS * LABELS
    return sum(cells) if cells is not None else 0.0
