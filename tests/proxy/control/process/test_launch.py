"""What the supervisor is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from config import loader
from proxy.control.process.launch import ROWS_MORE, TABLES_MORE, launch_of, plan_launch, restart_needed
from tests.support.control_plane import STEPS, config


def write(folder: Path, **more: Any) -> Path:
    path = folder / "u.yaml"
    path.write_text(yaml.safe_dump(config(*STEPS) | more))
    return path


def test_the_facts_are_those_of_the_file(tmp_path: Path) -> None:
    """The proxy would listen elsewhere, keep its state elsewhere, or have no room for its own routes."""
    path = write(
        tmp_path,
        listen=[{"address": "127.0.0.1:80"}, {"address": "[::1]:81"}],
        admin={"address": "127.0.0.1:99"},
        store={"url": "sqlite:///state/x.db"},
        workers=3,
        drainTimeout="90s",
        drainDelay="0s",
    )
    launch = plan_launch(path)
    assert (launch.listen, launch.admin, launch.workers) == ((("127.0.0.1", 80), ("::1", 81)), ("127.0.0.1", 99), 3)
    assert launch.store_url == f"sqlite:///{tmp_path}/state/x.db"
    assert (launch.drain_timeout_s, launch.drain_delay_s) == (90, 0)
    assert (launch.rows, launch.tables) == (4 * 2 + ROWS_MORE, 4 * 2 + TABLES_MORE)


def test_auto_is_a_worker_for_each_usable_core(tmp_path: Path) -> None:
    """A proxy pinned to two cores of a large machine would start a hundred workers."""
    assert plan_launch(write(tmp_path, workers="auto")).workers >= 1


def test_links_are_not_resolved(tmp_path: Path) -> None:
    """The next version of a ConfigMap, to which a link is made to point, would never be read."""
    (tmp_path / "real").mkdir()
    write(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert plan_launch(tmp_path / "link" / "u.yaml").config_path == str(tmp_path / "link" / "u.yaml")


def test_what_needs_a_restart(tmp_path: Path) -> None:
    """A change that cannot take effect would be called live."""
    path = write(tmp_path)
    launch = plan_launch(path)
    assert restart_needed(launch, loader.load(path).config) == ()
    changed = loader.load(write(tmp_path, admin={"address": "127.0.0.1:1"}, store={"url": "sqlite:////y.db"})).config
    assert restart_needed(launch, changed) == ("admin", "store")
    longer = loader.load(write(tmp_path, drainTimeout="90s")).config
    assert restart_needed(launch, longer) == ("drainTimeout",)
    assert launch_of(changed, path).store_url == "sqlite:////y.db"
