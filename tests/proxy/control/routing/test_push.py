"""The channel, with workers played over a real unix socket."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.channel import Ack, Frames, Hello, Message, Push, encode
from proxy.control.routing.push import PushServer


class PlayedWorker:
    """A worker that says what it is told to say."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer, self._frames = reader, writer, Frames()
        self._heard: list[Message] = []

    def say(self, message: Message) -> None:
        self.writer.write(encode(message))

    async def hear(self) -> Message:
        while not self._heard:
            data = await asyncio.wait_for(self._reader.read(1 << 20), 5)
            assert data
            self._heard += self._frames.feed(data)
        return self._heard.pop(0)

    async def closed(self) -> bool:
        while data := await asyncio.wait_for(self._reader.read(1 << 20), 5):
            self._frames.feed(data)
        return True


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "channel"


@pytest.fixture
async def server(path: Path) -> AsyncIterator[PushServer]:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    listening.setblocking(False)
    server = PushServer()
    await server.start(listening)
    yield server
    await server.close()


async def connect(path: Path, worker: int, generation: int) -> PlayedWorker:
    played = PlayedWorker(*await asyncio.open_unix_connection(str(path)))
    played.say(Hello(worker, 1000 + worker, generation))
    return played


async def test_a_push_is_acknowledged_by_everybody(server: PushServer, path: Path) -> None:
    """A stage would count as applied while a worker still routes by the one before."""
    workers = [await connect(path, index, 1) for index in range(2)]
    assert await server.acknowledged(lambda: server.holders(1) == {0, 1}, 5)
    server.push(b"two", 2)
    assert [await worker.hear() for worker in workers] == [Push(b"two"), Push(b"two")]
    workers[0].say(Ack(0, 2))
    assert await server.acknowledged(lambda: server.holders(2) == {0}, 5)
    assert not await server.acknowledged(lambda: server.holders(2) == {0, 1}, 0.01)
    workers[1].say(Ack(1, 2))
    assert await server.acknowledged(lambda: server.holders(2) == {0, 1}, 5)


async def test_a_worker_that_connects_late_gets_the_newest_snapshot(server: PushServer, path: Path) -> None:
    """A worker that was started again would serve by an old snapshot, or by none."""
    server.push(b"one", 1)
    server.push(b"two", 2)
    late = await connect(path, 0, 0)
    assert await late.hear() == Push(b"two")


async def test_a_worker_that_holds_the_snapshot_is_not_sent_it_again(server: PushServer, path: Path) -> None:
    """A new controller would not know that a worker holds what it would push."""
    server.push(b"two", 2)
    await connect(path, 0, 2)
    assert await server.acknowledged(lambda: server.holders(2) == {0}, 5)


async def test_a_worker_that_is_gone_is_forgotten(server: PushServer, path: Path) -> None:
    """A dead worker would count as connected for ever."""
    worker = await connect(path, 0, 1)
    assert await server.acknowledged(lambda: 0 in server.peers(), 5)
    worker.writer.close()
    assert await server.acknowledged(lambda: not server.peers(), 5)


async def test_a_worker_that_talks_nonsense_is_cut_off(server: PushServer, path: Path) -> None:
    """Broken bytes would end the server, or stay connected and silent."""
    worker = await connect(path, 0, 1)
    worker.writer.write(b"\xff\xff\xff\xff nonsense")
    assert await worker.closed()
    assert not server.peers()


async def test_a_worker_that_reads_nothing_is_cut_off(server: PushServer, path: Path) -> None:
    """Snapshots for a stuck worker would fill the controller's memory."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(encode(Hello(0, 1, 0)))
    assert await server.acknowledged(lambda: 0 in server.peers(), 5)
    for generation in range(1, 20):
        server.push(bytes(1 << 20), generation)
    assert await server.acknowledged(lambda: not server.peers(), 5)
    assert not reader.at_eof()
