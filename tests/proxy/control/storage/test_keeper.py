"""A store that may be away: what is asked of it then."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.control.storage.errors import StoreError
from proxy.control.storage.keeper import MOST_S, SLOW_S, Keeper
from proxy.control.storage.store import Store


class Locked:
    """A question to a store that takes so long to say no, as long as it is locked."""

    def __init__(self, no_after_s: float) -> None:
        self.no_after_s, self.now_s, self.asked, self.locked = no_after_s, 100.0, 0, True

    def clock(self) -> float:
        return self.now_s

    async def __call__(self, _: Store) -> str:
        self.asked += 1
        if self.locked:
            self.now_s += self.no_after_s
            raise StoreError("cannot: locked")
        return "done"


async def asked(keeper: Keeper, question: Locked) -> str:
    try:
        return await keeper.ask(question)
    except StoreError as error:
        return str(error)


async def test_a_no_that_took_long_stands_for_as_long(tmp_path: Path) -> None:
    """Broken: twenty routes wait five seconds each for a locked store, and no command gets its turn for minutes."""
    question = Locked(no_after_s=4.0)
    keeper = Keeper(f"sqlite:///{tmp_path}/u.db", monotonic=question.clock)
    assert [await asked(keeper, question) for _ in range(20)] == ["cannot: locked"] * 20
    assert (question.asked, question.now_s) == (1, 104.0)
    question.now_s += 4.1
    question.locked = False
    assert await asked(keeper, question) == "done"
    assert keeper.error == ""
    await keeper.close()


@pytest.mark.parametrize(("no_after_s", "stands_s"), [(SLOW_S / 2, 0.0), (60.0, MOST_S)])
async def test_a_quick_no_and_a_very_slow_one(tmp_path: Path, no_after_s: float, stands_s: float) -> None:
    """Broken: a route whose state is refused freezes all others, or a store that is back is left alone for long."""
    question = Locked(no_after_s)
    keeper = Keeper(f"sqlite:///{tmp_path}/u.db", monotonic=question.clock)
    assert await asked(keeper, question) == "cannot: locked"
    question.locked = False
    question.now_s += stands_s
    assert await asked(keeper, question) == "done"
    await keeper.close()
