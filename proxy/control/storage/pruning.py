"""What retention takes away, a few rows at a time. All of it happens inside a transaction of the store.

What is gone for good goes in this order: captured requests, recordings, the evidence of decisions (their verdicts
stay), configurations, and last the oldest entries of the journal, for which a checkpoint entry stands from then on.

How much there is, is known beforehand: with PostgreSQL it takes a fifth of a second to sum up, for which every tick
would wait at each step. A step says what is left by the rows that it has taken away.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlalchemy import Row, Select, Table, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.control.storage import journal, kept_captures
from proxy.control.storage.chain import CHECKPOINT
from proxy.control.storage.database import Database
from proxy.control.storage.entries import Entry
from proxy.control.storage.kept_captures import Kept
from proxy.control.storage.tables import CAPTURES, CHECKPOINTS, CONFIGS, JOURNAL, ROLLOUTS, SLICES, VERDICTS

BATCH: Final = 200
"""Rows of one transaction: some milliseconds, so that no tick waits."""
_WORTH: Final = 50
"""Entries that are worth a checkpoint, which is an entry itself: fewer stay until there are more."""
_KEEP_ENTRIES: Final = 100
"""Entries that stay however little room there is."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things are kept, in seconds, and what all of it may take. `captures` are by route."""

    journal_s: float
    evidence_s: float
    recordings_s: float
    max_bytes: int
    captures: Mapping[str, Kept] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one step has taken away, and how large the store is now."""

    recordings: int = 0
    evidence: int = 0
    configs: int = 0
    entries: int = 0
    captures: int = 0
    used_bytes: int = 0

    @property
    def more(self) -> bool:
        """Whether anything was taken: then there may be more."""
        return bool(self.recordings or self.evidence or self.configs or self.entries or self.captures)


async def prune(
    db: AsyncConnection, database: Database, instance: str, limits: Limits, now_s: float, used_bytes: int
) -> Pruned:
    """Take away what is too old, or what is oldest where all of it is too large: one kind of thing, one batch."""
    step = _Step(db, database, instance)
    full = used_bytes > limits.max_bytes
    if captures := await step.captures(None if full else limits.captures, now_s):
        pruned = Pruned(captures=captures)
    elif slices := await step.slices(None if full else now_s - limits.recordings_s):
        pruned = Pruned(recordings=slices)
    elif evidence := await step.evidence(None if full else now_s - limits.evidence_s):
        pruned = Pruned(evidence=evidence)
    elif configs := await step.configs(None if full else now_s - limits.journal_s):
        pruned = Pruned(configs=configs)
    else:
        entries = await step.signed_off()
        if not entries and await step.sign_off(None if full else now_s - limits.journal_s, now_s):
            entries = await step.signed_off()
        pruned = Pruned(entries=entries)
    await database.give_back(db)
    left = await database.used_bytes(db, instance) if database.is_sqlite else used_bytes - step.freed_bytes
    return replace(pruned, used_bytes=left)


@dataclass(slots=True)
class _Step:
    """One batch of one kind. `freed_bytes` is what it has taken away of what is summed up row by row."""

    db: AsyncConnection
    database: Database
    instance: str
    freed_bytes: int = 0

    async def captures(self, limits: Mapping[str, Kept] | None, now_s: float) -> int:
        """Captured requests that are too old, or too many of their kind; or the oldest, whichever. They are erased."""
        if limits is None:
            ids = await kept_captures.oldest(self.db, self.instance, BATCH)
        else:
            ids = await kept_captures.due(self.db, self.instance, limits, now_s, BATCH)
        if ids:
            self.freed_bytes += await self.database.taken_bytes(self.db, CAPTURES.name, ids)
            await self.database.erase(self.db, delete(CAPTURES).where(CAPTURES.c.id.in_(ids)))
        return len(ids)

    async def slices(self, before_s: float | None) -> int:
        """The oldest recorded slices; before a time, or any."""
        oldest = select(SLICES.c.id).where(SLICES.c.instance == self.instance)
        if before_s is not None:
            oldest = oldest.where(SLICES.c.last_s < before_s)
        return await self._delete(SLICES, oldest.order_by(SLICES.c.id))

    async def evidence(self, before_s: float | None) -> int:
        """The evidence of the oldest decisions. That on which a rollout stands now goes by its age alone."""
        oldest = select(VERDICTS.c.id).where(VERDICTS.c.instance == self.instance, VERDICTS.c.evidence.is_not(None))
        if before_s is None:
            oldest = oldest.where(VERDICTS.c.id.not_in(select(ROLLOUTS.c.verdict_id).where(ROLLOUTS.c.verdict_id > 0)))
        else:
            oldest = oldest.where(VERDICTS.c.at_s < before_s)
        ids = (await self.db.execute(oldest.order_by(VERDICTS.c.id).limit(BATCH))).scalars().all()
        if ids:
            self.freed_bytes += await self.database.taken_bytes(self.db, "verdicts", ids, "evidence")
            await self.db.execute(update(VERDICTS).where(VERDICTS.c.id.in_(ids)).values(evidence=None))
        return len(ids)

    async def configs(self, before_s: float | None) -> int:
        """The oldest configurations but the last."""
        last = select(func.max(CONFIGS.c.id)).where(CONFIGS.c.instance == self.instance).scalar_subquery()
        oldest = select(CONFIGS.c.id).where(CONFIGS.c.instance == self.instance, CONFIGS.c.id != last)
        if before_s is not None:
            oldest = oldest.where(CONFIGS.c.at_s < before_s)
        return await self._delete(CONFIGS, oldest.order_by(CONFIGS.c.id))

    async def sign_off(self, before_s: float | None, now_s: float) -> bool:
        """Write the checkpoint that stands for the oldest entries, if there are such."""
        last = await _last_to_go(self.db, self.instance, before_s)
        if last is None:
            return False
        gone = JOURNAL.c.instance == self.instance, JOURNAL.c.id <= last.id
        count, first_s = (await self.db.execute(select(func.count(), func.min(JOURNAL.c.at_s)).where(*gone))).one()
        if count < _WORTH:
            return False
        why = "for want of room" if before_s is None else "by age"
        text = f"{count} entries up to {last.id} are taken away {why}: the last of them has the hash {last.hash}"
        details = {"through": last.id, "hash": last.hash, "entries": count, "firstAt": first_s, "lastAt": last.at_s}
        checkpoint = Entry(0, now_s, "", CHECKPOINT, "retention", text, details)
        (written,) = await journal.append(self.db, self.instance, [checkpoint], None)
        self.freed_bytes -= await self.database.taken_bytes(self.db, "journal", [written.id])
        row = self.database.insert(CHECKPOINTS).values(instance=self.instance, through=last.id)
        through = {"through": row.excluded.through}
        await self.db.execute(row.on_conflict_do_update(index_elements=["instance"], set_=through))
        return True

    async def signed_off(self) -> int:
        """Delete entries for which a checkpoint stands, with the verdicts that nothing refers to any more."""
        mine = JOURNAL.c.instance == self.instance
        through = select(CHECKPOINTS.c.through).where(CHECKPOINTS.c.instance == self.instance).scalar_subquery()
        oldest = select(JOURNAL.c.id, JOURNAL.c.verdict_id).where(mine, JOURNAL.c.id <= through)
        rows = (await self.db.execute(oldest.order_by(JOURNAL.c.id).limit(BATCH))).all()
        if not rows:
            return 0
        await self._drop(JOURNAL, [row.id for row in rows])
        verdicts = {row.verdict_id for row in rows if row.verdict_id is not None}
        if verdicts:
            used = (
                select(JOURNAL.c.verdict_id)
                .where(JOURNAL.c.verdict_id.in_(verdicts))
                .union(select(ROLLOUTS.c.verdict_id).where(ROLLOUTS.c.verdict_id.in_(verdicts)))
            )
            await self._drop(VERDICTS, verdicts - set((await self.db.execute(used)).scalars()))
        return len(rows)

    async def _delete(self, table: Table, oldest: Select[Any]) -> int:
        ids = (await self.db.execute(oldest.limit(BATCH))).scalars().all()
        if ids:
            await self._drop(table, ids)
        return len(ids)

    async def _drop(self, table: Table, ids: Collection[int]) -> None:
        self.freed_bytes += await self.database.taken_bytes(self.db, table.name, ids)
        await self.db.execute(delete(table).where(table.c.id.in_(ids)))


async def _last_to_go(db: AsyncConnection, instance: str, before_s: float | None) -> Row[Any] | None:
    """The last entry of those that go: all before the first one that is young enough. The newest ones stay."""
    mine = select(JOURNAL.c.id, JOURNAL.c.at_s, JOURNAL.c.hash).where(JOURNAL.c.instance == instance)
    kept = select(JOURNAL.c.id).where(JOURNAL.c.instance == instance).order_by(JOURNAL.c.id.desc())
    bound = (await db.execute(kept.offset(_KEEP_ENTRIES - 1).limit(1))).scalar_one_or_none()
    if bound is None:
        return None
    if before_s is not None:
        young = select(func.min(JOURNAL.c.id)).where(JOURNAL.c.instance == instance, JOURNAL.c.at_s >= before_s)
        bound = min(bound, (await db.execute(young)).scalar() or bound)
    going = mine.where(JOURNAL.c.id < bound).order_by(JOURNAL.c.id)
    if before_s is None:
        going = going.limit(BATCH)
    found = going.subquery()
    return (await db.execute(select(found).order_by(found.c.id.desc()).limit(1))).one_or_none()
