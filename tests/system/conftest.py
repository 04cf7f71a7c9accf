"""What system tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import standing


@pytest.fixture(scope="session", autouse=True)
def _nothing_stands_longer() -> Iterator[None]:
    """The system that tests share ends with them."""
    yield
    standing.end()
