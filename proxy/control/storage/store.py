"""What outlives the controller: rollouts with their evidence, the journal, configurations and counters.

One database (see `database`), reached by SQLAlchemy Core. A transition is one transaction: the state, the evidence that
it was decided upon, the verdict and the journal entries are all there after a crash, or none is. Transitions and
counters wait for the disk; the evidence of an ordinary tick does not: after a power cut the newest ticks may be gone,
never half of one. A `kill -9` loses nothing that was acknowledged.

Several instances may share a database: everything has the name of its instance. One process at a time is in charge of
an instance, the last one that said so; another one's writes are refused, so that two that were given the same name by
mistake cannot take turns with one rollout.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from alembic.util import CommandError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.control.machine import state_codec
from proxy.control.machine.state import State
from proxy.control.storage import (
    carrying,
    charges,
    configs,
    given,
    journal,
    kept_captures,
    kept_rollouts,
    kept_seen,
    post,
    pruning,
    slices,
)
from proxy.control.storage.carrying import Before, Live
from proxy.control.storage.chain import Verified
from proxy.control.storage.configs import Revision
from proxy.control.storage.database import MIGRATING, Database, connect, remedy
from proxy.control.storage.entries import Basis, Decision, Entry
from proxy.control.storage.errors import LostError, StoreError
from proxy.control.storage.examining import Examiner
from proxy.control.storage.kept_captures import KeptCapture
from proxy.control.storage.migrations import upgrade as migrations
from proxy.control.storage.post import Letter
from proxy.control.storage.pruning import Limits, Pruned
from proxy.control.storage.recording import Recording, Row
from proxy.control.storage.seen import Changes, Chunk
from proxy.control.storage.slices import Run

__all__ = ["Basis", "Decision", "Entry", "Kept", "Letter", "Revision", "Store", "StoreError"]

INSTANCE: Final = "understudy"
"""The name of an instance that was given none."""
_ANEW: Final = "it is opened anew, and what goes on is written there again: ask again in a second"


@dataclass(frozen=True, slots=True)
class Kept:
    """A rollout as it was left: state, dump of the evidence, the last slice in it, verdict of the last transition, and
    which answers were heard of."""

    state: State
    evidence: bytes | None
    cursor: int
    verdict: Mapping[str, Any] | None = None
    seen: tuple[Chunk, ...] = ()


class Store:
    """What one instance keeps. Safe to use from several tasks of one loop."""

    def __init__(self, database: Database, instance: str, clock: Callable[[], float]) -> None:
        self._database = database
        self._reading = database.reading
        self._writing = database.engine.execution_options(synchronous="NORMAL")
        self._durable = database.engine.execution_options(synchronous="FULL")
        self._place, self._instance = database.place, instance
        self._clock = clock
        self._holder = ""
        self._outranked = False
        self._last = (0, "")
        self._evidence = kept_rollouts.of_a_tick(database)

    @classmethod
    async def open(cls, url: str, clock: Callable[[], float] = time.time, instance: str = INSTANCE) -> Store:
        """Open the database of a URL `sqlite:///PATH` or `postgresql://…`; an empty or absent one is made one, an older
        one is upgraded.

        `clock` dates what is written without a time of its own (verdicts and configurations).

        Raises:
            StoreError: the URL is of another kind; the database cannot be opened or written, is damaged, or is newer
                than this release. What is refused is left as it was.
        """
        try:
            store = cls(connect(url), instance, clock)
        except ValueError as error:
            raise StoreError(str(error)) from error
        store._database.prepare()
        try:
            async with store._write("open the store", durable=True, fenced=False) as db:
                damage = await store._database.damage(db)
                if damage:
                    raise StoreError(f"cannot open the store: {store._place}: {damage}; {remedy('malformed')}")
                await store._database.enter(db, MIGRATING)
                await db.run_sync(migrations.upgrade)
        except CommandError as error:
            await store.close()
            raise StoreError(
                f"cannot open the store: {store._place}: a newer release wrote it ({error}); run that one, or change "
                "store.url"
            ) from error
        except StoreError:
            await store.close()
            raise
        return store

    async def close(self, gone: bool = False) -> None:
        """Let go of the database. Closing twice does nothing. `gone`: its files are not there any more."""
        async with self._errors("let go of the store"):
            await self._database.close(gone)

    async def check(self) -> None:
        """See whether the files are those that were opened.

        Raises:
            LostError: they are not.
        """
        async with self._errors("use the store"):
            await self._check("use the store")

    async def examine(self, examiner: Examiner) -> None:
        """See whether all of a SQLite file is whole, if it is time for that; nobody waits for it.

        Raises:
            LostError: it is damaged.
        """
        if self._database.is_sqlite and (found := await examiner.damage(self._place)):
            raise LostError(f"cannot use the store: {self._place}: {found}; {remedy('malformed')}", found)

    def before(self, what: str) -> Before:
        """What the next one has to know of this one, which is lost."""
        return Before(f"{self._place}: {what}", self._holder, self._outranked, *self._last)

    async def carry(self, live: Live, before: Before) -> list[Entry]:
        """Go on in the place of a store that is lost, with all that is live, unless another was in charge of it: the
        entries as they are kept."""
        if before.outranked:
            self._holder, self._outranked = before.holder, True
            return []
        async with self._write("go on in a file that takes the place of another", durable=True, fenced=False) as db:
            kept = await carrying.carry(db, self._database, self._instance, live, before)
        self._holder = before.holder
        return self._written(kept)

    async def take_charge(self, holder: str) -> None:
        """From now on this process alone writes for the instance; `holder` says which it is, for those who ask."""
        async with self._write("take charge of the store", durable=True, fenced=False) as db:
            await charges.take(db, self._database, self._instance, holder, self._clock())
            self._last = await journal.last(db, self._instance)
        self._holder = holder

    async def rollouts(self) -> dict[str, Kept]:
        """All rollouts by route.

        Raises:
            StoreError: a state cannot be read by this release.
        """
        async with self._read() as db:
            rows = await kept_rollouts.load(db, self._instance)
            seen = await kept_seen.load(db, self._instance)
        kept = {}
        for route, values, data, cursor, verdict in rows:
            try:
                kept[route] = Kept(state_codec.decode(values), data, cursor, verdict, seen.get(route, ()))
            except ValueError as error:
                raise StoreError(
                    f"cannot read the rollout of route {route}: {self._place}: {error}; "
                    f"run the release that wrote it, or move the file away to begin with an empty one"
                ) from error
        return kept

    async def transition(
        self,
        state: State,
        evidence: bytes | None,
        cursor: int,
        basis: Basis | None,
        entries: Sequence[Entry],
        seen: Changes | None = None,
        fresh: bool = False,
        letters: Sequence[Letter] = (),
    ) -> list[Entry]:
        """Keep a new state with the evidence, the basis and the journal entries of it, and with what webhooks are to be
        told: all or, if it fails, nothing.

        Without a basis the verdict that stood before stands on, unless the rollout is `fresh`. `evidence` None drops
        what was kept, `seen` are answers that were heard of in it. It is on disk when this returns; answers the entries
        as they are kept.
        """
        async with self._write("keep a transition", durable=True) as db:
            verdict_id = None
            if basis is not None:
                verdict_id = await journal.keep_basis(db, self._instance, state.route, self._clock(), basis)
            elif not fresh:
                verdict_id = await kept_rollouts.verdict_of(db, self._instance, state.route)
            kept = await journal.append(db, self._instance, entries, verdict_id)
            run = kept[0].id if fresh and kept else None
            await kept_rollouts.keep(db, self._database, self._instance, state, evidence, cursor, verdict_id, run)
            if seen is not None:
                await kept_seen.keep(db, self._database, self._instance, state.route, seen)
            await post.add(db, self._instance, letters)
        return self._written(kept)

    async def keep_evidence(
        self,
        route: str,
        evidence: bytes,
        cursor: int,
        seen: Changes | None = None,
        recording: Recording | None = None,
    ) -> list[int] | None:
        """Keep the evidence of a tick in place of the last, which answers were heard of in it, and the slices that made
        it: the ids of their rows. A cursor that has not moved writes nothing: None."""
        values = {"instance": self._instance, "route": route, "data": evidence, "cursor": cursor}
        async with self._write("keep evidence") as db:
            if (await db.execute(self._evidence, values)).rowcount <= 0:
                return None
            if seen is not None:
                await kept_seen.keep(db, self._database, self._instance, route, seen)
            return [] if recording is None else await slices.keep(db, self._instance, route, recording)

    async def recordings(self, route: str) -> list[Run]:
        """The rollouts of a route of which slices are kept, the oldest first."""
        async with self._read() as db:
            return await slices.runs(db, self._instance, route)

    async def recorded(self, route: str, run: int, after: int, limit: int) -> list[tuple[int, Row]]:
        """Rows of a run with their ids, in order, those above `after`."""
        async with self._read() as db:
            return await slices.page(db, self._instance, route, run, after, limit)

    async def journal(self, route: str | None, limit: int, before: int | None = None) -> list[Entry]:
        """Up to `limit` entries, the newest first; of all routes for None. `before` is the last id of the last page."""
        async with self._read() as db:
            return await journal.page(db, self._instance, route, limit, before)

    async def journal_after(self, after: int, limit: int) -> list[Entry]:
        """Up to `limit` entries of all routes with an id above `after`, the oldest first."""
        async with self._read() as db:
            return await journal.page_after(db, self._instance, after, limit)

    async def decision(self, route: str, entry_id: int | None) -> Decision | None:
        """An entry of a route with what stood behind it; without an id the last that decided something by a verdict."""
        async with self._read() as db:
            return await journal.decision(db, self._instance, route, entry_id)

    async def verify(self, expected: str = "") -> Verified:
        """Whether the chain of the journal holds. `expected` is a hash that must be in it."""
        async with self._read() as db:
            return await journal.verify(db, self._instance, expected)

    async def keep_captures(self, captures: Sequence[KeptCapture]) -> None:
        """Keep captured requests."""
        async with self._write("keep captured requests") as db:
            await kept_captures.add(db, self._instance, captures)

    async def captures(
        self, route: str, kind: str | None, limit: int, before: int | None
    ) -> tuple[list[KeptCapture], bool]:
        """Captured requests of a route, the newest first, and whether there are more. `before` is the last id of the
        last page."""
        async with self._read() as db:
            return await kept_captures.page(db, self._instance, route, kind, limit, before)

    async def forget_captures(self, route: str, entry: Entry) -> tuple[int, bool]:
        """Take away all that was captured of a route, with an entry in the journal whose text says how many; answers
        that, and whether nothing of it is left in a SQLite file: a program that reads it keeps its log as it is."""
        async with self._write("take captured requests away", durable=True) as db:
            count = await kept_captures.drop(db, self._database, self._instance, route)
            said = f"{count} captured requests are taken away"
            kept = await journal.append(db, self._instance, [replace(entry, text=said)], None)
        self._written(kept)
        return count, await self._database.clear_log()

    async def prune(self, limits: Limits, used_bytes: int) -> Pruned:
        """Take away some of what is too old or too much; nothing at all once there is no more of it. `used_bytes` is
        what the store takes, as it was found or as the step before has left it."""
        async with self._write("prune the store") as db:
            return await pruning.prune(db, self._database, self._instance, limits, self._clock(), used_bytes)

    async def used_bytes(self) -> int:
        """What the store takes."""
        async with self._read() as db:
            return await self._database.used_bytes(db, self._instance)

    async def record(self, entry: Entry) -> Entry:
        """Write one journal entry; answers it as it is kept."""
        async with self._write("write the journal", durable=True) as db:
            kept = await journal.append(db, self._instance, [entry], None)
        return self._written(kept)[0]

    async def keep_config(self, text: str, digest: str, actor: str) -> int:
        """Keep a configuration and answer its id; one with the digest of the last is not kept twice."""
        async with self._write("keep a configuration", durable=True) as db:
            return await configs.keep(db, self._instance, text, digest, actor, self._clock())

    async def last_config(self) -> Revision | None:
        """The configuration that was kept last."""
        async with self._read() as db:
            return await configs.last(db, self._instance)

    async def numbers(self, name: str) -> int:
        """The last number that was given out under a name; 0 for none."""
        async with self._read() as db:
            return await given.last(db, self._instance, name)

    async def next_number(self, name: str, above: int = 0) -> int:
        """The next number of a name, above one that is known to be taken; the first is 1. No number is given out twice,
        whatever happens."""
        async with self._write("count", durable=True) as db:
            return await given.following(db, self._database, self._instance, name, above)

    async def secret(self, name: str, size: int) -> bytes:
        """The secret of a name, of so many random bytes; it is made when it is asked for the first time."""
        async with self._write("keep a secret", durable=True) as db:
            return await given.secret(db, self._database, self._instance, name, size)

    async def forget(self, route: str) -> None:
        """Drop the rollout and the evidence of a route; its journal and its verdicts stay."""
        async with self._write("forget a route", durable=True) as db:
            await kept_rollouts.drop(db, self._instance, route)
            await kept_seen.drop(db, self._instance, route)

    async def letters(self) -> list[Letter]:
        """What webhooks have yet to be told, the oldest first."""
        async with self._read() as db:
            return await post.waiting(db, self._instance)

    async def forget_letter(self, id_: str) -> None:
        """Drop what a webhook was told, or will never be."""
        async with self._write("drop a letter", durable=True) as db:
            await post.drop(db, self._instance, id_)

    # --- transactions
    @asynccontextmanager
    async def _read(self) -> AsyncIterator[AsyncConnection]:
        async with self._errors("read the store"), self._reading.connect() as db:
            yield db

    @asynccontextmanager
    async def _write(self, doing: str, *, durable: bool = False, fenced: bool = True) -> AsyncIterator[AsyncConnection]:
        async with self._errors(doing):
            if durable:
                await self._check(doing)
            async with (self._durable if durable else self._writing).begin() as db:
                await self._database.enter(db, self._instance)
                if fenced and self._holder:
                    await self._check_charge(db, doing)
                yield db
            if durable:
                await self._check(doing)  # what went into a file that is gone is not kept

    async def _check(self, doing: str) -> None:
        if lost := await self._database.lost():
            raise LostError(f"cannot {doing}: {self._place}: {lost}; {_ANEW}", lost)

    def _written(self, kept: list[Entry]) -> list[Entry]:
        """Entries that are in the journal now."""
        if kept:
            self._last = kept[-1].id, kept[-1].hash
        return kept

    async def _check_charge(self, db: AsyncConnection, doing: str) -> None:
        """Refuse where another process is in charge by now."""
        holder = await charges.taken_by(db, self._instance)
        self._outranked = holder != self._holder
        if self._outranked:
            raise StoreError(
                f"cannot {doing}: {self._place}: {holder or 'somebody'} is in charge of the instance "
                f"{self._instance!r} now; give each Understudy that shares a store its own store.instance"
            )

    @asynccontextmanager
    async def _errors(self, doing: str) -> AsyncIterator[None]:
        try:
            yield
        except self._database.errors as error:
            # What happens while a connection is set up comes as the driver raised it.
            said = str(error.orig if isinstance(error, DBAPIError) else error) or type(error).__name__
            with suppress(OSError):
                await self._check(doing)  # a file that is gone has many ways to fail
            if self._database.damaged(said):
                raise LostError(f"cannot {doing}: {self._place}: {said}; {remedy(said)}", said) from error
            raise StoreError(f"cannot {doing}: {self._place}: {said}; {remedy(said)}") from error
