"""How connections are made. Servers are real, in this process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.data.connection import Connection
from proxy.data.dialing import Dialer, DialError
from proxy.data.pool import Pool
from proxy.faults import Fault
from proxy.snapshot import Backend, Endpoint, Tls
from tests.support.certificates import Authority
from tests.support.plane import Network, Plane, request

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

    def explain(self, error: OSError) -> tuple[Fault, str]:
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
        assert "cannot be read" in caught.value.said
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

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.told = asyncio.Event()

    def upstream_ready(self, connection: Connection) -> None:
        """The server has read the client's part of the handshake, and finds no certificate in it."""
        error = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert certificate required")
        error.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
        connection.transport.lose(error)  # type: ignore[attr-defined]

    def upstream_lost(self, fault: Fault, clean: bool) -> None:
        self.faults.append(fault)
        self.told.set()


async def test_an_alert_after_the_handshake_is_a_failure_of_tls(network: Network) -> None:
    """A server of TLS 1.3 that wants a client certificate says so after the handshake: it is no crash of the model."""
    endpoint = Endpoint("v1.test", 443, tls=True)
    pool, borrower = Pool(Backend("v1", (endpoint,)), endpoint), Borrower()
    pool.acquire(borrower, False, 5.0)  # type: ignore[arg-type]
    await asyncio.wait_for(borrower.told.wait(), 5)
    assert borrower.faults == [Fault.TLS_FAILED]
    assert pool.why(Fault.TLS_FAILED) == "it asks for a client certificate"
    assert pool.why(Fault.UPSTREAM_RESET) == ""
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
