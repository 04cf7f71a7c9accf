"""Text and tables in Markdown. What comes from outside is escaped: it is shown, never interpreted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

_ESCAPES: Final = str.maketrans({c: f"\\{c}" for c in "\\`*|[]"} | {"<": "&lt;", "&": "&amp;", "\n": " ", "\r": " "})


def safe(text: Any) -> str:
    """A text as it is, whatever is in it."""
    return str(text).translate(_ESCAPES)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Iterable[int] = ()) -> list[str]:
    """A table; columns of numbers are set flush right."""
    right = set(numbers)
    rule = ["---:" if column in right else "---" for column in range(len(head))]
    return ["| " + " | ".join(line) + " |" for line in (head, rule, *rows)]
