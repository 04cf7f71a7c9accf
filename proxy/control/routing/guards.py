"""From what the file says of rate limits, faults on purpose, holds, captures and the log to what a worker does of it.
Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from config.listeners.access_log import AccessLog
from config.routes.capture import Capture, steps_of
from config.routes.fault_injection import FaultInjection
from config.routes.hold import Hold
from config.routes.rate_limits import RateLimit
from proxy import capture, snapshot
from proxy.control.routing.matches import keys_of, match_of
from proxy.snapshot import CIRCLE

_PER_PERCENT: Final = CIRCLE // 100


def rate_limit(limit: RateLimit) -> snapshot.RateLimit:
    """The buckets of a rate limit."""
    return snapshot.RateLimit(
        requests=limit.requests,
        per_s=limit.per,
        burst=limit.size,
        keys=keys_of(limit.key),
        matches=tuple(match_of(match) for match in limit.match),
        max_keys=limit.max_keys,
    )


def injection(fault: FaultInjection, numbers: Mapping[str, int]) -> snapshot.Injection:
    """The faults of a route; `numbers` are those of the backends."""
    return snapshot.Injection(
        delay_s=fault.delay.fixed_delay if fault.delay else 0.0,
        delay_share=round(fault.delay.percent * _PER_PERCENT) if fault.delay else 0,
        abort_status=fault.abort.http_status if fault.abort else 0,
        abort_share=round(fault.abort.percent * _PER_PERCENT) if fault.abort else 0,
        backend=-1 if fault.backend is None else numbers[fault.backend],
        matches=tuple(match_of(match) for match in fault.match),
    )


def hold(given: Hold) -> snapshot.Hold:
    """How requests wait."""
    return snapshot.Hold(
        max_requests=given.max_requests,
        max_bytes=given.max_bytes,
        timeout_s=given.timeout,
        at_least_s=given.at_least or 0.0,
        release_rate=given.release_rate,
        priorities=tuple(tuple(match_of(match) for match in one.match) for one in given.priorities),
    )


def access_log(log: AccessLog) -> snapshot.AccessLog:
    """Which requests are written, and what of them."""
    return snapshot.AccessLog(
        log.path,
        round(log.percent * _PER_PERCENT),
        log.errors_always,
        tuple(name.lower() for name in log.headers),
        log.query,
        log.max_buffer_bytes,
    )


def captured(given: Capture) -> capture.Capture:
    """Which requests are written down, and by which rules."""
    return capture.Capture(
        share=round(given.percent * _PER_PERCENT),
        disagreements=given.disagreements,
        errors=given.errors,
        per_minute=given.per_minute,
        max_body_bytes=given.max_body_bytes,
        fields=tuple(capture.Field(steps_of(path), policy) for path, policy in given.fields.items()),
        other=given.other_fields,
        path=given.path,
        headers=tuple((name.lower(), policy) for name, policy in given.headers.items()),
    )
