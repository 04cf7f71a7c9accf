"""Captured requests on their way to the store, which may be slow, full or away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml

from config.loader import loads
from proxy.capture import Captured
from proxy.control.storage import captures as module
from proxy.control.storage.captures import Captures
from proxy.control.storage.errors import StoreError
from proxy.control.storage.keeper import Keeper
from proxy.control.storage.kept_captures import Kept
from proxy.control.storage.pruning import Limits
from proxy.control.storage.retention import Retention, limits_of
from tests.support.control_plane import config


class Desk:
    """Captures over a real store."""

    def __init__(self, folder: Path) -> None:
        self.keeper = Keeper(f"sqlite:///{folder}/u.db")
        self.retention = Retention(self.keeper, lambda: 0.0)
        self.retention.limits = Limits(1e9, 1e9, 1e9, 1 << 30, {"fraud": Kept(60.0, 10)})
        self.captures = Captures(self.keeper, self.retention, lambda: 7.0)

    def take(self, *names: str, route: str = "fraud") -> None:
        for name in names:
            self.captures.take(Captured(route, "sample", 1.0, b'{"name": "%b"}' % name.encode()))

    async def names(self) -> list[str]:
        return [each["name"] for each in (await self.captures.page("fraud", None, 100, None))[0]]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    await desk.keeper.close()


async def test_what_comes_is_kept_while_it_is_followed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: captures stay in memory, and nobody sees them."""
    monkeypatch.setattr(module, "BATCH", 2)
    stop = asyncio.Event()
    task = asyncio.create_task(desk.captures.follow(stop))
    desk.take("a", "b", "c", "d", "e")
    for _ in range(1000):
        if len(await desk.names()) == 5:
            break
        await asyncio.sleep(0.01)
    desk.take("f")
    await asyncio.sleep(0)
    stop.set()
    await task
    assert await desk.names() == ["f", "e", "d", "c", "b", "a"]
    assert desk.captures.kept == {("fraud", "sample"): 6}
    (found,), more = await desk.captures.page("fraud", None, 1, None)
    assert more
    assert found == {"id": 6, "at": 1.0, "kind": "sample", "name": "f"}


async def test_a_store_that_is_away_drops_and_counts(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a store that is away has the controller grow, or captures go missing and nothing says so."""

    async def away(*_: object, **__: object) -> None:
        raise StoreError("cannot: locked")

    with monkeypatch.context() as patch:
        patch.setattr(module.Store, "keep_captures", away)
        desk.take("a", "b")
        await desk.captures.keep()
    assert desk.captures.dropped == {("fraud", "store"): 2}
    desk.take("c")
    await desk.captures.keep()
    assert await desk.names() == ["c"]


async def test_what_waits_has_a_bound(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken: a slow store has the controller's memory grow with the traffic."""
    monkeypatch.setattr(module, "WAITING", 2)
    desk.take("a", "b", "c")
    await desk.captures.keep()
    monkeypatch.setattr(module, "WAITING_BYTES", 20)
    desk.take("d", "e")
    await desk.captures.keep()
    assert await desk.names() == ["d", "b", "a"]
    assert desk.captures.dropped == {("fraud", "queue"): 2}


async def test_a_route_that_is_captured_no_more_keeps_nothing_new(desk: Desk) -> None:
    """Broken: payloads are stored that the file does not ask for any more."""
    desk.take("a", route="other")
    desk.take("b")
    assert desk.retention.limits is not None
    desk.retention.limits = Limits(1e9, 1e9, 1e9, 1 << 30)
    desk.take("c")
    await desk.captures.keep()
    assert await desk.names() == []
    assert not desk.captures.kept + desk.captures.dropped


async def test_taking_away_takes_what_waits_too(desk: Desk) -> None:
    """Broken: a person's data comes back a moment after it was taken away."""
    desk.take("a")
    await desk.captures.keep()
    desk.take("b")
    assert await desk.captures.forget("fraud", "ann@desk") == 1
    await desk.captures.keep()
    assert await desk.names() == []
    (entry,) = await desk.keeper.ask(lambda store: store.journal("fraud", 10))
    assert (entry.actor, entry.at_s) == ("ann@desk", 7.0)


def test_the_file_says_how_long_and_how_many() -> None:
    """Broken: captures stay for as long as something else does."""
    capture = {"errors": True, "keep": "2h", "maxRecords": 7}
    found = limits_of(loads(yaml.safe_dump(config(capture=capture)), "f").config)
    assert found.captures == {"r": Kept(7200.0, 7)}
    assert limits_of(loads(yaml.safe_dump(config()), "f").config).captures == {}
