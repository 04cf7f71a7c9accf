"""Text that is not YAML, in plain words: the messages of the parser speak of tokens and scalars."""

from __future__ import annotations

from typing import Final

import yaml

from config.values.problems import Problem

_SYNTAX: Final = (
    ("cannot start any token", "a text cannot begin with this character", "put the text in quotes"),
    (
        "mapping values are not allowed",
        "a second ': ' in one value, or a line that is indented too far",
        "put the text in quotes, or indent the line like those beside it",
    ),
    ("could not find expected ':'", "a key without its ':'", "write `key: value`; after the colon comes a space"),
    ("could not found expected ':'", "a key without its ':'", "write `key: value`; after the colon comes a space"),
    (
        "did not find expected ',' or",
        "a bracket is not closed, or a comma is missing",
        "close it, and put commas between the parts",
    ),
    ("expected ',' or", "a bracket is not closed, or a comma is missing", "close it, and put commas between the parts"),
    ("end of stream", "a quote is not closed", "close it"),
    ("undefined alias", "an alias (*name) before its anchor (&name)", "write the anchor first, or the value itself"),
    ("expected a single document", "a second document (---)", "keep one document in the file"),
    ("but found another document", "a second document (---)", "keep one document in the file"),
    ("duplicate anchor", "an anchor (&name) is given twice", "give each anchor a name of its own"),
    ("escape", "an unknown escape after a backslash", "write \\\\ for a backslash, or use single quotes"),
    ("expected key", "a line that does not fit those around it", "indent it like the lines that it belongs to"),
    ("block end", "a line that does not fit those around it", "indent it like the lines that it belongs to"),
    (
        "expected '-' indicator",
        "a line that does not fit the list around it",
        "begin it with `- `, or indent it like the lines that it belongs to",
    ),
)


def odd_character(text: str, at: int, source: str) -> Problem:
    """A character outside of what YAML may hold."""
    line = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    what = f"a character that no settings file may have (U+{ord(text[at]):04X})"
    return Problem(source, line, column, "", what, "delete it; it may have come with a copy from elsewhere")


def not_yaml(error: yaml.YAMLError, text: str, source: str) -> Problem:
    """What PyYAML or libyaml refused, at its place."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    said = str(getattr(error, "problem", None) or error).split("\n")[0]
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    lines = text.split("\n")
    here = lines[line - 1][column - 1 : column] if line <= len(lines) else ""
    message, remedy = f"not valid YAML: {said}", "correct the line, or the one before it"
    if here == "\t":
        message, remedy = "a tab, where YAML allows only spaces", "indent with spaces"
    else:
        for part, plain, cure in _SYNTAX:
            if part in said:
                message, remedy = plain, cure
                break
    begun = getattr(error, "context_mark", None)
    if begun is not None and begun.line + 1 != line:
        what = "it was opened" if "is not closed" in message else "what it belongs to begins"
        remedy += f" ({what} in line {begun.line + 1})"
    return Problem(source, line, column, "", message, remedy)
