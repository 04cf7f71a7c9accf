"""How the endpoints of backends stand, as people see it: what the checks say, and what the workers make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import Any, Final

from proxy.control.endpoints.health import Checks, Condition
from proxy.ledger.endpoints import EndpointState, read, tag
from proxy.ledger.reader import Reader
from proxy.snapshot import Backend

Json = dict[str, Any]
STATES: Final = ("healthy", "unhealthy", "ejected", "unknown")
"""Of which an endpoint has one: unhealthy by its checks, else ejected by some worker, else unknown until the checks are
sure. Without checks it is healthy as long as nobody ejects it."""


NONE_AWAY: Final[Mapping[tuple[str, str], str]] = {}


def backends(
    known: Sequence[Backend],
    checks: Checks,
    reader: Reader,
    workers: Sequence[int],
    now_s: float,
    wall_s: float,
    away: Mapping[tuple[str, str], str] = NONE_AWAY,
) -> list[Json]:
    """Each backend with its endpoints. `workers` are those that live, `now_s` and `wall_s` the two clocks; `away` says
    what becomes of endpoints that are being replaced."""
    found, number = [], 0
    for backend in known:
        endpoints, panicking = list[Json](), set[int]()
        for endpoint in backend.endpoints:
            tagged = tag(backend.name, endpoint)
            read_ = {worker: read(reader, worker, number, tagged) for worker in workers}
            states = {worker: state for worker, state in read_.items() if state is not None}
            panicking |= {worker for worker, state in states.items() if state.panic}
            condition = checks.condition(backend.name, endpoint)
            line = _endpoint(condition, list(states.values()), wall_s - now_s)
            out = away.get((backend.name, str(endpoint)), "")
            endpoints.append({"address": str(endpoint), **line, "out": out})
            number += 1
        found.append({"name": backend.name, "panic": len(panicking), "endpoints": endpoints})
    return found


def in_flight(known: Sequence[Backend], asked: Set[tuple[str, str]], reader: Reader, workers: Sequence[int]) -> int:
    """How many requests are under way to these endpoints, as (backend, address), in the workers that live. Where
    one of these has not told yet, one request is counted."""
    found, number = 0, 0
    for backend in known:
        for endpoint in backend.endpoints:
            if (backend.name, str(endpoint)) in asked:
                tagged = tag(backend.name, endpoint)
                states = (read(reader, worker, number, tagged) for worker in workers)
                found += sum(1 if state is None else state.in_flight for state in states)
            number += 1
    return found


def _endpoint(condition: Condition | None, states: Sequence[EndpointState], offset_s: float) -> Json:
    out = [state for state in states if state.ejected]
    return {
        "state": _state(condition, bool(out)),
        "reason": condition.reason if condition is not None else "",
        "since": condition.since_s or None if condition is not None else None,
        "checkedAt": condition.asked_s or None if condition is not None else None,
        "inFlight": sum(state.in_flight for state in states),
        "ejectedBy": len(out),
        "ejectedUntil": max(state.until_s for state in out) + offset_s if out else None,
        "ejections": sum(state.ejections for state in states),
        "share": min((state.share for state in states), default=1.0),
    }


def _state(condition: Condition | None, ejected: bool) -> str:
    if condition is not None and condition.healthy is False:
        return "unhealthy"
    if ejected:
        return "ejected"
    return "unknown" if condition is not None and condition.healthy is None else "healthy"
