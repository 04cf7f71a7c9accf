"""A receiver of webhooks with a life of its own: a real aiohttp server in a thread, which notes what it gets."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass
class Got:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)

    def is_signed(self, secret: bytes, now_s: float, tolerance_s: float = 300.0) -> bool:
        """What docs/webhooks.md tells receivers to do."""
        parts = dict(part.split("=", 1) for part in self.headers["x-understudy-signature"].split(","))
        signed = parts["t"].encode() + b"." + self.body
        expected = hmac.new(secret, signed, hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected, parts["v1"]) and abs(now_s - int(parts["t"])) <= tolerance_s


@dataclass
class Receiver:
    """`answers` are statuses by path; a list is used up from its front, and its last one stays. `acts` are what is
    done on a request, which may take its time, and answers the status."""

    answers: dict[str, int | list[int]] = field(default_factory=dict)
    delays_s: dict[str, float] = field(default_factory=dict)
    acts: dict[str, Callable[[dict[str, Any]], int]] = field(default_factory=dict)
    got: list[Got] = field(default_factory=list)
    port: int = 0

    def __enter__(self) -> Receiver:
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def at(self, path: str) -> list[Got]:
        return [got for got in self.got if got.path == path]

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        self._loop.run_until_complete(site.start())
        self.port = runner.addresses[0][1]
        ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())

    async def _answer(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append(Got(request.path, headers, await request.read(), self._loop.time()))
        status = self.answers.get(request.path, 200)
        if isinstance(status, list):
            status = status.pop(0) if len(status) > 1 else status[0]
        await asyncio.sleep(self.delays_s.get(request.path, 0.0))
        if (act := self.acts.get(request.path)) is not None:
            status = await asyncio.to_thread(act, self.got[-1].json)
        return web.Response(status=status, headers={"location": self.url("/elsewhere")} if status == 307 else None)
