"""What all tests share: a place for what their programs leave behind."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def _nothing_is_left_behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Temporary files go to one folder, which goes with the run: a program that is killed removes nothing itself.

    The folders of the tests (`tmp_path`) lie elsewhere, and stay for whoever looks for a reason. Its name is short, as
    there are sockets in it, and whoever runs PostgreSQL may pass through it.
    """
    tmp_path_factory.getbasetemp()
    folder = Path(tempfile.mkdtemp(prefix="understudy-tests-"))
    folder.chmod(0o755)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tempfile, "tempdir", str(folder))
        patched.setitem(os.environ, "TMPDIR", str(folder))
        yield
    shutil.rmtree(folder, ignore_errors=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of whole systems first: they wait much and compute little, and so they run beside those that compute."""
    items.sort(key=lambda item: "system" not in item.path.parts)
