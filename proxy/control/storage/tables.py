"""The tables of the store, as the newest migration leaves them (a test compares the two)."""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, BigInteger, Column, Float, ForeignKey, Index, Integer, LargeBinary, MetaData, Table, Text

METADATA: Final = MetaData()

VERDICTS: Final = Table(
    "verdicts",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("instance", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("at_s", Float, nullable=False),
    Column("body", JSON, nullable=False),
    Column("evidence", LargeBinary),
    Column("question", JSON),
    Column("elapsed_s", Float),
    Column("digest", Text, nullable=False),
)
"""Every verdict that led to a transition, with all its numbers, and what it can be derived from again: the judge's
dump, what it was asked, and how long the rollout had lasted. Retention takes the dump away, `digest` stays."""

ROLLOUTS: Final = Table(
    "rollouts",
    METADATA,
    Column("instance", Text, primary_key=True),
    Column("route", Text, primary_key=True),
    Column("state", JSON, nullable=False),
    Column("verdict_id", Integer, ForeignKey("verdicts.id")),
    Column("run", Integer, nullable=False),
)
"""`run` is the id of the journal entry with which it began."""

EVIDENCE: Final = Table(
    "evidence",
    METADATA,
    Column("instance", Text, primary_key=True),
    Column("route", Text, primary_key=True),
    Column("data", LargeBinary),
    Column("cursor", Integer, nullable=False),
)
"""One row per route, overwritten each tick: what a tick writes does not grow with the rollout's age."""

SLICES: Final = Table(
    "slices",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("instance", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("run", Integer, nullable=False),
    Column("stage", Integer, nullable=False),
    Column("weight_ppm", Integer, nullable=False),
    Column("mirrored", Integer, nullable=False),
    Column("first_s", Float, nullable=False),
    Column("last_s", Float, nullable=False),
    Column("count", Integer, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index("slices_by_run", "instance", "route", "run", "id"),
)
"""What judges were given (see `recording`): a minute of slices in a row, the newest ones tick by tick."""

JOURNAL: Final = Table(
    "journal",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("instance", Text, nullable=False),
    Column("at_s", Float, nullable=False),
    Column("route", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("details", JSON, nullable=False),
    Column("config", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("verdict_id", Integer, ForeignKey("verdicts.id")),
    Column("hash", Text, nullable=False),
    Index("journal_by_instance", "instance", "id"),
    Index("journal_by_route", "instance", "route", "id"),
)
"""Append-only: the database itself refuses to change an entry, or to delete one that no checkpoint stands for. Each
entry's hash covers its content and the hash of the one before (see `chain`)."""

CHECKPOINTS: Final = Table(
    "checkpoints",
    METADATA,
    Column("instance", Text, primary_key=True),
    Column("through", Integer, nullable=False),
)
"""Up to which entry retention may take the journal away: a checkpoint entry in the journal stands for what is gone."""

CONFIGS: Final = Table(
    "configs",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("instance", Text, nullable=False),
    Column("at_s", Float, nullable=False),
    Column("digest", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("text", Text, nullable=False),
)

NUMBERS: Final = Table(
    "numbers",
    METADATA,
    Column("instance", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", Integer, nullable=False),
)
"""Counters that never go back: generations of the snapshot."""

CHARGES: Final = Table(
    "charges",
    METADATA,
    Column("instance", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("since_s", Float, nullable=False),
)
"""Which process is in charge of an instance: the last one that said so. The one before writes no more."""

SECRETS: Final = Table(
    "secrets",
    METADATA,
    Column("instance", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
"""Keys that processes make for themselves and go on with after a restart."""

SEEN: Final = Table(
    "seen",
    METADATA,
    Column("instance", Text, primary_key=True),
    Column("route", Text, primary_key=True),
    Column("run", BigInteger, primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("second", BigInteger, nullable=False),
    Column("bits", LargeBinary, nullable=False),
)
"""Which answers were heard of already (`seen`): a tick writes what changed, and not all of it."""

LETTERS: Final = Table(
    "letters",
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("instance", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("hook", Text, nullable=False),
    Column("at_s", Float, nullable=False),
    Column("facts", JSON, nullable=False),
    Index("letters_by_id", "instance", "id", unique=True),
)
"""What webhooks have yet to be told (see `post`), in the order of their numbers."""

CAPTURES: Final = Table(
    "captures",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("instance", Text, nullable=False),
    Column("route", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("at_s", Float, nullable=False),
    Column("expires_s", Float, nullable=False),
    Column("data", LargeBinary, nullable=False),
    Index("captures_by_route", "instance", "route", "kind", "id"),
    sqlite_autoincrement=True,
)
"""Requests that were captured (`proxy.capture`), as workers wrote them down by the rules of the file. No id is given
twice, so that pages of them go on where they were even if all are taken away meanwhile."""
