"""The configuration file after a promotion."""

from __future__ import annotations

import difflib

import pytest

from config.loader import loads
from config.promoted import CannotEditError, promoted
from config.reference import EXAMPLES

CANARY = (EXAMPLES / "canary.yaml").read_text("utf-8")


def test_the_candidate_is_stable_and_nothing_else_changes():
    """Broken: the file says something else than what is live, or has lost its comments and its order."""
    edited = promoted(CANARY, "fraud", "fraud-v2")
    route = loads(edited, "f").config.routes[0]
    assert [(ref.name, ref.role) for ref in route.backend_refs] == [("fraud-v2", "stable")]
    assert route.strategy is None
    lines = [line for line in difflib.ndiff(CANARY.splitlines(), edited.splitlines()) if line[0] in "+-"]
    added = [line for line in lines if line[0] == "+"]
    assert added == ["+       - {name: fraud-v2, role: stable}"]
    removed = {line[2:].strip() for line in lines if line[0] == "-"}
    start = CANARY.index("    strategy:")
    strategy = {line.strip() for line in CANARY[start : CANARY.index("    analysis:\n      minDuration")].splitlines()}
    assert removed == strategy | {"- {name: fraud-v1, role: stable}", "- {name: fraud-v2, role: canary}"}


def test_a_file_that_says_so_already_stays_as_it_is():
    """Broken: each promotion rewrites the file once more."""
    edited = promoted(CANARY, "fraud", "fraud-v2")
    assert promoted(edited, "fraud", "fraud-v2") == edited


def test_lists_that_are_not_indented_stay_so():
    """Broken: the difference of an edit is the whole file."""
    text = "\n".join(line[2:] if line.startswith("  ") else line for line in CANARY.splitlines()) + "\n"
    edited = promoted(text, "fraud", "fraud-v2")
    assert "\n- name: fraud\n" in edited
    kept = [line for line in difflib.ndiff(text.splitlines(), edited.splitlines()) if line.startswith("+")]
    assert len(kept) == 1


@pytest.mark.parametrize(("route", "candidate", "said"), [("frod", "fraud-v2", "route"), ("fraud", "v9", "version")])
def test_what_is_not_in_the_file_is_named(route, candidate, said):
    """Broken: a file that has gone on meanwhile is edited into something else."""
    with pytest.raises(CannotEditError, match=said):
        promoted(CANARY, route, candidate)


def test_how_a_bake_is_copied_leaves_with_the_old_version():
    """Broken: what said how copies for the old version are made becomes a mirror of all traffic to it."""
    text = (EXAMPLES / "blue-green.yaml").read_text("utf-8")
    entries = "".join(f"      - {{backend: {name}, methods: [POST]}}\n" for name in ("fraud-blue", "fraud-green"))
    mirrors = f"    mirrors:\n{entries}"
    edited = promoted(text.replace("    predictions:\n", f"{mirrors}    predictions:\n"), "fraud", "fraud-green")
    route = loads(edited, "f").config.routes[0]
    assert ([ref.name for ref in route.backend_refs], route.mirrors) == (["fraud-green"], ())
