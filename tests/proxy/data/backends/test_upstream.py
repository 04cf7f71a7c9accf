"""Which endpoints of a backend are usable, and which of them serves next."""

from __future__ import annotations

from typing import Any

from proxy.data.backends.connection import Connection
from proxy.data.backends.pool import Pool
from proxy.data.backends.upstream import Nobody, Upstream
from proxy.data.exchanges.attempt import PENDING_BYTES
from proxy.faults import Fault, Skip
from proxy.snapshot import CIRCLE, Backend, Balancing, Endpoint, Mirror, Outliers
from tests.support.plane import ROWS, Clock, Network, Plane, answer, request, split
from tests.support.transports import settle

ENDPOINTS = tuple(Endpoint("v1.test", port) for port in (1, 2, 3, 4))
OUTLIERS = Outliers(server_errors=2, interval_s=10.0, ejection_s=30.0)


def upstream(endpoints: int = 4, before: Upstream | None = None, **settings: Any) -> Upstream:
    return Upstream(Backend("v1", ENDPOINTS[:endpoints], **settings), before)


def picked(of: Upstream, picks: int = 48) -> list[int]:
    """How often each endpoint was picked, by port."""
    ports = [of.pool().endpoint.port for _ in range(picks)]
    return [ports.count(pool.endpoint.port) for pool in of.pools]


def events(of: Upstream) -> list[str]:
    found = [event for _, event, _ in of.news]
    of.news.clear()
    return found


class Asker:
    """Borrows a connection, and hears nothing of it."""

    connection: Connection | None = None

    def upstream_ready(self, connection: Connection) -> None:
        self.connection = connection


def fail(pool: Pool, times: int = 2) -> None:
    assert pool.watch is not None
    for _ in range(times):
        pool.watch.answered(503)


async def test_endpoints_take_turns() -> None:
    """Every replica of a version does its part."""
    backend = upstream(3)
    turns = [backend.pool() for _ in range(9)]
    assert [turns.count(pool) for pool in backend.pools] == [3, 3, 3]
    assert turns[:3] == turns[3:6]


async def test_least_request_sees_who_is_busy(clock: Clock, network: Network) -> None:
    """What is under way would be counted wrong, and an endpoint that hangs get as much as the others."""
    backend = upstream(2, balancing=Balancing("leastRequest"))
    busy, idle = backend.pools
    asking = Asker()
    busy.acquire(asking, False, 1.0)  # type: ignore[arg-type]
    assert (busy.in_flight, idle.in_flight, backend.pool()) == (1, 0, idle), "it waits for its connection"
    await settle()
    assert {backend.pool() for _ in range(20)} == {idle}
    assert asking.connection is not None
    busy.release(asking.connection)
    assert (busy.in_flight, idle.in_flight) == (0, 0)
    assert {backend.pool() for _ in range(40)} == {busy, idle}


async def test_what_checks_say_holds_at_once(clock: Clock) -> None:
    """Requests would go on to an endpoint that is known to be down, or it would never come back."""
    backend = upstream(4)
    backend.judge(frozenset({ENDPOINTS[1]}))
    assert picked(backend) == [16, 0, 16, 16]
    backend.judge(frozenset())
    assert picked(backend) == [12, 12, 12, 12]


async def test_too_few_are_no_reason_to_overrun_them(clock: Clock) -> None:
    """The last healthy endpoint would get the traffic of all, and fall too. Half is not fewer than half."""
    backend = upstream(4)
    backend.judge(frozenset(ENDPOINTS[:2]))
    assert picked(backend) == [0, 0, 24, 24]
    assert not backend.panic
    backend.judge(frozenset(ENDPOINTS[:3]))
    assert picked(backend) == [12, 12, 12, 12]
    assert backend.panic
    assert events(backend) == ["panic: the health of endpoints is ignored"]
    backend.judge(frozenset(ENDPOINTS[:2]))
    assert events(backend) == ["panic is over"]
    assert picked(backend) == [0, 0, 24, 24]


async def test_without_panic_nobody_serves(clock: Clock) -> None:
    """Clients would wait for endpoints that are known to be down."""
    backend = upstream(2, balancing=Balancing(panic_share=0.0))
    backend.judge(frozenset(ENDPOINTS))
    assert isinstance(backend.pool(), Nobody)
    backend.judge(frozenset(ENDPOINTS[:1]))
    assert backend.pool() is backend.pools[1]


async def test_what_is_out_gets_nothing_whatever_its_health(clock: Clock) -> None:
    """A replica that is being replaced would go on to get requests, or a panic would send some to where nobody is."""
    backend = upstream(4)
    backend.judge(frozenset(), frozenset(ENDPOINTS[:1]))
    assert picked(backend) == [0, 16, 16, 16]
    assert not backend.panic
    backend.judge(frozenset(ENDPOINTS[1:3]), frozenset(ENDPOINTS[:1]))
    assert backend.panic, "one of three is fewer than half"
    assert picked(backend) == [0, 16, 16, 16]
    backend.judge(frozenset(), frozenset(ENDPOINTS))
    assert isinstance(backend.pool(), Nobody)
    backend.judge(frozenset())
    assert picked(backend) == [12, 12, 12, 12]


async def test_what_comes_in_again_starts_slowly(clock: Clock) -> None:
    """A replica that was replaced is as cold as a new one."""
    backend = upstream(2, balancing=Balancing(slow_start_s=10.0, slow_start_share=0.2))
    backend.judge(frozenset(), frozenset({ENDPOINTS[1]}))
    assert backend.pool() is backend.pools[0]
    backend.judge(frozenset())
    assert [pool.standing.share for pool in backend.pools] == [1, 0.2]


async def test_one_that_fails_is_left_out_and_comes_back(clock: Clock) -> None:
    """A broken replica would fail its share of the requests for ever."""
    backend = upstream(4, outliers=OUTLIERS)
    backend.sweep(clock())
    fail(backend.pools[2], 1)
    assert picked(backend) == [12, 12, 12, 12]
    fail(backend.pools[2], 1)
    assert picked(backend) == [16, 16, 0, 16]
    for _ in range(29):
        clock.move(1.0)
        backend.sweep(clock())
    assert picked(backend) == [16, 16, 0, 16]
    clock.move(1.0)
    backend.sweep(clock())
    assert picked(backend) == [12, 12, 12, 12]
    assert events(backend) == ["endpoint ejected", "endpoint back"]


async def test_ejections_are_not_for_most_of_them(clock: Clock) -> None:
    """A version that fails everywhere is for the judge of versions, not for balancing."""
    backend = upstream(4, outliers=Outliers(server_errors=1, max_ejected_share=1.0, min_health_share=0.6))
    fail(backend.pools[0], 1)
    assert picked(backend) == [0, 16, 16, 16]
    fail(backend.pools[1], 1)
    assert picked(backend) == [12, 12, 12, 12]
    assert not backend.panic


async def test_checks_and_ejections_add_up(clock: Clock) -> None:
    """Either of them alone leaves an endpoint out, and both count for the panic."""
    backend = upstream(4, outliers=OUTLIERS)
    backend.judge(frozenset({ENDPOINTS[0]}))
    fail(backend.pools[1])
    assert picked(backend) == [0, 0, 24, 24]
    fail(backend.pools[2])
    assert picked(backend) == [12, 12, 12, 12]
    assert backend.panic


async def test_a_changed_backend_remembers_its_endpoints(clock: Clock) -> None:
    """An edit of the file would send traffic to a replica that was just found broken."""
    before = upstream(3, outliers=OUTLIERS)
    fail(before.pools[0])
    after = upstream(4, before, outliers=OUTLIERS, max_pending=7)
    assert picked(after) == [0, 16, 16, 16]
    assert after.pools[0] is not before.pools[0]


async def test_what_a_retired_pool_hears_is_nobodys(clock: Clock, network: Network) -> None:
    """Requests that were on their way at a reload would eject an endpoint that the new pool goes on to use."""
    before = upstream(2, outliers=Outliers(server_errors=1))
    borrower = Asker()
    before.pools[0].acquire(borrower, False, 1.0)  # type: ignore[arg-type]
    await settle()
    after = upstream(2, before, outliers=Outliers(server_errors=1), max_pending=7)
    for pool in before.pools:
        pool.retire()
    assert borrower.connection is not None
    borrower.connection.abandon(Fault.REQUEST_TIMEOUT)
    assert after.pools[0].standing.ejected == 0
    assert set(picked(after)) == {24}


async def test_states_are_those_of_the_endpoints_of_the_file(clock: Clock) -> None:
    """A person would be told of another endpoint, or the worker would stumble over one that is listed twice."""
    backend = Upstream(Backend("v1", (ENDPOINTS[0], ENDPOINTS[1], ENDPOINTS[0]), outliers=OUTLIERS))
    fail(backend.pools[1])
    other = Pool(backend.backend, ENDPOINTS[1])
    backend.pools = (*backend.pools, other)
    states = [state for _, state in backend.states()]
    assert [state.addresses for state in states] == [2, 2, 2]
    assert [(state.ejected, state.until_s, state.ejections) for state in states] == [
        (0, 0.0, 0), (1, clock() + 30.0, 1), (0, 0.0, 0),
    ]  # fmt: skip
    assert len({tag for tag, _ in backend.states()}) == 2


async def test_what_comes_to_others_starts_slowly(clock: Clock) -> None:
    """A replica without its caches would get all of its traffic at once; those that were there are spared nothing."""
    slow = Balancing(slow_start_s=100.0, slow_start_share=0.1)
    before = upstream(3, balancing=slow)
    assert [pool.standing.share for pool in before.pools] == [1, 1, 1]
    after = upstream(4, before, balancing=slow)
    assert [pool.standing.share for pool in after.pools] == [1, 1, 1, 0.1]
    clock.move(60.0)
    after.sweep(clock())
    assert [pool.standing.share for pool in after.pools] == [1, 1, 1, 0.6]
    clock.move(40.0)
    after.sweep(clock())
    assert [pool.standing.share for pool in after.pools] == [1, 1, 1, 1]


async def test_what_is_back_starts_slowly(clock: Clock) -> None:
    """A replica that was restarted is as cold as a new one."""
    backend = upstream(4, balancing=Balancing(slow_start_s=10.0, slow_start_share=0.2))
    backend.judge(frozenset({ENDPOINTS[3]}))
    assert backend.pools[3].standing.share == 1
    backend.judge(frozenset())
    assert backend.pools[3].standing.share == 0.2
    clock.move(5.0)
    backend.sweep(clock())
    assert backend.pools[3].standing.share == 0.5


async def test_pools_may_be_replaced_at_any_moment(clock: Clock) -> None:
    """Addresses of a name come and go while requests are on their way."""
    backend = upstream(2, outliers=OUTLIERS)
    fail(backend.pools[0])
    new = Pool(backend.backend, ENDPOINTS[2])
    backend.pools = (*backend.pools, new)
    assert picked(backend) == [0, 24, 24]
    assert new.watch is not None
    backend.pools = ()
    assert isinstance(backend.pool(), Nobody)


# --- as requests see it


def two(plane: Plane, **settings: Any) -> None:
    """Let the stable version have two endpoints on hosts of their own."""
    plane.backends[0] = Backend("v1", (Endpoint("a.test", 1), Endpoint("b.test", 2)), **settings)
    plane.adopt()


async def exchange(plane: Plane) -> str:
    """One request that is refused, or answered 200 by whoever was asked; who that was."""
    client = plane.client()
    before = {host: len(made) for host, made in plane.network.made.items()}
    client.send(request())
    await settle()
    for host, made in plane.network.made.items():
        if len(made) > before.get(host, 0):
            made[-1].answer(answer(b"x", headers=("Connection: close",)))
            await settle()
            return host
    return split(client.take())[0].split()[1]


async def test_a_dead_endpoint_costs_a_handful_of_requests(plane: Plane) -> None:
    """Every other request would fail until somebody edits the file. The failures stay those of the version."""
    two(plane, outliers=Outliers(server_errors=3))
    plane.network.refusing.add("a.test")
    served = [await exchange(plane) for _ in range(30)]
    assert served.count("503") == 3
    assert set(served[6:]) == {"b.test"}
    assert plane.totals().failed == 3
    assert plane.totals().faults == {Fault.CONNECT_FAILED: 3}


async def test_an_endpoint_that_hangs_is_ejected(plane: Plane) -> None:
    """It takes connections and answers nothing, which no connect timeout sees."""
    two(plane, outliers=Outliers(server_errors=1))
    client = plane.client()
    client.send(request())
    await settle()
    (hung,) = plane.network.made
    plane.sweep(plane.route.request_timeout_s + 0.1)
    assert b" 504 " in client.take()
    served = {await exchange(plane) for _ in range(4)}
    assert served == {"a.test", "b.test"} - {hung}


async def test_an_answer_that_is_cut_is_a_failure_in_a_row(plane: Plane) -> None:
    """A good head would wipe out each time what its body then does."""
    two(plane, outliers=Outliers(server_errors=2))
    for _ in range(4):
        client = plane.client()
        client.send(request())
        await settle()
        host = plane.network.dialled[-1]
        if host == "a.test":
            plane.network.made[host][-1].answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab")
            plane.network.made[host][-1].reset()
        else:
            plane.network.made[host][-1].answer(answer(b"x", headers=("Connection: close",)))
        await settle()
    assert {await exchange(plane) for _ in range(4)} == {"b.test"}


async def test_clients_that_leave_eject_nobody(plane: Plane) -> None:
    """Impatient clients would take a healthy version down."""
    two(plane, outliers=Outliers(server_errors=1))
    for _ in range(4):
        client = plane.client()
        client.send(request())
        await settle()
        client.transport.lose()
        await settle()
    assert {await exchange(plane) for _ in range(4)} == {"a.test", "b.test"}


async def test_without_any_endpoint_the_answer_comes_at_once(plane: Plane) -> None:
    """A client would wait for timeouts, and would not learn which version is down."""
    two(plane, balancing=Balancing(panic_share=0.0))
    plane.context.routing.upstreams[plane.backends[0]].judge(frozenset(plane.backends[0].endpoints))
    client = plane.client()
    client.send(request())
    head, _, body = split(client.take())
    assert head.startswith("HTTP/1.1 503 ")
    assert b"no endpoint" in body
    assert b"backend v1" in body
    assert plane.totals().faults == {Fault.NO_ENDPOINT: 1}
    assert plane.totals().failed == 1
    assert plane.network.dialled == []


async def test_a_version_without_endpoints_moves_nobody(plane: Plane) -> None:
    """A user who is moved to another version by health would be counted for the wrong one."""
    two(plane, balancing=Balancing(panic_share=0.0))
    plane.context.routing.upstreams[plane.backends[0]].judge(frozenset(plane.backends[0].endpoints))
    for _ in range(5):
        assert await exchange(plane) == "503"
    assert plane.connections("v2") == plane.connections("v3") == 0


async def test_a_body_on_its_way_is_no_trouble(plane: Plane) -> None:
    """The refusal comes within the very call that asks for a connection."""
    two(plane, balancing=Balancing(panic_share=0.0))
    plane.context.routing.upstreams[plane.backends[0]].judge(frozenset(plane.backends[0].endpoints))
    client = plane.client()
    client.send(request("POST", body=b"x" * (PENDING_BYTES + 1)))
    await settle()
    assert b" 503 " in client.take()


async def test_a_copy_for_nobody_is_skipped(plane: Plane) -> None:
    """A shadow that is down hurts nobody, and what it did not get is counted."""
    plane.backends[2] = Backend("v3", plane.backends[2].endpoints, balancing=Balancing(panic_share=0.0))
    plane.adopt(mirrors=(Mirror(2, CIRCLE, ROWS["v3"]),))
    plane.context.routing.upstreams[plane.backends[2]].judge(frozenset(plane.backends[2].endpoints))
    client = plane.client()
    assert b" 200 " in await plane.exchange(client, request(), answer(b"x"))
    assert plane.totals("v3").skips == {Skip.NO_CONNECTION: 1}
    assert plane.connections("v3") == 0
