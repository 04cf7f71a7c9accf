"""Pools of connections: who is lent which, and what happens at every bound."""

from __future__ import annotations

import asyncio
import socket

import pytest

from proxy.data.backends.connection import Connection
from proxy.data.backends.pool import STALE_AFTER_S, Pool
from proxy.data.wire.http1 import ResponseHead
from proxy.faults import Fault
from proxy.snapshot import Backend, Endpoint
from tests.support.plane import Clock, Network, PlayedBackend, answer
from tests.support.transports import settle


class Borrower:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.connection: Connection | None = None

    def upstream_ready(self, connection: Connection) -> None:
        self.connection = connection
        self.events.append("ready")

    def upstream_failed(self, fault: Fault) -> None:
        self.events.append(fault)

    def response_head(self, head: ResponseHead) -> None:
        self.events.append(head.status)

    def response_body(self, data: bytes) -> None:
        self.events.append(data)

    def response_flush(self) -> None:
        self.events.append("flush")

    def response_end(self) -> None:
        self.events.append("end")

    def upstream_lost(self, fault: Fault, clean: bool) -> None:
        self.events.append((fault, clean))

    def upstream_writable(self, writable: bool) -> None:
        self.events.append(writable)


ENDPOINT = Endpoint("v1.test", 81)


def pool(**bounds: float) -> Pool:
    return Pool(Backend("v1", (ENDPOINT,), **bounds), ENDPOINT)  # type: ignore[arg-type]


async def borrow(lender: Pool, fresh: bool = False) -> Borrower:
    borrower = Borrower()
    lender.acquire(borrower, False, 1.0, fresh=fresh)
    await settle()
    return borrower


def end(lender: Pool, network: Network, borrower: Borrower) -> None:
    """Let the backend answer, and give the connection back, as an exchange does."""
    assert borrower.connection is not None
    played(network, borrower).answer(answer(b"x"))
    assert borrower.events[-1] == "end"
    lender.release(borrower.connection)


def played(network: Network, borrower: Borrower) -> PlayedBackend:
    return next(b for b in network.made["v1.test"] if b.connection is borrower.connection)


async def test_events_of_an_answer(network: Network) -> None:
    """The order in which an exchange hears of its answer."""
    borrower = await borrow(pool())
    backend = played(network, borrower)
    backend.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nab")
    backend.answer(b"c")
    backend.answer(b"d")
    assert borrower.events == ["ready", 200, b"ab", "flush", b"c", "flush", b"d", "end"]


async def test_last_used_connection_is_lent_first(network: Network) -> None:
    """So that the others grow old and are closed when traffic falls."""
    lender = pool()
    one, two = await borrow(lender), await borrow(lender)
    end(lender, network, one)
    end(lender, network, two)
    again = await borrow(lender)
    assert again.connection is two.connection
    assert (lender.opened, lender.reused) == (2, 1)
    assert again.connection is not None
    assert not again.connection.stale


async def test_connection_that_was_idle_may_be_stale(network: Network, clock: Clock) -> None:
    """A backend closes what was idle for long, and the request that it meets is sent once more."""
    lender = pool()
    end(lender, network, await borrow(lender))
    clock.move(STALE_AFTER_S * 2)
    again = await borrow(lender)
    assert again.connection is not None
    assert again.connection.stale


async def test_fresh_means_fresh(network: Network) -> None:
    """A second attempt on another stale connection would fail as the first."""
    lender = pool()
    end(lender, network, await borrow(lender))
    borrower = await borrow(lender, fresh=True)
    assert lender.opened == 2
    assert borrower.connection is not None
    assert not borrower.connection.stale


async def test_bounds_of_pool_and_queue(network: Network) -> None:
    """A flood waits in a queue with an end, and is refused beyond it."""
    lender = pool(max_connections=2, max_pending=2)
    borrowers = [await borrow(lender) for _ in range(5)]
    assert [b.events for b in borrowers] == [["ready"], ["ready"], [], [], [Fault.OVERFLOW]]
    end(lender, network, borrowers[1])
    assert borrowers[2].events == ["ready"]
    assert borrowers[2].connection is borrowers[1].connection
    end(lender, network, borrowers[0])
    assert borrowers[3].events == ["ready"]
    assert lender.opened == 2


async def test_lost_connection_makes_room(network: Network) -> None:
    """Who waits for a connection that breaks is served by a new one."""
    lender = pool(max_connections=1)
    one, two = await borrow(lender), await borrow(lender)
    played(network, one).reset()
    await settle()
    assert one.events == ["ready", (Fault.UPSTREAM_RESET, False)]
    assert two.events == ["ready"]


async def test_failed_connect_makes_room(network: Network) -> None:
    """Who waits behind a connect that fails must not wait for its own deadline."""
    network.refusing.add("v1.test")
    lender = pool(max_connections=1)
    borrowers = [Borrower() for _ in range(3)]
    for borrower in borrowers:
        lender.acquire(borrower, False, 1.0)
    await settle(20)
    assert [b.events for b in borrowers] == [[Fault.CONNECT_FAILED]] * 3


async def test_cancelled_connect_makes_room(network: Network) -> None:
    """Likewise where the first one gave up."""
    network.silent.add("v1.test")
    lender = pool(max_connections=1)
    one, two, three = Borrower(), Borrower(), Borrower()
    for borrower in (one, two, three):
        lender.acquire(borrower, False, 5.0)
    await settle()
    network.silent.clear()
    lender.cancel(two)
    lender.cancel(one)
    await settle()
    assert (one.events, two.events, three.events) == ([], [], ["ready"])


async def test_connect_timeout(network: Network) -> None:
    """A host that swallows packets must not hold a request for minutes."""
    network.silent.add("v1.test")
    borrower = Borrower()
    pool().acquire(borrower, False, 0.0)
    await settle()
    assert borrower.events == [Fault.CONNECT_TIMEOUT]


async def test_connect_failure_on_a_closed_port() -> None:
    """The real thing: nobody listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        endpoint = Endpoint("127.0.0.1", sock.getsockname()[1])
        borrower = Borrower()
        Pool(Backend("v1", (endpoint,)), endpoint).acquire(borrower, False, 5.0)
        for _ in range(1000):
            if borrower.events:
                break
            await asyncio.sleep(0.001)
    assert borrower.events == [Fault.CONNECT_FAILED]


async def test_host_that_is_no_name_fails_like_any_other() -> None:
    """An exception of another kind would leave the request without an end."""
    endpoint = Endpoint("a..b", 80)
    borrower = Borrower()
    Pool(Backend("v1", (endpoint,)), endpoint).acquire(borrower, False, 5.0)
    for _ in range(1000):
        if borrower.events:
            break
        await asyncio.sleep(0.001)
    assert borrower.events == [Fault.CONNECT_FAILED]


async def test_closed_connections_are_not_lent(network: Network) -> None:
    """A backend that closes an idle connection in an orderly way costs nobody a request."""
    lender = pool()
    one = await borrow(lender)
    end(lender, network, one)
    played(network, one).close()
    two = await borrow(lender)
    assert two.events == ["ready"]
    assert two.connection is not one.connection
    end(lender, network, two)
    played(network, two).transport.close()  # under way: its protocol has not heard of it yet
    three = Borrower()
    lender.acquire(three, False, 1.0)
    await settle()
    assert three.connection is not two.connection


async def test_idle_connections_are_closed(network: Network, clock: Clock) -> None:
    """Model servers close what is idle: the proxy does it first, so that no request meets a closed one."""
    lender = pool(idle_timeout_s=50.0)
    one, two = await borrow(lender), await borrow(lender)
    end(lender, network, one)
    clock.move(30)
    end(lender, network, two)
    clock.move(30)
    lender.sweep(clock.now_s)
    assert played(network, one).transport.closed
    assert not played(network, two).transport.closed


async def test_retired_pool_lets_exchanges_end(network: Network) -> None:
    """A backend that leaves the file keeps the requests that it has, and then no connection."""
    lender = pool(max_connections=2)
    idle, busy = await borrow(lender), await borrow(lender)
    end(lender, network, idle)
    lender.retire()
    assert played(network, idle).transport.closed
    assert not played(network, busy).transport.closed
    end(lender, network, busy)
    assert played(network, busy).transport.closed


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
    ],
)
async def test_backend_that_closes_is_not_lent_again(network: Network, raw: bytes) -> None:
    """It said so."""
    lender = pool()
    one = await borrow(lender)
    played(network, one).answer(raw)
    assert one.events[-1] == "end"
    assert one.connection is not None
    lender.release(one.connection)
    two = await borrow(lender)
    assert two.connection is not one.connection


async def test_abandoned_connection_says_no_more(network: Network) -> None:
    """What still comes for a request that was given up must not reach anybody."""
    lender = pool()
    one = await borrow(lender)
    assert one.connection is not None
    one.connection.abandon(Fault.CLIENT_GONE)
    backend = played(network, one)
    assert backend.transport.aborted
    one.connection.data_received(answer(b"x"))
    await settle()
    assert one.events == ["ready"]


async def test_overflow_does_not_search_the_queue(network: Network) -> None:
    """Under overload every refusal has to be cheap: the one refused was never in the queue."""
    lender = pool(max_connections=1, max_pending=1)
    _, waiting, refused = await borrow(lender), await borrow(lender), await borrow(lender)
    assert (waiting.events, refused.events) == ([], [Fault.OVERFLOW])
    lender.cancel(refused)
    lender.cancel(waiting)
    assert (await borrow(lender)).events == []


async def test_connection_serves_so_many_requests(network: Network) -> None:
    """Replicas that are added behind one address would get no traffic; who waits gets a new connection."""
    lender = pool(max_connections=1, max_requests=2)
    one = await borrow(lender)
    end(lender, network, one)
    two, three = await borrow(lender), await borrow(lender)
    assert two.connection is one.connection
    assert three.events == []
    end(lender, network, two)
    await settle()
    assert played(network, two).transport.closed
    assert three.events == ["ready"]
    assert three.connection is not two.connection
