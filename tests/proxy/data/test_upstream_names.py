"""The addresses of a backend's names come and go, and requests do not notice."""

from __future__ import annotations

import asyncio

import msgspec

from proxy.data.backends.connection import Connection
from proxy.data.backends.resolving import Names
from proxy.data.backends.upstream import Upstream
from proxy.data.routing.routing import Routing
from proxy.faults import Fault
from proxy.snapshot import Backend, Balancing, Endpoint, Snapshot
from tests.support.plane import Network, Plane
from tests.support.transports import settle


class Asker:
    """Borrows a connection."""

    def __init__(self) -> None:
        self.connection: Connection | None = None
        self.told = asyncio.Event()

    def upstream_ready(self, connection: Connection) -> None:
        self.connection = connection
        self.told.set()

    def upstream_failed(self, fault: Fault) -> None:
        self.told.set()

    def upstream_lost(self, fault: Fault, clean: bool) -> None:
        """It was closed, as it was meant to be."""


class Answers:
    """A resolver that answers what the test says, when the test says so."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.names = Names(self, lambda: 0.5)

    async def __call__(self, host: str) -> tuple[str, ...]:
        return self.addresses

    async def change(self, *addresses: str) -> None:
        """Let a later answer be another one."""
        for name in self.names._names.values():
            name.learn(addresses)


NAMED = Backend("v1", (Endpoint("m.test", 80), Endpoint("192.0.2.1", 80)))


def places(backend: Upstream) -> list[str]:
    return [pool.address or pool.endpoint.host for pool in backend.pools]


async def test_every_address_of_a_name_has_a_pool() -> None:
    """Of ten replicas behind a name one would get everything."""
    answers = Answers("10.0.0.1", "::1")
    backend = Upstream(NAMED, names=answers.names)
    assert places(backend) == ["m.test", "192.0.2.1"]
    await settle(12)
    assert places(backend) == ["10.0.0.1", "::1", "192.0.2.1"]
    assert str(backend.pools[0]) == "http://m.test:80 (10.0.0.1)"
    assert {id(backend.pool()) for _ in range(9)} == {id(pool) for pool in backend.pools}


async def test_other_addresses_cut_nothing(network: Network) -> None:
    """A deployment of the model, which changes its addresses, would cost the requests that are on their way."""
    answers = Answers("10.0.0.1", "10.0.0.2")
    backend = Upstream(NAMED, names=answers.names)
    await settle(12)
    one, two, literal = backend.pools
    busy, idle = Asker(), Asker()
    one.acquire(busy, False, 1.0)  # type: ignore[arg-type]
    one.acquire(idle, False, 1.0)  # type: ignore[arg-type]
    await settle()
    assert busy.connection is not None
    assert idle.connection is not None
    one.release(idle.connection)
    await answers.change("10.0.0.2", "10.0.0.3")
    assert places(backend) == ["10.0.0.2", "10.0.0.3", "192.0.2.1"]
    assert backend.pools[0] is two
    assert backend.pools[2] is literal
    assert idle.connection.transport.is_closing()
    assert not busy.connection.transport.is_closing()
    one.release(busy.connection)
    assert busy.connection.transport.is_closing()


async def test_health_of_a_name_holds_for_new_addresses() -> None:
    """An endpoint that its checks found down would get traffic again by changing its address."""
    answers = Answers("10.0.0.1")
    backend = Upstream(msgspec.structs.replace(NAMED, balancing=Balancing(panic_share=0.0)), names=answers.names)
    await settle(12)
    backend.judge(frozenset({NAMED.endpoints[0]}))
    await answers.change("10.0.0.1", "10.0.0.2")
    assert {str(backend.pool()) for _ in range(6)} == {"http://192.0.2.1:80"}


async def test_a_reload_knows_the_addresses_already(network: Network) -> None:
    """Each change of the file would begin with a wait for the resolver; and without a resolver with failures."""
    answers = Answers("10.0.0.1", "10.0.0.2")
    before = Upstream(NAMED, names=answers.names)
    await settle(12)
    before.pools[1].standing.healthy = False
    changed = msgspec.structs.replace(NAMED, max_pending=7)
    after = Upstream(changed, before, answers.names)
    before.retire()
    assert places(after) == ["10.0.0.1", "10.0.0.2", "192.0.2.1"]
    assert after.pools[1].standing is before.pools[1].standing
    await answers.change("10.0.0.9")
    assert places(after) == ["10.0.0.9", "192.0.2.1"]
    assert places(before) == ["10.0.0.1", "10.0.0.2", "192.0.2.1"]
    after.retire()
    assert answers.names._names == {}


async def test_addresses_ask_no_resolver() -> None:
    """What is written as an address costs no thread and no task."""
    names = Answers().names
    endpoints = (Endpoint("192.0.2.1", 80), Endpoint("::1", 80), Endpoint("", 0, path="/m.sock"))
    Upstream(Backend("v1", endpoints), None, names)
    assert names._names == {}


async def test_routes_hand_the_names_on(plane: Plane) -> None:
    """After the first change of the file names would be resolved by nobody."""
    names = Answers("10.0.0.1").names
    routing = Routing(Snapshot(1), plane.writer, names=names)
    for generation in (2, 3):
        routing = Routing(Snapshot(generation, (NAMED,)), plane.writer, routing)
        assert routing.names is names
        await settle(12)
        assert places(routing.upstreams[NAMED]) == ["10.0.0.1", "192.0.2.1"]
    Routing(Snapshot(4), plane.writer, routing)
    assert names._names == {}


async def test_counts_never_fall(plane: Plane, network: Network) -> None:
    """A counter that falls looks like a restart, and rates over it are made up."""
    answers = Answers("10.0.0.1", "10.0.0.2")
    routing = Routing(Snapshot(1, (NAMED,)), plane.writer, names=answers.names)
    await settle(12)
    for pool in routing.upstreams[NAMED].pools:
        asker = Asker()
        pool.acquire(asker, False, 1.0)  # type: ignore[arg-type]
        await settle()
        assert asker.connection is not None
        pool.release(asker.connection)
        pool.acquire(asker, False, 1.0)  # type: ignore[arg-type]
    assert routing.connections() == (3, 3)
    await answers.change("10.0.0.3")
    assert routing.connections() == (3, 3)
    for generation in (2, 3):
        routing = Routing(Snapshot(generation), plane.writer, routing)
        assert routing.connections() == (3, 3)


async def test_one_family_is_enough() -> None:
    """`localhost` has two addresses, and nearly every model server listens on one of them."""
    async with await asyncio.start_server(lambda reader, _: None, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        backend = Upstream(Backend("v1", (Endpoint("m.test", port),)), names=Answers("127.0.0.1", "::1").names)
        await settle(12)
        assert places(backend) == ["127.0.0.1", "::1"]
        for pool in backend.pools:
            asker = Asker()
            pool.acquire(asker, False, 5.0)  # type: ignore[arg-type]
            await asyncio.wait_for(asker.told.wait(), 5)
            assert asker.connection is not None
            assert asker.connection.transport.get_extra_info("peername") == ("127.0.0.1", port)
            asker.connection.transport.abort()


async def test_only_later_addresses_start_slowly() -> None:
    """Every start of a worker would spare the replicas behind a name; or none that comes to them would be spared."""
    answers = Answers("10.0.0.1", "10.0.0.2")
    backend = Upstream(
        msgspec.structs.replace(NAMED, balancing=Balancing(slow_start_s=60.0, slow_start_share=0.1)),
        names=answers.names,
    )
    await settle(12)
    assert {pool.address: pool.standing.share for pool in backend.pools} == {"10.0.0.1": 1, "10.0.0.2": 1, "": 1}
    await answers.change("10.0.0.2", "10.0.0.3")
    assert {pool.address: pool.standing.share for pool in backend.pools} == {"10.0.0.2": 1, "10.0.0.3": 0.1, "": 1}
