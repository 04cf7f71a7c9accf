"""What is installed, and that the lock files are those of pyproject.toml."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^ ;\\]+)", re.MULTILINE)

PACKAGES = ("proxy", "config", "analysis")
MYPYC = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["mypyc"]

RUNTIME = PROJECT["project"]["dependencies"]
DEMO = PROJECT["project"]["optional-dependencies"]["demo"]
DEV = PROJECT["dependency-groups"]["dev"]


def pins(lock: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, version in PIN.findall((ROOT / lock).read_text(encoding="utf-8")):
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


@pytest.mark.slow
def test_wheel_has_the_three_packages_and_nothing_else(tmp_path: Path) -> None:
    """Broken: an installation would put tests or load tests beside other people's packages, or miss a file it needs."""
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names}
    (info,) = (name for name in top if name.endswith(".dist-info"))
    assert top == {"proxy", "config", "analysis", info}
    assert f"{info}/licenses/LICENSE" in names
    sources = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert sources <= set(names)
    assert b"understudy = proxy.__main__:main" in zipfile.ZipFile(wheel).read(f"{info}/entry_points.txt")


@pytest.mark.skipif("build/shipped" not in os.environ.get("PYTHONPATH", ""), reason="`make test` builds the wheel")
def test_programs_under_test_run_the_compiled_request_path() -> None:
    """Broken: the system tests would show that something works which nobody installs."""
    script = (
        "import importlib, sys; print(*(importlib.import_module(name).__file__ for name in sys.argv[1:]), sep='\\n')"
    )
    names = [path.removesuffix(".py").replace("/", ".") for path in MYPYC["include"]]
    ran = subprocess.run([sys.executable, "-c", script, *names], check=True, capture_output=True, text=True, cwd=ROOT)
    files = ran.stdout.splitlines()
    assert len(files) == len(names) > 10
    assert [file for file in files if not file.endswith(".so")] == []


def test_nothing_compiled_lies_among_the_sources() -> None:
    """Broken: Python takes a library before the source beside it, so that edits would do nothing."""
    assert [*ROOT.glob("*.so"), *(lib for package in PACKAGES for lib in (ROOT / package).rglob("*.so"))] == []


@pytest.mark.parametrize(
    ("lock", "requirements"),
    [("requirements.lock", RUNTIME + DEMO + DEV), ("requirements-runtime.lock", RUNTIME)],
)
def test_every_direct_dependency_is_pinned_within_its_bounds(lock: str, requirements: list[str]) -> None:
    """Broken: `make setup` or the image would lack a package, or hold one that pyproject.toml forbids; `make lock`."""
    pinned = pins(lock)
    for requirement in map(Requirement, requirements):
        versions = pinned.get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement.name} is not in {lock}: run `make lock`"
        assert set(requirement.specifier.filter(versions)) == versions, f"{lock} holds {versions}: run `make lock`"


def test_the_image_gets_a_part_of_what_was_tested() -> None:
    """Broken: the container would run versions that no test has met, or carry development tools."""
    everything, runtime = pins("requirements.lock"), pins("requirements-runtime.lock")
    assert {name: versions for name, versions in everything.items() if name in runtime} == runtime
    forbidden = {canonicalize_name(Requirement(text).name) for text in DEV + DEMO}
    assert not forbidden & runtime.keys()


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-runtime.lock"])
def test_every_pin_has_a_hash(lock: str) -> None:
    """Broken: a file swapped on the package index would be installed."""
    text = (ROOT / lock).read_text(encoding="utf-8")
    entries = [entry for entry in re.split(r"\n(?=\w)", text) if PIN.match(entry)]
    assert len(entries) > 20
    assert [entry for entry in entries if "--hash=sha256:" not in entry] == []
