"""The journal in the database: entries that are only ever added, each a link of its instance's chain.

All of it happens inside a transaction of the store, in which nobody else adds to the same chain: SQLite has one writer
at a time, and with PostgreSQL the store holds the row of its instance meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from sqlalchemy import Row, Select, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from proxy.control.storage.chain import CHECKPOINT, GENESIS, Link, Verified, Verifier, evidence_digest, hash_of, sha256
from proxy.control.storage.entries import Basis, Decision, Entry
from proxy.control.storage.tables import CONFIGS, JOURNAL, VERDICTS

_MOST_ID: Final = 2**31 - 1
"""As the databases count."""
_DECISIONS: Final = ("step", "promote", "succeeded", "abort", "failed", "drop", "inconclusive")
"""Kinds of entries by which a rollout goes on, ends, or loses a candidate. From the verdict that stood when others were
written, as of an edit of the file, nothing followed."""
_PAGE: Final = 1000
"""Entries that are read at once while a chain is followed."""


async def keep_basis(db: AsyncConnection, instance: str, route: str, at_s: float, basis: Basis) -> int:
    """Keep what a decision is made on; answers its id."""
    values = {
        "instance": instance, "route": route, "at_s": at_s, "body": dict(basis.verdict), "evidence": basis.evidence,
        "question": dict(basis.question), "elapsed_s": basis.elapsed_s, "digest": sha256(basis.evidence),
    }  # fmt: skip
    key = (await db.execute(insert(VERDICTS).values(values))).inserted_primary_key
    assert key is not None
    return int(key[0])


async def last(db: AsyncConnection, instance: str) -> tuple[int, str]:
    """Id and hash of the last entry; of none 0 and GENESIS."""
    query = select(JOURNAL.c.id, JOURNAL.c.hash).where(JOURNAL.c.instance == instance)
    row = (await db.execute(query.order_by(JOURNAL.c.id.desc()).limit(1))).one_or_none()
    return (0, GENESIS) if row is None else (row.id, row.hash)


async def has(db: AsyncConnection, instance: str, hash_: str) -> bool:
    """Whether there is an entry with a hash."""
    query = select(JOURNAL.c.id).where(JOURNAL.c.instance == instance, JOURNAL.c.hash == hash_).limit(1)
    return (await db.execute(query)).scalar_one_or_none() is not None


async def append(
    db: AsyncConnection, instance: str, entries: Sequence[Entry], verdict_id: int | None, first_id: int | None = None
) -> list[Entry]:
    """Add entries to the chain, in order; answers them as they are kept. The first one gets `first_id`, if one is
    given, which is above all that there are."""
    if not entries:
        return []
    _, before = await last(db, instance)
    evidence = "" if verdict_id is None else await _digest(db, verdict_id)
    kept: list[Entry] = []
    for entry in entries:
        link = Link(0, instance, entry.at_s, entry.route, entry.kind, _clean(entry.actor), _clean(entry.text),
                    entry.details, entry.config, evidence)  # fmt: skip
        before = hash_of(before, link)
        values = {
            "instance": instance, "at_s": link.at_s, "route": link.route, "kind": link.kind, "actor": link.actor,
            "text": link.text, "details": dict(link.details), "config": link.config, "evidence": evidence,
            "verdict_id": verdict_id, "hash": before, **({} if first_id is None or kept else {"id": first_id}),
        }  # fmt: skip
        key = (await db.execute(insert(JOURNAL).values(values))).inserted_primary_key
        assert key is not None
        kept.append(Entry(int(key[0]), link.at_s, link.route, link.kind, link.actor, link.text, link.details,
                          link.config, before))  # fmt: skip
    return kept


async def page(db: AsyncConnection, instance: str, route: str | None, limit: int, before: int | None) -> list[Entry]:
    """Up to `limit` entries, the newest first; of all routes for None."""
    query = select(JOURNAL).where(JOURNAL.c.instance == instance).order_by(JOURNAL.c.id.desc()).limit(limit)
    if route is not None:
        query = query.where(JOURNAL.c.route == route)
    if before is not None:
        query = query.where(JOURNAL.c.id < min(before, _MOST_ID))
    return [_entry(row) for row in await db.execute(query)]


async def page_after(db: AsyncConnection, instance: str, after: int, limit: int) -> list[Entry]:
    """Up to `limit` entries of all routes with an id above `after`, the oldest first."""
    found = JOURNAL.c.instance == instance, JOURNAL.c.id > min(after, _MOST_ID)
    return [_entry(row) for row in await db.execute(select(JOURNAL).where(*found).order_by(JOURNAL.c.id).limit(limit))]


async def decision(db: AsyncConnection, instance: str, route: str, entry_id: int | None) -> Decision | None:
    """An entry of a route with what stood behind it; without an id the last one that decided something by a verdict, or
    where none did the last that has one."""
    query = _linked().where(JOURNAL.c.instance == instance, JOURNAL.c.route == route)
    if entry_id is None:
        decided_first = JOURNAL.c.kind.in_(_DECISIONS).desc(), JOURNAL.c.id.desc()
        query = query.where(JOURNAL.c.verdict_id.is_not(None)).order_by(*decided_first).limit(1)
    else:
        query = query.where(JOURNAL.c.id == min(entry_id, _MOST_ID))
    row = (await db.execute(query.add_columns(VERDICTS.c.evidence.label("dump")))).one_or_none()
    if row is None:
        return None
    intact = _found(row) == row.evidence
    basis = None
    if row.question is not None:
        basis = Basis(row.body, row.dump, row.question, row.elapsed_s)
    return Decision(_entry(row), row.body, basis, intact)


async def verify(db: AsyncConnection, instance: str, expected: str = "") -> Verified:
    """Follow the whole chain of an instance."""
    checkpoints = select(JOURNAL).where(JOURNAL.c.instance == instance, JOURNAL.c.kind == CHECKPOINT)
    verifier = Verifier.after([_link(row) for row in await db.execute(checkpoints)])
    async for row in _all(db, instance):
        verifier.follow(_link(row), _found(row))
    return verifier.verified(expected)


async def config_text(db: AsyncConnection, instance: str, digest: str) -> str | None:
    """The text of a configuration that was live once."""
    query = select(CONFIGS.c.text).where(CONFIGS.c.instance == instance, CONFIGS.c.digest == digest)
    return (await db.execute(query.limit(1))).scalar_one_or_none()


async def _all(db: AsyncConnection, instance: str) -> AsyncIterator[Row[Any]]:
    last = 0
    while True:
        query = _linked().add_columns(VERDICTS.c.evidence.label("dump"))
        query = query.where(JOURNAL.c.instance == instance, JOURNAL.c.id > last).order_by(JOURNAL.c.id).limit(_PAGE)
        rows = (await db.execute(query)).all()
        for row in rows:
            yield row
        if len(rows) < _PAGE:
            return
        last = rows[-1].id


def _linked() -> Select[Any]:
    """Entries beside their verdicts."""
    columns = VERDICTS.c.body, VERDICTS.c.question, VERDICTS.c.elapsed_s, VERDICTS.c.digest.label("dump_digest")
    return select(JOURNAL, *columns).outerjoin(VERDICTS, VERDICTS.c.id == JOURNAL.c.verdict_id)


def _found(row: Row[Any]) -> str:
    """The digest of verdict and evidence as they are stored now."""
    if row.question is None:
        return ""
    of_dump = row.dump_digest if row.dump is None else sha256(row.dump)
    return evidence_digest(row.body, of_dump, row.question, row.elapsed_s)


async def _digest(db: AsyncConnection, verdict_id: int) -> str:
    row = (await db.execute(select(VERDICTS).where(VERDICTS.c.id == verdict_id))).one()
    return "" if row.question is None else evidence_digest(row.body, row.digest, row.question, row.elapsed_s)


def _link(row: Row[Any]) -> Link:
    return Link(row.id, row.instance, row.at_s, row.route, row.kind, row.actor, row.text, row.details, row.config,
                row.evidence, row.hash)  # fmt: skip


def _entry(row: Row[Any]) -> Entry:
    return Entry(row.id, row.at_s, row.route, row.kind, row.actor, row.text, row.details, row.config, row.hash)


def _clean(text: str) -> str:
    """Without what a database refuses: PostgreSQL knows no NUL."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
