"""Instances that share a store, a journal that is a chain, decisions that keep their evidence."""

import hashlib
from typing import Any

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_INSTANCE = "understudy"
"""Whose everything was that an earlier release wrote."""
_KEYED = ("rollouts", "evidence", "numbers", "secrets", "seen")


def upgrade() -> None:
    """Give everything its instance, and link the entries that there are."""
    for verb in ("update", "delete"):
        _drop_trigger(verb)
    _key_by_instance()
    for name in ("verdicts", "journal", "configs"):
        op.add_column(name, sa.Column("instance", sa.Text, nullable=False, server_default=_INSTANCE))
    for column in (
        sa.Column("evidence", sa.LargeBinary),
        sa.Column("question", sa.JSON),
        sa.Column("elapsed_s", sa.Float),
        sa.Column("digest", sa.Text, nullable=False, server_default=""),
    ):
        op.add_column("verdicts", column)
    for name in ("config", "evidence", "hash"):
        op.add_column("journal", sa.Column(name, sa.Text, nullable=False, server_default=""))
    op.drop_index("journal_by_route", "journal")
    op.create_index("journal_by_instance", "journal", ["instance", "id"])
    op.create_index("journal_by_route", "journal", ["instance", "route", "id"])
    _link()
    op.create_table(
        "checkpoints",
        sa.Column("instance", sa.Text, primary_key=True),
        sa.Column("through", sa.Integer, nullable=False),
    )
    op.create_table(
        "charges",
        sa.Column("instance", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("since_s", sa.Float, nullable=False),
    )
    op.create_table(
        "slices",
        sa.Column("id", sa.Integer, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("instance", "route")),
        *(sa.Column(name, sa.Integer, nullable=False) for name in ("run", "stage", "weight_ppm", "mirrored")),
        *(sa.Column(name, sa.Float, nullable=False) for name in ("first_s", "last_s")),
        sa.Column("count", sa.Integer, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
    )
    op.create_index("slices_by_run", "slices", ["instance", "route", "run", "id"])
    _create_triggers()


def _key_by_instance() -> None:
    """SQLite cannot change a primary key, so that the tables are made anew."""
    for name in _KEYED:
        op.rename_table(name, f"old_{name}")
    if op.get_bind().dialect.name != "sqlite":
        for name in _KEYED:
            op.execute(f"ALTER INDEX {name}_pkey RENAME TO old_{name}_pkey")
    op.create_table(
        "rollouts",
        sa.Column("instance", sa.Text, primary_key=True),
        sa.Column("route", sa.Text, primary_key=True),
        sa.Column("state", sa.JSON, nullable=False),
        sa.Column("verdict_id", sa.Integer, sa.ForeignKey("verdicts.id")),
        sa.Column("run", sa.Integer, nullable=False, server_default="0"),
    )
    op.create_table(
        "evidence",
        sa.Column("instance", sa.Text, primary_key=True),
        sa.Column("route", sa.Text, primary_key=True),
        sa.Column("data", sa.LargeBinary),
        sa.Column("cursor", sa.Integer, nullable=False),
    )
    op.create_table(
        "numbers",
        sa.Column("instance", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Integer, nullable=False),
    )
    op.create_table(
        "secrets",
        sa.Column("instance", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "seen",
        sa.Column("instance", sa.Text, primary_key=True),
        sa.Column("route", sa.Text, primary_key=True),
        sa.Column("run", sa.BigInteger, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True),
        sa.Column("second", sa.BigInteger, nullable=False),
        sa.Column("bits", sa.LargeBinary, nullable=False),
    )
    for name, columns in (
        ("rollouts", "route, state, verdict_id"),
        ("evidence", "route, data, cursor"),
        ("numbers", "name, value"),
        ("secrets", "name, value"),
        ("seen", "route, run, number, second, bits"),
    ):
        op.execute(f"INSERT INTO {name} (instance, {columns}) SELECT '{_INSTANCE}', {columns} FROM old_{name}")  # noqa: S608
        op.drop_table(f"old_{name}")


def _link() -> None:
    """Link the entries that an earlier release wrote. Their verdicts have no evidence, and stay out of the hashes."""
    db = op.get_bind()
    journal = sa.table(
        "journal",
        *(sa.column(name) for name in ("id", "at_s", "route", "kind", "actor", "text", "hash")),
        sa.column("details", sa.JSON),
    )
    before = ""
    for row in db.execute(sa.select(journal).order_by(journal.c.id)).all():
        before = hashlib.sha256(before.encode() + b"\n" + _content(row)).hexdigest()
        db.execute(sa.update(journal).where(journal.c.id == row.id).values(hash=before))


def _content(row: Any) -> bytes:
    facts = {
        "version": 1, "instance": _INSTANCE, "at": row.at_s, "route": row.route, "kind": row.kind, "actor": row.actor,
        "text": row.text, "details": row.details, "config": "", "evidence": "",
    }  # fmt: skip
    return msgspec.json.encode(facts, order="sorted")


def _drop_trigger(verb: str) -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    op.execute(f"DROP TRIGGER journal_refuses_{verb}" + ("" if sqlite else " ON journal"))
    if not sqlite:
        op.execute(f"DROP FUNCTION journal_refuses_{verb}")


def _create_triggers() -> None:
    """No entry is changed. One is deleted only where a checkpoint stands for it."""
    signed_off = "EXISTS (SELECT 1 FROM checkpoints AS c WHERE c.instance = OLD.instance AND c.through >= OLD.id)"
    if op.get_bind().dialect.name == "sqlite":
        body = "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
        op.execute(f"CREATE TRIGGER journal_refuses_update BEFORE UPDATE ON journal {body}")
        op.execute(f"CREATE TRIGGER journal_refuses_delete BEFORE DELETE ON journal WHEN NOT {signed_off} {body}")
        return
    op.execute(
        "CREATE FUNCTION journal_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP = 'DELETE' THEN IF {signed_off} THEN RETURN OLD; END IF; END IF; "
        "RAISE EXCEPTION 'the journal is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER journal_refuses_change BEFORE UPDATE OR DELETE ON journal "
        "FOR EACH ROW EXECUTE FUNCTION journal_is_append_only()"
    )
    op.execute(
        "CREATE TRIGGER journal_refuses_truncate BEFORE TRUNCATE ON journal "
        "FOR EACH STATEMENT EXECUTE FUNCTION journal_is_append_only()"
    )
