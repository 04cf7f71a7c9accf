"""Memory of the sidecar, and of its imports."""

import json
import subprocess
import sys

import pytest

from loadtests import footprint
from loadtests.importcost import package
from loadtests.peers import ROOT


@pytest.mark.parametrize(
    ("module", "charged"),
    [
        ("scipy.special._ufuncs", "scipy"),
        ("_json", "standard library"),
        ("proxy.data.worker", "understudy"),
        ("_cffi_backend", "cffi_backend"),
    ],
)
def test_a_module_is_charged_to_what_one_would_leave_out(module, charged):
    """The table would have a thousand lines, or blame a library for the standard one."""
    assert package(module) == charged


@pytest.mark.slow
def test_nested_imports_are_charged_once():
    """A package would be charged for all that it imports, and the sum be twice the process."""
    command = [sys.executable, "-m", "loadtests.importcost", "json", "proxy.data.worker"]
    found = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout)
    assert {"standard library", "understudy"} <= set(found["packages"])
    assert not {"pydantic", "aiohttp", "numpy"} & set(found["packages"])
    assert 0 < sum(found["packages"].values()) < 60


def test_what_halving_takes_is_told_in_figures():
    """The text would go on telling figures of another run than those in the table."""
    packages = {"numpy": 15.0, "scipy": 5.0, "sqlalchemy": 20.0, "alembic": 4.0, "rich": 2.0}
    text = footprint.halving({"whole": {"pss_mib": 90.0}, "imports": {"controller": {"packages": packages}}})
    assert "Half would be 45.0 MiB" in text
    assert "numpy and scipy take 20.0 MiB" in text
    assert "Without all of that 44.0 MiB remain, which is enough" in text
