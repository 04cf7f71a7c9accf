"""From an empty file, and from every earlier revision, to the tables of this release."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from proxy.control.migrations import upgrade as migrations
from proxy.control.store import Store, StoreError
from proxy.control.tables import METADATA


async def test_an_empty_file_gets_the_tables_of_this_release(tmp_path: Path) -> None:
    """If broken, the code and the database disagree about the tables: a migration is missing."""
    await (await Store.open(f"sqlite:///{tmp_path}/a.db")).close()
    engine = create_engine(f"sqlite:///{tmp_path}/a.db")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert context.get_current_revision() == migrations.newest()
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


def test_a_percent_sign_in_the_path_of_the_code_is_harmless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If broken, an installation under such a folder cannot open its store."""
    newest = migrations.newest()
    folder = shutil.copytree(Path(migrations.__file__).parent, tmp_path / "100%(here)s")
    monkeypatch.setattr(migrations, "__file__", str(folder / "__init__.py"))
    assert migrations.newest() == newest


async def test_a_failed_upgrade_leaves_nothing_behind(tmp_path: Path) -> None:
    """If broken, a half upgraded database is left, which no release can read."""
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE numbers (foreign_to_us)")
    db.close()
    with pytest.raises(StoreError, match=f"cannot open the store: {path}: table numbers already exists"):
        await Store.open(f"sqlite:///{path}")
    db = sqlite3.connect(path)
    assert [name for (name,) in db.execute("SELECT name FROM sqlite_master")] == ["numbers"]
    db.close()


async def test_a_newer_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    """If broken, an older release writes into a database that it does not understand."""
    path = tmp_path / "a.db"
    await (await Store.open(f"sqlite:///{path}")).close()
    with sqlite3.connect(path) as db:
        db.execute("UPDATE alembic_version SET version_num = '9999'")
    db.close()
    with pytest.raises(StoreError, match=r"a newer release wrote it \(.*9999.*\); run that one, or change store\.url"):
        await Store.open(f"sqlite:///{path}")
