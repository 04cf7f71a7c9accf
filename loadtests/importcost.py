"""What the imports of a module cost in memory, by package, each without what it imports in turn.

    python -m loadtests.importcost proxy.data.worker

Reads the private memory of this process around every module that is loaded, so it is an interpreter of its own. Prints
one JSON line: MiB of the bare interpreter, and of each top-level package.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections import defaultdict
from importlib import _bootstrap  # type: ignore[attr-defined]
from pathlib import Path

_SMAPS = Path("/proc/self/smaps_rollup")


def private_kib() -> int:
    """Memory that this process shares with nobody."""
    lines = _SMAPS.read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(("Private_Clean", "Private_Dirty")))


class Account:
    """Charges the growth of memory to the module that is being loaded, innermost first."""

    def __init__(self) -> None:
        self.kib: dict[str, int] = defaultdict(int)
        self._load = _bootstrap._load_unlocked
        self._stack: list[str] = []
        self._last_kib = private_kib()

    def load(self, spec):  # type: ignore[no-untyped-def]
        """In the place of importlib's own."""
        self._charge()
        self._stack.append(package(spec.name))
        try:
            return self._load(spec)
        finally:
            self._charge()
            self._stack.pop()

    def _charge(self) -> None:
        now_kib = private_kib()
        if self._stack:
            self.kib[self._stack[-1]] += now_kib - self._last_kib
        self._last_kib = now_kib


def package(name: str) -> str:
    """The name under which a module is charged: the package that one would leave out."""
    top = name.partition(".")[0]
    if top in ("proxy", "config", "analysis"):
        return "understudy"
    return "standard library" if top in sys.stdlib_module_names else top.removeprefix("_")


def main() -> None:
    """Import the modules named, and print what they cost."""
    base_kib = private_kib()
    account = Account()
    _bootstrap._load_unlocked = account.load
    for name in sys.argv[1:]:
        importlib.import_module(name)
    ranked = sorted(account.kib.items(), key=lambda item: -item[1])
    json.dump({"interpreter": base_kib / 1024, "packages": {name: kib / 1024 for name, kib in ranked}}, sys.stdout)


if __name__ == "__main__":
    main()
