"""What system tests share: what is told of one that fails, and the end of what is left standing."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.support import standing, waiting

WHOLE_S = 300.0
"""What a test takes at most. Most take 10 s alone; where ten programs share a core, the longest take two minutes."""
TAIL_BYTES = 4_000
"""Of each log, of a test that fails."""


@pytest.fixture(scope="session", autouse=True)
def _nothing_stands_longer() -> Iterator[None]:
    """The system that tests share ends with them."""
    yield
    standing.end()


def pytest_itemcollected(item: pytest.Item) -> None:
    """No test of this folder goes on for ever."""
    item.add_marker(pytest.mark.timeout(WHOLE_S))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails, or that is ended since its time is over, says what it waited for and how the logs end."""
    report = yield
    if report.failed:
        report.sections += [("waits", wait) for wait in waiting.waited_for()]
        report.sections += [(f"the end of {path}", tail(path)) for path in logs(item)]
    if call.when == "call":
        waiting.end()
    return report


def logs(item: pytest.Item) -> list[Path]:
    """The logs of what a test has started, and of what stands, if its module makes use of that."""
    found = set(standing.logs()) if hasattr(getattr(item, "module", None), "standing") else set()
    if (folder := getattr(item, "funcargs", {}).get("tmp_path")) is not None:
        found |= {path for path in folder.rglob("*.log") if path.is_file()}
    return sorted(found)


def tail(path: Path) -> str:
    """The end of a file."""
    return path.read_bytes()[-TAIL_BYTES:].decode(errors="replace")
