"""What a snapshot becomes in a worker: routes with their pools, rows and readers in place.

A new snapshot makes a new `Routing` and takes over the pools of every backend that has not changed, so that a reload
opens and closes no connection. Exchanges in flight keep the plan that they began with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

from proxy.answer_id import Stamp
from proxy.data.answers.predictions import PredictionReader
from proxy.data.backends.resolving import Names
from proxy.data.backends.retries import RetryPlan
from proxy.data.backends.upstream import Upstream
from proxy.data.logs.access_log import AccessLog
from proxy.data.requests.router import Choice, Condition, Head, any_of
from proxy.data.routing.admission import Admission
from proxy.data.routing.holding import Room
from proxy.data.routing.injection import DELAYED_LINE, Injector
from proxy.data.routing.limiting import Limiter, RouteLimit
from proxy.data.routing.listening import CLOSED, ListenerPlan, listener_plans
from proxy.ledger.guards import DIRECT, Guards, RouteCounts
from proxy.ledger.row import NOWHERE, Row
from proxy.ledger.writer import Writer
from proxy.snapshot import Arm, Backend, Endpoint, Mirror, RateLimit, Route, RowRef, Snapshot

if TYPE_CHECKING:
    from proxy.data.routing.capturing import CapturePlan, Captures

ASKED_FOR: Final = b"x-understudy-backend"
"""The field with which a client asks for a version by name."""


@dataclass(frozen=True, slots=True)
class ArmPlan:
    """A version that live traffic meets. `field_line` names it to the client; `delayed` is what a request meets that an
    injected fault made wait, so that the client is told. What clients ask for by name is not `judged`."""

    upstream: Upstream
    row: Row
    field_line: bytes
    mirrored: bool
    role: str = ""
    injector: Injector | None = None
    delayed: ArmPlan | None = None
    is_delayed: bool = False
    judged: bool = True


@dataclass(frozen=True, slots=True)
class MirrorPlan:
    """A version that is sent copies. Fields named in `changed` are not copied, and `field_lines` are added to each."""

    mirror: Mirror
    upstream: Upstream
    row: Row
    methods: frozenset[bytes]
    matches: Condition | None
    changed: frozenset[bytes]
    field_lines: bytes


class DirectAccess:
    """The versions that clients may ask for by name, and the count of those who do."""

    __slots__ = ("_counts", "arms")

    def __init__(self, arms: Mapping[bytes, ArmPlan], counts: RouteCounts) -> None:
        self.arms = arms
        self._counts = counts

    def asked(self, head: Head) -> bytes | None:
        """The name that a request asks for, if it does, which is counted."""
        name = head.header(ASKED_FOR)
        if name is not None:
            self._counts.add(DIRECT)
        return name


@dataclass(frozen=True, slots=True)
class RoutePlan:
    """A route, ready for requests. `keep_bytes` is how much of a request's body is kept for a copy, `try_timeout_s`
    how long one attempt may take to its first byte, `direct` the versions that clients may ask for, by name."""

    route: Route
    choice: Choice
    arms: tuple[ArmPlan, ...]
    mirrors: tuple[MirrorPlan, ...]
    reader: PredictionReader | None
    keep_bytes: int
    retries: RetryPlan | None
    try_timeout_s: float
    limit: RouteLimit | None = None
    injector: Injector | None = None
    stamp: Stamp | None = None
    """What names the answers, where truths may be told of them."""
    direct: DirectAccess | None = None
    timed: bool = False
    room: Room | None = None
    capture: CapturePlan | None = None


class Routing:
    """All routes of one snapshot."""

    __slots__ = ("_past", "generation", "limits", "listeners", "names", "plans", "rooms", "stamp", "upstreams")

    def __init__(
        self, snapshot: Snapshot, writer: Writer, previous: Routing | None = None, names: Names | None = None
    ) -> None:
        self.names: Names | None = names if names is not None or previous is None else previous.names
        self._past: tuple[int, int] = (0, 0) if previous is None else previous._past
        known = {} if previous is None else previous.upstreams
        before = {backend.name: upstream for backend, upstream in known.items()}
        self.generation = snapshot.generation
        self.limits = snapshot.limits
        held: tuple[ListenerPlan, ...] = () if previous is None else previous.listeners
        self.listeners: tuple[ListenerPlan, ...] = listener_plans(snapshot.listeners, held)
        self.upstreams: dict[Backend, Upstream] = {
            backend: known.get(backend) or Upstream(backend, before.get(backend.name), self.names)
            for backend in snapshot.backends
        }
        for backend, upstream in known.items():
            if backend not in self.upstreams:
                opened, reused = upstream.connections()
                self._past = (self._past[0] + opened, self._past[1] + reused)
                upstream.retire()
        ordered = [self.upstreams[backend] for backend in snapshot.backends]
        unhealthy, out = _endpoints(snapshot, snapshot.unhealthy), _endpoints(snapshot, snapshot.out)
        for number, upstream in enumerate(ordered):
            upstream.judge(unhealthy.get(number, frozenset()), out.get(number, frozenset()))
        limiters = {} if previous is None else previous.limiters()
        self.stamp: Stamp | None = _stamp(snapshot.feedback_key, None if previous is None else previous.stamp)
        if previous is None or not previous.generation:
            writer.guards.begin(route.name for route in snapshot.routes)
        self.rooms: dict[str, Room] = _rooms(snapshot, writer, {} if previous is None else previous.rooms)
        captures = _captures(snapshot, writer, () if previous is None else previous.plans)
        self.plans: tuple[RoutePlan, ...] = tuple(
            _plan(
                route,
                ordered,
                writer,
                limiters,
                self.stamp,
                self.rooms.get(route.name),
                snapshot.label_key,
                captures.get(route.name),
            )
            for route in snapshot.routes
        )

    def connections(self) -> tuple[int, int]:
        """Connections opened, and used again, since the worker began: of backends that are gone too."""
        counts = [self._past, *(upstream.connections() for upstream in self.upstreams.values())]
        return sum(opened for opened, _ in counts), sum(reused for _, reused in counts)

    def listener(self, index: int) -> ListenerPlan:
        """How clients come in on a socket."""
        return self.listeners[index] if index < len(self.listeners) else CLOSED

    def find(self, head: Head) -> RoutePlan | None:
        """The first route that matches."""
        for plan in self.plans:
            if plan.choice.matches(head):
                return plan
        return None

    def limiters(self) -> dict[tuple[str, RateLimit], Limiter]:
        """The rate limits, by route: those that a reload leaves as they are go on with the buckets that they have."""
        limits = [(plan.route.name, plan.limit) for plan in self.plans if plan.limit is not None]
        return {(name, limiter.limit): limiter for name, limit in limits for limiter in limit.limiters}


def _endpoints(snapshot: Snapshot, places: tuple[tuple[int, int], ...]) -> dict[int, set[Endpoint]]:
    """Endpoints by the number of their backend."""
    found: dict[int, set[Endpoint]] = {}
    for number, at in places:
        found.setdefault(number, set()).add(snapshot.backends[number].endpoints[at])
    return found


def _stamp(key: bytes, held: Stamp | None) -> Stamp | None:
    """What names answers; as long as the key is the same it goes on counting."""
    if not key:
        return None
    return held if held is not None and held.key == key else Stamp(key)


def _rooms(snapshot: Snapshot, writer: Writer, before: Mapping[str, Room]) -> dict[str, Room]:
    """Where requests wait: of routes that are held, and of those in which some wait still."""
    rooms: dict[str, Room] = {}
    for route in snapshot.routes:
        room = before.get(route.name)
        if route.hold is not None:
            room = room or Room(route.name, writer.guards.route(route.name), writer.shape.workers)
            room.hold(route.hold)
            rooms[route.name] = room
    for name, room in before.items():
        if name not in rooms:
            room.open()
            if not room.idle:
                rooms[name] = room
    return rooms


def _captures(snapshot: Snapshot, writer: Writer, before: Sequence[RoutePlan]) -> dict[str, CapturePlan]:
    """The routes of which requests are captured; what does so is only loaded where there are some."""
    found: dict[str, CapturePlan] = {}
    held = {plan.route.name: plan.capture for plan in before}
    for route in snapshot.routes:
        if route.capture is not None:
            from proxy.data.routing.capturing import plan_of

            counts, workers = writer.guards.route(route.name), writer.shape.workers
            plan = plan_of(route.name, route.capture, snapshot.label_key, counts, workers, held.get(route.name))
            found[route.name] = plan
    return found


def _plan(
    route: Route,
    upstreams: list[Upstream],
    writer: Writer,
    limiters: Mapping[tuple[str, RateLimit], Limiter],
    stamp: Stamp | None,
    room: Room | None,
    label_key: bytes,
    capture: CapturePlan | None,
) -> RoutePlan:
    outputs = len(route.predictions.outputs) if route.predictions else 0

    def row(ref: RowRef) -> Row:
        return writer.occupy(ref.index, ref.tenant, outputs) if ref.index >= 0 else NOWHERE

    injector = None if route.injection is None else Injector(route.injection, writer.guards.route(route.name))
    arms = tuple(_arm(route, arm, upstreams[arm.backend], row(arm.row), injector) for arm in route.arms)
    mirrors = tuple(
        _mirror(mirror, upstreams[mirror.backend], row(mirror.row)) for mirror in route.mirrors if mirror.share > 0
    )
    return RoutePlan(
        route,
        Choice(route),
        arms,
        mirrors,
        PredictionReader(route.predictions, writer, label_key) if route.predictions else None,
        max(
            max((mirror.mirror.max_body_bytes for mirror in mirrors), default=0),
            0 if capture is None else capture.max_body_bytes,
        ),
        None if route.retries is None else RetryPlan(route.retries),
        (route.retries and route.retries.try_timeout_s) or route.request_timeout_s,
        _limit(route, writer.guards, limiters) if route.rate_limits else None,
        injector if route.injection is not None and route.injection.backend < 0 else None,
        stamp if route.feedback else None,
        _direct(route, upstreams, writer, injector) if route.direct else None,
        route.server_timing,
        room,
        capture,
    )


def _direct(route: Route, upstreams: list[Upstream], writer: Writer, injector: Injector | None) -> DirectAccess:
    """The versions by name; nothing of what is asked of them is written anywhere, nor copied."""
    asked = [Arm(number, mirrored=False, role="direct") for number in route.direct]
    arms = [_arm(route, arm, upstreams[arm.backend], NOWHERE, injector, judged=False) for arm in asked]
    named = {arm.upstream.backend.name.encode(): arm for arm in arms}
    return DirectAccess(named, writer.guards.route(route.name))


def _arm(
    route: Route, arm: Arm, upstream: Upstream, row: Row, injector: Injector | None, judged: bool = True
) -> ArmPlan:
    name = upstream.backend.name.encode("latin-1", "replace")
    named = b"x-understudy-backend: %b\r\n" % name if route.names_backend else b""
    plain = ArmPlan(upstream, row, named, arm.mirrored, arm.role, judged=judged)
    if route.injection is None:
        return plain
    delayed = replace(plain, field_line=plain.field_line + DELAYED_LINE, is_delayed=True)
    return replace(plain, delayed=delayed, injector=injector if route.injection.backend == arm.backend else None)


def _limit(route: Route, guards: Guards, known: Mapping[tuple[str, RateLimit], Limiter]) -> RouteLimit:
    limiters = tuple(
        known.get((route.name, limit)) or Limiter(route.name, limit, guards) for limit in route.rate_limits
    )
    return RouteLimit(limiters, guards.route(route.name))


def _mirror(mirror: Mirror, upstream: Upstream, row: Row) -> MirrorPlan:
    lines = [f"{name}: {value}\r\n".encode("latin-1") for name, value in mirror.set_headers]
    changed = {name.encode("latin-1") for name in (*mirror.remove_headers, *dict(mirror.set_headers))}
    return MirrorPlan(
        mirror,
        upstream,
        row,
        frozenset(method.encode("latin-1") for method in mirror.methods),
        any_of(mirror.matches),
        frozenset(changed),
        b"".join(lines),
    )


class Timed(Protocol):
    """Something with a deadline, checked by the worker's sweep."""

    deadline_s: float

    def expire(self, now_s: float) -> None:
        """The deadline has passed."""


@dataclass(slots=True)
class Context:
    """What all exchanges of a worker share. `live` are those under way; the sweep looks at their deadlines."""

    routing: Routing
    writer: Writer
    id_prefix: bytes
    live: set[Timed] = field(default_factory=set)
    admission: Admission = field(default_factory=Admission)
    access_log: AccessLog | None = None
    captures: Captures | None = None
    noted: bool = False
    """Whether exchanges are, for one of the two."""
    draining: bool = False
    requests: int = 0
    copies: int = 0
    """How many of `live` are copies for a shadow, which no client waits for."""

    def note(self, access_log: AccessLog | None, captures: Captures | None = None) -> None:
        """Have exchanges from now on noted for these."""
        self.access_log, self.captures = access_log, captures
        self.noted = access_log is not None or captures is not None

    def request_id(self) -> bytes:
        """A name for a request that came without one: unique to the worker's life and its count."""
        self.requests += 1
        return b"%b-%d" % (self.id_prefix, self.requests)

    def sweep(self, now_s: float) -> None:
        """End what is past its deadline and close connections that were idle for too long."""
        for timed in [timed for timed in self.live if timed.deadline_s < now_s]:
            timed.expire(now_s)
        for room in self.routing.rooms.values():
            room.sweep(now_s)
        for upstream in self.routing.upstreams.values():
            upstream.sweep(now_s)
