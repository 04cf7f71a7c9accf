"""A mixed load for minutes with reloads all the while: does memory stay where it was?

Every kind of client at once (`loadtests.mixture`), and every few seconds another configuration: other weights, and a
route with its backend that comes and goes. The first fifth of the time is warm-up. Of the rest, the median of the last
quarter is set against the median of the first quarter.
"""

from __future__ import annotations

import argparse
import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any, Final

from loadtests import peers, procfs, settings
from loadtests.bounds import bound, growth
from loadtests.cases import CANARY_PERCENT, MODES, PLAIN
from loadtests.compare import Cores, upstream
from loadtests.peers import PeerError
from loadtests.report import figure, goals, measured, table
from loadtests.settings import Place

HELP: Final = "mixed load with reloads for minutes: does memory stay flat?"
AT_MOST_PERCENT: Final = 3.0
LOOK_S: Final = 1.0
WARM_UP: Final = 0.2
QUARTER: Final = 0.25
ROLES: Final = ("worker", "controller")


def options(parser: argparse.ArgumentParser) -> None:
    """What can be asked for."""
    parser.add_argument("--minutes", type=float, default=10.0, help="default: %(default)s")
    parser.add_argument("--reload-seconds", type=float, default=5.0, help="between reloads (default: %(default)s)")


def measure(asked: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """The soak."""
    cores, seconds = Cores.of_machine(), asked.minutes * 60
    with upstream(cores.load, "loadtests.model") as ports, tempfile.TemporaryDirectory(prefix="understudy-soak-") as to:
        port, admin = peers.free_ports(2)
        place = Place(port, ports["stable"], ports["canary"], ports["shadow"], to, admin)
        path = Path(to) / "understudy.yaml"
        path.write_text(json.dumps(configuration(place, 0)))
        with (Path(to) / "log").open("w+") as log:
            process = peers.start([sys.executable, "-m", "proxy", "serve", "--config", str(path)], cores.proxy, log)
            try:
                peers.wait_ready(process, port)
                command = [sys.executable, "-m", "loadtests.mixture", "--port", str(port), "--seconds", str(seconds)]
                clients = peers.start(command, cores.load, subprocess.PIPE)
                try:
                    looks, reloads = _watch(process.pid, clients, place, path, asked.reload_seconds, say)
                    output, _ = clients.communicate(timeout=60)
                finally:
                    peers.stop(clients)
            finally:
                peers.stop(process)
    requests = json.loads(output)
    return {
        "goals": judged(looks, requests["failed"]),
        "minutes": asked.minutes,
        "reloads": reloads,
        "requests": requests,
        "looks": looks,
    }


def configuration(place: Place, number: int) -> dict[str, Any]:
    """The configuration after so many reloads: three routes, and in every second one a guest."""
    whole = settings.understudy(place, PLAIN)
    routes = []
    for name in ("plain", "predictions", "mirror"):
        route = settings.understudy(place, MODES[name])["routes"][0]
        route |= {"name": name, "match": [{"path": {"prefix": f"/v2/models/{name}"}}]}
        routes.append(route)
    canary = CANARY_PERCENT * (1 + number % 3)
    for reference, weight in zip(routes[0]["backendRefs"], (100 - canary, canary), strict=True):
        reference["weight"] = weight
    routes[0]["match"].append({"path": {"prefix": "/v2/models/m"}})  # what readiness is asked by
    if number % 2:
        guest = {"name": "guest", "endpoints": [f"http://127.0.0.1:{place.stable}"]}
        whole["backends"].append(guest)
        routes.append({
            "name": "guest",
            "match": [{"path": {"prefix": "/v2/models/guest"}}],
            "backendRefs": [{"name": "guest", "role": "stable"}],
        })  # fmt: skip
    return {**whole, "routes": routes}


def judged(looks: Sequence[dict[str, float]], failed: dict[str, int]) -> list[dict[str, Any]]:
    """Growth of each process after its warm-up, and requests that did not go as they should."""
    found = [
        bound(f"growth of the {role}'s resident memory after warm-up", grown(looks, role), AT_MOST_PERCENT, "%")
        for role in ROLES
    ]
    return [*found, bound("requests that did not go as they should", float(sum(failed.values())), 0.0, "")]


def grown(looks: Sequence[dict[str, float]], role: str) -> float | None:
    """Growth in percent; None of too few looks."""
    kept = [look[role] for look in looks[int(len(looks) * WARM_UP) :]]
    quarter = int(len(kept) * QUARTER)
    return growth(median(kept[:quarter]), median(kept[-quarter:])) * 100 if quarter else None


def section(results: dict[str, Any]) -> str:
    """The part of the document."""
    requests, looks = results["requests"], results["looks"]
    kinds = sorted({*requests["went"], *requests["failed"]})
    rows = [
        [kind, figure(requests["went"].get(kind, 0), 0), figure(requests["failed"].get(kind, 0), 0)] for kind in kinds
    ]
    memory = [
        [role, *(figure(value) for value in (looks[0][role], *_ends(looks, role), max(one[role] for one in looks)))]
        for role in ROLES
    ]
    return (
        f"## Soak\n\n{measured(results)}\n{goals(results)}\n"
        "![resident memory over the soak](../loadtests/results/soak.svg)\n\n"
        f"{results['minutes'] * 60:.0f} seconds of mixed load, {results['reloads']} reloads.\n\n"
        + table(["resident MiB", "at first", "after warm-up", "at the end", "highest"], memory)
        + "\n"
        + table(["requests", "as they should", "not"], rows)
    )


def _ends(looks: Sequence[dict[str, float]], role: str) -> tuple[float, float]:
    kept = [look[role] for look in looks[int(len(looks) * WARM_UP) :]]
    quarter = max(int(len(kept) * QUARTER), 1)
    return median(kept[:quarter]), median(kept[-quarter:])


def _watch(
    pid: int, clients: subprocess.Popen[str], place: Place, path: Path, every_s: float, say: Callable[[str], None]
) -> tuple[list[dict[str, float]], int]:
    """Memory once a second and a reload every few, until the clients are done."""
    pids = {role: [one for one in procfs.tree([pid]) if role in procfs.command(one)] for role in ROLES}
    looks: list[dict[str, float]] = []
    reloads, start_s = 0, time.monotonic()
    while clients.poll() is None:
        now_s = time.monotonic() - start_s
        if now_s >= (reloads + 1) * every_s:
            reloads += 1
            path.write_text(json.dumps(configuration(place, reloads)))
            _reload(place.admin)
        looks.append({"at": round(now_s, 2), **{role: procfs.memory(pids[role]).rss_mib for role in ROLES}})
        if len(looks) % 30 == 1:
            say(f"{looks[-1]}, reloads: {reloads}")
        time.sleep(LOOK_S)
    return looks, reloads


def _reload(admin: int) -> None:
    """Reload, and wait until every worker routes by it."""
    with closing(http.client.HTTPConnection("127.0.0.1", admin, timeout=30)) as connection:
        connection.request("POST", "/api/v1/config/reload")
        answer = connection.getresponse()
        text = answer.read().decode()
    if answer.status != 200 or not json.loads(text)["ok"]:
        raise PeerError(f"the reload was answered with {answer.status}: {text}")
