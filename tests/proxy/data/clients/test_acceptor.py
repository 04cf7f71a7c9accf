"""Listening sockets of a worker, with real connections on the loopback address."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from proxy.control.process.listening import open_socket
from proxy.data.clients import acceptor as acceptor_module
from proxy.data.clients.acceptor import Acceptor
from proxy.data.clients.downstream import ClientConnection
from proxy.data.routing.routing import Context, Routing
from proxy.faults import Fault
from proxy.ledger.layout import W_ACCEPTED, W_CONNECTIONS, W_TURNED_AWAY, create
from proxy.ledger.reader import Reader
from proxy.ledger.writer import Writer
from proxy.snapshot import Certificate, Limits, Listener, ServerTls, Snapshot
from tests.support.certificates import Authority

HELLO = b"GET / HTTP/1.1\r\nHost: m.test\r\n\r\n"
LINE = b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 443\r\n"


class Doors:
    """One acceptor, and what came of it."""

    def __init__(self, folder: Any) -> None:
        fd = create(1, 2, 2)
        self.writer, self.reader = Writer(fd, 0), Reader(fd)
        os.close(fd)
        self.context = Context(Routing(Snapshot(0), self.writer), self.writer, b"test")
        self.clients: set[ClientConnection] = set()
        self.told: list[tuple[str, str, dict[str, object]]] = []
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.listening.setblocking(False)
        self.port = self.listening.getsockname()[1]
        self.acceptor = Acceptor(self.context, self.clients, 0, self.listening, self._log)

    def _log(self, level: str, event: str, **facts: object) -> None:
        self.told.append((level, event, facts))

    async def adopt(self, listener: Listener, **limits: Any) -> None:
        snapshot = Snapshot(self.context.routing.generation + 1, listeners=(listener,), limits=Limits(**limits))
        self.context.routing = Routing(snapshot, self.writer, self.context.routing)
        await self.acceptor.adopt()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, *pieces: bytes) -> bytes:
        """The first line of the answer to what is sent in pieces; empty if the connection is closed."""
        reader, writer = await self.connect()
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(0.005)
        with contextlib.suppress(ConnectionError):
            return await asyncio.wait_for(reader.readline(), 5)
        return b""

    def refused(self) -> float:
        return self.reader.worker(0)[16 + Fault.PROXY_HEADER]

    async def until(self, holds: Any) -> None:
        """Poll, for things that happen in the kernel first."""
        async with asyncio.timeout(5):
            while not holds():  # noqa: ASYNC110 - what is polled is in the ledger, which has no events
                await asyncio.sleep(0.002)


@pytest.fixture
async def doors(tmp_path: Any) -> AsyncIterator[Doors]:
    doors = Doors(tmp_path)
    yield doors
    doors.acceptor.close()
    for client in list(doors.clients):
        client.abort()


PROXIED = Listener("x", proxy_protocol=True)


async def test_a_client_is_who_the_header_says(doors: Doors) -> None:
    """All clients of a load balancer would be one, and its bytes would be taken for a request."""
    await doors.adopt(PROXIED)
    _, writer = await doors.connect()
    for byte in LINE:
        writer.write(bytes((byte,)))
        await asyncio.sleep(0)
    await doors.until(lambda: doors.clients)
    (client,) = doors.clients
    assert client._caller.address == "203.0.113.9"
    assert doors.reader.worker(0)[W_ACCEPTED] == 1


@pytest.mark.parametrize("pieces", [(LINE + HELLO,), (LINE, HELLO), (LINE[:3], LINE[3:] + HELLO[:5], HELLO[5:])])
async def test_what_follows_the_header_is_the_request(doors: Doors, pieces: tuple[bytes, ...]) -> None:
    """A request that comes with the header, or in pieces after it, would be lost."""
    await doors.adopt(PROXIED)
    assert await doors.ask(*pieces) == b"HTTP/1.1 404 Not Found\r\n"


BLOCK = b"\r\n\r\n\x00\r\nQUIT\n" + struct.pack("!BBH", 0x21, 0x99, 0)


@pytest.mark.parametrize("sent", [HELLO, LINE[:-6] + b"\r\n", b"\x16\x03\x01", BLOCK])
async def test_no_header_no_client(doors: Doors, sent: bytes) -> None:
    """Whoever reaches the port beside the load balancer would be served, under the address of his choice."""
    await doors.adopt(PROXIED)
    assert await doors.ask(sent) == b""
    await doors.until(lambda: doors.refused() == 1)
    assert not doors.clients
    (level, event, facts) = doors.told[0]
    assert (level, event, facts["fault"], facts["listener"]) == ("warning", "connection refused", "proxy-header", "x")


async def test_half_a_header_and_the_end(doors: Doors) -> None:
    """It would wait for ever, or be counted as a client."""
    await doors.adopt(PROXIED)
    _, writer = await doors.connect()
    writer.write(LINE[:10])
    writer.write_eof()
    await doors.until(lambda: doors.refused() == 1)


async def test_a_health_check_that_says_nothing_is_no_fault(doors: Doors) -> None:
    """Every check of a load balancer would be counted and logged as an attack."""
    await doors.adopt(PROXIED)
    _, writer = await doors.connect()
    await doors.until(lambda: doors.acceptor.waiting)
    writer.close()
    await doors.until(lambda: not doors.acceptor.waiting)
    assert doors.refused() == 0
    assert doors.told == []


async def test_a_header_that_does_not_come_is_not_awaited_for_ever(doors: Doors) -> None:
    """Connections that say nothing would use up descriptors."""
    await doors.adopt(PROXIED, head_timeout_s=0.05)
    reader, writer = await doors.connect()
    writer.write(LINE[:-1])
    assert await asyncio.wait_for(reader.read(), 5) == b""
    await doors.until(lambda: doors.refused() == 1)


async def test_only_trusted_proxies_may_say_who_it_is(doors: Doors) -> None:
    """Anybody who reaches the port could choose an address."""
    await doors.adopt(msgspec.structs.replace(PROXIED, trusted=("10.0.0.0/8",)))
    assert await doors.ask(LINE + HELLO) == b""
    await doors.adopt(msgspec.structs.replace(PROXIED, trusted=("127.0.0.0/8",)))
    assert (await doors.ask(LINE + HELLO)).startswith(b"HTTP/1.1 404")


@pytest.mark.parametrize(
    ("line", "address", "trusted"),
    [
        (LINE, "203.0.113.9", False),
        (LINE.replace(b"203.0.113.9", b"127.0.0.9"), "127.0.0.9", True),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1", False),
    ],
)
async def test_trust_is_for_whom_the_header_names(doors: Doors, line: bytes, address: str, trusted: bool) -> None:
    """A load balancer passes on bytes: what a client writes of itself would be believed because of who passes it on."""
    await doors.adopt(msgspec.structs.replace(PROXIED, trusted=("127.0.0.0/8",)))
    _, writer = await doors.connect()
    writer.write(line)
    await doors.until(lambda: doors.clients)
    (client,) = doors.clients
    assert (client._caller.address, client._caller.trusted) == (address, trusted)


async def test_an_edit_holds_for_connections_to_come(doors: Doors) -> None:
    """An edit would cut connections, or hold only after a restart."""
    await doors.adopt(Listener())
    reader, writer = await doors.connect()
    writer.write(HELLO)
    assert (await reader.readline()).startswith(b"HTTP/1.1 404")
    await doors.adopt(PROXIED)
    assert await doors.ask(HELLO) == b""
    assert (await doors.ask(LINE + HELLO)).startswith(b"HTTP/1.1 404")
    await reader.readuntil(b"}\n")
    writer.write(HELLO)
    assert (await reader.readline()).startswith(b"HTTP/1.1 404"), "who was there before goes on"
    await doors.adopt(Listener())
    assert (await doors.ask(HELLO)).startswith(b"HTTP/1.1 404")


async def test_who_waits_counts(doors: Doors) -> None:
    """Connections that never say who they are would not be bounded."""
    await doors.adopt(PROXIED, max_connections=2)
    _kept = [await doors.connect() for _ in range(2)]
    await doors.until(lambda: len(doors.acceptor.waiting) == 2)
    assert await doors.ask() == b""
    assert doors.reader.worker(0)[W_TURNED_AWAY] == 1
    assert doors.reader.worker(0)[W_CONNECTIONS] == 0


async def test_no_descriptor_left_is_not_the_end(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop would turn without a pause, or never accept anybody again."""
    monkeypatch.setattr(acceptor_module, "EXHAUSTED_S", 0.01)
    await doors.adopt(PROXIED)
    accept, failures = doors.acceptor._listening.accept, [errno.EMFILE, errno.ECONNABORTED]

    class Exhausted:
        def accept(self) -> Any:
            if failures:
                raise OSError(code := failures.pop(0), os.strerror(code))
            return accept()

        def __getattr__(self, name: str) -> Any:
            return getattr(doors.listening, name)

    monkeypatch.setattr(doors.acceptor, "_listening", Exhausted())
    assert (await doors.ask(LINE + HELLO)).startswith(b"HTTP/1.1 404")
    assert [event for _, event, _ in doors.told] == ["cannot accept"]


async def test_the_log_is_not_flooded(doors: Doors) -> None:
    """Whoever scans ports would fill the disk."""
    await doors.adopt(PROXIED)
    for _ in range(5):
        assert await doors.ask(HELLO) == b""
    await doors.until(lambda: doors.refused() == 5)
    assert len(doors.told) == 1


# ------------------------------------------------------------------ TLS


def served(authority: Authority, **more: Any) -> Listener:
    pair = authority.issue("a.test")
    tls = ServerTls((Certificate(str(pair.certificate), str(pair.key), ("a.test",)),), **more)
    return Listener("x", tls=tls)


def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority.certificate)


async def ask_safely(doors: Doors, context: ssl.SSLContext, first: bytes = b"") -> bytes:
    """The first line of an answer over TLS; what comes first is not encrypted."""
    reader, writer = await doors.connect()
    writer.write(first)
    await writer.start_tls(context, server_hostname="a.test")
    writer.write(HELLO)
    line = await asyncio.wait_for(reader.readline(), 5)
    writer.close()
    return line


@pytest.mark.parametrize("first", [b"", LINE], ids=["TLS", "a PROXY header, then TLS"])
async def test_clients_speak_tls(doors: Doors, tmp_path: Any, first: bytes) -> None:
    """Nobody could reach the proxy safely; or not through a load balancer that passes on bytes."""
    authority = Authority(tmp_path)
    await doors.adopt(msgspec.structs.replace(served(authority), proxy_protocol=bool(first)))
    assert await ask_safely(doors, trusting(authority), first) == b"HTTP/1.1 404 Not Found\r\n"


async def test_a_client_of_tls_is_known_as_such(doors: Doors, tmp_path: Any) -> None:
    """Backends would send users away from TLS, or to it in a circle."""
    authority = Authority(tmp_path)
    await doors.adopt(served(authority))
    _, writer = await doors.connect()
    await writer.start_tls(trusting(authority), server_hostname="a.test")
    await doors.until(lambda: doors.clients)
    (client,) = doors.clients
    assert (client._caller.secure, client._caller.address) == (True, "127.0.0.1")


@pytest.mark.parametrize(("sent", "reason"), [(HELLO, "http request"), (b"\x16\x03\x01\x00\x00noise", ""), (LINE, "")])
async def test_a_handshake_that_fails_is_counted(doors: Doors, tmp_path: Any, sent: bytes, reason: str) -> None:
    """Nobody would see that clients cannot come in, nor why."""
    await doors.adopt(served(Authority(tmp_path)))
    assert not (await doors.ask(sent)).startswith(b"HTTP")
    await doors.until(lambda: doors.reader.worker(0)[16 + Fault.HANDSHAKE] == 1)
    ((_, event, facts),) = doors.told
    assert (event, facts["fault"]) == ("connection refused", "tls-handshake")
    assert reason in str(facts["reason"])
    assert not doors.clients


async def test_a_handshake_that_stands_still_is_ended(doors: Doors, tmp_path: Any) -> None:
    """Half a handshake would hold a descriptor for ever."""
    await doors.adopt(served(Authority(tmp_path)), head_timeout_s=0.1)
    reader, writer = await doors.connect()
    writer.write(b"\x16\x03\x01\x02\x00")
    assert await asyncio.wait_for(reader.read(), 5) == b""
    await doors.until(lambda: doors.reader.worker(0)[16 + Fault.HANDSHAKE] == 1)


async def test_who_says_nothing_is_no_fault(doors: Doors, tmp_path: Any) -> None:
    """Browsers connect ahead of time: each would be counted as a failure."""
    await doors.adopt(served(Authority(tmp_path)), head_timeout_s=0.05)
    reader, _writer = await doors.connect()
    assert await asyncio.wait_for(reader.read(), 5) == b""
    assert doors.reader.worker(0)[16 + Fault.HANDSHAKE] == 0


async def test_without_a_certificate_nobody_comes_in(doors: Doors, tmp_path: Any) -> None:
    """A listener whose certificate cannot be read would speak without TLS, or not at all say why."""
    pair = Certificate(str(tmp_path / "gone.pem"), str(tmp_path / "gone.key"))
    await doors.adopt(Listener("x", tls=ServerTls((pair,))))
    assert await doors.ask(HELLO) == b""
    await doors.until(lambda: doors.told)
    assert doors.told[0][2]["reason"] == "there is no certificate that could be read"


async def test_a_new_certificate_is_shown_to_new_connections(doors: Doors, tmp_path: Any) -> None:
    """A renewal would cut connections, or wait for a restart."""
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    await doors.adopt(served(old))
    reader, writer = await doors.connect()
    await writer.start_tls(trusting(old), server_hostname="a.test")
    await doors.adopt(served(new))
    assert (await ask_safely(doors, trusting(new))).startswith(b"HTTP/1.1 404")
    writer.write(HELLO)
    assert (await reader.readline()).startswith(b"HTTP/1.1 404")
    with pytest.raises(ssl.SSLCertVerificationError):
        await ask_safely(doors, trusting(old))


async def test_what_does_not_change_is_not_read_again(doors: Doors, tmp_path: Any) -> None:
    """Every step of a rollout would read all certificates, in every worker."""
    listener = served(Authority(tmp_path))
    await doors.adopt(listener)
    before = doors.context.routing.listener(0)
    await doors.adopt(listener)
    assert doors.context.routing.listener(0) is before
    await doors.adopt(msgspec.structs.replace(listener, trusted=("127.0.0.1/32",)))
    assert doors.context.routing.listener(0).serving is before.serving


# ------------------------------------------------------------------ Unix-domain sockets


@pytest.fixture
async def local(tmp_path: Any) -> AsyncIterator[Doors]:
    doors = Doors(tmp_path)
    doors.listening.close()
    doors.listening = open_socket(f"unix:{tmp_path}/u.sock", 0o600)
    doors.acceptor = Acceptor(doors.context, doors.clients, 0, doors.listening, doors._log)
    yield doors
    doors.acceptor.close()
    for client in list(doors.clients):
        client.abort()


async def test_clients_come_in_at_a_path(local: Doors, tmp_path: Any) -> None:
    """A proxy beside its client would need a port that the whole machine can reach."""
    await local.adopt(Listener())
    reader, writer = await asyncio.open_unix_connection(tmp_path / "u.sock")
    await local.until(lambda: local.clients)
    (client,) = local.clients
    assert client._caller.address == "local"
    writer.write(b"GET / HTTP/1.0\r\n\r\n")
    assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 404")
    writer.close()
    await local.adopt(PROXIED)
    reader, writer = await asyncio.open_unix_connection(tmp_path / "u.sock")
    writer.write(LINE + HELLO)
    assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 404")
    writer.close()
    local.acceptor.close()
    assert (tmp_path / "u.sock").exists(), "other workers listen there"


async def test_who_is_in_the_queue_is_served(doors: Doors, local: Doors, tmp_path: Any) -> None:
    """Each deployment of the proxy would reset the connections that nobody had accepted yet."""
    for place in (doors, local):
        await place.adopt(Listener())
        place.acceptor._stop()
    reader, writer = await doors.connect()
    at_path, to_path = await asyncio.open_unix_connection(tmp_path / "u.sock")
    for place in (doors, local):
        place.context.draining = True
        place.acceptor.close()
    for answer, request in ((reader, writer), (at_path, to_path)):
        request.write(HELLO)
        assert (await asyncio.wait_for(answer.readline(), 5)).startswith(b"HTTP/1.1 404")


async def test_a_drain_does_not_wait_for_who_says_nothing(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    """One connection that a browser made ahead of time would hold up every deployment; or one whose first byte is on
    its way would be reset."""
    monkeypatch.setattr(acceptor_module, "DRAIN_S", 0.2)
    await doors.adopt(PROXIED)
    silent, _kept = await doors.connect()
    reader, writer = await doors.connect()
    await doors.until(lambda: len(doors.acceptor._silent) == 2)
    doors.context.draining = True
    doors.acceptor.close()
    writer.write(LINE + HELLO)
    assert (await asyncio.wait_for(reader.readline(), 5)).startswith(b"HTTP/1.1 404")
    await doors.until(lambda: not doors.acceptor.waiting)
    assert await asyncio.wait_for(silent.read(), 5) == b""
