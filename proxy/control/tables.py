"""The tables of the store, as the newest migration leaves them (a test compares the two)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, BigInteger, Column, Float, ForeignKey, Index, Integer, LargeBinary, MetaData, Table, Text

METADATA: Final = MetaData()

VERDICTS: Final = Table(
    "verdicts",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("route", Text, nullable=False),
    Column("at_s", Float, nullable=False),
    Column("body", JSON, nullable=False),
)
"""Every verdict that led to a transition, with all its numbers."""

ROLLOUTS: Final = Table(
    "rollouts",
    METADATA,
    Column("route", Text, primary_key=True),
    Column("state", JSON, nullable=False),
    Column("verdict_id", Integer, ForeignKey("verdicts.id")),
)

EVIDENCE: Final = Table(
    "evidence",
    METADATA,
    Column("route", Text, primary_key=True),
    Column("data", LargeBinary),
    Column("cursor", Integer, nullable=False),
)
"""One row per route, overwritten each tick: what a tick writes does not grow with the rollout's age."""

JOURNAL: Final = Table(
    "journal",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("at_s", Float, nullable=False),
    Column("route", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("details", JSON, nullable=False),
    Column("verdict_id", Integer, ForeignKey("verdicts.id")),
    Index("journal_by_route", "route", "id"),
)
"""Append-only: the database itself refuses to change or delete an entry."""

CONFIGS: Final = Table(
    "configs",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("at_s", Float, nullable=False),
    Column("digest", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("text", Text, nullable=False),
)

NUMBERS: Final = Table(
    "numbers",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", Integer, nullable=False),
)
"""Counters that never go back: generations of the snapshot, tenants of ledger rows."""

SECRETS: Final = Table(
    "secrets",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
"""Keys that processes make for themselves and go on with after a restart."""

SEEN: Final = Table(
    "seen",
    METADATA,
    Column("route", Text, primary_key=True),
    Column("run", BigInteger, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("second", BigInteger, nullable=False),
    Column("bits", LargeBinary, nullable=False),
)
"""Which answers were heard of already (`proxy.control.seen`): a tick writes what changed, and not all of it."""
