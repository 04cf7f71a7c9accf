"""A controller in a process of its own that can be killed at any moment, on a clock that the test moves.

Ledger, slot, channel and workers belong to the test, as they do to the supervisor: what a controller leaves behind
when it is killed is there for the next one. Processes are forked from one that has imported everything, so that fifty
of them cost seconds.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

from tests.support.control_plane import PlayedWorker, World
from tests.support.waiting import PATIENCE_S

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.support.killed", "proxy.control.controller"])


class Killed:
    """Controllers of one world, one after the other."""

    def __init__(self, world: World) -> None:
        self.world = world
        world.workers = [PlayedWorker(i, world.ledger_fd, world.channel_path, world.time) for i in range(2)]
        for worker in world.workers:
            worker.connect()
        self._process: Any = None
        self._pipe: Connection[Any, Any] | None = None

    async def start(self) -> dict[str, Any]:
        """A controller, which begins where the last one was killed; how it finds the first route."""
        self.begin()
        return await self.answer()

    def begin(self) -> None:
        """A controller, not awaited."""
        ours, its = _FORKS.Pipe()
        world = self.world
        fds = [reduction.DupFd(fd) for fd in (world.ledger_fd, world.slot_fd, world._channel.fileno())]
        self._process = _FORKS.Process(target=_run, args=(world.launch, *fds, its, world.time.monotonic_s,
                                                          world.time.wall_s), daemon=True)  # fmt: skip
        self._process.start()
        its.close()
        self._pipe = ours

    async def answer(self) -> dict[str, Any]:
        """What it says of the first route once it is done."""
        assert self._pipe is not None
        heard = await asyncio.to_thread(self._pipe.poll, PATIENCE_S)
        assert heard, f"the controller has said nothing for {PATIENCE_S:g} s"
        found: dict[str, Any] = self._pipe.recv()
        return found

    def tick(self) -> None:
        """Have it tick at the present time, not awaited."""
        assert self._pipe is not None
        self._pipe.send((self.world.time.monotonic_s, self.world.time.wall_s))

    async def kill(self) -> None:
        """kill -9, if there is one."""
        if self._process is None:
            return
        os.kill(self._process.pid, signal.SIGKILL)
        await asyncio.to_thread(self._process.join)
        assert self._pipe is not None
        self._pipe.close()
        self._process = None

    async def settled(self, generation: int) -> None:
        """Until the workers hold a generation."""
        for _ in range(10_000):
            if all(worker.snapshot.generation >= generation for worker in self.world.workers):
                return
            await asyncio.sleep(0.002)
        raise AssertionError(f"workers do not hold generation {generation}")


def _run(launch: Any, ledger: Any, slot: Any, channel: Any, pipe: Connection[Any, Any], *now: float) -> None:
    asyncio.run(_serve(launch, ledger.detach(), slot.detach(), channel.detach(), pipe, list(now)))


async def _serve(
    launch: Any, ledger_fd: int, slot_fd: int, channel_fd: int, pipe: Connection[Any, Any], now: list[float]
) -> None:
    import socket

    from proxy.control.controller import Controller

    monotonic: Callable[[], float] = lambda: now[0]  # noqa: E731
    controller = Controller(launch, ledger_fd, slot_fd, lambda: now[1], monotonic)
    await controller.start(socket.socket(fileno=channel_fd))
    while True:
        await _acknowledged(controller)
        route = controller.route("r")
        facts = {key: route[key] for key in ("phase", "verdict", "reason", "decidedBy", "step", "stage", "weight")}
        pipe.send({**facts, "generation": controller.status()["config"]["generation"], "metrics": route["metrics"]})
        now[:] = await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
        await controller.tick()


async def _acknowledged(controller: Any) -> None:
    fleet = controller._fleet
    for _ in range(10_000):
        if fleet.holds(fleet.generation):
            return
        await asyncio.sleep(0.002)
