"""A control plane without processes: a real ledger, slot, store and channel, played workers, and a clock of its own."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import yaml

from proxy.channel import Ack, Frames, Hello, Push, encode
from proxy.control.controller import Controller
from proxy.control.process.launch import plan_launch
from proxy.control.process.supervisor import Launch
from proxy.faults import Fault
from proxy.ledger import layout as at
from proxy.ledger.reading import Reading
from proxy.ledger.writer import Writer
from proxy.slot import Slot
from proxy.snapshot import Arm, Mirror, Route, Snapshot, decode

BOOT_S = 10_000.0
"""Monotonic time at which the tests begin."""
EPOCH_S = 1_800_000_000.0
WORKERS = 2
OUTPUTS = [
    {"name": "label", "kind": "category", "path": "label"},
    {"name": "score", "kind": "number", "path": "score", "range": [0, 1]},
]
ANALYSIS = {
    "block": "1s",
    "minDuration": "2s",
    "minSamples": 50,
    "maxDuration": "10m",
    "metrics": [{"name": "errors", "maxIncrease": "5pp"}],
}
STEPS = [{"setWeight": 20}, {"analysis": {}}, {"setWeight": 50}, {"analysis": {}}]


class Time:
    """The two clocks, which stand still until they are moved."""

    def __init__(self) -> None:
        self.monotonic_s = BOOT_S
        self.wall_s = EPOCH_S

    def move(self, seconds: float) -> None:
        self.monotonic_s += seconds
        self.wall_s += seconds


class PlayedWorker:
    """A worker that takes snapshots and counts what it is told that it served."""

    def __init__(self, index: int, ledger_fd: int, path: str, time: Time) -> None:
        self.index, self._path, self._time = index, path, time
        self.writer = Writer(ledger_fd, index)
        self.snapshot = Snapshot(0)
        self.pushes = 0
        self.acknowledges = True
        self._task: asyncio.Task[None] | None = None
        self.beat()

    def connect(self) -> None:
        self._task = asyncio.create_task(self._follow())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    def beat(self) -> None:
        self.writer.set_worker(at.W_HEARTBEAT, self._time.monotonic_s)

    async def _follow(self) -> None:
        while True:
            reader, writer = await asyncio.open_unix_connection(self._path)
            writer.write(encode(Hello(self.index, 100 + self.index, self.snapshot.generation)))
            frames = Frames()
            try:
                while data := await reader.read(1 << 20):
                    for message in frames.feed(data):
                        assert isinstance(message, Push)
                        self._adopt(decode(message.snapshot))
                        if self.acknowledges:
                            writer.write(encode(Ack(self.index, self.snapshot.generation)))
            except ConnectionError:
                pass  # a controller that is killed with something unread resets; real workers connect again as well
            finally:
                writer.close()
            await asyncio.sleep(0.01)

    def _adopt(self, snapshot: Snapshot) -> None:
        self.pushes += 1
        if snapshot.generation > self.snapshot.generation:
            self.snapshot = snapshot
            for route in snapshot.routes:
                for arm in (*route.arms, *route.mirrors):
                    if arm.row.index >= 0:
                        self.writer.occupy(arm.row.index, arm.row.tenant, self._outputs(route))

    @staticmethod
    def _outputs(route: Route) -> int:
        return len(route.predictions.outputs) if route.predictions else 0

    def serve(self, route: Route, arm: Arm | Mirror, failed: bool = False, user: int = -1, label: str = "") -> None:
        """One request, half a second ago."""
        if arm.row.index < 0:
            return
        arrived_s = self._time.monotonic_s - 0.5
        row = self.writer.occupy(arm.row.index, arm.row.tenant, self._outputs(route))
        readings = []
        if label and route.predictions:
            table = route.predictions.outputs[0].table
            readings = [Reading(0, labels=[self.writer.labels(table.index, table.tenant).slot(label)])]
        self.writer.arrive(row, arrived_s, user)
        status, fault = (502, Fault.UPSTREAM_RESET) if failed else (200, Fault.NONE)
        self.writer.finish(row, arrived_s, arrived_s + 0.02, failed, status, fault, readings=readings)


class World:
    """One Understudy without its processes. `kill` leaves what a `kill -9` of the controller leaves."""

    def __init__(self, folder: Path, config: dict[str, Any]) -> None:
        self.folder, self.time = folder, Time()
        self.path = folder / "understudy.yaml"
        self.write(config)
        self.launch: Launch = plan_launch(self.path)
        self.controller: Controller | None = None
        self.workers: list[PlayedWorker] = []
        self._fds: list[int] = []
        self.boot()

    def boot(self) -> None:
        """What the supervisor makes: a ledger, a slot and a channel."""
        self.ledger_fd = at.create(WORKERS, self.launch.rows, self.launch.tables)
        self.slot_fd = Slot.create()
        self._fds += [self.ledger_fd, self.slot_fd]
        self.channel_path = str(self.folder / f"channel{len(self._fds)}")
        self._channel = socket.socket(socket.AF_UNIX)
        self._channel.bind(self.channel_path)
        self._channel.listen()
        self._channel.setblocking(False)

    def write(self, config: dict[str, Any]) -> None:
        self.config = config
        self.path.write_text(yaml.safe_dump(config, sort_keys=False))

    async def start(self, workers: bool = True) -> Controller:
        """A controller, and workers unless there are some."""
        if workers and not self.workers:
            self.workers = [PlayedWorker(i, self.ledger_fd, self.channel_path, self.time) for i in range(WORKERS)]
            for worker in self.workers:
                worker.connect()
        self.controller = Controller(
            self.launch, self.ledger_fd, self.slot_fd, lambda: self.time.wall_s, lambda: self.time.monotonic_s
        )
        await self.controller.start(self._channel.dup())
        await self.settled()
        return self.controller

    async def settled(self) -> None:
        """Until every worker holds what was published."""
        assert self.controller is not None
        generation = self.controller.status()["config"]["generation"]
        for _ in range(500):
            if all(worker.snapshot.generation >= generation for worker in self.workers):
                return
            await asyncio.sleep(0.005)
        raise AssertionError(f"workers do not hold generation {generation}")

    async def kill(self) -> None:
        """The controller is gone, without a word to anybody."""
        assert self.controller is not None
        await self.controller._checks.close()
        await self.controller._plane.hooks.close()
        await self.controller._push.close()
        await self.controller._keeper.close()
        self.controller = None

    async def reboot(self) -> None:
        """Everything is started anew but the store."""
        await self.stop_workers()
        await self.kill()
        self.boot()

    async def stop_workers(self) -> None:
        for worker in self.workers:
            await worker.stop()
        self.workers = []

    async def close(self) -> None:
        await self.stop_workers()
        if self.controller is not None:
            await self.kill()
        self._channel.close()
        for fd in self._fds:
            os.close(fd)

    def traffic(self, requests: int = 100, fail: dict[str, int] | None = None, label: str = "") -> None:
        """A second of requests to each worker, split by the weights; of a backend in `fail` every n-th fails."""
        for worker in self.workers:
            for route in worker.snapshot.routes:
                names = [backend.name for backend in worker.snapshot.backends]
                for arm, share in self._shares(route):
                    every = (fail or {}).get(names[arm.backend], 0)
                    for n in range(round(requests * share)):
                        worker.serve(route, arm, failed=bool(every) and n % every == 0, label=label)

    @staticmethod
    def _shares(route: Route) -> Iterator[tuple[Arm | Mirror, float]]:
        below = 0
        for segment in route.segments:
            yield route.arms[segment.arm], (segment.upper - below) / 1e6
            below = segment.upper
        for mirror in route.mirrors:
            yield mirror, mirror.share / 1e6

    async def second(self, **traffic: Any) -> dict[str, Any]:
        """A second passes: traffic, and a tick; the first route afterwards."""
        self.time.move(1.0)
        for worker in self.workers:
            worker.beat()
        if traffic.pop("busy", True):
            self.traffic(**traffic)
        assert self.controller is not None
        await self.controller.tick()
        await self.settled()
        return self.first

    async def until(self, *phases: str, seconds: int = 200, **traffic: Any) -> dict[str, Any]:
        """Seconds pass until the first route's rollout is in one of the phases."""
        for _ in range(seconds):
            route = await self.second(**traffic)
            if route["phase"] in phases:
                return route
        raise AssertionError(f"not {phases} after {seconds} s: {self.first}")

    @property
    def first(self) -> dict[str, Any]:
        """The first route as the admin API tells it."""
        assert self.controller is not None
        return self.controller.route(self.controller.routes()[0]["name"])

    def arm(self, role: str) -> dict[str, Any]:
        """An arm of the first route."""
        return next(arm for arm in self.first["arms"] if arm["role"] == role)

    def rows(self) -> set[tuple[int, int]]:
        """Rows and tenants that the first worker counts into."""
        return {
            (arm.row.index, arm.row.tenant)
            for route in self.workers[0].snapshot.routes
            for arm in (*route.arms, *route.mirrors)
            if arm.row.index >= 0
        }


@contextlib.asynccontextmanager
async def playing(folder: Path, document: dict[str, Any]) -> AsyncIterator[World]:
    """A world with its controller and workers, for the length of a block."""
    world = World(folder, document)
    await world.start()
    yield world
    await world.close()


def config(*steps: dict[str, Any], **route: Any) -> dict[str, Any]:
    """One route `r` with v1 and v2; without steps its weights are those of the file."""
    backends = [{"name": f"v{n}", "endpoints": [f"http://127.0.0.1:900{n}"]} for n in (1, 2, 3)]
    refs: list[dict[str, Any]] = [{"name": "v1", "role": "stable"}]
    whole: dict[str, Any] = {
        "name": "r",
        "backendRefs": refs,
        "predictions": {"protocol": "json", "outputs": copy.deepcopy(OUTPUTS)},
    }
    if steps:
        refs.append({"name": "v2", "role": "canary"})
        whole |= {"strategy": {"canary": {"steps": list(steps)}}, "analysis": dict(ANALYSIS)}
    return {"listen": [{"address": "127.0.0.1:0"}], "workers": WORKERS, "backends": backends, "routes": [whole | route]}


def rolling(endpoints: int, **rolling_update: Any) -> dict[str, Any]:
    """The same where v2 takes the places of v1, endpoint by endpoint."""
    found = config(*STEPS)
    for backend in found["backends"][:2]:
        backend["endpoints"] = [f"http://127.0.0.1:{9100 + n}" for n in range(endpoints)]
        backend["healthCheck"] = {"path": "/ready"}
    found["routes"][0]["strategy"] = {"rollingUpdate": {"hook": {"url": "http://h/"}, **rolling_update}}
    return found


__all__ = ["ANALYSIS", "STEPS", "World", "config", "playing", "rolling"]
