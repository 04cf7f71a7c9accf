"""The wheel of the control plane: once a second it reads what has closed, asks the judges, and lets rollouts step.

    tick:   ledger → evidence → verdict → rollout.step → store → compile → slot, push → acknowledged
    reload: file → config → rollout.adopt → store → compile → slot, push → acknowledged

Ticks, commands and reloads take turns under one lock. A new state is kept in the store before anything is pushed, so
a controller that dies at any point is followed by one that finds the same state or the next. If the store cannot be
read or written, traffic flows on as it does, rollouts stand still, and logs and status say so. Nothing here is on the
path of a request: workers serve their last snapshot for as long as there is no controller.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import structlog

from config import loader, reload
from config.files import NOTHING, Contents
from config.listeners.access import Admin
from config.loader import Loaded
from config.masking import Masks
from config.values.problems import ConfigError, Problem
from proxy.control.endpoints import standing as endpoints
from proxy.control.endpoints.health import Checks
from proxy.control.evidence import outlook
from proxy.control.evidence.feedback import Desk
from proxy.control.evidence.glance import GLANCES
from proxy.control.evidence.lending import Loan
from proxy.control.evidence.tracks import TICK_AFTER_S
from proxy.control.hindsight.records import Records
from proxy.control.intent import file as intent
from proxy.control.intent.source import Source, listed, unwritable
from proxy.control.machine.verbs import Verb, event_of
from proxy.control.plane import Plane
from proxy.control.process.launch import places, restart_needed
from proxy.control.process.supervisor import Launch
from proxy.control.routing.fleet import Fleet
from proxy.control.routing.push import PushServer
from proxy.control.steady import Steady
from proxy.control.storage import captures
from proxy.control.storage.entries import Entry
from proxy.control.storage.errors import StoreError
from proxy.control.storage.keeper import Keeper
from proxy.control.storage.retention import Retention, limits_of
from proxy.control.views import drift
from proxy.control.views import routes as views
from proxy.ledger.reader import Reader, Totals
from proxy.slot import Slot

Json = dict[str, Any]
TICK_S: Final = 1.0
TRY_AGAIN_S: Final = 5.0
"""How often a configuration that was refused is looked at again."""
_LOG = structlog.get_logger("understudy.controller")


class Controller:
    """The control plane of one Understudy. This is what the admin API is given."""

    def __init__(
        self,
        launch: Launch,
        ledger_fd: int,
        slot_fd: int,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        clock = Steady(clock, monotonic)
        self._launch, self._clock, self._monotonic = launch, clock, monotonic
        self._started_s = self._loaded_s = clock()
        self.reader = Reader(ledger_fd)
        self._keeper = Keeper(launch.store_url, launch.instance, monotonic, clock)
        self._retention = Retention(self._keeper, clock)
        self.captures = captures.Captures(self._keeper, self._retention, clock)
        self._push = PushServer(self.captures.take)
        self._fleet = Fleet(self.reader, Slot(slot_fd), self._push, monotonic)
        self._health_news, self._health_told = asyncio.Event(), asyncio.Event()
        self._checks = Checks(self._health_news.set, clock)
        self._checks.inherit(self._fleet.snapshot)
        self.records = Records(self._keeper)
        self._plane = Plane(self.reader, self._fleet, self._keeper, places(launch), clock, monotonic, self._checks)
        self._source = Source(launch.config_path, self._keeper, self._plane.standing)
        self._recovered = False
        self._loaded: Loaded | None = None
        self._first: Loaded | None = None
        self._last_error: Json | None = None
        self._masks = Masks()
        self._turn = asyncio.Lock()
        self._stop = asyncio.Event()

    # --- life
    async def start(self, channel: socket.socket) -> None:
        """Take the workers' connections, and route by the configuration and by what was kept."""
        await self._push.start(channel)
        with contextlib.suppress(ConfigError):  # it is told by what follows
            self._first = await asyncio.to_thread(loader.load, self._launch.config_path)
        async with self._turn:
            await self._begin()
        _LOG.info("controller started", generation=self._fleet.generation, routes=len(self._plane.subjects))

    async def run(self) -> None:
        """Tick, and follow the configuration file, until `stop`."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._tick_on())
            tasks.create_task(self._follow_file())
            tasks.create_task(self._follow_health())
            tasks.create_task(self._go_on_by_health())
            tasks.create_task(self._try_again())
            tasks.create_task(self._retention.follow(self._stop))
            tasks.create_task(self.captures.follow(self._stop))

    def stop(self) -> None:
        """Have `run` return."""
        self._stop.set()
        self._health_news.set()

    async def close(self) -> None:
        """Judge and keep the last seconds, then let go of workers and store. The workers serve on."""
        await self._checks.close()
        await self.tick()
        await self._plane.close()
        await self._push.close()
        await self._keeper.close()
        _LOG.info("controller stopped", generation=self._fleet.generation)

    async def tick(self) -> None:
        """One turn of the wheel."""
        async with self._turn:
            if not self._recovered:
                await self._begin()
            await self._plane.tick()

    async def glance(self) -> None:
        """See whether a candidate has had an outage since the last turn of the wheel."""
        async with self._turn:
            await self._plane.glance()

    async def _tick_on(self) -> None:
        """Tick once a second, and where that finds outages sooner, glance between the ticks."""
        ticked = int(self._monotonic() - TICK_AFTER_S)
        while not self._stop.is_set():
            period_s = TICK_S / GLANCES if self._plane.is_watched else TICK_S
            now_s = self._monotonic() - TICK_AFTER_S
            try:
                await asyncio.wait_for(self._stop.wait(), period_s - now_s % period_s)
            except TimeoutError:
                second = int(self._monotonic() - TICK_AFTER_S)
                await (self.glance() if second == ticked else self.tick())
                ticked = second

    async def _follow_file(self) -> None:
        seen = "" if self._loaded is None else self._loaded.fingerprint
        async for _ in reload.watch(self._launch.config_path, self._stop, seen, self._named):
            await self.reload("file")

    async def _follow_health(self) -> None:
        """Tell the workers at once what the checks found: a turn may last for as long as a store that hangs."""
        while not self._stop.is_set():
            await self._health_news.wait()
            self._health_news.clear()
            self._fleet.mark(self._checks.unhealthy)
            self._health_told.set()

    async def _go_on_by_health(self) -> None:
        """Go on with what waits for the checks; what changes before it is our turn counts together."""
        while not self._stop.is_set():
            await self._health_told.wait()
            self._health_told.clear()
            async with self._turn:
                await self._plane.follow()

    async def _try_again(self) -> None:
        """A file that the configuration names may come later than the configuration: what was refused is looked at
        again, and not told again."""
        while not self._stop.is_set():
            try:
                await asyncio.wait_for(self._stop.wait(), TRY_AGAIN_S)
            except TimeoutError:
                refused = self._last_error
                if refused is not None and await self._source.problems() != refused["problems"]:
                    await self.reload("file")

    def _named(self) -> Sequence[str]:
        return () if self._loaded is None else tuple(self._loaded.contents.digests)

    # --- configuration
    async def _begin(self) -> None:
        """Go live for the first time, or again once the store can be read.

        Without the store nobody knows what share a candidate had: what the workers hold stays as it is, and where
        they hold nothing, stable gets everything.
        """
        try:
            if not self._recovered:
                await self._plane.recover()
        except StoreError:
            if self._loaded is not None or self._fleet.snapshot is not None or self._launch.takeover_timeout_s:
                return  # the one that we take over from knows, and goes on if this lasts
        else:
            self._recovered = True
        loaded = await self._source.first(lambda error: self._refused(error.problems))
        if loaded is not None:
            await self._go_live(loaded, "start")

    async def _go_live(self, loaded: Loaded, actor: str) -> None:
        """Route by a configuration, and keep it.

        Raises:
            StoreError: a rollout could not be kept; what ran goes on.
        """
        before = self._loaded
        await self._plane.go_live(loaded, self._source.live)
        self._source.live = loaded.config
        self._loaded, self._loaded_s = loaded, self._clock()
        self._retention.limits = limits_of(loaded.config)
        text = str(reload.plan(before.config, loaded.config)) if before else "loaded"
        if before and before.contents != loaded.contents:
            text = "; ".join(["files that it names", *([text] if before.digest != loaded.digest else [])])
        for fault in views.injected(loaded.config):
            _LOG.warning("faults are injected on purpose", **fault)
            text += f"; into route {fault['route']} is injected {fault['injects']}"
        for route in loaded.config.routes:
            for doubt in outlook.warnings(route, route.analysis.expected_rate, None, loaded.config.backends):
                _LOG.warning("a margin cannot be proven in time", route=route.name, reason=doubt)
        _LOG.info("configuration live", actor=actor, digest=loaded.digest[:12], generation=self._fleet.generation,
                  change=text)  # fmt: skip
        text = f"configuration {loaded.digest[:12]}: {text}"
        entry = Entry(0, self._clock(), "", "config", actor, text, config=loaded.digest)
        try:
            await self._keeper.ask(lambda store: store.keep_config(loaded.text, loaded.digest, actor))
            kept = await self._keeper.ask(lambda store: store.record(entry))
            _LOG.info("configuration kept", digest=loaded.digest[:12], entry=kept.id, hash=kept.hash)
        except StoreError:
            return  # the keeper has said so; the file itself is what counts

    def _refused(self, problems: Sequence[Problem]) -> None:
        self._last_error = {"at": self._clock(), "problems": [asdict(problem) for problem in problems]}
        _LOG.error("configuration refused: what runs stays as it was", problems=[str(problem) for problem in problems])

    async def reload(self, actor: str) -> Json:
        """Read the file again. What is refused changes nothing; `ok` says whether the file is live."""
        async with self._turn:
            return await self._read_again(actor)

    async def replace(self, text: str, actor: str, known: Collection[str] | None) -> Json:
        """Write the file, and read it again. What is refused is not written; `ok` says whether the text is live.

        Raises:
            Stale: none of the digests `known` is that of what is there; None takes whatever is.
        """
        path = self._launch.config_path
        async with self._turn:
            intent.check(known, self._loaded)
            try:
                text = self._masks.reveal(text, "" if self._loaded is None else self._loaded.text, "request")
                await self._source.text(text)
                await asyncio.to_thread(intent.write, Path(path), text)
            except ConfigError as error:
                return self._answer(listed(error))
            except OSError as error:
                return self._answer([asdict(unwritable(path, error))])
            return await self._read_again(actor)

    async def _read_again(self, actor: str) -> Json:
        try:
            loaded = await self._source.file()
            if self._loaded is None or loaded.fingerprint != self._loaded.fingerprint:
                await self._go_live(loaded, actor)
            else:
                _LOG.info("configuration unchanged", actor=actor, digest=loaded.digest[:12])
            self._last_error = None
        except ConfigError as error:
            self._refused(error.problems)
        except StoreError as error:
            self._refused([Problem(self._launch.store_url, 0, 0, "store", str(error), "then reload again")])
        return self._answer(self._last_error["problems"] if self._last_error else [])

    def _answer(self, problems: list[Json]) -> Json:
        return {
            "ok": not problems,
            "generation": self._fleet.generation,
            "workers": len(self._fleet.alive()),
            "workersAcknowledged": len(self._fleet.holders(self._fleet.generation)),
            "problems": problems,
            "restartNeeded": self._restart_needed(),
        }

    async def validate(self, text: str) -> list[Json]:
        """The problems of a configuration; none if it could go live now."""
        return await self._source.problems(text)

    def _restart_needed(self) -> list[str]:
        return [] if self._loaded is None else list(restart_needed(self._launch, self._loaded.config))

    # --- commands
    async def act(
        self, route: str, verb: Verb, actor: str, full: bool = False, reason: str = "", candidate: str = ""
    ) -> Json:
        """Carry out a command.

        Raises:
            KeyError: there is no such route.
            IllegalEvent: the rollout's phase does not allow it.
            StoreError: it cannot be kept; nothing has changed.
        """
        async with self._turn:
            subject = self._plane.subjects[route]
            await self._plane.command(subject, event_of(verb, actor, full, reason, candidate))
            return self._plane.view(subject)

    # --- questions
    @property
    def ready(self) -> bool:
        """Whether a configuration is live and workers serve it."""
        return self._fleet.ready

    @property
    def draining(self) -> bool:
        """Whether this process is about to end."""
        return self._fleet.draining

    @property
    def config_text(self) -> str:
        """The configuration that is live, as it was read, with masks in place of its secrets."""
        return "" if self._loaded is None else self._masks.hide(self._loaded.text)

    @property
    def admin(self) -> Admin | None:
        """Who may do what at the admin API: by what is live, or by the file as long as the store is away."""
        return known.config.admin if (known := self._loaded or self._first) else None

    @property
    def contents(self) -> Contents:
        """What the files hold that the configuration names."""
        return known.contents if (known := self._loaded or self._first) else NOTHING

    @property
    def retired_totals(self) -> Mapping[tuple[str, str, str], Totals]:
        """Sums of the rows that were given back since the start, by (route, backend, role)."""
        return self._plane.retired

    @property
    def feedback(self) -> Desk:
        """Where truths are told."""
        return self._plane.desk

    def rows(self) -> list[Loan]:
        """The rows that are in use or at rest: all that is counted and not retired."""
        return self._plane.lending.held()

    def status(self) -> Json:
        """The process, its configuration, store and workers, the endpoints of backends, a summary of each route."""
        return {
            "version": views.version(),
            "pid": os.getpid(),
            "startedAt": self._started_s,
            "config": {
                "path": self._launch.config_path,
                "digest": "" if self._loaded is None else self._loaded.digest,
                "loadedAt": self._loaded_s,
                "generation": self._fleet.generation,
                "lastError": self._last_error,
            },
            "store": {**views.store(self._launch, self._keeper.error), **self._retention.document()},
            "workers": views.workers(self.reader, self._monotonic()),
            "backends": self._backends(),
            "routes": self.routes(),
            "restartNeeded": self._restart_needed(),
            "differences": drift.differences(self._plane.subjects.values()),
            "faultInjection": [] if self._loaded is None else views.injected(self._loaded.config),
        }

    def _backends(self) -> list[Json]:
        held = self._fleet.snapshot
        known = () if held is None else held.backends
        alive = sorted(self._fleet.alive())
        moments, away = (self._monotonic(), self._clock()), views.away(self._plane.subjects.values())
        return endpoints.backends(known, self._checks, self.reader, alive, *moments, away)

    def routes(self) -> list[Json]:
        """A summary of each route, in order of precedence."""
        return [views.summary(subject) for subject in self._plane.subjects.values()]

    def route(self, name: str) -> Json:
        """All that is known of a route. Raises KeyError if there is none of this name."""
        return self._plane.view(self._plane.subjects[name])
