"""The admin API over real HTTP, in front of a fake controller."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from proxy.admin.app import start
from tests.support.fake_controller import FakeController


@pytest.fixture
def controller() -> Iterator[FakeController]:
    fake = FakeController()
    yield fake
    fake.close()


@pytest.fixture
async def http(controller: FakeController) -> AsyncIterator[aiohttp.ClientSession]:
    sock = socket.create_server(("127.0.0.1", 0))
    runner = await start(controller, sock)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{sock.getsockname()[1]}") as session:
        yield session
    await runner.cleanup()
