"""Rounds of measurements: what is compared with each other takes turns of a second, with one upstream for all.

In a round the peers of a mode are started anew and warmed up. Then they take turns, in an order that changes from one
bout to the next: one serves while the processes of the others stand still. A machine that others share is quick for
some seconds and slow for some; a ratio within a bout is of the same seconds. Who goes on first does what came due while
it stood still, which is no cost of a request and is over before anything is measured. Then the CPU time of all of a
peer's processes is read around a full load by wrk. The proxy has one core; upstream and load generators have the
others, so with two cores in the machine a proxy that is quicker than they are is not driven to its limit: `busy` tells.
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
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

from loadtests import closedloop, peers, procfs, summary
from loadtests.cases import DEFAULT_MODES, MODES, Case, Mode, groups, order, plan
from loadtests.peers import PEERS, Peer, PeerError, Running
from loadtests.settings import ROWS
from proxy.ledger.layout import LABELS

HELP: Final = "every proxy under the same loads, in rounds"
_LIKE: Final = {mode.name: mode.beside for mode in MODES.values() if mode.beside}
"""The mode that peers are compared in where they cannot do ours."""
WARM_UP_S: Final = 2
"""A proxy of several processes has started the last of them by then; what their start costs is no cost of a request."""
SETTLE_S: Final = 0.5
"""Between the end of a standstill and the load. A peer has timers that are over and seconds to catch up with, which our
controller does within its first tick; that is not what a peer costs that never stood still."""
LAST_S: Final = 0.1
"""For copies that are still under way when the clients have their answers."""


@dataclass(frozen=True, slots=True)
class Options:
    """How much is measured: rounds, bouts of each, seconds of each load, and the rate of the open loop per second."""

    rounds: int = 3
    bouts: int = 5
    seconds: int = 1
    latency_s: float = 2.0
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
                for group in order(groups(cases), number):
                    self._take_turns(number, group, by_name, ports)

    def _take_turns(
        self, round_: int, group: Sequence[Case], by_name: Mapping[str, Peer], ports: dict[str, int]
    ) -> None:
        """All bouts of one round between cases that are compared with each other."""
        with ExitStack() as stack:
            proxies = {}
            for case in order([case for case in group if _name(case) not in self.left_out], round_):
                with self._left_out_if_it_fails(case):
                    proxies[case] = stack.enter_context(
                        peers.running(by_name[case.peer], MODES[case.mode], ports, self._cores.proxy)
                    )
                    closedloop.drive(proxies[case].port, MODES[case.mode], WARM_UP_S, self._cores.load)
                    proxies[case].halt()
            for bout in range(self._options.bouts):
                number = (round_ - 1) * self._options.bouts + bout + 1
                if any(MODES[case.mode].latency for case in proxies):
                    self.direct[number] = self._latency(ports["stable"])
                for case in order([case for case in proxies if _name(case) not in self.left_out], number):
                    with self._left_out_if_it_fails(case):
                        self._turn(number, case, proxies[case], ports)

    def _turn(self, number: int, case: Case, proxy: Running, ports: dict[str, int]) -> None:
        proxy.resume()
        time.sleep(SETTLE_S)
        found = self._measure(proxy, MODES[case.mode], ports)
        proxy.halt()
        self.figures.setdefault((case.peer, case.mode), {})[number] = found
        self._say(f"bout {number}: {_name(case)}: {found['cpuMicroseconds']:.1f} us, "
                  f"{found['requestsPerSecond']:.0f}/s")  # fmt: skip

    @contextmanager
    def _left_out_if_it_fails(self, case: Case) -> Iterator[None]:
        name = _name(case)
        try:
            yield
        except (PeerError, OSError, RuntimeError) as failure:  # OSError: a process of the peer is gone
            self.left_out[name] = str(failure)
            self._say(f"{name}: LEFT OUT: {failure}")

    def _measure(self, proxy: Running, mode: Mode, ports: dict[str, int]) -> dict[str, float]:
        options, cores = self._options, self._cores.load
        pids = proxy.pids()
        seen, pairs, start_s = counts(ports), _pairs(proxy), time.monotonic()
        busy_s, used_s = procfs.cores_busy_s(self._cores.proxy), procfs.cpu_s(pids)
        load = closedloop.drive(proxy.port, mode, options.seconds, cores)
        busy_s, used_s = procfs.cores_busy_s(self._cores.proxy) - busy_s, procfs.cpu_s(pids) - used_s
        elapsed_s = time.monotonic() - start_s
        time.sleep(LAST_S)
        reached = {role: count - seen[role] for role, count in counts(ports).items()}
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
            "rssMiB": procfs.memory(pids).rss_mib,
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
    add("--rounds", type=int, default=default.rounds, help="about 300 s each (default: %(default)s)")
    add("--bouts", type=int, default=default.bouts, help="turns of each peer in a round (default: %(default)s)")
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
    amount = Options(asked.rounds, asked.bouts, asked.seconds, asked.latency_seconds, asked.rate)
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


def _name(case: Case) -> str:
    return f"{case.peer}, {case.mode}"


def _pairs(proxy: Running) -> float:
    """Pairs that a worker alone has compared by label."""
    if proxy.reader is None:
        return 0.0
    cells = proxy.reader.confusion(0, ROWS["shadow"].index, ROWS["shadow"].tenant, 0)
    assert cells is None or len(cells) == LABELS * LABELS
    return sum(cells) if cells is not None else 0.0
