"""Places in a row, each of which runs one version at a time: who is told to stop and start them one by one."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any

from tests.support.system import ModelServer, free_port


@dataclass
class Rank:
    """Places by their address. Starting takes `load_s`; `behaviour` is how a version behaves, and versions in `broken`
    never come up. `orders` are what it was told, `least` how few ran at any time."""

    count: int
    load_s: float = 0.3
    spare: int = 0
    behaviour: dict[str, dict[str, Any]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    orders: list[str] = field(default_factory=list)
    running: dict[str, tuple[str, ModelServer]] = field(default_factory=dict)
    clashes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.places = [f"http://127.0.0.1:{free_port()}" for _ in range(self.count + self.spare)]
        self.least = self.count
        self._lock, self._over = threading.Lock(), False

    def __enter__(self) -> Rank:
        for place in self.places[: self.count]:
            self._run("v1", place)
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._over = True
            for _, server in self.running.values():
                server.stop()
            self.running.clear()

    def told(self, order: dict[str, Any]) -> int:
        """What the hook is told."""
        version, place = order["backend"], order["endpoint"]
        self.orders.append(f"{order['kind']} {version} {self.places.index(place)}")
        if order["kind"] == "stop":
            self.stop(version, place)
        else:
            threading.Thread(target=self._load, args=(version, place), daemon=True).start()
        return 200

    def stop(self, version: str, place: str) -> None:
        """Stop a version at a place, if it runs there."""
        with self._lock:
            if place in self.running and self.running[place][0] == version:
                self.running.pop(place)[1].stop()
                self.least = min(self.least, len(self.running))

    def versions(self) -> list[str]:
        """What runs, place by place."""
        return [self.running[place][0] for place in self.places if place in self.running]

    def _load(self, version: str, place: str) -> None:
        time.sleep(self.load_s)
        if version not in self.broken:
            self._run(version, place)

    def _run(self, version: str, place: str) -> None:
        with self._lock:
            if self._over:
                return
            if place in self.running:
                if self.running[place][0] != version:
                    self.clashes.append(f"{version} where {self.running[place][0]} is")
                return
            server = ModelServer(version, int(place.rpartition(":")[2]))
            if version in self.behaviour:
                server.control(**self.behaviour[version])
            self.running[place] = (version, server)


def rolling(rank: Rank, hook_url: str, workers: int = 2, **rolling_update: Any) -> dict[str, Any]:
    """A configuration with one route `m` in which v2 takes the places of v1. What is stopped refuses a check at once;
    what is only slow to answer it, on a busy machine, is well."""
    check = {"path": "/v2/health/ready", "interval": "200ms", "timeout": "5s", "unhealthyThreshold": 2}
    places = rank.places[: rank.count], rank.places[rank.spare :]
    return {
        "workers": workers,
        "backends": [
            {"name": name, "endpoints": list(where), "healthCheck": check}
            for name, where in zip(("v1", "v2"), places, strict=True)
        ],
        "routes": [
            {
                "name": "m",
                "backendRefs": [{"name": "v1", "role": "stable"}, {"name": "v2", "role": "canary"}],
                "strategy": {
                    "rollingUpdate": {
                        "hook": {"url": hook_url},
                        "drainTimeout": "5s",
                        "analysis": {"minSamples": 20},
                        **rolling_update,
                    }
                },
                "analysis": {
                    "minDuration": "1s",
                    "block": "5s",
                    "breaker": {"errorsAbove": "20pp"},
                    "metrics": [{"name": "errors", "maxIncrease": "20pp"}],
                },
            }
        ],
    }
