"""What webhooks have yet to be told."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "letters",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("instance", sa.Text, nullable=False),
        sa.Column("id", sa.Text, nullable=False),
        sa.Column("route", sa.Text, nullable=False),
        sa.Column("hook", sa.Text, nullable=False),
        sa.Column("at_s", sa.Float, nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
    )
    op.create_index("letters_by_id", "letters", ["instance", "id"], unique=True)
