"""The store as the controller uses it: it may be away, which is said once and loudly, and tried again."""

from __future__ import annotations

import os
import socket
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import structlog

from proxy.control.store import INSTANCE, Store, StoreError

_Answer = TypeVar("_Answer")
_LOG = structlog.get_logger("understudy.store")


class Keeper:
    """A store that may fail. `error` is what failed last, empty once something succeeded."""

    def __init__(self, url: str, instance: str = INSTANCE) -> None:
        self._url, self._instance = url, instance
        self._store: Store | None = None
        self.error = ""

    @property
    def open(self) -> bool:
        """Whether the store was opened."""
        return self._store is not None

    async def ask(self, question: Callable[[Store], Awaitable[_Answer]]) -> _Answer:
        """Do something with the store, which is opened first if it is not.

        Raises:
            StoreError: it cannot be done now.
        """
        try:
            if self._store is None:
                self._store = await Store.open(self._url, instance=self._instance)
            answer = await question(self._store)
        except StoreError as error:
            if str(error) != self.error:
                _LOG.error("the store fails: traffic flows on, rollouts stand still", reason=str(error))
            self.error = str(error)
            raise
        if self.error:
            _LOG.info("the store works again")
            self.error = ""
        return answer

    async def close(self) -> None:
        """Let go of the store."""
        if self._store is not None:
            await self._store.close()
            self._store = None


def holder(now_s: float) -> str:
    """Which process this is, for those who ask who is in charge of a store."""
    since = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="milliseconds")
    return f"process {os.getpid()} on {socket.gethostname()} (since {since})"
