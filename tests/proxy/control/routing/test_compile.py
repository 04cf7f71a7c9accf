"""The snapshot that a configuration and the state of its rollouts make."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import files, schema
from config.listeners.limits import Limits
from config.listeners.listening import Listen
from proxy import snapshot
from proxy.capture import Capture, Field
from proxy.control.machine.places import Place
from proxy.control.machine.rollout import Phase, State
from proxy.control.routing.compile import ArmShare, compile, layout, listeners, seed
from proxy.snapshot import CIRCLE, RowRef, TableRef
from tests.support.certificates import Authority

STATE = State(
    route="r",
    stable="v1",
    candidate="v2",
    candidate_digest="",
    plan_digest="",
    phase=Phase.PROGRESSING,
    verdict="",
    reason="",
    decided_by="",
    step=0,
    step_started_s=0.0,
    started_s=0.0,
    ended_s=None,
    weight_ppm=50_000,
    mirror_ppm=0,
    stage=1,
    stage_started_s=0.0,
    paused_by="",
    attempt=1,
)
CANARY = {"canary": {"steps": ({"setWeight": 5.0}, {"analysis": {}})}}


def config(*routes: dict[str, Any]) -> schema.Config:
    backends = tuple({"name": f"v{n}", "endpoints": (f"http://127.0.0.1:900{n}",)} for n in range(1, 5))
    listen = ({"address": "127.0.0.1:0"},)
    return schema.Config.model_validate({"listen": listen, "backends": backends, "routes": routes})


def canary(**more: Any) -> dict[str, Any]:
    refs = ({"name": "v2", "role": "canary"}, {"name": "v1", "role": "stable"})
    return {"name": "r", "backendRefs": refs, "strategy": CANARY, **more}


def compiled(route: dict[str, Any], state: State | None = None, **more: Any) -> snapshot.Route:
    states = {} if state is None else {"r": state}
    return compile(config(route), states, more.get("rows", {}), more.get("tables", {}), 7, "d").routes[0]


def shares(route: snapshot.Route) -> dict[int, int]:
    """Parts of the circle by arm."""
    bounds = [0, *(segment.upper for segment in route.segments)]
    return {
        segment.arm: upper - lower for segment, (lower, upper) in zip(route.segments, pairwise(bounds), strict=True)
    }


def test_the_candidate_owns_the_circle_from_zero() -> None:
    """Users would change sides when a weight rises, or copies would be made of the candidate's requests."""
    route = compiled(canary(), STATE)
    assert [arm.backend for arm in route.arms] == [0, 1]
    assert [(segment.upper, segment.arm) for segment in route.segments] == [(50_000, 1), (CIRCLE, 0)]


@given(st.integers(0, CIRCLE), st.integers(0, CIRCLE))
def test_raising_the_weight_only_adds_users(low: int, high: int) -> None:
    """A user would go back and forth between versions."""
    low, high = sorted((low, high))
    before, after = (layout(config(canary()).routes[0], replace(STATE, weight_ppm=ppm)).arms[1] for ppm in (low, high))
    assert before.ppm <= after.ppm == high


def test_a_rollout_without_a_state_sends_the_candidate_nothing() -> None:
    """A new candidate would get traffic before its rollout was kept in the store."""
    assert shares(compiled(canary())) == {0: CIRCLE}


def test_a_promoted_candidate_gets_everything() -> None:
    """Stable would keep an empty segment, which no place on the circle may end in."""
    assert shares(compiled(canary(), replace(STATE, weight_ppm=CIRCLE))) == {1: CIRCLE}


def test_a_winner_that_keeps_its_share_has_no_baseline_beside_it() -> None:
    """An abTest that has ended at 60 %, edited to a canary with a baseline, would leave stable less than nothing."""
    roles = (("v1", "stable"), ("v2", "canary"), ("v3", "baseline"))
    refs = tuple({"name": name, "role": role} for name, role in roles)
    kept = replace(STATE, phase=Phase.SUCCEEDED, weight_ppm=600_000, baseline="v3")
    assert shares(compiled(canary(backendRefs=refs), kept)) == {0: 400_000, 1: 600_000}


def test_mirroring_is_the_rollouts_to_decide() -> None:
    """The candidate would be copied to at the share of the file when the step says another one."""
    listed = {"backend": "v2", "percent": 1.0, "timeout": "3s", "methods": ("POST",), "maxConcurrency": 5}
    route = canary(mirrors=({"backend": "v3", "percent": 12.5}, listed))
    copies = compiled(route, replace(STATE, mirror_ppm=250_000)).mirrors
    assert [(copy.backend, copy.share) for copy in copies] == [(1, 250_000), (2, 125_000)]
    assert (copies[0].timeout_s, copies[0].methods, copies[0].max_concurrency) == (3.0, ("POST",), 5)
    assert [copy.backend for copy in compiled(route, STATE).mirrors] == [2]


def test_a_mirror_keeps_its_match_through_a_rollout() -> None:
    """The step setMirror would copy what the file says is not to be copied."""
    match = ({"path": {"prefix": "/infer"}, "method": "POST"},)
    headers = {"set": {"X-Tenant": "shadow"}, "remove": ("Authorization",)}
    listed = {"backend": "v2", "match": match, "headers": headers, "repeat": {"percent": 2.5}}
    (copy,) = compiled(canary(mirrors=(listed,)), replace(STATE, mirror_ppm=250_000)).mirrors
    assert copy.matches == (snapshot.Match(path=snapshot.StringMatch("prefix", "/infer"), method="POST"),)
    assert (copy.set_headers, copy.remove_headers) == ((("x-tenant", "shadow"),), ("authorization",))
    assert copy.repeat_share == 25_000
    (turned,) = compiled(canary(mirrors=(listed,)), replace(STATE, weight_ppm=CIRCLE, mirror_ppm=250_000)).mirrors
    assert (turned.backend, turned.repeat_share) == (0, 0), "the noise of the candidate is no measure"


def test_guards_are_in_parts_of_the_circle_and_by_number() -> None:
    """A fault would strike another version, or a limit count another key."""
    fault = {"delay": {"fixedDelay": "1s500ms", "percent": 0.5}, "backend": "v1"}
    limit = {"requests": 10, "per": "1m", "key": {"header": "X-User", "fallback": ("sourceIp",)}}
    route = compiled(canary(fault=fault, rateLimits=(limit,)))
    assert route.injection == snapshot.Injection(delay_s=1.5, delay_share=5000, backend=0)
    keys = (snapshot.Key("header", "x-user"), snapshot.Key("sourceIp"))
    assert route.rate_limits == (snapshot.RateLimit(10, 60.0, 10, keys),)
    assert compiled(canary(fault={"abort": {"httpStatus": 500, "percent": 1.0}})).injection == snapshot.Injection(
        abort_status=500, abort_share=10_000
    )


def test_a_shadow_role_gets_every_request() -> None:
    """A version that is only to rehearse would be served to clients, or get nothing."""
    route = compiled({"name": "r", "backendRefs": ({"name": "v1"}, {"name": "v2", "role": "shadow"})})
    assert shares(route) == {0: CIRCLE}
    assert [(copy.backend, copy.share) for copy in route.mirrors] == [(1, CIRCLE)]


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=4).filter(any))
def test_static_weights_cover_the_circle(weights: list[int]) -> None:
    """A part of the users would meet no version, or shares would be off by more than rounding."""
    refs = tuple({"name": f"v{n + 1}", "weight": weight} for n, weight in enumerate(weights))
    found = shares(compiled({"name": "r", "backendRefs": refs}))
    assert sum(found.values()) == CIRCLE
    for arm, weight in enumerate(weights):
        assert abs(found.get(arm, 0) - CIRCLE * weight / sum(weights)) <= 1


def test_routes_without_weights_share_equally() -> None:
    """Versions without a weight would get nothing."""
    arms = layout(config({"name": "r", "backendRefs": ({"name": "v1"}, {"name": "v2"})}).routes[0], None).arms
    assert arms == (ArmShare("v1", "stable", 500_000), ArmShare("v2", "stable", 500_000))


def test_what_is_copied_is_what_stable_serves() -> None:
    """A shadow would be compared with a candidate under judgement, or miss a part of the traffic."""

    def mirrored(route: snapshot.Route) -> list[bool]:
        return [arm.mirrored for arm in route.arms]

    assert mirrored(compiled(canary(), STATE)) == [True, False]
    assert mirrored(compiled(canary(), replace(STATE, weight_ppm=CIRCLE))) == [True, True]
    assert mirrored(compiled({"name": "r", "backendRefs": ({"name": "v1"}, {"name": "v2"})})) == [True, True]


def test_rows_and_tables_find_their_place() -> None:
    """Evidence would be counted for another version, or not at all."""
    outputs = (
        {"name": "label", "kind": "category", "path": "a.0"},
        {"name": "score", "kind": "number", "range": (-1.0, 2.0), "path": "b", "tolerance": 0.25},
    )
    route = canary(predictions={"protocol": "json", "outputs": outputs, "maxBodyBytes": 5000})
    rows = {
        ("r", "v1", "stable"): RowRef(1, 11),
        ("r", "v2", "canary"): RowRef(2, 12),
        ("r", "v2", "shadow"): RowRef(3, 13),
    }
    found = compiled(route, replace(STATE, mirror_ppm=CIRCLE), rows=rows, tables={("r", "label"): TableRef(4, 14)})
    assert [arm.row for arm in found.arms] == [RowRef(1, 11), RowRef(2, 12)]
    assert found.mirrors[0].row == RowRef(3, 13)
    assert found.predictions == snapshot.Predictions(
        "json",
        (
            snapshot.Output("label", "category", ("a", 0), table=TableRef(4, 14)),
            snapshot.Output("score", "number", ("b",), -1.0, 2.0, 0.25),
        ),
        5000,
    )


def test_matches_keys_and_timeouts_are_those_of_the_file() -> None:
    """Requests would go elsewhere than the file says, be cut at other times, or users hashed by another key."""
    route = compiled(
        canary(
            match=(
                {
                    "path": {"prefix": "/a"},
                    "method": "POST",
                    "headers": {"X-Tier": "gold"},
                    "query": {"q": {"regex": "a+"}},
                    "cookies": {"c": {"prefix": "p"}},
                },
            ),
            sessionAffinity={"header": "X-User-Id", "fallback": ({"cookie": "Who"}, "sourceIp")},
            timeouts={"request": "4s", "connect": "500ms", "streamIdle": "1m", "tunnelIdle": "2h"},
        )
    )
    text, named = snapshot.StringMatch, snapshot.NamedMatch
    assert route.matches == (
        snapshot.Match(
            text("prefix", "/a"),
            "POST",
            (named("x-tier", text("exact", "gold")),),
            (named("q", text("regex", "a+")),),
            (named("c", text("prefix", "p")),),
        ),
    )
    key = snapshot.Key
    assert route.keys == (key("header", "x-user-id"), key("cookie", "Who"), key("sourceIp"))
    assert (route.request_timeout_s, route.connect_timeout_s, route.stream_idle_s) == (4.0, 0.5, 60.0)
    assert route.tunnel_idle_s == 7200.0


@pytest.mark.parametrize("way", ["setMirror", "mirrors", "role"])
def test_only_inference_is_copied_unless_the_file_says_otherwise(way: str) -> None:
    """A shadow would unload its model, or write twice, because somebody did so with stable."""
    outputs = ({"name": "label", "kind": "category"},)
    read = {"predictions": {"protocol": "open-inference", "outputs": outputs}}
    extra: dict[str, Any] = {"mirrors": ({"backend": "v3"},)} if way == "mirrors" else {}
    if way == "role":
        extra["backendRefs"] = (*canary()["backendRefs"], {"name": "v3", "role": "shadow"})
    state = replace(STATE, mirror_ppm=CIRCLE if way == "setMirror" else 0)
    (copy,) = compiled(canary(**read, **extra), state).mirrors
    ends = [match.path.value for match in copy.matches if match.path is not None]
    assert ends == ["/infer", "/generate", "/generate_stream"]
    assert {match.method for match in copy.matches} == {"POST"}
    told = {**extra, "mirrors": ({"backend": "v2" if way == "setMirror" else "v3", "match": ({"method": "GET"},)},)}
    (copy,) = compiled(canary(**read, **told), state).mirrors
    assert copy.matches == (snapshot.Match(method="GET"),)
    (copy,) = compiled(canary(**extra), state).mirrors
    assert copy.matches == ()


def test_what_clients_may_ask_and_are_told_is_that_of_the_file() -> None:
    """A version would be open to strangers, or closed to its testers."""
    shadows = {"mirrors": ({"backend": "v3"}, {"backend": "v2"})}
    plain = compiled(canary(**shadows))
    assert (plain.direct, plain.names_backend, plain.server_timing) == ((), True, False)
    told = compiled(canary(directAccess=True, responseHeaders={"backend": False, "serverTiming": True}, **shadows))
    assert (told.direct, told.names_backend, told.server_timing) == ((0, 1, 2), False, True)


def test_a_seed_keeps_routes_aligned() -> None:
    """Users of two services would be candidates of the one and not of the other; or every restart would mix anew."""
    assert compiled(canary()).seed == seed("r")
    assert compiled(canary(seed="both")).seed == seed("both") != seed("r")
    assert seed("both") == 0x292B1A50C165A026


def test_the_snapshot_goes_over_the_wire() -> None:
    """Workers would be pushed something that they cannot read."""
    whole = compile(config(canary()), {"r": STATE}, {}, {}, 7, "digest")
    assert snapshot.decode(snapshot.encode(whole)) == whole
    assert (whole.generation, whole.digest, len(whole.backends)) == (7, "digest", 4)
    assert whole.backends[0].endpoints == (snapshot.Endpoint("127.0.0.1", 9001),)


def test_limits_reach_the_workers() -> None:
    """A limit would be read, accepted and never held."""
    limits = {"maxHeadBytes": 2048, "maxConnectionsPerAddress": 3, "bodyTimeout": "2s", "keepAliveIdle": "5s"}
    limits |= {"minBodyRate": 100}
    given = config(canary(maxBodyBytes=9, timeouts={"firstByte": "3s"})).model_copy(
        update={"limits": Limits.model_validate(limits)}
    )
    made = compile(given, {}, {}, {}, 1)
    assert (made.routes[0].max_body_bytes, made.routes[0].first_byte_s) == (9, 3.0)
    assert made.limits == snapshot.Limits(
        max_head_bytes=2048, max_connections_per_address=3, body_timeout_s=2.0, keep_alive_idle_s=5.0, min_body_rate=100
    )
    assert compile(config(canary()), {}, {}, {}, 1).limits == snapshot.Limits()


def test_retries_reach_the_workers() -> None:
    """Retries of the file would not be made, or without their bounds."""
    said = {
        "attempts": 3, "perTryTimeout": "2s", "retryOn": (503, "reset", "connect-failure", 500),
        "retriableMethods": ("POST",), "backoff": {"baseInterval": "10ms"},
        "budget": {"percent": 12.5, "minRetryConcurrency": 7},
    }  # fmt: skip
    made = compile(config(canary(retries=said, timeouts={"firstByte": "3s"})), {}, {}, {}, 1).routes[0]
    assert made.retries == snapshot.Retries(
        3, ("connect-failure", "reset"), (500, 503), ("POST",), 2.0, 0.01, 0.1, 0.125, 7
    )
    assert made.first_byte_s == 2.0  # within one attempt
    default = compile(config(canary(retries={})), {}, {}, {}, 1).routes[0].retries
    assert default == snapshot.Retries(1, ("connect-failure", "refused-stream"))
    assert compile(config(canary()), {}, {}, {}, 1).routes[0].retries is None


def test_pools_reach_the_workers() -> None:
    """A bound of the file would hold nowhere."""
    pool = {"maxConnections": 8, "maxPendingRequests": 4, "maxRequestsPerConnection": 100, "idleTimeout": "5s"}
    backend = schema.Backend.model_validate(
        {"name": "v1", "endpoints": ("http://a:1",), "connectionPool": pool}, by_alias=True
    )
    base = config({"name": "r", "backendRefs": ({"name": "v1"},)})
    made = compile(base.model_copy(update={"backends": (backend, *base.backends[1:])}), {}, {}, {}, 1).backends[0]
    assert (made.max_connections, made.max_pending, made.max_requests, made.idle_timeout_s) == (8, 4, 100, 5.0)


def test_each_socket_has_the_listener_of_its_address() -> None:
    """After an edit of `listen` that waits for a restart, a socket would ask of clients what another one should, or
    less."""
    a, b, c = (Listen.model_validate({"address": f"127.0.0.1:{port}"}) for port in (1, 2, 3))
    listener = snapshot.Listener
    assert listeners([a, b]) == (listener("127.0.0.1:1"), listener("127.0.0.1:2"))
    assert listeners([b, a], ["127.0.0.1:1", "127.0.0.1:2"]) == listeners([a, b])
    before = (listener("127.0.0.1:9"),)
    assert listeners([c], ["127.0.0.1:9"], before) == before, "its address changed: it goes on as it was"
    assert listeners([c], ["127.0.0.1:9"]) == (listener("127.0.0.1:9", closed=True),), "nothing is known of it"
    assert listeners([a, a], ["127.0.0.1:1"] * 2) == listeners([a, a])


def test_captures_reach_the_workers() -> None:
    """What a file hides would be let out, or a bound of it would hold nowhere."""
    given = {
        "percent": 0.5, "disagreements": True, "errors": True, "perMinute": 7, "maxBodyBytes": 4096, "path": "mask",
        "fields": {"rows[*].name": "hash", "x": "keep"}, "otherFields": "mask", "headers": {"X-Request-ID": "keep"},
    }  # fmt: skip
    route = {
        **canary(),
        "capture": given,
        "predictions": {"protocol": "json", "outputs": ({"name": "l", "kind": "category", "path": "x"},)},
    }
    assert compile(config(route), {}, {}, {}, 7).routes[0].capture == Capture(
        5000, True, True, 7, 4096, (Field(("rows", "*", "name"), "hash"), Field(("x",), "keep")), "mask", "mask",
        (("x-request-id", "keep"),),
    )  # fmt: skip
    assert compile(config(canary()), {}, {}, {}, 7).routes[0].capture is None


def test_balancing_reaches_the_workers() -> None:
    """A policy of the file would hold nowhere."""
    given = {
        "name": "v1",
        "endpoints": ("http://a:1", "http://b:1"),
        "loadBalancer": {
            "policy": "leastRequest",
            "slowStart": {"window": "30s", "minWeightPercent": 5},
            "panicThreshold": 20,
        },
        "outlierDetection": {
            "consecutive5xxErrors": 7,
            "consecutiveGatewayErrors": 3,
            "interval": "1s",
            "baseEjectionTime": "2s",
            "maxEjectionPercent": 40,
            "minHealthPercent": 30,
        },
    }
    backend = schema.Backend.model_validate(given, by_alias=True)
    base = config({"name": "r", "backendRefs": ({"name": "v1"},)})
    made = compile(base.model_copy(update={"backends": (backend, *base.backends[1:])}), {}, {}, {}, 1).backends
    assert made[0].balancing == snapshot.Balancing("leastRequest", 30.0, 0.05, 0.2)
    assert made[0].outliers == snapshot.Outliers(7, 3, 1.0, 2.0, 300.0, 0.4, 0.3)
    assert (made[1].balancing.slow_start_s, made[1].balancing.panic_share, made[1].outliers) == (0.0, 0.5, None)


def test_listeners_reach_the_workers() -> None:
    """A listener would ask less of clients than the file says; or after an edit that waits for a restart, nobody
    would be let in."""
    base = config(canary())
    listen = Listen.model_validate(
        {"address": "127.0.0.1:1", "trustedProxies": ("10.0.0.0/8", "unix"), "proxyProtocol": True}
    )
    given = base.model_copy(update={"listen": (listen,)})
    made = compile(given, {}, {}, {}, 1)
    assert made.listeners == (snapshot.Listener("127.0.0.1:1", False, ("10.0.0.0/8", "unix"), True),)
    moved = compile(base, {}, {}, {}, 2, places=["127.0.0.1:1"], before=made.listeners)
    assert moved.listeners == made.listeners


def test_certificates_reach_the_workers(tmp_path: Path) -> None:
    """Workers would show what was there before, or the first certificate for every name."""
    pair = Authority(tmp_path).issue("a.test", "*.b.test")
    path, key = str(pair.certificate), str(pair.key)
    tls = {"certificates": ({"certFile": path, "keyFile": key},), "minVersion": 1.3, "clientCaFile": path}
    listen = Listen.model_validate({"address": "127.0.0.1:1", "tls": tls})
    given = config(canary()).model_copy(update={"listen": (listen,)})
    contents = files.read(given)
    (listener,) = compile(given, {}, {}, {}, 1, contents=contents).listeners
    certificate = snapshot.Certificate(path, key, ("a.test", "*.b.test"))
    assert listener.tls == snapshot.ServerTls((certificate,), "1.3", path, "", contents.of((path, key, path)))
    assert "PRIVATE" not in snapshot.encode(compile(given, {}, {}, {}, 1, contents=contents)).decode("latin-1")


def test_with_all_of_the_traffic_the_candidate_is_copied_to_stable() -> None:
    """The old version would get no copies in a bake, or such as the file forbids, or with the candidate's header."""
    of_candidate = {"backend": "v2", "methods": ("POST",), "headers": {"set": {"x-tenant": "none"}}}
    baking = replace(STATE, weight_ppm=CIRCLE, mirror_ppm=500_000)
    [copies] = compiled(canary(mirrors=(of_candidate,)), baking).mirrors
    assert (copies.backend, copies.share, copies.methods, copies.set_headers) == (0, 500_000, ("POST",), ())
    route = canary(mirrors=(of_candidate, {"backend": "v1", "methods": ("GET",)}))
    route["strategy"]["canary"]["bake"] = "10m"
    [copies] = compiled(route, baking).mirrors
    assert (copies.backend, copies.methods) == (0, ("GET",))
    assert compiled(route, replace(STATE, weight_ppm=CIRCLE)).mirrors == ()


def test_endpoints_that_are_replaced_get_nothing() -> None:
    """Broken: requests would go to an endpoint that was stopped, or be held as if nobody served."""
    places = (
        Place("stable", "http://127.0.0.1:9001", "leaving"),
        Place("candidate", "http://127.0.0.1:9002", "warming"),
    )
    state = replace(STATE, phase=Phase.REVERTING, doing="drain", places=places)
    made = compile(config(canary()), {"r": state}, {}, {}, 7)
    assert made.out == ((0, 0),)
    assert made.routes[0].hold is None
    assert compile(config(canary()), {"r": STATE}, {}, {}, 7).out == ()
    assert compile(config(canary()), {"r": replace(state, places=())}, {}, {}, 7).routes[0].hold is not None
