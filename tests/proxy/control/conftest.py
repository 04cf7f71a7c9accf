"""Databases of both kinds, as the tests of the store run on each; and a whole controller with a canary of STEPS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support import postgres
from tests.support.control_plane import STEPS, World, config
from tests.support.postgres import Place


@pytest.fixture(scope="session")
def server() -> Iterator[postgres.Postgres]:
    with postgres.running() as server:
        yield server


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "understudy.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, path: Path) -> Place:
    if request.param == "sqlite":
        return Place(f"sqlite:///{path}", None)
    server = request.getfixturevalue("server")
    return Place(server.database(), server)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path, config(*STEPS))
    await world.start()
    yield world
    await world.close()
