"""YAML text to values, with the place of every key and value remembered.

Scalars follow the core schema of YAML 1.2: `yes`, `on`, `1:30` and dates are text. Text that could surprise is refused
rather than resolved: duplicate keys, tags, merge keys, a second document. Aliases are allowed within bounds, so that no
file can ask for more memory than a person would write.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from config.syntax import not_yaml, odd_character
from config.values.problems import ConfigError, Loc, Problem, dotted

MAX_BYTES: Final = 4 << 20
MAX_DEPTH: Final = 40
"""Levels of nesting; the schema itself has 12."""
MAX_VALUES: Final = 100_000
"""Values after aliases were followed: a thousand routes have about fifty thousand."""
_TAG: Final = "tag:yaml.org,2002:"
_PRINTABLE: Final = re.compile("[^\x09\x0a\x0d\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


class _Loader(yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader):  # type: ignore[misc]  # either will do
    """PyYAML with the scalars of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # the parent's attribute, emptied for this class


for _kind, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
):
    _Loader.add_implicit_resolver(
        f"{_TAG}{_kind}",
        re.compile(f"^(?:{_pattern})$"),
        [*_first.replace("\0", ""), ""] if "\0" in _first else list(_first),
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: line and column (from 1) of its key and of itself, and of what follows it; a scalar as it
    was written."""

    key: tuple[int, int]
    value: tuple[int, int]
    text: str | None
    end: tuple[int, int] = (1, 1)


@dataclass(slots=True)
class Document:
    """The values of a file, their places, and what is wrong with it as YAML."""

    source: str
    data: object = None
    places: dict[Loc, Place] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def place(self, loc: Loc) -> Place:
        """The place of a value, or of the nearest thing around it that is in the file."""
        while loc and loc not in self.places:
            loc = loc[:-1]
        return self.places.get(loc, Place((1, 1), (1, 1), None))

    def problem(self, loc: Loc, message: str, remedy: str, *, on_key: bool = False) -> Problem:
        """A problem at a value, or at its key."""
        place = self.place(loc)
        line, column = place.key if on_key or loc not in self.places else place.value
        return Problem(self.source, line, column, dotted(loc), message, remedy)


def read(text: str, source: str) -> Document:
    """The values of a text.

    Raises:
        ConfigError: the text is not YAML, or more than the bounds allow. Lesser problems are left in the document.
    """
    odd = _PRINTABLE.search(text)
    if odd:
        raise ConfigError([odd_character(text, odd.start(), source)])
    try:
        _check_depth(text, source)
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        raise ConfigError([not_yaml(error, text, source)]) from error
    document = Document(source)
    if node is None:
        return document
    document.data = _Walk(document).value(node, (), _mark(node))
    return document


class _Walk:
    """One pass over the nodes of a document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._values = 0

    def value(self, node: yaml.Node, loc: Loc, key: tuple[int, int]) -> object:
        """The value of a node; its place, and those of all that it holds, are remembered."""
        self._values += 1
        text = node.value if isinstance(node, yaml.ScalarNode) else None
        self._document.places[loc] = Place(key, _mark(node), text, _end(node))
        if self._values > MAX_VALUES or len(loc) > MAX_DEPTH:
            remedy = "write it without aliases (`*name`) that repeat or contain themselves"
            problem = self._document.problem(loc[:8], "the file grows beyond all bounds here", remedy)
            raise ConfigError([problem])
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, loc)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return tuple(self.value(item, (*loc, index), _mark(item)) for index, item in enumerate(node.value))
        if isinstance(node, yaml.ScalarNode):
            try:
                return _scalar(node)
            except ValueError:
                pass
        self._say(loc, f"the tag {node.tag.replace(_TAG, '!!')} is not supported here", "take the tag away")
        return None

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> dict[str, object]:
        found: dict[str, object] = {}
        for key, item in node.value:
            name, mark = self._key(key), _mark(key)
            if name is None:
                remedy = (
                    f'put it in quotes: "{key.value}"'
                    if isinstance(key, yaml.ScalarNode)
                    else "write a text as the key"
                )
                self._say_at(mark, loc, "a key is not a text", remedy)
            elif name == "<<":
                self._say_at(
                    mark, loc, "merge keys (<<) are not supported", "write the keys out; aliases of whole values work"
                )
            elif name in found:
                line = self._document.places[(*loc, name)].key[0]
                remedy = f"keep one of them: the other is in line {line}"
                self._say_at(mark, (*loc, name), "is given twice", remedy)
            else:
                found[name] = self.value(item, (*loc, name), mark)
        return found

    def _key(self, key: yaml.Node) -> str | None:
        try:
            name = _scalar(key) if isinstance(key, yaml.ScalarNode) else None
        except ValueError:
            return None
        return name if isinstance(name, str) else None

    def _say(self, loc: Loc, message: str, remedy: str) -> None:
        self._document.problems.append(self._document.problem(loc, message, remedy))

    def _say_at(self, mark: tuple[int, int], loc: Loc, message: str, remedy: str) -> None:
        self._document.problems.append(Problem(self._document.source, *mark, dotted(loc), message, remedy))


def _scalar(node: yaml.ScalarNode) -> object:
    text: str = node.value
    match node.tag.removeprefix(_TAG):
        case "str" | "!":
            return text
        case "null":
            return None
        case "bool" if text.lower() in ("true", "false"):
            return text.lower() == "true"
        case "int":
            # More digits than any setting has: a float keeps the size, and int() refuses them above 4300.
            return int(text, 0 if text[:2] in ("0o", "0x") else 10) if len(text) <= 300 else float("inf")
        case "float":
            return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    raise ValueError(f"no scalar of this schema: {node.tag}")


def _mark(node: yaml.Node | yaml.Event) -> tuple[int, int]:
    mark = node.start_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _end(node: yaml.Node) -> tuple[int, int]:
    mark = node.end_mark
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _check_depth(text: str, source: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                line, column = _mark(event)
                remedy = "close the brackets of this line, or indent less"
                problem = Problem(source, line, column, "", f"more than {MAX_DEPTH} levels deep", remedy)
                raise ConfigError([problem])
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
