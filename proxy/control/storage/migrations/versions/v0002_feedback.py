"""Feedback: the key that names answers, and which of them were heard of."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "secrets",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "seen",
        sa.Column("route", sa.Text, primary_key=True),
        sa.Column("run", sa.BigInteger, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True),
        sa.Column("second", sa.BigInteger, nullable=False),
        sa.Column("bits", sa.LargeBinary, nullable=False),
    )
