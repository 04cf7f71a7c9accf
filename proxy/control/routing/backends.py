"""From what the file says of a backend to what workers hold of it: how it is reached, balanced and watched. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from config import schema
from config.backends import balancing, health, reaching
from proxy import snapshot
from proxy.control.machine import rolls
from proxy.control.machine.rollout import State


def backend(given: schema.Backend, contents: str) -> snapshot.Backend:
    """A backend, with what the files hold that its `tls` names."""
    pool = given.connection_pool
    return snapshot.Backend(
        given.name,
        tuple(
            snapshot.Endpoint(endpoint.host, endpoint.port, endpoint.scheme == "https", endpoint.path)
            for endpoint in given.endpoints
        ),
        pool.idle_timeout,
        pool.max_connections,
        pool.max_pending_requests,
        pool.max_requests_per_connection,
        balancing=_balancing(given.load_balancer),
        outliers=None if given.outlier_detection is None else _outliers(given.outlier_detection),
        tls=snapshot.Tls() if given.tls is None else _tls(given.tls, contents),
        dns_refresh_s=given.dns.refresh_interval,
    )


def out(backends: Sequence[snapshot.Backend], states: Iterable[State]) -> tuple[tuple[int, int], ...]:
    """The endpoints that no request goes to while they are replaced. That holds in every route to their backend."""
    away = rolls.away(states)
    return tuple(
        (number, at)
        for number, each in enumerate(backends)
        for at, endpoint in enumerate(each.endpoints)
        if away and (each.name, str(endpoint)) in away
    )


def _balancing(given: balancing.LoadBalancer) -> snapshot.Balancing:
    slow = given.slow_start
    return snapshot.Balancing(
        policy=given.policy,
        slow_start_s=0.0 if slow is None else slow.window,
        slow_start_share=0.0 if slow is None else slow.min_weight_percent / 100,
        panic_share=given.panic_threshold / 100,
    )


def _outliers(given: health.OutlierDetection) -> snapshot.Outliers:
    return snapshot.Outliers(
        server_errors=given.consecutive_5xx_errors,
        gateway_errors=given.consecutive_gateway_errors,
        interval_s=given.interval,
        ejection_s=given.base_ejection_time,
        max_ejected_share=given.max_ejection_percent / 100,
        min_health_share=given.min_health_percent / 100,
    )


def _tls(given: reaching.BackendTls, contents: str) -> snapshot.Tls:
    """How a backend is made sure of."""
    return snapshot.Tls(
        ca_file=given.ca_file or "",
        cert_file=given.cert_file or "",
        key_file=given.key_file or "",
        server_name=given.server_name or "",
        min_version="1.3" if given.min_version == "1.3" else "1.2",
        verify=not given.insecure_skip_verify,
        contents=contents,
    )
