"""A worker and its controller, which is played over a real unix socket."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from proxy.channel import Ack, Frames, Hello, Message, Push, encode
from proxy.data.worker import Worker
from proxy.ledger.layout import W_GENERATION, create
from proxy.ledger.reader import Reader
from proxy.ledger.writer import Writer
from proxy.slot import Slot
from proxy.snapshot import Arm, Backend, Endpoint, Match, Route, RowRef, Segment, Snapshot, StringMatch
from proxy.snapshot import encode as wire


def push(generation: int, row: int = 0, backend: int = 0, path: str = "/.*") -> Push:
    arms = (Arm(backend, RowRef(row, 1)),)
    route = Route("r", (Match(path=StringMatch("regex", path)),), arms, (Segment(1_000_000, 0),), seed=1)
    return Push(wire(Snapshot(generation, (Backend("v1", (Endpoint("127.0.0.1", 1),)),), (route,))))


@pytest.mark.parametrize("bad", [push(1, row=99), push(1, backend=5), push(1, path="("), Push(b"noise")])
async def test_snapshot_that_does_not_fit_is_left_alone(tmp_path: Path, bad: Push) -> None:
    """A worker that stopped listening would route by an old snapshot for ever, and nobody would know."""
    ledger_fd, slot_fd = create(1, 2, 2), Slot.create()
    worker = Worker(0, Writer(ledger_fd, 0), Slot(slot_fd), [])
    pushes = iter([bad, push(2), push(2)])
    heard: list[Message] = []
    acknowledged = asyncio.Event()

    async def controller(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = Frames()
        writer.write(encode(next(pushes)))
        while data := await reader.read(4096):
            heard.extend(frames.feed(data))
            if Ack(0, 2) in heard:
                acknowledged.set()
        writer.close()

    server = await asyncio.start_unix_server(controller, tmp_path / "channel")
    following = asyncio.get_running_loop().create_task(worker._listen(str(tmp_path / "channel")))
    try:
        await asyncio.wait_for(acknowledged.wait(), 5)
    finally:
        following.cancel()
        server.close()
        os.close(slot_fd)
    assert heard == [Hello(0, os.getpid(), 0), Hello(0, os.getpid(), 0), Ack(0, 2)]
    assert worker.context.routing.generation == 2
    assert Reader(ledger_fd).worker(0)[W_GENERATION] == 2
    os.close(ledger_fd)
