"""What is wrong with a settings file: where, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

Loc = tuple[str | int, ...]
"""The way from the top of the file to a value: keys as the file spells them, and list indexes from 0."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `line` and `column` count from 1; line 0 means the file as a whole.

    >>> print(Problem("a.yaml", 3, 9, "workers", "0 is below 1", "give a whole number from 1 to 256, or auto"))
    a.yaml:3:9: workers: 0 is below 1; give a whole number from 1 to 256, or auto
    """

    source: str
    line: int
    column: int
    path: str
    message: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}:{self.column}" if self.line else self.source
        return ": ".join(part for part in (place, self.path, f"{self.message}; {self.remedy}") if part)


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem before its line is known. `on_key` points at the key rather than at its value."""

    loc: Loc
    message: str
    remedy: str
    on_key: bool = False


class ConfigError(Exception):
    """A settings file was refused. `problems` has everything that is wrong with it, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(sorted(problems, key=lambda p: (p.line, p.column, p.path)))
        super().__init__("\n".join(map(str, self.problems)))


def dotted(loc: Loc) -> str:
    """A place in the file as people write it.

    >>> dotted(("routes", 0, "strategy", "canary", "steps", 2, "setWeight"))
    'routes[0].strategy.canary.steps[2].setWeight'
    """
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return text.removeprefix(".")


def shown(value: object) -> str:
    """A value of the file inside a message: short, and told apart from the words around it.

    >>> shown("10 min"), shown(True), shown(None), shown(2.5), shown({"a": 1})
    ('"10 min"', 'true', 'nothing', '2.5', 'a mapping')
    """
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value}"' if len(value) <= 60 else f'"{value[:57]}…"'
        case dict():
            return "a mapping"
        case tuple() | list():
            return "a list"
        case float() if 1e-12 < abs(value) < 1e15:
            return f"{Decimal(repr(value)):f}"
        case _:
            return f"{value}"
