"""What retention takes away, a few rows at a time. All of it happens inside a transaction of the store.

What is gone for good goes in this order: recordings, the evidence of decisions (their verdicts stay), configurations,
and last the oldest entries of the journal, for which a checkpoint entry stands from then on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.control import journal
from proxy.control.chain import CHECKPOINT
from proxy.control.database import Database
from proxy.control.journal import Entry
from proxy.control.tables import CHECKPOINTS, CONFIGS, JOURNAL, ROLLOUTS, SLICES, VERDICTS

BATCH: Final = 200
"""Rows of one transaction: some milliseconds, so that no tick waits."""
_WORTH: Final = 50
"""Entries that are worth a checkpoint, which is an entry itself: fewer stay until there are more."""
_KEEP_ENTRIES: Final = 100
"""Entries that stay however little room there is."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things are kept, in seconds, and what all of it may take."""

    journal_s: float
    evidence_s: float
    recordings_s: float
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one step has taken away."""

    recordings: int = 0
    evidence: int = 0
    configs: int = 0
    entries: int = 0

    @property
    def more(self) -> bool:
        """Whether anything was taken: then there may be more."""
        return bool(self.recordings or self.evidence or self.configs or self.entries)


async def prune(db: AsyncConnection, database: Database, instance: str, limits: Limits, now_s: float) -> Pruned:
    """Take away what is too old, or what is oldest where all of it is too large: one kind of thing, one batch."""
    full = await database.used_bytes(db, instance) > limits.max_bytes
    slices = await _slices(db, instance, None if full else now_s - limits.recordings_s)
    if slices:
        return await _done(db, database, Pruned(recordings=slices))
    evidence = await _evidence(db, instance, None if full else now_s - limits.evidence_s)
    if evidence:
        return await _done(db, database, Pruned(evidence=evidence))
    configs = await _configs(db, instance, None if full else now_s - limits.journal_s)
    if configs:
        return await _done(db, database, Pruned(configs=configs))
    entries = await _signed_off(db, instance)
    if not entries and await _sign_off(db, database, instance, None if full else now_s - limits.journal_s, now_s):
        entries = await _signed_off(db, instance)
    return await _done(db, database, Pruned(entries=entries))


async def _done(db: AsyncConnection, database: Database, pruned: Pruned) -> Pruned:
    await database.give_back(db)
    return pruned


async def _slices(db: AsyncConnection, instance: str, before_s: float | None) -> int:
    """The oldest recorded slices; before a time, or any."""
    oldest = select(SLICES.c.id).where(SLICES.c.instance == instance)
    if before_s is not None:
        oldest = oldest.where(SLICES.c.last_s < before_s)
    ids = (await db.execute(oldest.order_by(SLICES.c.id).limit(BATCH))).scalars().all()
    if ids:
        await db.execute(delete(SLICES).where(SLICES.c.id.in_(ids)))
    return len(ids)


async def _evidence(db: AsyncConnection, instance: str, before_s: float | None) -> int:
    """The evidence of the oldest decisions. That on which a rollout stands now goes by its age alone."""
    oldest = select(VERDICTS.c.id).where(VERDICTS.c.instance == instance, VERDICTS.c.evidence.is_not(None))
    if before_s is None:
        oldest = oldest.where(VERDICTS.c.id.not_in(select(ROLLOUTS.c.verdict_id).where(ROLLOUTS.c.verdict_id > 0)))
    else:
        oldest = oldest.where(VERDICTS.c.at_s < before_s)
    ids = (await db.execute(oldest.order_by(VERDICTS.c.id).limit(BATCH))).scalars().all()
    if ids:
        await db.execute(update(VERDICTS).where(VERDICTS.c.id.in_(ids)).values(evidence=None))
    return len(ids)


async def _configs(db: AsyncConnection, instance: str, before_s: float | None) -> int:
    """The oldest configurations but the last."""
    last = select(func.max(CONFIGS.c.id)).where(CONFIGS.c.instance == instance).scalar_subquery()
    oldest = select(CONFIGS.c.id).where(CONFIGS.c.instance == instance, CONFIGS.c.id != last)
    if before_s is not None:
        oldest = oldest.where(CONFIGS.c.at_s < before_s)
    ids = (await db.execute(oldest.order_by(CONFIGS.c.id).limit(BATCH))).scalars().all()
    if ids:
        await db.execute(delete(CONFIGS).where(CONFIGS.c.id.in_(ids)))
    return len(ids)


async def _sign_off(
    db: AsyncConnection, database: Database, instance: str, before_s: float | None, now_s: float
) -> bool:
    """Write the checkpoint that stands for the oldest entries, if there are such."""
    last = await _last_to_go(db, instance, before_s)
    if last is None:
        return False
    gone = JOURNAL.c.instance == instance, JOURNAL.c.id <= last.id
    count, first_s = (await db.execute(select(func.count(), func.min(JOURNAL.c.at_s)).where(*gone))).one()
    if count < _WORTH:
        return False
    why = "for want of room" if before_s is None else "by age"
    text = f"{count} entries up to {last.id} are taken away {why}: the last of them has the hash {last.hash}"
    details = {"through": last.id, "hash": last.hash, "entries": count, "firstAt": first_s, "lastAt": last.at_s}
    await journal.append(db, instance, [Entry(0, now_s, "", CHECKPOINT, "retention", text, details)], None)
    row = database.insert(CHECKPOINTS).values(instance=instance, through=last.id)
    await db.execute(row.on_conflict_do_update(index_elements=["instance"], set_={"through": row.excluded.through}))
    return True


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


async def _signed_off(db: AsyncConnection, instance: str) -> int:
    """Delete entries for which a checkpoint stands, with the verdicts that nothing refers to any more."""
    through = select(CHECKPOINTS.c.through).where(CHECKPOINTS.c.instance == instance).scalar_subquery()
    oldest = select(JOURNAL.c.id, JOURNAL.c.verdict_id).where(JOURNAL.c.instance == instance, JOURNAL.c.id <= through)
    rows = (await db.execute(oldest.order_by(JOURNAL.c.id).limit(BATCH))).all()
    if not rows:
        return 0
    await db.execute(delete(JOURNAL).where(JOURNAL.c.id.in_([row.id for row in rows])))
    verdicts = {row.verdict_id for row in rows if row.verdict_id is not None}
    if verdicts:
        used = (
            select(JOURNAL.c.verdict_id)
            .where(JOURNAL.c.verdict_id.in_(verdicts))
            .union(select(ROLLOUTS.c.verdict_id).where(ROLLOUTS.c.verdict_id.in_(verdicts)))
        )
        unused = verdicts - set((await db.execute(used)).scalars())
        await db.execute(delete(VERDICTS).where(VERDICTS.c.id.in_(unused)))
    return len(rows)
