"""From configuration and live state to the snapshot that workers hold. Pure.

A route with a rollout has its versions at homes on the circle (`cohorts`), a single candidate from zero to its weight:
raising the weight only adds users, lowering it only takes away those that were added last. A route without one has the
weights of its file, in their order. Arm 0 is always the stable version, since copies are made of its requests.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Final

from xxhash import xxh3_64_intdigest

from config import files, schema
from config.listeners import limits
from config.listeners.listening import Listen
from config.listeners.serving import ListenerTls
from config.routes import retries
from config.routes.mirror_headers import MirrorHeaders
from proxy import snapshot
from proxy.control.machine import swaps
from proxy.control.machine.rollout import TERMINAL, State
from proxy.control.routing import backends, cohorts, guards
from proxy.control.routing.matches import copied, keys_of, match_of
from proxy.snapshot import CIRCLE, RowRef, TableRef

ArmKey = tuple[str, str, str]
"""(route, backend, role)."""
OutputKey = tuple[str, str]
"""(route, output)."""
_PER_PERCENT: Final = CIRCLE // 100


@dataclass(frozen=True, slots=True)
class ArmShare:
    """A version that live traffic can meet, and its part of the circle in parts of a million."""

    backend: str
    role: str
    ppm: int
    home: int | None = None
    """Where its part of the circle begins; None: it has what others leave, or follows them."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Who gets what of a route: arms with stable first, and mirrors with their shares as percentages."""

    arms: tuple[ArmShare, ...]
    mirrors: tuple[schema.MirrorRef, ...]

    @property
    def counted(self) -> tuple[tuple[str, str], ...]:
        """(backend, role) of all that gets traffic and so needs a row."""
        arms = [(arm.backend, arm.role) for arm in self.arms if arm.ppm]
        return (*arms, *((mirror.backend, "shadow") for mirror in self.mirrors))


def layout(route: schema.Route, state: State | None) -> Layout:
    """Who gets what of a route. A route with a strategy and no state yet gives everything to stable."""
    if route.strategy is None:
        return Layout(_static_arms(route), _static_mirrors(route, set()))
    stable = cohorts.stable_of(route)
    candidates = cohorts.candidates_of(route)
    racing = candidates if state is None or not state.race else state.racing
    weight_ppm = 0 if state is None else state.weight_ppm
    baseline = cohorts.baseline_of(route)
    mirrors = _static_mirrors(route, {stable, *candidates, baseline})
    if state is not None and state.mirror_ppm:
        rehearsing: list[schema.MirrorRef] = []
        for candidate in racing:
            to = stable if weight_ppm == CIRCLE else candidate
            copies = _copies(route, to, candidate)
            changes: dict[str, object] = {"percent": state.mirror_ppm / _PER_PERCENT}
            if to == stable:
                changes["repeat"] = None  # who answers then is the candidate, whose own noise is no measure
            rehearsing.append(copies.model_copy(update=changes))
        mirrors = (*rehearsing, *mirrors)
    baseline_ppm = 0 if state is None or state.phase in TERMINAL else weight_ppm
    return Layout(shared(route, racing, weight_ppm, baseline_ppm), mirrors)


def shared(route: schema.Route, racing: Collection[str], weight_ppm: int, baseline_ppm: int) -> tuple[ArmShare, ...]:
    """Who gets what of a route with a strategy: stable first, then candidates, of which those that are in the race have
    this weight each, then the baseline."""
    beside = [ArmShare(name, "canary", weight_ppm if name in racing else 0) for name in cohorts.candidates_of(route)]
    beside += _baseline(cohorts.baseline_of(route), baseline_ppm)
    if weight_ppm < CIRCLE:
        beside = [replace(arm, home=home) for arm, home in zip(beside, cohorts.homes(len(beside)), strict=True)]
    stable = ArmShare(cohorts.stable_of(route), "stable", CIRCLE - sum(arm.ppm for arm in beside))
    return (stable, *beside)


def _baseline(name: str, weight_ppm: int) -> tuple[ArmShare, ...]:
    """As much as a candidate has that is compared, as long as stable has traffic that it could stand for."""
    return (ArmShare(name, "baseline", weight_ppm if weight_ppm < CIRCLE else 0),) if name else ()


def compile(
    config: schema.Config,
    states: Mapping[str, State],
    rows: Mapping[ArmKey, RowRef],
    tables: Mapping[OutputKey, TableRef],
    generation: int,
    digest: str = "",
    places: Sequence[str] | None = None,
    before: Sequence[snapshot.Listener] = (),
    contents: files.Contents = files.NOTHING,
) -> snapshot.Snapshot:
    """The snapshot. What has no row is not counted; what has no table has no labels.

    `places` are the addresses of the sockets that workers have, by default those of the file; `before` are their
    listeners as they are now. `contents` is what the files hold that the configuration names.
    """
    numbers = {backend.name: index for index, backend in enumerate(config.backends)}
    known = tuple(backends.backend(each, contents.of(files.of_backend(each))) for each in config.backends)
    routes = tuple(_route(route, states.get(route.name), numbers, rows, tables) for route in config.routes)
    return snapshot.Snapshot(
        generation,
        known,
        routes,
        digest,
        _limits(config.limits),
        listeners(config.listen, places, before, contents),
        access_log=None if config.access_log is None else guards.access_log(config.access_log),
        out=backends.out(known, states.values()),
    )


def listeners(
    given: Sequence[Listen],
    places: Sequence[str] | None = None,
    before: Sequence[snapshot.Listener] = (),
    contents: files.Contents = files.NOTHING,
) -> tuple[snapshot.Listener, ...]:
    """The listener of each socket.

    Until a restart sockets and file may differ. A socket whose address is not in the file any more goes on as it was:
    it must not take over what another listener asks of clients, which may be less.
    """
    left = [_listener(listen, contents) for listen in given]
    found = []
    for place in [listener.address for listener in left] if places is None else places:
        same = next((listener for listener in left if listener.address == place), None)
        if same is not None:
            left.remove(same)
        was = next((listener for listener in before if listener.address == place), None)
        found.append(same or was or snapshot.Listener(place, closed=True))
    return tuple(found)


def _listener(given: Listen, contents: files.Contents) -> snapshot.Listener:
    return snapshot.Listener(
        given.place,
        trusted=tuple(map(str, given.trusted_proxies)),
        proxy_protocol=given.proxy_protocol,
        tls=None if given.tls is None else server_tls(given.tls, contents),
    )


def server_tls(given: ListenerTls, contents: files.Contents) -> snapshot.ServerTls:
    """What is shown to clients and asked of them, for workers and for the admin API."""
    return snapshot.ServerTls(
        tuple(
            snapshot.Certificate(pair.cert_file, pair.key_file, contents.names.get(pair.cert_file, ()))
            for pair in given.certificates
        ),
        "1.3" if given.min_version == "1.3" else "1.2",
        given.client_ca_file or "",
        given.ciphers or "",
        contents.of(given.files),
    )


def _limits(given: limits.Limits) -> snapshot.Limits:
    return snapshot.Limits(
        max_head_bytes=given.max_head_bytes,
        max_headers=given.max_headers,
        max_target_bytes=given.max_target_bytes,
        head_timeout_s=given.head_timeout,
        body_timeout_s=given.body_timeout,
        keep_alive_idle_s=given.keep_alive_idle,
        max_connections=given.max_connections,
        max_connections_per_address=given.max_connections_per_address,
        min_body_rate=given.min_body_rate,
    )


def seed(text: str) -> int:
    """The number that users are hashed with."""
    return int(xxh3_64_intdigest(text.encode()))


def _arm(arm: ArmShare, backend: int, row: RowRef) -> snapshot.Arm:
    return snapshot.Arm(backend, row, mirrored=arm.role == "stable" or arm.ppm == CIRCLE, role=arm.role)


def _route(
    route: schema.Route,
    state: State | None,
    numbers: Mapping[str, int],
    rows: Mapping[ArmKey, RowRef],
    tables: Mapping[OutputKey, TableRef],
) -> snapshot.Route:
    plan = layout(route, state)

    def row(backend: str, role: str) -> RowRef:
        return rows.get((route.name, backend, role), RowRef())

    return snapshot.Route(
        name=route.name,
        matches=tuple(match_of(match) for match in route.match) or (snapshot.Match(),),
        arms=tuple(_arm(arm, numbers[arm.backend], row(arm.backend, arm.role)) for arm in plan.arms),
        segments=segments(plan.arms),
        seed=seed(route.cohort_seed),
        keys=keys_of(route.session_affinity),
        mirrors=tuple(
            snapshot.Mirror(
                backend=numbers[mirror.backend],
                share=round(mirror.percent * _PER_PERCENT),
                row=row(mirror.backend, "shadow"),
                methods=tuple(mirror.methods),
                timeout_s=mirror.timeout,
                max_concurrency=mirror.max_concurrency,
                max_body_bytes=mirror.max_body_bytes,
                matches=copied(route, mirror),
                set_headers=tuple((name.lower(), value) for name, value in mirror.headers.set.items()),
                remove_headers=tuple(name.lower() for name in mirror.headers.remove),
                repeat_share=round(mirror.repeat.percent * _PER_PERCENT) if mirror.repeat else 0,
            )
            for mirror in plan.mirrors
        ),
        connect_timeout_s=route.timeouts.connect,
        request_timeout_s=route.timeouts.request,
        stream_idle_s=route.timeouts.stream_idle,
        tunnel_idle_s=route.timeouts.tunnel_idle,
        first_byte_s=_first_byte_s(route),
        retries=_retries(route.retries),
        max_body_bytes=route.max_body_bytes,
        predictions=predictions_of(route, tables),
        rate_limits=tuple(guards.rate_limit(limit) for limit in route.rate_limits),
        injection=None if route.fault is None else guards.injection(route.fault, numbers),
        feedback=route.takes_feedback is not None,
        direct=_direct(route, numbers),
        names_backend=route.response_headers.backend,
        server_timing=route.response_headers.server_timing,
        hold=guards.hold(route.hold) if state is not None and swaps.is_held(state) else None,
        capture=None if route.capture is None else guards.captured(route.capture),
    )


def _static_arms(route: schema.Route) -> tuple[ArmShare, ...]:
    live = sorted((ref for ref in route.backend_refs if ref.role != "shadow"), key=lambda ref: ref.role != "stable")
    weights = [1 if ref.weight is None else ref.weight for ref in live]
    total = sum(weights)
    arms, below = [], 0
    for ref, weight in zip(live, weights, strict=True):
        # Bounds are rounded, not shares, so that the shares add up to the whole circle.
        start, below = below, below + weight
        ppm = round(CIRCLE * below / total) - round(CIRCLE * start / total) if total else 0
        arms.append(ArmShare(ref.name, ref.role, ppm))
    return tuple(arms)


def _copies(route: schema.Route, to: str, candidate: str) -> schema.MirrorRef:
    """How copies are made for a version of the rollout.

    What may be copied is a fact of the route, so that it holds for stable as it does for the candidate, unless stable
    has an entry of its own; changes of the header are the candidate's alone, and its own noise is not asked for.
    """
    listed = {mirror.backend: mirror for mirror in route.mirrors}
    if to in listed:
        return listed[to]
    if candidate in listed:
        return listed[candidate].model_copy(update={"backend": to, "headers": MirrorHeaders(), "repeat": None})
    return schema.MirrorRef(backend=to)


def _static_mirrors(route: schema.Route, judged: Set[str]) -> tuple[schema.MirrorRef, ...]:
    """What is copied whatever the rollout does; copies for its own versions are the rollout's to decide on."""
    listed = {mirror.backend for mirror in route.mirrors}
    shadows = [
        schema.MirrorRef(backend=ref.name)
        for ref in route.backend_refs
        if ref.role == "shadow" and ref.name not in listed
    ]
    return tuple(m for m in (*route.mirrors, *shadows) if m.backend not in judged and m.percent > 0)


def segments(arms: tuple[ArmShare, ...]) -> tuple[snapshot.Segment, ...]:
    """Versions with a home have it, and stable what is between; else the candidate comes first on the circle, and then
    the others in order."""
    if any(arm.home is not None for arm in arms):
        parts = [(arm.home, arm.ppm, index) for index, arm in enumerate(arms) if arm.home is not None]
        return cohorts.segments(parts, rest=0)
    order = sorted(range(len(arms)), key=lambda index: arms[index].role != "canary")
    segments, upper = [], 0
    for index in order:
        if arms[index].ppm:
            upper += arms[index].ppm
            segments.append(snapshot.Segment(upper, index))
    return tuple(segments)


def _direct(route: schema.Route, numbers: Mapping[str, int]) -> tuple[int, ...]:
    """The versions that a client may ask for: all that the route knows, whatever they get of its traffic."""
    if not route.direct_access:
        return ()
    names = [*(ref.name for ref in route.backend_refs), *(mirror.backend for mirror in route.mirrors)]
    return tuple(sorted({numbers[name] for name in names}))


def _first_byte_s(route: schema.Route) -> float:
    """The limit that starts with the request sent; what one attempt may take in all bounds it."""
    first_byte_s = route.timeouts.first_byte or 0.0
    if first_byte_s and route.retries is not None and route.retries.per_try_timeout is not None:
        return min(first_byte_s, route.retries.per_try_timeout)
    return first_byte_s


def _retries(given: retries.Retries | None) -> snapshot.Retries | None:
    if given is None:
        return None
    return snapshot.Retries(
        attempts=given.attempts,
        conditions=tuple(word for word in snapshot.CONDITIONS if word in given.retry_on),
        statuses=tuple(sorted({item for item in given.retry_on if isinstance(item, int)})),
        methods=tuple(given.retriable_methods),
        try_timeout_s=given.per_try_timeout or 0.0,
        base_interval_s=given.backoff.base_interval,
        max_interval_s=given.backoff.longest_s,
        budget_share=given.budget.percent / 100,
        budget_floor=given.budget.min_retry_concurrency,
    )


def predictions_of(route: schema.Route, tables: Mapping[OutputKey, TableRef]) -> snapshot.Predictions | None:
    """What is read from the answers of a route."""
    if route.predictions is None:
        return None
    outputs = []
    for output in route.predictions.outputs:
        low, high = output.range or (0.0, 1.0)
        table = tables.get((route.name, output.name), TableRef())
        outputs.append(
            snapshot.Output(
                output.name, output.kind, output.path_parts, low, high, output.tolerance, table, output.privacy
            )
        )
    return snapshot.Predictions(route.predictions.protocol, tuple(outputs), route.predictions.max_body_bytes)
