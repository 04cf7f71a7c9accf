"""What happens, as it happens: server-sent events for whoever listens.

    journal   a line of the journal; its id is the event's, from which a client that comes back goes on (Last-Event-ID)
    route     a rollout is elsewhere: phase, verdict, step, weight, or what is said of a metric
    config    another configuration or generation is live, or the file was refused
    worker    a worker has come, or is gone
    dropped   the client read too slowly and has missed events; the stream ends, and can be taken up again

Nobody is told anything by the parts that it happens to: while somebody listens, all of it is looked at twice a second
and compared with the last look. Each listener has a bounded queue.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import structlog
from aiohttp import web

from config.listeners.access import Admin
from proxy.admin.surface import Controls, Json
from proxy.control.storage.errors import StoreError

LOOK_S: Final = 0.5
HEARTBEAT_S: Final = 15.0
"""A comment goes out after this time without an event: proxies on the way close what is silent."""
WRITE_S: Final = 10.0
"""How long a client may take to read what the sockets' buffers have no room for."""
MOST_QUEUED: Final = 256
MOST_LISTENERS: Final = 64
PAGE: Final = 500
AGAIN_MS: Final = 2000
"""After what time a client that was cut comes back."""
_ROUTE: Final = ("phase", "verdict", "candidate", "stable", "step", "stage", "weight", "mirror")
_LOG = structlog.get_logger("understudy.admin")


class Listener:
    """One client's queue. `ended` says why there is nothing more to come."""

    def __init__(self) -> None:
        self._queue: deque[tuple[int, bytes]] = deque()
        self._news = asyncio.Event()
        self.ended = ""

    def tell(self, id_: int, event: bytes) -> None:
        """Queue an event; a full queue is the end of it."""
        if len(self._queue) >= MOST_QUEUED:
            self.end("dropped")
        elif not self.ended:
            self._queue.append((id_, event))
            self._news.set()

    def end(self, why: str) -> None:
        """Have nothing more to say."""
        self.ended = self.ended or why
        self._news.set()

    async def next(self) -> list[tuple[int, bytes]]:
        """What is queued, after a while of nothing an empty list."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_S):
                await self._news.wait()
        self._news.clear()
        found = list(self._queue)
        self._queue.clear()
        return found


class News:
    """All listeners, and what was seen last."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._listeners: set[Listener] = set()
        self._somebody = asyncio.Event()
        self._seen: dict[tuple[str, str], Json] = {}
        self._last_id = 0
        self._admin: Admin | None = None

    @contextlib.contextmanager
    def listen(self) -> Iterator[Listener]:
        """A listener, for the length of a block."""
        listener = Listener()
        self._listeners.add(listener)
        self._somebody.set()
        try:
            yield listener
        finally:
            self._listeners.discard(listener)

    @property
    def full(self) -> bool:
        """Whether nobody more may listen."""
        return len(self._listeners) >= MOST_LISTENERS

    async def follow(self) -> None:
        """Look and tell, while somebody listens."""
        while True:
            if not self._listeners:
                self._somebody.clear()
                self._seen = {}
                await self._somebody.wait()
            try:
                await self._look()
            except StoreError:
                _LOG.info("events wait for the store")
            await asyncio.sleep(LOOK_S)

    async def begin(self) -> None:
        """Remember how things are, if nobody listened until now.

        Raises:
            StoreError: the journal cannot be read.
        """
        if not self._seen:
            newest = await self._controls.records.journal(1, None)
            self._last_id = newest[0]["id"] if newest else 0
            self._seen = self._now()

    async def since(self, after: int) -> AsyncIterator[Json]:
        """The entries of the journal after an id, oldest first."""
        while entries := await self._controls.records.journal_after(after, PAGE):
            for entry in entries:
                yield entry
            after = entries[-1]["id"]

    def close(self) -> None:
        """End all streams."""
        for listener in self._listeners:
            listener.end("closing")

    async def _look(self) -> None:
        if self._controls.admin != self._admin:
            if self._admin is not None:
                self.close()  # whoever listens may not be allowed to any more, and asks again
            self._admin = self._controls.admin
        if not self._seen:
            await self.begin()
            return
        for entry in await self._controls.records.journal_after(self._last_id, PAGE):
            self._last_id = entry["id"]
            self._tell("journal", entry, entry["id"])
        now = self._now()
        for key, value in now.items():
            if self._seen.get(key) != value:
                self._tell(key[0], value)
        for kind, name in self._seen.keys() - now.keys():
            self._tell(kind, {"name": name, "gone": True})
        self._seen = now

    def _now(self) -> dict[tuple[str, str], Json]:
        status = self._controls.status()
        config = {key: status["config"][key] for key in ("generation", "digest")}
        config["refusedAt"] = (status["config"]["lastError"] or {}).get("at")
        found = {("config", ""): config}
        for worker in status["workers"]:
            found["worker", str(worker["index"])] = {key: worker[key] for key in ("index", "pid", "alive")}
        for route in status["routes"]:
            line = {"name": route["name"], **{key: route[key] for key in _ROUTE}}
            if route["phase"]:
                line["metrics"] = {each["name"]: _said(each) for each in self._controls.route(route["name"])["metrics"]}
            found["route", route["name"]] = line
        return found

    def _tell(self, kind: str, data: Json, id_: int = 0) -> None:
        event = encoded(kind, data, id_)
        for listener in self._listeners:
            listener.tell(id_, event)


NEWS: Final = web.AppKey("news", News)


def encoded(kind: str, data: Json, id_: int = 0) -> bytes:
    """An event as it goes over the wire (HTML, section 9.2)."""
    first = f"id: {id_}\n" if id_ else ""
    return f"{first}event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


async def stream(request: web.Request, news: News, after: int | None) -> web.StreamResponse:
    """Answer with events, until the client goes; those of the journal `after` an id come first."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
    with news.listen() as listener:
        await news.begin()  # before the journal is read: nothing falls between what was and what comes
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):  # the client is gone, or does not read
            await _tell(response, news, listener, after)
    return response


async def _tell(response: web.StreamResponse, news: News, listener: Listener, after: int | None) -> None:
    told = after or 0
    await _write(response, f"retry: {AGAIN_MS}\n\n".encode())
    if after is not None:
        async for entry in news.since(after):
            told = entry["id"]
            await _write(response, encoded("journal", entry, told))
    while True:
        events = [event for id_, event in await listener.next() if not id_ or id_ > told]
        if events or not listener.ended:
            await _write(response, b"".join(events) or b": still here\n\n")
        if listener.ended == "dropped":
            await _write(response, encoded("dropped", {"reason": "events came faster than they were read"}))
        if listener.ended:
            return


async def _write(response: web.StreamResponse, data: bytes) -> None:
    try:
        async with asyncio.timeout(WRITE_S):
            await response.write(data)
    except TimeoutError:
        raise ConnectionResetError("the client does not read") from None


def _said(metric: dict[str, Any]) -> str:
    return "harmed" if metric["harmed"] else "passed" if metric["passed"] else "open"
