"""The played data plane, with a clock that stands still."""

from __future__ import annotations

import asyncio

import pytest

from proxy.data.backends import pool, upstream
from proxy.data.clients import downstream, intake
from proxy.data.copies import copying, shadow
from proxy.data.exchanges import attempt, exchange, reply, tunnel
from tests.support.plane import Clock, Network, Plane


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (attempt, copying, downstream, exchange, intake, pool, reply, shadow, tunnel, upstream):
        monkeypatch.setattr(module, "monotonic", clock)
    return clock


@pytest.fixture
async def network(monkeypatch: pytest.MonkeyPatch) -> Network:
    network = Network()
    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", network.create_connection)
    return network


@pytest.fixture
async def plane(network: Network, clock: Clock) -> Plane:
    return Plane(network, clock)
