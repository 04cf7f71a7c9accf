"""What is to become of some values of a text, and the text after that.

An alias in the way is written out where it stands, for the edit is meant for this place alone. What cannot be cut out
without harm to another place is refused, with the lines and the remedy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from config.editing.cutting import CannotCutError, Entry, Marks, Piece, cut_block, cut_flow, pasted
from config.editing.flow import in_flow
from config.editing.nodes import Node, root_of
from config.values.problems import Loc, dotted


class SharedError(CannotCutError):
    """The edit would change what an alias elsewhere stands for, or leave it without; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Edits:
    """What is to become of some values: those in `gone` are taken out, and those in `put` get another text.

    No place is within another. `put` is for scalars.
    """

    gone: frozenset[Loc] = frozenset()
    put: tuple[tuple[Loc, str], ...] = ()

    @property
    def places(self) -> tuple[Loc, ...]:
        """All places that change."""
        return (*sorted(self.gone, key=str), *(loc for loc, _ in self.put))

    def under(self, top: Loc) -> Edits:
        """Those within a value, as seen from there."""
        size = len(top)
        gone = frozenset(loc[size:] for loc in self.gone if loc[:size] == top)
        return Edits(gone, tuple((loc[size:], text) for loc, text in self.put if loc[:size] == top))

    def applied(self, value: Any) -> Any:
        """The value that a text has after these edits, from the one that it has before."""
        if not self.gone and not self.put:
            return value
        if () in dict(self.put):
            return dict(self.put)[()]
        if isinstance(value, Mapping):
            return {key: self.under((key,)).applied(item) for key, item in value.items() if (key,) not in self.gone}
        if isinstance(value, Sequence) and not isinstance(value, str):
            kept = ((place, item) for place, item in enumerate(value) if (place,) not in self.gone)
            return tuple(self.under((place,)).applied(item) for place, item in kept)
        return value


def edited(text: str, data: Any, edits: Edits) -> str:
    """The text after these edits; `data` is what the text means.

    Raises:
        SharedError: another place would change too.
        CannotCutError: something else stands on the line of what is to go, or nothing would be left beside it.
    """
    bom = text[: text.startswith("\ufeff")]
    marks = Marks(text[len(bom) :])
    root = root_of(marks.text)
    aliases = {top for loc in edits.places if (top := _alias_above(root, loc)) is not None}
    _check_shared(marks, root, (*aliases, *(loc for loc in edits.places if not _within(loc, aliases))), edits)
    gone = frozenset(loc for loc in edits.gone if not _within(loc, aliases))
    _check_anchors(marks, root, gone, aliases)
    pieces = [_written_out(root, top, data, edits) for top in sorted(aliases, key=str)]
    pieces += [_replaced(marks, root.at(loc), word) for loc, word in edits.put if not _within(loc, aliases)]
    for parent in sorted({loc[:-1] for loc in gone}, key=str):
        pieces += _taken_out(marks, root.at(parent), {loc[-1] for loc in gone if loc[:-1] == parent})
    return bom + pasted(marks.text, pieces)


def _within(loc: Loc, tops: Collection[Loc]) -> bool:
    return any(loc[: len(top)] == top for top in tops)


def _alias_above(root: Node, loc: Loc) -> Loc | None:
    """The alias that stands between the top of the text and a place."""
    return next((loc[:size] for size in range(len(loc)) if root.at(loc[:size]).alias), None)


def _written_out(root: Node, top: Loc, data: Any, edits: Edits) -> Piece:
    value = data
    for part in top:
        value = value[part]
    node = root.at(top)
    return Piece(node.start, node.end, in_flow(edits.under(top).applied(value)))


def _replaced(marks: Marks, node: Node, word: str) -> Piece:
    was = marks.text[node.start : node.end]
    quote = was[0] if was[:1] in ("'", '"') else ""
    return Piece(node.start, node.end, f"{quote}{word}{quote}")


def _taken_out(marks: Marks, parent: Node, gone: Collection[str | int]) -> Iterator[Piece]:
    if parent.kind == "mapping":
        entries = [Entry(key.start, value.end, key.value in gone) for key, value in parent.pairs()]
    elif parent.flow:
        entries = [Entry(item.start, item.end, place in gone) for place, item in enumerate(parent.parts)]
    else:
        entries = [
            Entry(marks.dash_before(item.start), item.end, place in gone) for place, item in enumerate(parent.parts)
        ]
    return cut_flow(marks, entries, parent.end) if parent.flow else cut_block(marks, entries)


def _check_shared(marks: Marks, root: Node, places: Iterable[Loc], edits: Edits) -> None:
    """Refuse to change what an alias elsewhere stands for."""
    uses = {node.alias: (place, node) for place, node in root.walk() if node.alias}
    for top in dict.fromkeys(loc[:size] for loc in places for size in range(len(loc) + (loc not in edits.gone))):
        node = root.at(top)
        if node.anchor in uses:
            other, alias = uses[node.anchor]
            raise SharedError(
                f"{dotted(top)} in line {marks.line(node.start)} is shared: {dotted(other)} in line "
                f"{marks.line(alias.start)} is its alias *{node.anchor}, and would change with it; "
                f"{_remedy(marks, alias)}"
            )


def _check_anchors(marks: Marks, root: Node, gone: Collection[Loc], aliases: Collection[Loc]) -> None:
    """Refuse to take out what an alias that stays stands for."""
    leaving = {node.anchor: (loc, node) for loc, node in root.walk() if node.anchor and _within(loc, gone)}
    for loc, node in root.walk():
        if node.alias in leaving and not _within(loc, gone) and loc not in aliases:
            was, anchored = leaving[node.alias]
            raise SharedError(
                f"{dotted(was)} in line {marks.line(anchored.start)} would go, and {dotted(loc)} in line "
                f"{marks.line(node.start)} is its alias *{node.alias}; {_remedy(marks, node)}"
            )


def _remedy(marks: Marks, alias: Node) -> str:
    line = marks.line(alias.start)
    return f"write in line {line}, in place of *{alias.alias}, what it stands for, and then try again"
