"""The store as the controller uses it: it may be away, which is said once and loudly, and tried again.

One that is locked or out of reach takes seconds to say no, and the wheel waits for it: with twenty routes a tick would
take minutes, and no command and no news of health would get its turn. So a no that took long stands for as long again.

One whose file is removed, replaced or damaged is closed, and opened anew as soon as it can be. What goes on is written
there first, so that whoever asks next finds a store that has all of it:

    LostError ─▶ begin_anew ─▶ closed ─▶ opened ─▶ carry(live) ─▶ the next question
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, Protocol, TypeVar

import structlog

from proxy.control.machine import latches
from proxy.control.machine.state import State
from proxy.control.storage.carrying import Before, Live
from proxy.control.storage.errors import LostError, StoreError
from proxy.control.storage.examining import Examiner
from proxy.control.storage.seen import Changes
from proxy.control.storage.store import INSTANCE, Kept, Store

SLOW_S: Final = 1.0
"""A no that took longer is not asked for again at once."""
MOST_S: Final = 5.0
"""How long such a no stands at most."""
_Answer = TypeVar("_Answer")
_LOG = structlog.get_logger("understudy.store")


class Going(Protocol):
    """What goes on, for a store that takes the place of one that is lost."""

    def begin_anew(self) -> None:
        """Nothing of it is in the store any more: what is kept next must not rely on what was."""

    def live(self) -> Live:
        """All of it, at this moment."""


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
        self._examiner = Examiner(monotonic)
        self._opening = asyncio.Lock()
        self._asked = 0
        """Questions that the store has yet to answer."""
        self._idle = asyncio.Event()
        self._idle.set()
        self._left: Store | None = None
        """One that is lost, and not closed yet."""
        self._before: Before | None = None
        """The one that is lost, until another has taken its place."""
        self._times_lost = 0
        self._going: Going | None = None
        self._stands_until_s = -1.0
        self.error = ""

    @property
    def open(self) -> bool:
        """Whether the store was opened."""
        return self._store is not None

    def follow(self, going: Going) -> None:
        """Write this again where the store is lost and another takes its place."""
        self._going = going

    async def ask(self, question: Callable[[Store], Awaitable[_Answer]]) -> _Answer:
        """Do something with the store, which is opened first if it is not.

        Raises:
            StoreError: it cannot be done now, or could not a moment ago.
        """
        answer = await self._ask(question)
        self._works()
        return answer

    async def look(self) -> None:
        """Notice that the store is lost, or take another in its place. That a file is there says nothing else of it."""
        if self._store is not None or self._before is not None:
            with contextlib.suppress(StoreError):
                await self._ask(Store.check)

    async def examine(self) -> None:
        """Look at the whole file now and then, beside all else: one that is damaged is lost."""
        if (store := self._store) is not None:
            try:
                await store.examine(self._examiner)
            except LostError as error:
                if store is self._store:
                    self._failed(error, self._monotonic())
                    self._lose(store, error)

    async def _ask(self, question: Callable[[Store], Awaitable[_Answer]]) -> _Answer:
        asked_s, times_lost = self._monotonic(), self._times_lost
        if self.error and asked_s < self._stands_until_s:
            raise StoreError(self.error)
        try:
            store = self._store or await self._opened()
            if self._times_lost == times_lost:
                answer = await self._answered(store, question)
        except StoreError as error:
            self._failed(error, asked_s)
            raise
        if self._times_lost != times_lost:
            # What is asked goes by what a store had that is lost, and whoever noticed that has said so.
            raise StoreError("the store was lost meanwhile: ask again in a second")
        return answer

    async def _answered(self, store: Store, question: Callable[[Store], Awaitable[_Answer]]) -> _Answer:
        self._asked += 1
        self._idle.clear()
        try:
            return await question(store)
        except LostError as error:
            if store is self._store:
                self._lose(store, error)
            raise
        finally:
            self._asked -= 1
            if not self._asked:
                self._idle.set()

    def _lose(self, store: Store, error: LostError) -> None:
        self._store, self._left, self._before = None, store, store.before(error.what)
        self._times_lost += 1
        if self._going is not None:
            self._going.begin_anew()

    async def _opened(self) -> Store:
        """The store, opened; with all that goes on in it, if one that was open is lost."""
        async with self._opening:
            if self._store is not None:
                return self._store
            if self._left is not None:
                await self._idle.wait()  # what it was asked last comes to its end: SQLite cleans up as it is closed
                await self._left.close(gone=True)
                self._left = None
            store = await Store.open(self._url, self._clock, self._instance)
            if self._before is not None and self._going is not None:
                try:
                    kept = await store.carry(self._going.live(), self._before)
                except StoreError:
                    await store.close()
                    raise
                for entry in kept:
                    _LOG.warning(entry.kind, route=entry.route, text=entry.text, entry=entry.id, hash=entry.hash)
                self._works()
            self._before = None
            self._store = store
            return store

    def _failed(self, error: StoreError, asked_s: float) -> None:
        if str(error) != self.error:
            _LOG.error("the store fails: traffic flows on, rollouts stand still", reason=str(error))
        self.error = str(error)
        now_s = self._monotonic()
        if now_s - asked_s > SLOW_S:
            self._stands_until_s = now_s + min(now_s - asked_s, MOST_S)

    def _works(self) -> None:
        if self.error:
            _LOG.info("the store works again")
            self.error = ""

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
        if self._left is not None:
            with contextlib.suppress(StoreError):  # nobody opens another after it
                await self._left.close(gone=True)
            self._left = None
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
