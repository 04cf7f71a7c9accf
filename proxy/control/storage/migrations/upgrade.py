"""Bringing a database up to this release."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def upgrade(connection: Connection) -> None:
    """Bring the database up to this release, in the transaction that the connection is in.

    Raises:
        alembic.util.CommandError: the database is at a revision that this release does not know.
    """
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def newest() -> str:
    """The revision of this release."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return head


def _config() -> Config:
    config = Config()
    # A percent sign would be interpolation to configparser.
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
