"""The nodes of a YAML text with their places in it: what the loader reads, before it is values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import yaml

from config.values.problems import Loc

LOADER: Final[Any] = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
"""The parser of `config.document`: another might take the same text for something else."""


@dataclass(slots=True)
class Node:
    """A value, or an alias of one. `start` and `end` are indexes into the text; comments and blank lines that follow
    are no part of it. `parts` are items, or of a mapping keys and values by turns."""

    kind: Literal["scalar", "sequence", "mapping", "alias"]
    start: int
    end: int
    anchor: str = ""
    alias: str = ""
    value: str = ""
    flow: bool = False
    parts: list[Node] = field(default_factory=list)

    def pairs(self) -> list[tuple[Node, Node]]:
        """Keys and values of a mapping."""
        return list(zip(self.parts[::2], self.parts[1::2], strict=True))

    def at(self, loc: Loc) -> Node:
        """The node at a place; an alias ends the way.

        Raises:
            KeyError: there is none.
        """
        node = self
        for part in loc:
            node = node.child(part)
        return node

    def child(self, part: str | int) -> Node:
        """The value of a key, or an item."""
        if isinstance(part, int):
            return self.parts[part]
        return {key.value: value for key, value in self.pairs()}[part]

    def walk(self, loc: Loc = ()) -> Iterator[tuple[Loc, Node]]:
        """All values below, with their places; the one above them first."""
        yield loc, self
        children = self.pairs() if self.kind == "mapping" else enumerate(self.parts)
        for key, value in children:
            yield from value.walk((*loc, key.value if isinstance(key, Node) else key))


def root_of(text: str) -> Node:
    """The top of a text, which `config.document` has read without a problem."""
    events = iter(yaml.parse(text, Loader=LOADER))
    return next(_node(event, events, text) for event in events if isinstance(event, yaml.NodeEvent))


def _node(event: yaml.Event, events: Iterator[yaml.Event], text: str) -> Node:
    start, end = event.start_mark, event.end_mark
    if not (isinstance(event, yaml.NodeEvent) and start and end):
        raise TypeError(f"no value begins with {event}")
    anchor = event.anchor or ""
    if isinstance(event, yaml.AliasEvent):
        return Node("alias", start.index, end.index, alias=anchor)
    if isinstance(event, yaml.CollectionStartEvent):
        kind: Literal["mapping", "sequence"] = "mapping" if isinstance(event, yaml.MappingStartEvent) else "sequence"
        return _filled(Node(kind, start.index, end.index, anchor, flow=bool(event.flow_style)), events, text)
    assert isinstance(event, yaml.ScalarEvent)
    over = end.index
    if event.style in ("|", ">"):  # the mark is that of what follows
        over = max(start.index + 1, len(text[:over].rstrip()))
    return Node("scalar", start.index, over, anchor, value=event.value)


def _filled(node: Node, events: Iterator[yaml.Event], text: str) -> Node:
    """A collection with all that it holds."""
    for event in events:
        if isinstance(event, yaml.CollectionEndEvent):
            node.end = event.end_mark.index if node.flow and event.end_mark else node.parts[-1].end
            break
        node.parts.append(_node(event, events, text))
    return node
