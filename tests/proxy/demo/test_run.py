"""The command itself: what is missing is said before anything is started."""

import importlib.util
from pathlib import Path

import pytest

from proxy.demo import run


def test_missing_scikit_learn_is_said_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Broken: who installed `understudy` without its extra would get a traceback."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert run.demo_command(tmp_path / "out.json", keep=False) == 1
    said = capsys.readouterr().out
    assert "pip install 'understudy[demo]'" in said
    assert not (tmp_path / "out.json").exists()


def test_a_place_for_the_json_that_is_not_there_is_said_at_once(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Broken: the outcome of a whole demo would be lost at its end."""
    assert run.demo_command(tmp_path / "missing" / "out.json", keep=False) == 1
    assert "there is no such folder" in capsys.readouterr().out
