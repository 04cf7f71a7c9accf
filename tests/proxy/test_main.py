"""The composition root: which role imports what."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMPORTED = "import sys; import {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"


def imported(module: str) -> set[str]:
    code = IMPORTED.format(module=module)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    return set(done.stdout.split())


@pytest.mark.slow
def test_a_worker_stays_small() -> None:
    """A worker would load the configuration's and the judge's libraries, and start ten times slower."""
    heavy = {"config", "analysis", "pydantic", "aiohttp", "numpy", "scipy", "sqlalchemy", "structlog", "typer", "yaml"}
    assert not imported("proxy.__main__, proxy.data.worker") & heavy


@pytest.mark.slow
@pytest.mark.parametrize("role", ["worker", "controller"])
def test_roles_explain_themselves(role: str) -> None:
    """A role that is started by hand would fail with a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "proxy", role, "--help"], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert f"understudy {role}" in done.stdout


@pytest.mark.slow
def test_everything_else_is_a_command() -> None:
    """`understudy validate` would not be found."""
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "validate", "/nowhere.yaml"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 1
    assert "/nowhere.yaml: cannot be read" in done.stderr
