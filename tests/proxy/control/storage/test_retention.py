"""Retention as the controller does it: in the background, by the configuration that is live, and told."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from proxy.control.storage.keeper import Keeper
from proxy.control.storage.pruning import Limits
from proxy.control.storage.recording import Recording, Row
from proxy.control.storage.retention import Retention, limits_of
from tests.proxy.control.storage.test_pruning import PLAN, STATE
from tests.support.control_plane import STEPS, World, config

LIMITS = Limits(1e9, 1e9, 1e9, 1 << 30)


@pytest.fixture
async def keeper(tmp_path: Path) -> AsyncIterator[Keeper]:
    keeper = Keeper(f"sqlite:///{tmp_path}/u.db")
    await keeper.ask(lambda store: store.transition(STATE, b"", 0, None, []))
    yield keeper
    await keeper.close()


async def record(keeper: Keeper, mb: int) -> None:
    for number in range(mb):
        row = Row(1, 0, False, float(number), float(number), 1, os.urandom(1 << 20))
        await keeper.ask(
            lambda store, n=number, row=row: store.keep_evidence("fraud", b"", n + 1, None, Recording((row,)))
        )


async def test_the_file_shrinks_again(keeper: Keeper, tmp_path: Path) -> None:
    """If broken, a disk that was full stays full, whatever is taken away."""
    assert PLAN.route == "fraud"
    await record(keeper, 20)
    retention = Retention(keeper, lambda: 0.0)
    await retention.sweep()
    assert retention.used_bytes is None, "nothing is taken away before it is known what may stay"
    retention.limits = Limits(1e9, 1e9, 1e9, 12 << 20)
    with capture_logs() as logs:
        await retention.sweep()
    found = retention.document()
    assert found["bytes"] <= found["maxBytes"] == 12 << 20
    assert found["removed"]["recordings"] > 0
    assert [line["event"] for line in logs] == ["retention took away what was too old or too much"]
    await record(keeper, 20)
    for _ in range(3):
        await retention.sweep()
    assert (tmp_path / "u.db").stat().st_size < 35 << 20, "what was free is used again"


async def test_a_store_that_cannot_shrink_is_told_once(keeper: Keeper) -> None:
    """If broken, a bound that cannot be held is kept secret, or fills the log."""
    retention = Retention(keeper, lambda: 0.0)
    retention.limits = Limits(1e9, 1e9, 1e9, 10)
    with capture_logs() as logs:
        await retention.sweep()
        await retention.sweep()
    assert [line["event"].partition(",")[0] for line in logs if line["log_level"] == "warning"] == [
        "the store is larger than it may be"
    ]


async def test_limits_are_those_of_the_live_file(tmp_path: Path) -> None:
    """If broken, an edit of the retention needs a restart, or status does not show the bound."""
    document = config(*STEPS) | {"store": {"url": "sqlite:///understudy.db", "maxBytes": 16 << 20}}
    world = World(tmp_path, document)
    controller = await world.start()
    assert controller.status()["store"]["maxBytes"] == 16 << 20
    document["store"] |= {"maxBytes": 32 << 20, "retention": {"recordings": "2h"}}
    world.write(document)
    assert (await controller.reload("ann"))["ok"]
    assert controller.status()["restartNeeded"] == []
    assert controller.status()["store"]["maxBytes"] == 32 << 20
    assert controller._retention.limits == limits_of(controller._loaded.config)  # type: ignore[union-attr]
    assert controller._retention.limits.recordings_s == 7200
    await controller._retention.sweep()
    assert 0 < controller.status()["store"]["bytes"] < 1 << 20
    await world.close()


async def test_a_store_that_is_away_is_tried_again(keeper: Keeper, tmp_path: Path) -> None:
    """If broken, one failure ends retention for good, and with it the controller."""
    retention = Retention(keeper, lambda: 0.0)
    retention.limits = LIMITS
    with sqlite3.connect(tmp_path / "u.db") as db:
        db.execute("ALTER TABLE slices RENAME TO gone")
    db.close()
    await retention.sweep()
    assert "no such table: slices" in keeper.error
    with sqlite3.connect(tmp_path / "u.db") as db:
        db.execute("ALTER TABLE gone RENAME TO slices")
    db.close()
    await retention.sweep()
    assert (keeper.error, (retention.used_bytes or 0) > 0) == ("", True)
