"""How connections are made. Servers are real, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.data.backends import dialing
from proxy.data.backends.connection import Connection
from proxy.data.backends.dialing import MAX_TRIES, Dialer, DialError
from proxy.data.backends.pool import Pool
from proxy.data.backends.resolving import Name
from proxy.faults import Fault
from proxy.snapshot import Backend, Endpoint, Tls
from tests.support.certificates import Authority
from tests.support.plane import Network, Plane, request
from tests.support.transports import FakeTransport, settle

PLAIN = Tls()


class Lender:
    """A pool that only counts."""

    watch = None

    def __init__(self) -> None:
        self.made = self.lost = 0

    def adopt(self, connection: Connection) -> None:
        self.made += 1

    def forget(self, connection: Connection) -> None:
        self.lost += 1

    def explain(self, error: Exception | None) -> tuple[Fault, str]:
        return Fault.TLS_FAILED, ""


async def dial(endpoint: Endpoint, tls: Tls = PLAIN, timeout_s: float = 5.0) -> Connection:
    lender = Lender()
    async with asyncio.timeout(timeout_s):
        return await Dialer(Backend("v1", (endpoint,), tls=tls), endpoint).dial(lambda: Connection(lender))


async def refused(endpoint: Endpoint, tls: Tls = PLAIN) -> DialError:
    with pytest.raises(DialError) as caught:
        await dial(endpoint, tls)
    return caught.value


@contextlib.asynccontextmanager
async def server(context: ssl.SSLContext | None = None, first: bytes | None = None) -> AsyncIterator[int]:
    """A server that says `first` once it was spoken to, and closes; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.read(100)
            writer.write(first or b"")
            writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as listening:
        yield listening.sockets[0].getsockname()[1]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_tls(authority: Authority) -> None:
    """Requests would travel in the clear, or not at all."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("models.internal"))
    async with server(context) as port:
        endpoint = Endpoint("127.0.0.1", port, tls=True)
        trusting = Tls(ca_file=str(authority.certificate), server_name="models.internal")
        connection = await dial(endpoint, trusting)
        assert connection.transport.get_extra_info("ssl_object").version() == "TLSv1.3"
        connection.transport.abort()
        error = await refused(endpoint, Tls(ca_file=str(authority.certificate)))
        assert (error.fault, error.said) == (
            Fault.TLS_FAILED,
            "its certificate is for another address than 127.0.0.1",
        )


@pytest.mark.parametrize(
    ("first", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it does not speak TLS at this port"),
        (None, "it closed the connection during the handshake"),
    ],
)
async def test_a_server_without_tls(first: bytes | None, said: str) -> None:
    """The most usual slip: https for a port that speaks http."""
    async with server(first=first) as port:
        error = await refused(Endpoint("127.0.0.1", port, tls=True), Tls(verify=False))
    assert (error.fault, error.said) == (Fault.TLS_FAILED, said)


async def test_files_that_went_away_are_told_and_looked_for_again(authority: Authority, tmp_path: Path) -> None:
    """A worker that starts in the middle of a rotation would fail until somebody starts it again."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("localhost"))
    trusted = tmp_path / "trusted.pem"
    tls = Tls(ca_file=str(trusted), server_name="localhost")
    async with server(context) as port:
        endpoint = Endpoint("127.0.0.1", port, tls=True)
        dialer = Dialer(Backend("v1", (endpoint,), tls=tls), endpoint)
        with pytest.raises(DialError) as caught:
            await dialer.dial(lambda: Connection(Lender()))
        assert caught.value.fault is Fault.TLS_FAILED
        assert "cannot be used: no such file" in caught.value.said
        trusted.write_bytes(authority.certificate.read_bytes())
        (await dialer.dial(lambda: Connection(Lender()))).transport.abort()


async def test_unix_sockets(tmp_path: Path) -> None:
    """A sidecar's model server needs no port. What is missing is named, and where nobody listens is told apart."""
    path = tmp_path / "m.sock"
    endpoint = Endpoint("", 0, path=str(path))
    error = await refused(endpoint)
    assert (error.fault, error.said) == (Fault.CONNECT_FAILED, "there is no such socket")
    async with await asyncio.start_unix_server(lambda _, writer: writer.close(), path):
        (await dial(endpoint)).transport.abort()
    with socket.socket(socket.AF_UNIX) as left_over:
        path.unlink(missing_ok=True)
        left_over.bind(str(path))
        assert (await refused(endpoint)).said == "nobody listens there"
    assert str(Dialer(Backend("v1", (endpoint,)), endpoint)) == f"unix:{path}"


async def test_errors_without_a_name_of_their_own() -> None:
    """An unknown error would be told as nothing at all."""
    dialer = Dialer(Backend("v1", ()), Endpoint("::1", 80))
    assert dialer.explain(OSError(113, "No route to host")).said == "no route to host"
    assert dialer.explain(OSError("odd")).said == "odd"
    assert str(dialer) == "http://[::1]:80"


class Borrower:
    """Notes the faults that it is told."""

    def __init__(self, end: Exception | None) -> None:
        self.end = end
        self.faults: list[Fault] = []
        self.told = asyncio.Event()

    def upstream_ready(self, connection: Connection) -> None:
        """The server has read the client's part of the handshake, and finds no certificate in it."""
        connection.transport.lose(self.end)  # type: ignore[attr-defined]

    def upstream_lost(self, fault: Fault, clean: bool) -> None:
        self.faults.append(fault)
        self.told.set()


ALERT = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required")
ALERT.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"


@pytest.mark.parametrize(
    ("end", "fault", "said"),
    [
        (ALERT, Fault.TLS_FAILED, "it asks for a client certificate"),
        (None, Fault.UPSTREAM_RESET, "it closed a new TLS connection without an answer"),
    ],
)
async def test_a_handshake_that_fails_after_its_end(
    network: Network, end: Exception | None, fault: Fault, said: str
) -> None:
    """A server of TLS 1.3 that wants a client certificate says so after the handshake, or just closes: whoever looks
    for a crash of the model would look for long."""
    endpoint = Endpoint("v1.test", 443, tls=True)
    pool, borrower = Pool(Backend("v1", (endpoint,)), endpoint), Borrower(end)
    pool.acquire(borrower, False, 5.0)  # type: ignore[arg-type]
    await asyncio.wait_for(borrower.told.wait(), 5)
    assert borrower.faults == [fault]
    assert pool.why(fault).startswith(said)
    assert pool.why(Fault.CONNECT_FAILED) == ""
    assert network.dialled == ["v1.test"]


async def test_the_client_is_told_why(plane: Plane) -> None:
    """Whoever calls would see a 503 and would have to guess."""
    plane.backends[0] = Backend("v1", (Endpoint("", 0, path="/nowhere/m.sock"),))
    plane.adopt()
    client = plane.client()
    client.send(request())
    answer = b""
    async with asyncio.timeout(5):
        while not answer:
            await asyncio.sleep(0.001)
            answer = client.take()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"route all, backend v1: there is no such socket" in answer


@pytest.mark.parametrize(("notified", "end"), [(True, b"0\r\n\r\n"), (False, b"")])
async def test_an_answer_that_somebody_cut_is_not_whole(plane: Plane, notified: bool, end: bytes) -> None:
    """Over TLS anybody on the way can close a connection, and a part of an answer without a length would be taken for
    all of it; only the backend itself can say that it has ended."""
    client = plane.client()
    client.send(request())
    await settle()
    backend = plane.backend()
    backend.transport._extra["ssl_object"] = object()  # type: ignore[attr-defined]
    backend.answer(b"HTTP/1.1 200 OK\r\n\r\nnot guil")
    if notified:
        backend.close()
    else:
        backend.transport.lose()
    await settle()
    assert client.take().partition(b"not guil\r\n")[2] == end
    assert client.transport.aborted is not notified
    assert plane.totals().faults == ({} if notified else {Fault.RESPONSE_CUT: 1})


# --- names


def named(port: int, *addresses: str, own: str = "") -> Dialer:
    """A dialer of a name that has these addresses."""
    name = Name("m.test")
    if addresses:
        name.learn(addresses)
    endpoint = Endpoint("m.test", port)
    return Dialer(Backend("v1", (endpoint,)), endpoint, name, own)


async def test_the_next_address_is_tried_when_one_refuses(network: Network) -> None:
    """`localhost` has an address of IPv6, and the model server listens on that of IPv4 alone."""
    network.refusing |= {"::1", "10.0.0.1"}
    connection = await named(80, "10.0.0.1", "10.0.0.2", "::1", own="::1").dial(lambda: Connection(Lender()))
    assert network.dialled == ["::1", "10.0.0.1", "10.0.0.2"]
    assert network.made["10.0.0.2"][0].connection is connection


async def test_the_next_address_is_tried_while_one_is_silent(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that swallows packets would eat the whole time for a connection."""
    monkeypatch.setattr(dialing, "STAGGER_S", 0.001)
    network.silent.add("10.0.0.1")
    await asyncio.wait_for(named(80, "10.0.0.1", "10.0.0.2").dial(lambda: Connection(Lender())), 5)
    assert network.dialled == ["10.0.0.1", "10.0.0.2"]
    await settle()
    assert len(asyncio.all_tasks()) == 1, "an attempt that lost goes on"


async def test_of_two_connections_one_is_closed(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that nobody has would stay open for ever."""
    both = asyncio.Event()
    made: list[FakeTransport] = []

    async def slow(factory: Any, host: str, port: int) -> tuple[FakeTransport, Connection]:
        await both.wait()
        transport = FakeTransport(connection := factory())
        connection.connection_made(transport)
        made.append(transport)
        return transport, connection

    monkeypatch.setattr(dialing, "STAGGER_S", 0.001)
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", slow)
    dial = asyncio.ensure_future(named(80, "10.0.0.1", "10.0.0.2").dial(lambda: Connection(Lender())))
    await asyncio.sleep(0.05)
    both.set()
    connection = await dial
    await settle()
    assert [transport.closed for transport in made].count(False) == 1
    assert not connection.transport.is_closing()


async def test_not_every_address_is_tried(network: Network) -> None:
    """Of a hundred model servers that are down, each request would knock at a hundred doors."""
    addresses = tuple(f"10.0.0.{n}" for n in range(100))
    network.refusing |= set(addresses)
    with pytest.raises(DialError) as caught:
        await named(80, *addresses, own="10.0.0.7").dial(lambda: Connection(Lender()))
    assert caught.value.said == "nobody listens there"
    assert network.dialled == ["10.0.0.7", "10.0.0.8", "10.0.0.9", "10.0.0.10"]
    assert len(network.dialled) == MAX_TRIES


async def test_a_name_that_does_not_resolve_is_told(network: Network) -> None:
    """The client would wait for its whole timeout, and the words would be those of a server that is down."""
    dialer = named(80)
    assert dialer._name is not None
    dialer._name.learn((), "name or service not known")
    with pytest.raises(DialError) as caught:
        await dialer.dial(lambda: Connection(Lender()))
    assert caught.value.said == "the name m.test does not resolve: name or service not known"
    assert network.dialled == []


async def test_first_requests_wait_for_a_name_no_longer_than_for_a_connection(network: Network) -> None:
    """A resolver that hangs would hold requests for ten seconds each."""
    name, endpoint = Name("m.test"), Endpoint("m.test", 80)
    pool, borrower = Pool(Backend("v1", (endpoint,)), endpoint, name), Waiting()
    pool.acquire(borrower, False, 0.01)  # type: ignore[arg-type]
    await asyncio.wait_for(borrower.told.wait(), 5)
    assert borrower.faults == [Fault.CONNECT_TIMEOUT]
    assert pool.why(Fault.CONNECT_TIMEOUT) == "the name m.test did not resolve within 0.01 s"
    pool.acquire(late := Waiting(), False, 5.0)  # type: ignore[arg-type]
    name.learn(("10.0.0.1",))
    await asyncio.wait_for(late.told.wait(), 5)
    assert late.faults == []


class Waiting:
    """Waits for a connection."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.told = asyncio.Event()

    def upstream_ready(self, connection: Connection) -> None:
        self.told.set()

    def upstream_failed(self, fault: Fault) -> None:
        self.faults.append(fault)
        self.told.set()
