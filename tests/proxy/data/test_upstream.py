"""Which endpoint of a backend serves next."""

from __future__ import annotations

from proxy.data.upstream import Upstream
from proxy.snapshot import Backend, Endpoint


async def test_endpoints_take_turns() -> None:
    """Every replica of a version does its part."""
    backend = Backend("v1", tuple(Endpoint("v1.test", port) for port in (1, 2, 3)))
    upstream = Upstream(backend)
    turns = [upstream.pool() for _ in range(9)]
    assert [turns.count(pool) for pool in upstream.pools] == [3, 3, 3]
    assert turns[:3] == turns[3:6]
