"""An idle version is asked before all traffic goes to it: what an edit in the middle of that may not mix up."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from proxy.control.endpoints import smoke
from proxy.snapshot import Backend
from tests.support.control_plane import config, playing


def document(candidate: str) -> dict[str, Any]:
    roles = (("v1", "stable"), (candidate, "canary"))
    strategy = {"blueGreen": {"smoke": [{"path": "/"}]}}
    return config(strategy=strategy, backendRefs=[{"name": name, "role": role} for name, role in roles])


async def test_what_another_version_answers_is_nothing_about_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken: an edit while v2 is being asked sends all traffic to v3 as soon as v2 answers well."""
    asked: dict[str, asyncio.Future[str]] = {}

    async def round_(backend: Backend, *_: object) -> str:
        asked[backend.name] = asyncio.get_running_loop().create_future()
        return await asked[backend.name]

    monkeypatch.setattr(smoke, "_round", round_)
    async with playing(tmp_path, document("v2")) as world:
        assert world.controller is not None
        await world.second()
        await asyncio.sleep(0)
        assert list(asked) == ["v2"]
        world.write(document("v3"))
        assert (await world.controller.reload("ann"))["ok"]
        if not asked["v2"].done():
            asked["v2"].set_result("")
        for _ in range(3):
            await asyncio.sleep(0)
            route = await world.second()
        assert (route["candidate"], route["phase"], route["weight"]) == ("v3", "Waiting", 0.0), route["reason"]
        asked["v3"].set_result("")
        await asyncio.sleep(0)
        assert (await world.until("Succeeded"))["weight"] == 100.0
