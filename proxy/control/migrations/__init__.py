"""How a database of any earlier release becomes one of this release, and how an empty file becomes a database.

Alembic's environment, packaged with the code: `upgrade` needs no `alembic.ini` and runs each time a store opens. A
change of `proxy.control.tables` comes with a new file in `versions`, named `vNNNN_what_it_does.py`, whose
`down_revision` is the newest so far. There is no way back: a release refuses a database that is newer than itself.
"""

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
