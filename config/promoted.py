"""The configuration file after a promotion, with the comments and the order that people gave it.

The candidate becomes the route's stable version; the old one, and the strategy that has done its work, leave the route.
Backends stay: whoever removes a deployment removes its backend.
"""

from __future__ import annotations

import difflib
import io
import itertools
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from config import loader
from config.values.problems import ConfigError

WIDTH = 4096
"""Lines are not folded: a file has the lines that people gave it."""


class CannotEditError(Exception):
    """The file cannot be edited so; the message says why."""


def promoted(text: str, route: str, candidate: str) -> str:
    """The text of a file in which a route's candidate is its stable version; the same text if it is so already.

    Raises:
        CannotEditError: there is no such route or version, or the result would not be valid.
    """
    yaml = YAML(typ="rt")
    yaml.preserve_quotes = True
    yaml.width = WIDTH
    offset = _offset(text.splitlines())
    yaml.indent(mapping=2, sequence=offset + 2, offset=offset)
    try:
        document = yaml.load(text)
        untouched = _dumped(yaml, document)
    except YAMLError as error:
        raise CannotEditError(f"the file cannot be edited: {error}") from error
    found = next((item for item in document.get("routes", ()) if item.get("name") == route), None)
    if found is None:
        raise CannotEditError(f"the file has no route {route!r}")
    ref = next((item for item in found["backendRefs"] if item.get("name") == candidate), None)
    if ref is None:
        raise CannotEditError(f"route {route!r} of the file has no version {candidate!r}")
    if "strategy" not in found and ref.get("role", "stable") == "stable":
        return text
    _make_stable(found, found["backendRefs"], ref)
    edited = _as_written(text, untouched, _dumped(yaml, document))
    try:
        loader.loads(edited, "the edited file")
    except ConfigError as error:
        raise CannotEditError(f"the edited file would be refused:\n{error}") from error
    return edited


def _dumped(yaml: YAML, document: Any) -> str:
    out = io.StringIO()
    yaml.dump(document, out)
    return out.getvalue()


def _as_written(text: str, untouched: str, edited: str) -> str:
    """The edited text with every line that the edit did not touch as the file has it.

    The library writes some things in its own way. Where that changes the number of lines (a flow mapping over several
    lines), its way it is.
    """
    lines, before, after = text.splitlines(True), untouched.splitlines(True), edited.splitlines(True)
    if len(lines) != len(before):
        return edited
    parts: list[str] = []
    for how, start, end, first, last in difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        parts += lines[start:end] if how == "equal" else after[first:last]
    return "".join(parts)


def _make_stable(route: Any, refs: Any, ref: Any) -> None:
    gone = {ref["name"]}  # mirrors that say how copies for these are made: of the candidate, and of stable in a bake
    for place in reversed(range(len(refs))):
        if refs[place] is not ref and refs[place].get("role", "stable") != "shadow":
            gone.add(refs[place]["name"])
            del refs[place]
    ref["role"] = "stable"
    route.pop("strategy", None)
    mirrors = route.get("mirrors", [])
    for place in reversed(range(len(mirrors))):
        if mirrors[place].get("backend") in gone:
            del mirrors[place]
    if not mirrors:
        route.pop("mirrors", None)
    metrics = route.get("analysis", {}).get("metrics")
    if metrics is not None and not metrics:
        route["analysis"].pop("metrics")


def _offset(lines: list[str]) -> int:
    """How far the file indents the dashes of a list under its key; 2 where it has none."""
    for line, following in itertools.pairwise(lines):
        opens = line.rstrip().endswith(":") and not line.lstrip().startswith(("#", "-"))
        if opens and following.lstrip().startswith("- "):
            return (len(following) - len(following.lstrip())) - (len(line) - len(line.lstrip()))
    return 2
