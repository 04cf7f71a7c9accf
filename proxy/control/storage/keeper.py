"""The store as the controller uses it: it may be away, which is said once and loudly, and tried again.

One that is locked or out of reach takes seconds to say no, and the wheel waits for it: with twenty routes a tick would
take minutes, and no command and no news of health would get its turn. So a no that took long stands for as long again.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, TypeVar

import structlog

from proxy.control.machine import latches
from proxy.control.machine.state import State
from proxy.control.storage.errors import StoreError
from proxy.control.storage.seen import Changes
from proxy.control.storage.store import INSTANCE, Kept, Store

SLOW_S: Final = 1.0
"""A no that took longer is not asked for again at once."""
MOST_S: Final = 5.0
"""How long such a no stands at most."""
_Answer = TypeVar("_Answer")
_LOG = structlog.get_logger("understudy.store")


class Keeper:
    """A store that may fail. `error` is what failed last, empty once something succeeded."""

    def __init__(
        self,
        url: str,
        instance: str = INSTANCE,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url, self._instance, self._monotonic, self._clock = url, instance, monotonic, clock
        self._store: Store | None = None
        self._stands_until_s = -1.0
        self.error = ""

    @property
    def open(self) -> bool:
        """Whether the store was opened."""
        return self._store is not None

    async def ask(self, question: Callable[[Store], Awaitable[_Answer]]) -> _Answer:
        """Do something with the store, which is opened first if it is not.

        Raises:
            StoreError: it cannot be done now, or could not a moment ago.
        """
        asked_s = self._monotonic()
        if self.error and asked_s < self._stands_until_s:
            raise StoreError(self.error)
        try:
            if self._store is None:
                self._store = await Store.open(self._url, self._clock, self._instance)
            answer = await question(self._store)
        except StoreError as error:
            if str(error) != self.error:
                _LOG.error("the store fails: traffic flows on, rollouts stand still", reason=str(error))
            self.error = str(error)
            now_s = self._monotonic()
            if now_s - asked_s > SLOW_S:
                self._stands_until_s = now_s + min(now_s - asked_s, MOST_S)
            raise
        if self.error:
            _LOG.info("the store works again")
            self.error = ""
        return answer

    async def next_number(self, name: str, above: int = 0) -> int:
        """The next number of a kind; 0 where the store fails, which only costs the memory of those before."""
        try:
            return await self.ask(lambda store: store.next_number(name, above))
        except StoreError:
            return 0

    async def forget(self, state: State, now_s: float) -> None:
        """Drop a rollout that went on, with its evidence; versions that stay out are kept.

        Raises:
            StoreError: it cannot be done now.
        """
        rest = left_by(state, now_s).get(state.route)
        if rest is None:
            await self.ask(lambda store: store.forget(state.route))
        else:
            nothing = Changes(anew=True, floor=0, chunks=())
            await self.ask(lambda store: store.transition(rest.state, None, 0, None, (), nothing, fresh=True))

    async def close(self) -> None:
        """Let go of the store."""
        if self._store is not None:
            await self._store.close()
            self._store = None


def left_by(state: State | None, now_s: float) -> dict[str, Kept]:
    """What stays known, by route, of a rollout whose route is gone while it went on."""
    rest = None if state is None else latches.rest(state, now_s)
    return {} if rest is None else {rest.route: Kept(rest, None, 0)}


def holder(now_s: float) -> str:
    """Which process this is, for those who ask who is in charge of a store."""
    since = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds")
    return f"process {os.getpid()} on {socket.gethostname()} (since {since})"
