"""docs/THREAT_MODEL.md names tests that there are."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_test_that_is_named_exists():
    """Broken: an answer to a threat is held by nothing, and the document says otherwise."""
    text = (ROOT / "docs" / "THREAT_MODEL.md").read_text("utf-8")
    named = set(re.findall(r"`(test_\w+)`", text))
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    known = set(re.findall(r"^(?:async )?def (test_\w+)", sources, re.M))
    assert len(named) > 40
    assert sorted(named - known) == []


def test_every_threat_has_an_answer_and_a_test():
    """Broken: a threat is listed and forgotten."""
    text = (ROOT / "docs" / "THREAT_MODEL.md").read_text("utf-8")
    for part in text.split("\n## ")[2:-1]:
        rows = [line for line in part.splitlines() if line.startswith("| ")][1:]
        assert rows
        assert all(len(row.split(" | ")) == 3 and "`test_" in row for row in rows), part
