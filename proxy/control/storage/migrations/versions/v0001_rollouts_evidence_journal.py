"""Rollouts with their evidence and verdicts, the journal, configurations and numbers."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the first tables."""
    op.create_table(
        "verdicts",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("at_s", sa.Float, nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
    )
    op.create_table(
        "rollouts",
        sa.Column("route", sa.Text, primary_key=True),
        sa.Column("state", sa.JSON, nullable=False),
        sa.Column("verdict_id", sa.Integer, sa.ForeignKey("verdicts.id")),
    )
    op.create_table(
        "evidence",
        sa.Column("route", sa.Text, primary_key=True),
        sa.Column("data", sa.LargeBinary),
        sa.Column("cursor", sa.Integer, nullable=False),
    )
    op.create_table(
        "journal",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at_s", sa.Float, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
        sa.Column("verdict_id", sa.Integer, sa.ForeignKey("verdicts.id")),
    )
    op.create_index("journal_by_route", "journal", ["route", "id"])
    op.create_table(
        "configs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at_s", sa.Float, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
    )
    op.create_table(
        "numbers",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.Integer, nullable=False),
    )
    for verb in ("UPDATE", "DELETE"):
        _refuse(verb)


def _refuse(verb: str) -> None:
    name = f"journal_refuses_{verb.lower()}"
    if op.get_bind().dialect.name == "sqlite":
        body = "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
        op.execute(f"CREATE TRIGGER {name} BEFORE {verb} ON journal {body}")
        return
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the journal is append-only'; END $$"
    )
    op.execute(f"CREATE TRIGGER {name} BEFORE {verb} ON journal FOR EACH ROW EXECUTE FUNCTION {name}()")
