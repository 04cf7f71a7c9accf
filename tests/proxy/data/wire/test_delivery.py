"""What the kernel knows of the end of a connection, on real sockets."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.data.backends.pool import STALE_AFTER_S
from proxy.data.wire.delivery import delivered
from proxy.faults import Fault, Retry
from tests.support.plane import Plane, answer, request, split
from tests.support.transports import FakeTransport, settle

REQUEST = b"y" * 1000


class Client(asyncio.Protocol):
    """Notes at the end of the stream whether all was delivered."""

    def __init__(self) -> None:
        self.answered, self.over = asyncio.Event(), asyncio.Event()
        self.delivered: bool | None = None
        self.error: Exception | None = None

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.answered.set()

    def eof_received(self):
        self.delivered = delivered(self.transport)

    def connection_lost(self, exc):
        self.error = exc
        self.over.set()


async def meet(listening: socket.socket, connect: Callable, reads: bool, late_s: float) -> Client:
    """One exchange; then the server closes, having read a second request or just before it comes."""
    go = threading.Event()

    def serve() -> None:
        with listening, listening.accept()[0] as sock:
            sock.recv(100)
            sock.sendall(b"first")
            go.wait()
            if reads:
                sock.recv(65536)

    thread = threading.Thread(target=serve)
    thread.start()
    _, client = await connect(Client)
    client.transport.write(b"x" * 10)
    await client.answered.wait()
    if reads:
        client.transport.write(REQUEST)
        await asyncio.sleep(late_s)
        go.set()
    else:
        go.set()
        thread.join()  # the end of the stream is here, and our loop does not know
        client.transport.write(REQUEST)
        time.sleep(late_s)  # noqa: ASYNC251 - the loop must not see it
    await client.over.wait()
    thread.join()
    return client


@pytest.mark.parametrize("late_s", [0.0, 0.05], ids=["at once", "late"])
@pytest.mark.parametrize("reads", [True, False], ids=["read", "unread"])
async def test_tcp_tells_a_request_that_was_read_from_one_that_met_a_close(reads: bool, late_s: float) -> None:
    """Taken for delivered what was not, a race costs a client its request; the other way round a request is acted upon
    twice, and its first failure is hidden."""
    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()
    loop = asyncio.get_running_loop()
    client = await meet(listening, lambda factory: loop.create_connection(factory, *address), reads, late_s)
    assert (client.delivered, client.error) == (reads, None)


@pytest.mark.parametrize("reads", [True, False], ids=["read", "unread"])
async def test_unix_sockets_end_in_order_only_if_all_was_read(tmp_path: Path, reads: bool) -> None:
    """The same, for the model server beside the proxy."""
    path = str(tmp_path / "s")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen()
    loop = asyncio.get_running_loop()
    client = await meet(listening, lambda factory: loop.create_unix_connection(factory, path), reads, 0.0)
    assert client.delivered is (True if reads else None)
    assert (client.error is None) is reads


def test_where_nothing_is_known_nothing_is_certain() -> None:
    """A transport without a socket would end the worker, or every race would be a failure."""
    assert not delivered(FakeTransport(asyncio.Protocol()))


async def test_a_request_that_was_delivered_is_not_sent_again(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that reads a request and dies would be asked twice, and look well if it answers then."""
    monkeypatch.setattr("proxy.data.backends.connection.delivered", lambda transport: True)
    client = plane.client()
    await plane.exchange(client, request(), answer())
    plane.clock.move(STALE_AFTER_S * 2)
    client.send(request("POST", body=b"[1]"))
    plane.backend().close()
    await settle()
    assert split(client.take())[0].startswith("HTTP/1.1 502")
    assert plane.connections() == 1
    assert plane.totals().faults == {Fault.UPSTREAM_RESET: 1}
    assert Retry.RESENT not in plane.totals().retries
