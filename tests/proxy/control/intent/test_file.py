"""The configuration file as the admin API writes it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from config.loader import load
from proxy.control.intent import file as intent

TEXT = """
listen: [{address: 127.0.0.1:8080}]
backends: [{name: v1, endpoints: [http://127.0.0.1:9000]}]
routes: [{name: m, backendRefs: [{name: v1}]}]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "u.yaml"
    file.write_text(TEXT)
    return file


def test_an_edit_that_nobody_saw_is_not_written_over(path):
    """Broken: of two people who edit at once, one loses everything without a word."""
    live = load(path)
    intent.check([live.digest], live)
    intent.check(None, live)
    with pytest.raises(intent.Stale, match="another one"):
        intent.check(["0" * 64], live)
    with pytest.raises(intent.Stale, match="another one"):
        intent.check([], live)
    path.write_text(TEXT + "# edited\n")
    with pytest.raises(intent.Stale, match="edited"):
        intent.check([live.digest], live)
    intent.check(None, live)


def test_a_file_is_replaced_with_its_mode_through_links(path, tmp_path):
    """Broken: a file becomes readable for all, or a link to it becomes a file beside it."""
    path.chmod(0o640)
    link = tmp_path / "link.yaml"
    link.symlink_to(path.name)
    intent.write(link, "new: ö\n")
    assert link.is_symlink()
    assert path.read_text("utf-8") == "new: ö\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(os.listdir(tmp_path)) == ["link.yaml", "u.yaml"]


def test_a_file_that_cannot_be_written_stays(path, monkeypatch):
    """Broken: a full disk leaves half a configuration, or drafts beside it."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        intent.write(path, "x")
    assert path.read_text() == TEXT
    assert os.listdir(path.parent) == ["u.yaml"]
