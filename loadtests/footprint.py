"""Memory of the sidecar by process, and what the imports of each cost: where to save, and how much."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

from loadtests import closedloop, peers, procfs, summary
from loadtests.bounds import bound
from loadtests.cases import PLAIN
from loadtests.compare import Cores, upstream
from loadtests.peers import PEERS, ROOT
from loadtests.report import figure, goals, measured, table

HELP: Final = "memory of supervisor, controller and worker, and of their imports"
WORKER_AT_MOST_MIB: Final = 40.0
SIDECAR_AT_MOST_MIB: Final = 160.0
SECONDS: Final = 2
SMALL_MIB: Final = 0.5
ROLES: Final = {
    "supervise": ("proxy.control.process.supervisor",),
    "controller": ("proxy.admin.app", "proxy.control.process.role", "proxy.control.controller"),
    "worker": ("proxy.data.worker",),
}
"""The roles, and the modules that the composition root imports for each."""
_STATISTICS: Final = ("numpy", "scipy")
_DATABASE: Final = ("sqlalchemy", "alembic", "aiosqlite", "mako")
_CONSOLE: Final = ("rich", "pygments", "charset_normalizer")
_HALVING: Final = """\
### What it would take to halve it

Half would be {half} MiB. The controller holds most, and much of that is libraries that it needs now and then, or never:

- numpy and scipy take {statistics} MiB. The judging could be a process that is started for a rollout and ends with it;
  a sidecar that has no rollout would then be without them.
- SQLAlchemy and Alembic take {database} MiB. `sqlite3` alone would do for a sidecar, at the price of a second store
  beside that of a fleet.
- rich, pygments and charset_normalizer take {console} MiB. Other libraries import them if they are there, and the
  controller uses none of them: a process that blocks their import would be without them.

Without all of that {rest} MiB remain, which {reached}. Forking all roles from one process that has imported what
they share would divide the interpreter's and asyncio's pages among them; but then the supervisor, which imports next to
nothing so that nothing in it fails, would hold what the others do.
"""


def options(parser: argparse.ArgumentParser) -> None:
    """Nothing can be asked for."""


def measure(_: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    """Memory after a load, and the imports of each role in an interpreter of its own."""
    cores = Cores.of_machine()
    serve = next(peer for peer in PEERS if peer.name == summary.OURS)
    with upstream(cores.load) as ports, peers.running(serve, PLAIN, ports, cores.proxy) as proxy:
        closedloop.drive(proxy.port, PLAIN, SECONDS, cores.load)
        memory = {role: asdict(procfs.memory(proxy.role(role))) for role in ROLES}
        whole = asdict(procfs.memory(proxy.pids()))
    imports = {role: _imports(modules) for role, modules in ROLES.items()}
    say(f"{memory}; together {whole}")
    return {"goals": judged(memory, whole), "processes": memory, "whole": whole, "imports": imports}


def judged(memory: dict[str, dict[str, float]], whole: dict[str, float]) -> list[dict[str, Any]]:
    """The goals of the worker and of the whole."""
    return [
        bound("resident memory of the worker", memory["worker"]["rss_mib"], WORKER_AT_MOST_MIB, "MiB"),
        bound("proportional memory of the sidecar", whole["pss_mib"], SIDECAR_AT_MOST_MIB, "MiB"),
    ]


def section(results: dict[str, Any]) -> str:
    """The part of the document."""
    processes = {**results["processes"], "together": results["whole"]}
    rows = [[role, figure(one["rss_mib"]), figure(one["pss_mib"])] for role, one in processes.items()]
    imports = results["imports"]
    names = dict.fromkeys(name for role in imports.values() for name in ("interpreter", *role["packages"]))
    costs = [[name, *(_cost(imports[role], name) for role in imports)] for name in names if _matters(imports, name)]
    return (
        f"## Memory of the sidecar\n\n{measured(results)}\n{goals(results)}\n"
        + table(["MiB", "resident", "proportional"], rows)
        + "\nPrivate memory of the imports of each process, every package without what it imports itself:\n\n"
        + table(["MiB", *imports], costs)
        + "\n"
        + halving(results)
    )


def halving(results: dict[str, Any]) -> str:
    """What it would take to halve the whole, in figures."""
    whole, controller = results["whole"]["pss_mib"], results["imports"]["controller"]["packages"]
    statistics = sum(controller.get(name, 0.0) for name in _STATISTICS)
    database = sum(controller.get(name, 0.0) for name in _DATABASE)
    console = sum(controller.get(name, 0.0) for name in _CONSOLE)
    rest = whole - statistics - database - console
    return _HALVING.format(
        half=figure(whole / 2),
        statistics=figure(statistics),
        database=figure(database),
        console=figure(console),
        rest=figure(rest),
        reached="is enough" if rest <= whole / 2 else "is not enough yet",
    )


def _imports(modules: tuple[str, ...]) -> dict[str, Any]:
    command = [sys.executable, "-m", "loadtests.importcost", *modules]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def _matters(imports: dict[str, Any], name: str) -> bool:
    return name == "interpreter" or any(role["packages"].get(name, 0.0) >= SMALL_MIB for role in imports.values())


def _cost(role: dict[str, Any], name: str) -> str:
    value = role["interpreter"] if name == "interpreter" else role["packages"].get(name)
    return figure(value)
