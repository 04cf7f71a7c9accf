"""The file of the demo is valid before and after the edit, and the edit is a small one."""

import difflib
from pathlib import Path

import pytest

from config import loader
from proxy.demo import settings

PORTS = settings.Ports(proxy=8080, admin=9901, models={"v1": 7001, "v2": 7002, "v3": 7003})
BEFORE = settings.render(PORTS, ("v1", "v2"), stable="v1", canary="v2")
AFTER = settings.render(PORTS, ("v1", "v2", "v3"), stable="v2", canary="v3")


@pytest.mark.parametrize(("text", "refs"), [(BEFORE, ["digits-v1", "digits-v2"]), (AFTER, ["digits-v2", "digits-v3"])])
def test_both_files_are_valid(text: str, refs: list[str]) -> None:
    """Broken: the demo would not start, or its edit would be refused."""
    config = loader.loads(text, "understudy.yaml").config
    (route,) = config.routes
    assert [ref.name for ref in route.backend_refs] == refs
    assert [ref.role for ref in route.backend_refs] == ["stable", "canary"]
    assert str(config.listen[0].address.port) == "8080"


def test_the_edit_changes_backends_and_roles_alone() -> None:
    """Broken: the edit would also change margins or steps, and the second rollout would be judged otherwise."""
    changed = [
        line[1:].split("#")[0].strip()
        for line in difflib.unified_diff(BEFORE.splitlines(), AFTER.splitlines(), n=0, lineterm="")
        if not line.startswith(("---", "+++", "@@"))
    ]
    assert changed == [
        "- name: digits-v3",
        "endpoints: [http://127.0.0.1:7003]",
        "backendRefs: [{name: digits-v1, role: stable}, {name: digits-v2, role: canary}]",
        "backendRefs: [{name: digits-v2, role: stable}, {name: digits-v3, role: canary}]",
    ]


def test_the_file_is_replaced_at_once(tmp_path: Path) -> None:
    """Broken: a watcher could read half of the edit."""
    file = tmp_path / "understudy.yaml"
    settings.write(file, "one")
    held = file.open(encoding="utf-8")
    settings.write(file, "two")
    assert held.read() == "one"
    assert file.read_text(encoding="utf-8") == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["understudy.yaml"]
