"""Server-sent events, over real HTTP, in front of a fake controller."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from config.listeners.access import Admin
from proxy.admin import events
from proxy.admin.app import start
from tests.support.fake_controller import FakeController

PATH = "/api/v1/events"


@pytest.fixture
async def http(controller: FakeController, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[aiohttp.ClientSession]:
    monkeypatch.setattr(events, "LOOK_S", 0.02)
    sock = socket.create_server(("127.0.0.1", 0))
    runner = await start(controller, sock)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{sock.getsockname()[1]}") as session:
        yield session
    await runner.cleanup()


async def event(response: aiohttp.ClientResponse) -> dict[str, Any]:
    """The next event that is no comment; empty at the end of the stream."""
    while True:
        async with asyncio.timeout(10):
            found: dict[str, Any] = {}
            while line := (await response.content.readline()).decode().rstrip("\n"):
                name, _, value = line.partition(": ")
                found[name] = value
            if "event" in found:
                return {**found, "data": json.loads(found["data"])}
            if response.content.at_eof():
                return {}


def entry(number: int) -> dict[str, Any]:
    return {"id": number, "at": 1.0, "route": "fraud", "kind": "stage", "actor": "controller", "text": f"ö {number}",
            "details": {}}  # fmt: skip


async def test_what_happens_is_told(http, controller):
    """Broken: a dashboard shows a rollout that ended long ago."""
    async with http.get(PATH) as response:
        assert response.content_type == "text/event-stream"
        assert (await response.content.readline()).startswith(b"retry: ")
        controller.entries.insert(0, entry(51))
        told = await event(response)
        assert (told["event"], told["id"], told["data"]) == ("journal", "51", entry(51))
        controller.document["phase"] = "Aborted"
        told = await event(response)
        assert (told["event"], told["data"]["name"], told["data"]["phase"]) == ("route", "fraud", "Aborted")
        assert told["data"]["metrics"]["latency.p99"] == "passed"
        controller.document["reason"] = "941 are there"
        controller.entries.insert(0, entry(52))
        assert (await event(response))["event"] == "journal", "a reason that changes every second is no event"


@pytest.mark.parametrize("given", [{"params": {"after": "48"}}, {"headers": {"Last-Event-ID": "48"}}])
async def test_a_client_that_comes_back_misses_nothing(http, controller, given):
    """Broken: what happened while the connection was away is never told, or is told twice."""
    async with http.get(PATH, **given) as response:
        ids = [(await event(response))["id"] for _ in range(2)]
        controller.entries.insert(0, entry(51))
        assert [*ids, (await event(response))["id"]] == ["49", "50", "51"]


async def test_a_silent_stream_stays_open(http, monkeypatch):
    """Broken: every proxy on the way cuts the stream while nothing happens."""
    monkeypatch.setattr(events, "HEARTBEAT_S", 0.05)
    async with http.get(PATH) as response:
        async with asyncio.timeout(10):
            while not (await response.content.readline()).startswith(b": "):
                pass


async def test_a_slow_client_is_dropped_and_told():
    """Broken: one client that does not read fills the controller's memory."""
    listener = events.Listener()
    for number in range(events.MOST_QUEUED + 5):
        listener.tell(number, b"x")
    assert listener.ended == "dropped"
    assert len(await listener.next()) == events.MOST_QUEUED


async def test_a_client_that_does_not_read_is_let_go(http, controller, monkeypatch):
    """Broken: streams that nobody reads take the places of those that are read."""
    monkeypatch.setattr(events, "WRITE_S", 0.1)
    monkeypatch.setattr(events, "MOST_LISTENERS", 1)
    host, port = http._base_url.host, http._base_url.port
    reader, writer = await asyncio.open_connection(host, port, limit=1024)
    writer.write(f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    await reader.readline()
    for number in range(51, 251):
        controller.entries.insert(0, entry(number) | {"text": "x" * 100_000})
    for _ in range(200):
        async with http.get(PATH) as response:
            if response.status == 200:
                break
            assert (await response.json(content_type=None))["type"].endswith("too-many-listeners")
        await asyncio.sleep(0.05)
    else:
        raise AssertionError("it still has its place")
    writer.close()


async def test_a_change_of_access_ends_streams(http, controller):
    """Broken: a token that was taken back goes on listening."""
    async with http.get(PATH) as response:
        await response.content.readline()
        controller.entries.insert(0, entry(51))
        assert await event(response)
        controller.admin = Admin.model_validate({"allowInsecure": True})
        assert await event(response) == {}


async def test_streams_end_with_the_process(controller):
    """Broken: a controller that ends waits for whoever listens."""
    sock = socket.create_server(("127.0.0.1", 0))
    runner = await start(controller, sock)
    url = f"http://127.0.0.1:{sock.getsockname()[1]}{PATH}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        await response.content.readline()
        async with asyncio.timeout(1.5):
            await runner.cleanup()
