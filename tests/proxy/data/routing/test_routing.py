"""What a reload keeps, and what the sweep ends."""

from __future__ import annotations

import msgspec

from proxy.data.requests.router import Head
from proxy.data.routing.routing import Context, Routing
from proxy.ledger.row import NOWHERE
from proxy.snapshot import (
    CIRCLE,
    Arm,
    Backend,
    Endpoint,
    Match,
    Mirror,
    Output,
    Predictions,
    RowRef,
    Segment,
    Snapshot,
    StringMatch,
)
from tests.support.plane import STABLE, Plane, answer, request, split
from tests.support.transports import settle


async def test_reload_keeps_connections(plane: Plane) -> None:
    """A reload that opened all connections anew would be a storm at every backend."""
    client = plane.client()
    await plane.exchange(client, request(), answer())
    before = plane.context.routing.upstreams[STABLE]
    for _ in range(100):
        plane.adopt(request_timeout_s=plane.route.request_timeout_s + 1)
    assert plane.context.routing.upstreams[STABLE] is before
    await plane.exchange(client, request(), answer())
    assert plane.connections() == 1
    assert plane.totals().finished == 2


async def test_changed_backend_gets_new_connections(plane: Plane) -> None:
    """Its old address must be left, once it is idle."""
    client = plane.client()
    await plane.exchange(client, request(), answer())
    plane.backends[0] = Backend("v1", (Endpoint("elsewhere.test", 81),))
    plane.adopt()
    assert plane.backend().transport.closed
    client.send(request())
    await settle()
    assert plane.network.dialled[-1] == "elsewhere.test"


async def test_first_match_wins(plane: Plane) -> None:
    """Routes stand in the order of their precedence."""
    narrow = msgspec.structs.replace(
        plane.route, name="narrow", matches=(Match(path=StringMatch("prefix", "/a")),), segments=(Segment(CIRCLE, 1),)
    )
    plane.context.routing = Routing(
        Snapshot(9, tuple(plane.backends), (narrow, plane.route)), plane.writer, plane.context.routing
    )
    found = [plane.context.routing.find(connection_head(target)) for target in (b"/a/b", b"/b")]
    assert [plan.route.name for plan in found if plan] == ["narrow", "all"]
    assert plane.context.routing.generation == 9
    assert Routing(Snapshot(1), plane.writer).find(connection_head(b"/")) is None


def connection_head(target: bytes) -> Head:
    return Head(b"GET", target, [], "192.0.2.7")


async def test_rows_are_occupied_for_the_stage(plane: Plane) -> None:
    """A new stage is a new tenant: sums never cross it. Without a row nothing is recorded."""
    first = plane.context.routing.plans[0].arms[0].row
    plane.adopt()
    assert plane.context.routing.plans[0].arms[0].row is first
    plane.adopt(arms=(Arm(0, RowRef(0, 99)), Arm(1)))
    arms = plane.context.routing.plans[0].arms
    assert not first.live
    assert arms[0].row.tenant == 99
    assert arms[1].row is NOWHERE
    assert split(await plane.exchange(plane.client(), request(), answer(b"x")))[2] == b"x"


async def test_plan_knows_what_is_kept(plane: Plane) -> None:
    """What nobody needs is not gathered."""
    assert plane.context.routing.plans[0].keep_bytes == 0
    assert plane.context.routing.plans[0].reader is None
    mirrors = tuple(Mirror(2, share, max_body_bytes=kept) for share, kept in ((CIRCLE, 10), (CIRCLE, 30), (0, 99)))
    plane.adopt(mirrors=mirrors, predictions=Predictions("json", (Output("o", "number"),)))
    plan = plane.context.routing.plans[0]
    assert (plan.keep_bytes, len(plan.mirrors)) == (30, 2)
    assert plan.reader is not None


async def test_sweep_ends_what_is_late_and_nothing_else(plane: Plane) -> None:
    """One sweep for all deadlines, instead of a timer for each request."""

    class Timed:
        def __init__(self, deadline_s: float) -> None:
            self.deadline_s = deadline_s
            self.expired_s: float | None = None

        def expire(self, now_s: float) -> None:
            self.expired_s = now_s
            context.live.discard(self)

    context = Context(Routing(Snapshot(0), plane.writer), plane.writer, b"x")
    early, late = Timed(10.0), Timed(20.0)
    context.live |= {early, late}
    context.sweep(15.0)
    assert (early.expired_s, late.expired_s) == (15.0, None)
    assert context.live == {late}


async def test_sweep_closes_idle_connections(plane: Plane) -> None:
    """Before the backend does."""
    await plane.exchange(plane.client(), request(), answer())
    plane.sweep(STABLE.idle_timeout_s + 1)
    assert plane.backend().transport.closed


async def test_request_ids_differ(plane: Plane) -> None:
    """Two requests of one id cannot be told apart in logs."""
    assert len({plane.context.request_id() for _ in range(1000)}) == 1000


async def test_health_comes_and_goes_without_a_new_connection(plane: Plane) -> None:
    """News of one endpoint would close the connections to the others, or an edit of the file forget the news."""
    backend = Backend("v1", (Endpoint("v1.test", 81), Endpoint("v1.test", 82)))

    def healthy(*unhealthy: tuple[int, int], **changes: int) -> list[bool]:
        plane.backends[0] = msgspec.structs.replace(backend, **changes)
        generation = plane.context.routing.generation + 1
        snapshot = Snapshot(generation, tuple(plane.backends), (plane.route,), unhealthy=unhealthy)
        plane.context.routing = Routing(snapshot, plane.writer, plane.context.routing)
        return [pool.standing.healthy for pool in plane.context.routing.upstreams[plane.backends[0]].pools]

    assert healthy() == [True, True]
    await plane.exchange(plane.client(), request(), answer())
    before = plane.context.routing.upstreams[backend]
    assert healthy((0, 1), (2, 0)) == [True, False]
    assert plane.context.routing.upstreams[backend] is before
    assert healthy((0, 1), max_pending=5) == [True, False]
    assert healthy(max_pending=5) == [True, True]
