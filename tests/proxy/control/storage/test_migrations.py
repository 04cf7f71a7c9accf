"""From an empty file, and from every earlier revision, to the tables of this release."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from proxy.control.storage.errors import StoreError
from proxy.control.storage.migrations import upgrade as migrations
from proxy.control.storage.store import Store
from proxy.control.storage.tables import METADATA


async def test_an_empty_file_gets_the_tables_of_this_release(tmp_path: Path) -> None:
    """If broken, the code and the database disagree about the tables: a migration is missing."""
    await (await Store.open(f"sqlite:///{tmp_path}/a.db")).close()
    engine = create_engine(f"sqlite:///{tmp_path}/a.db")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert context.get_current_revision() == migrations.newest()
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


async def test_entries_of_the_first_release_are_linked(tmp_path: Path) -> None:
    """If broken, an upgrade loses rollouts, evidence or the journal, or says of the old journal that it is broken."""
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as db:
        db.executescript(Path(__file__).with_name("store_v0001.sql").read_text(encoding="utf-8"))
    db.close()
    store = await Store.open(f"sqlite:///{path}")
    found = await store.verify()
    assert (found.broken, found.entries) == (0, 3)
    kept = (await store.rollouts())["fraud"]
    assert (kept.state.stage, kept.evidence, kept.cursor, kept.verdict) == (2, b"judge", 7, {"abort": False})
    newest, *_ = await store.journal(None, 10)
    assert (newest.text, newest.actor, newest.config) == ("größer", "ann", "")
    decision = await store.decision("fraud", newest.id)
    assert decision is not None
    assert (decision.verdict, decision.basis, decision.intact) == ({"abort": False}, None, True)
    assert await store.next_number("generation") == 6
    await store.record(newest)
    assert (await store.verify()).entries == 4
    with sqlite3.connect(path) as db, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        db.execute("UPDATE journal SET text = 'never was'")
    db.close()
    await store.close()


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
