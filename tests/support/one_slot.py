"""An accelerator with room for one model: who is told to stop and start versions, and steady clients beside it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.support.system import ModelServer, free_port


@dataclass
class OneSlot:
    """Versions by name, each with a port of its own, of which one runs at a time. Starting takes `load_s`, and versions
    in `broken` never come up. `orders` are what it was told, and for `away_s` nothing ran at last."""

    load_s: float
    names: tuple[str, ...] = ("v1", "v2")
    broken: set[str] = field(default_factory=set)
    orders: list[str] = field(default_factory=list)
    running: dict[str, ModelServer] = field(default_factory=dict)
    overlaps: list[str] = field(default_factory=list)
    away_s: float = 0.0

    def __post_init__(self) -> None:
        self.ports = {name: free_port() for name in self.names}
        self._lock, self._over = threading.Lock(), False
        self._stopped_s = time.monotonic()

    def __enter__(self) -> OneSlot:
        self._run(self.names[0])
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._over = True
            for server in self.running.values():
                server.stop()
            self.running.clear()

    def told(self, order: dict[str, Any]) -> int:
        """What the hook is told."""
        self.orders.append(f"{order['kind']} {order['backend']}")
        if order["kind"] == "stop":
            self.stop(order["backend"])
        else:
            threading.Thread(target=self._load, args=(order["backend"],), daemon=True).start()
        return 200

    def stop(self, name: str) -> None:
        """Stop a version, if it runs."""
        with self._lock:
            if (server := self.running.pop(name, None)) is not None:
                self._stopped_s = time.monotonic()
                server.stop()

    def _load(self, name: str) -> None:
        time.sleep(self.load_s)
        if name not in self.broken:
            self._run(name)

    def _run(self, name: str) -> None:
        with self._lock:
            if name in self.running or self._over:
                return
            self.overlaps += [f"{name} beside {other}" for other in self.running]
            self.running[name] = ModelServer(name, self.ports[name])
            self.away_s = time.monotonic() - self._stopped_s


@dataclass
class Steady:
    """So many requests a second, whatever becomes of them. `statuses` and `versions` are of the answers, `lost` are
    requests without one."""

    port: int
    rate: float
    statuses: Counter[int] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0.0

    async def __aenter__(self) -> Steady:
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=90))
        self._stop = asyncio.Event()
        self._sends = asyncio.create_task(self._send())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        await self._sends
        await self._session.close()

    async def _send(self) -> None:
        began_s, sent, tasks = time.monotonic(), 0, set[asyncio.Task[None]]()
        while not self._stop.is_set():
            while sent < (time.monotonic() - began_s) * self.rate:
                tasks.add(asyncio.create_task(self._one(sent)))
                sent += 1
            await asyncio.sleep(0.005)
        await asyncio.gather(*tasks)

    async def _one(self, number: int) -> None:
        began_s = time.monotonic()
        url = f"http://127.0.0.1:{self.port}/v2/models/m/infer"
        try:
            async with self._session.post(url, data=b'{"n": %d}' % number) as answer:
                await answer.read()
                self.statuses[answer.status] += 1
                self.versions[answer.headers.get("x-understudy-backend", "")] += 1
        except (aiohttp.ClientError, TimeoutError) as error:
            self.lost[type(error).__name__] += 1
        self.longest_s = max(self.longest_s, time.monotonic() - began_s)


def swapping(slot: OneSlot, hook_url: str, workers: int = 2, hold: dict[str, Any] | None = None, **recreate: Any
             ) -> dict[str, Any]:  # fmt: skip
    """A configuration with one route `m` in which v2 takes the place of v1. What is stopped refuses a check at once;
    what is only slow to answer it, on a busy machine, is well."""
    check = {"path": "/v2/health/ready", "interval": "200ms", "timeout": "5s", "unhealthyThreshold": 2}
    return {
        "workers": workers,
        "backends": [
            {"name": name, "endpoints": [f"http://127.0.0.1:{slot.ports[name]}"], "healthCheck": check}
            for name in slot.names
        ],
        "routes": [
            {
                "name": "m",
                "backendRefs": [{"name": "v1", "role": "stable"}, {"name": "v2", "role": "canary"}],
                "hold": {"timeout": "60s", "releaseRate": 200, **(hold or {})},
                "strategy": {"recreate": {"hook": {"url": hook_url}, "drainTimeout": "5s", **recreate}},
            }
        ],
    }
