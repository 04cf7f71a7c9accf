"""The order of events: models, proxy, users; v2 comes and stays, v3 comes and goes."""

from __future__ import annotations

import asyncio
import difflib
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from proxy.admin.client import Client, RefusedError, UnreachableError
from proxy.demo import models, settings, telling
from proxy.demo.account import FINAL, Rollout, summary
from proxy.demo.processes import Processes, StartError, free_ports
from proxy.demo.settings import ROUTE, Ports, backend
from proxy.demo.traffic import USERS, Answered, Traffic
from proxy.demo.view import View

Json = dict[str, Any]

V3_DELAY_MS = 8
V3_FAIL_SHARE = 0.02
LOOK_S = 0.5
"""Between two looks at the admin API; the evidence changes once a second."""
ROLLOUT_TIMEOUT_S = 75.0
"""Two of them, the training and the starts stay below three minutes."""
AFTERMATH_S = 2.0
"""Traffic goes on for this long after the abort: everybody is back on v2."""


class PlayError(RuntimeError):
    """The demo cannot go on; the text says why."""


class Play:
    """One demo. `folder` is where its models, file, logs and reports are; `keep` leaves all of it running."""

    def __init__(self, console: Console, folder: Path, keep: bool) -> None:
        self.processes = Processes(folder)
        self._console = console
        self._folder = folder
        self._keep_running = keep
        self._file = folder / "understudy.yaml"
        self._started_s, self._started_at = time.monotonic(), time.time()
        proxy, admin, *servers = free_ports(5)
        self._ports = Ports(proxy, admin, dict(zip(("v1", "v2", "v3"), servers, strict=True)))
        self._client = Client(f"127.0.0.1:{admin}")
        self._url = f"http://127.0.0.1:{proxy}"
        self._answers: list[Answered] = []
        self._rollouts: list[Rollout] = []

    async def run(self) -> Json:
        """Play it all, tell it, and return the outcome for machines."""
        trouble = ""
        try:
            await self._acts()
        except (PlayError, StartError, UnreachableError, RefusedError) as error:
            trouble = str(error)
            self._console.print(Text(f"\n{trouble}", "red"))
        seconds = round(time.monotonic() - self._started_s, 1)
        outcome = summary(self._rollouts, self._answers, faulty=backend("v3"))
        outcome |= {
            "ok": not trouble and not outcome["clientErrorsUnexplained"],
            "trouble": trouble,
            "seconds": seconds,
            "config": str(self._file),
            "admin": self._client.address,
            "folder": str(self._folder),
        }
        telling.tell(self._console, self._rollouts, outcome, self._started_at, self._keep_running)
        if self._keep_running:
            self._leave()
        return outcome

    async def _acts(self) -> None:
        trained = await asyncio.to_thread(models.train, self._folder)
        telling.accuracy(self._console, trained.accuracy)
        await asyncio.gather(*(self._serve_model(trained.files, version) for version in ("v1", "v2")))
        settings.write(self._file, settings.render(self._ports, ("v1", "v2"), stable="v1", canary="v2"))
        await self._serve()
        async with self._users(trained.held_out) as traffic:
            await self._follow("v2", traffic, expected="Succeeded")
            await self._serve_model(trained.files, "v3", delay_ms=V3_DELAY_MS, fail_share=V3_FAIL_SHARE)
            self._edit()
            await self._follow("v3", traffic, expected="Aborted")
            await asyncio.sleep(AFTERMATH_S)

    async def _serve_model(
        self, files: Mapping[str, Path], version: str, delay_ms: float = 0, fail_share: float = 0
    ) -> None:
        port = self._ports.models[version]
        options = {"model": files[version], "version": version, "port": port, "delay-ms": delay_ms,
                   "fail-share": fail_share}  # fmt: skip
        arguments = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self.processes.start(f"model-{version}", ["proxy.demo.server", *arguments])
        await self.processes.ready(f"model-{version}", f"http://127.0.0.1:{port}/v2/health/ready")

    async def _serve(self) -> None:
        self._say(f"understudy serve --config {self._file}")
        self.processes.start("serve", ["proxy", "serve", "--config", str(self._file)])
        await self.processes.ready("serve", f"{self._client.address}/readyz")

    @asynccontextmanager
    async def _users(self, rows: models.Rows) -> AsyncIterator[asyncio.Task[None]]:
        traffic = Traffic(self._url, rows, self._answers.append)
        self._say(f"{USERS} users send {traffic.rate:.0f} rows a second that no model was trained on")
        task = asyncio.create_task(traffic.send())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])

    def _edit(self) -> None:
        """Bring v3 in as a person would: by editing the file."""
        before = self._file.read_text(encoding="utf-8")
        after = settings.render(self._ports, ("v1", "v2", "v3"), stable="v2", canary="v3")
        settings.write(self._file, after)
        self._say(f"edit of {self._file}:")
        for line in difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm=""):
            if not line.startswith(("---", "+++", "@@")):
                self._console.print(Text(f"      {line}", "green" if line.startswith("+") else "red"))

    async def _follow(self, version: str, traffic: asyncio.Task[None], expected: str) -> None:
        """Watch a rollout to its end, and keep its report.

        Raises:
            PlayError: it ended otherwise than expected, or not in time, or there is no traffic.
            StartError: a process has ended.
        """
        deadline_s = time.monotonic() + ROLLOUT_TIMEOUT_S
        with View(self._console) as view:
            while True:
                route = await self._look()
                if route["candidate"] == backend(version):
                    view.update(route, telling.clients(self._answers), time.monotonic() - self._started_s)
                    if route["phase"] in FINAL:
                        break
                self.processes.check()
                if traffic.done():
                    raise PlayError(f"the users have stopped: {traffic.exception()!r}")
                if time.monotonic() > deadline_s:
                    break
                await asyncio.sleep(LOOK_S)
        await self._keep(version)
        if (route["candidate"], route["phase"]) != (backend(version), expected):
            raise PlayError(
                f"{backend(version)} should be {expected} within {ROLLOUT_TIMEOUT_S:.0f} s, and "
                f"{route['candidate'] or 'nothing'} is {route['phase'] or 'tried'}: {route['reason']}"
            )

    async def _look(self) -> Json:
        """The route as it is now; one without a rollout while the controller is being started again."""
        try:
            return await asyncio.to_thread(self._client.route, ROUTE)
        except (UnreachableError, RefusedError) as error:
            return {"candidate": "", "phase": "", "reason": str(error)}

    async def _keep(self, version: str) -> None:
        report = self._folder / f"report-{version}.md"
        report.write_text(await asyncio.to_thread(self._client.report_markdown, ROUTE), encoding="utf-8")
        route = await asyncio.to_thread(self._client.report, ROUTE)
        self._rollouts.append(Rollout(route, str(report)))
        self._say(f"{route['candidate']} {route['phase']}: {route['reason']}")

    def _leave(self) -> None:
        """Keep users coming after the demo has ended, and say how to play with what runs and how to stop it."""
        self.processes.start("traffic", ["proxy.demo.traffic", "--url", self._url])
        telling.leave(self._console, self._url, self._client.address, self._file, self.processes.pids())

    def _say(self, text: str) -> None:
        self._console.print(Text(f"{time.monotonic() - self._started_s:5.0f} s  {text}"), soft_wrap=True)
