"""How a value leaves the collection that it is in: which characters go with it.

With it go the comment that ends its last line, the comment lines directly above it at its indentation, and those below
it that are indented as its content is. All other comments stay, and so do blank lines.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import yaml

from config.editing.nodes import LOADER

_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_REST: Final = re.compile("[ \t]*(?:#[^\n\r\x85\u2028\u2029]*)?")
"""What may follow a value on its last line and belongs to it."""
_COMMENT: Final = re.compile("([ \t]*)#")
_NO_CONTENT: Final = (
    yaml.StreamStartToken,
    yaml.StreamEndToken,
    yaml.BlockMappingStartToken,
    yaml.BlockSequenceStartToken,
    yaml.BlockEndToken,
    yaml.KeyToken,
)
"""Tokens without a character of their own, at the place of the next one."""


class CannotCutError(Exception):
    """The text is written so that the value cannot be cut out; the message says where."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Characters that are replaced."""

    start: int
    end: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A member of a collection, from its key or its dash to the end of its value, and whether it goes."""

    start: int
    end: int
    gone: bool


class Marks:
    """Where lines, commas, dashes and all content of a text are. Places are indexes into the text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._lines = [0, *(found.end() for found in _BREAK.finditer(text))]
        self._dashes: list[int] = []
        self._commas: list[int] = []
        self._ends = [0]
        self._blocks: set[int] = set()
        for token in yaml.scan(text, Loader=LOADER):
            if isinstance(token, _NO_CONTENT):
                continue
            self._ends.append(token.end_mark.index)
            if isinstance(token, yaml.ScalarToken) and token.style in ("|", ">"):
                self._blocks.add(token.end_mark.index)
            elif isinstance(token, yaml.BlockEntryToken):
                self._dashes.append(token.start_mark.index)
            elif isinstance(token, yaml.FlowEntryToken):
                self._commas.append(token.start_mark.index)

    def line(self, at: int) -> int:
        """The line of a character, as people count: from 1."""
        return bisect.bisect_right(self._lines, at)

    def line_start(self, at: int) -> int:
        """Where the line of a character begins."""
        return self._lines[self.line(at) - 1]

    def begins_line(self, at: int) -> bool:
        """Whether only spaces stand before a character."""
        return not self.text[self.line_start(at) : at].strip(" ")

    def before_blanks(self, at: int) -> int:
        """Where the spaces begin that stand before a place."""
        return self.line_start(at) + len(self.text[self.line_start(at) : at].rstrip(" \t"))

    def has_lines(self, start: int, end: int) -> bool:
        """Whether nothing else is on the lines from one place to another."""
        return self.begins_line(start) and self.after_break(end) is not None

    def dash_before(self, at: int) -> int:
        """The dash of an item."""
        return self._dashes[bisect.bisect_left(self._dashes, at) - 1]

    def comma(self, start: int, end: int) -> int | None:
        """The first comma between two places of a flow collection."""
        place = bisect.bisect_left(self._commas, start)
        return self._commas[place] if place < len(self._commas) and self._commas[place] < end else None

    def rest_of_line(self, at: int) -> int:
        """Where blanks and a comment end that follow a place."""
        found = _REST.match(self.text, at)
        return found.end() if found else at

    def after_break(self, at: int) -> int | None:
        """Where the next line begins, if the place is the end of one, or of the text."""
        if at == len(self.text):
            return at
        found = _BREAK.match(self.text, at)
        return found.end() if found else None

    def comments_above(self, at: int) -> int:
        """Where the comment lines begin that are directly above a value that begins its line, at its indentation; the
        begin of its line, where there are none."""
        line = self.line(at) - 1
        column = at - self._lines[line]
        content = self._ends[bisect.bisect_right(self._ends, self._lines[line]) - 1]
        while line and self._lines[line - 1] >= content and self._comment_column(self._lines[line - 1]) == column:
            line -= 1
        return self._lines[line]

    def follows_block(self, at: int) -> bool:
        """Whether the last content before a place is a block scalar, which takes blanks that come to stand below it."""
        return self._ends[bisect.bisect_right(self._ends, at) - 1] in self._blocks

    def comments_within(self, at: int, column: int, *, blanks: bool = False) -> int:
        """Where the comment lines end that follow the line which begins at `at`, and are indented by more than
        `column`; with `blanks`, also the lines that have nothing but spaces."""
        end = at
        while at < len(self.text):
            found = self._comment_column(at)
            over = self.after_break(self.rest_of_line(at))
            if over is None or (found is not None and found <= column):
                break
            end = over if found is not None or (blanks and self.text[at] == " ") else end
            at = over
        return end

    def _comment_column(self, start: int) -> int | None:
        """How far a comment line is indented, -1 with tabs; None for other lines."""
        found = _COMMENT.match(self.text, start)
        if found is None:
            return None
        return -1 if "\t" in found.group(1) else len(found.group(1))


def cut_block(marks: Marks, entries: Sequence[Entry]) -> Iterator[Piece]:
    """What goes with the entries of a block collection that go; one at least stays."""
    if all(entry.gone for entry in entries):
        raise CannotCutError(f"line {marks.line(entries[0].start)}: nothing would be left")
    first = 0
    if entries[0].gone and not marks.begins_line(entries[0].start):
        first = next(place for place, entry in enumerate(entries) if not entry.gone)
        yield from _cut_beside_dash(marks, entries, first)
    for entry in entries[first:]:
        if entry.gone:
            yield _cut_lines(marks, entry)


def _cut_lines(marks: Marks, entry: Entry) -> Piece:
    over = marks.after_break(marks.rest_of_line(entry.end))
    if over is None or not marks.begins_line(entry.start):
        raise CannotCutError(f"line {marks.line(entry.start)}: something else stands on the same line")
    column = entry.start - marks.line_start(entry.start)
    start = marks.comments_above(entry.start)
    return Piece(start, marks.comments_within(over, column, blanks=marks.follows_block(start)))


def _cut_beside_dash(marks: Marks, entries: Sequence[Entry], kept: int) -> Iterator[Piece]:
    """The first keys of a mapping that begins on the line of its dash: the next key takes their place, or, where
    comments of it are between, stays where it is."""
    start = entries[0].start
    rest = marks.rest_of_line(entries[0].end)
    over = marks.after_break(rest)
    if over is None:
        raise CannotCutError(f"line {marks.line(start)}: something else stands on the same line")
    column = start - marks.line_start(start)
    pieces = [Piece(marks.before_blanks(start), rest), Piece(over, marks.comments_within(over, column))]
    pieces += [_cut_lines(marks, entry) for entry in entries[1:kept]]
    following = entries[kept].start
    between = [Piece(piece.start - rest, piece.end - rest) for piece in pieces[1:]]
    if pasted(marks.text[rest:following], between).strip():
        yield from pieces
    else:
        yield Piece(start, following)


def cut_flow(marks: Marks, entries: Sequence[Entry], end: int) -> Iterator[Piece]:
    """What goes with the entries of a flow collection that go: each run of them, and one comma."""
    place = 0
    while place < len(entries):
        if not entries[place].gone:
            place += 1
            continue
        over = next((n for n in range(place, len(entries)) if not entries[n].gone), len(entries))
        run = Entry(entries[place].start, entries[over - 1].end, gone=True)
        if over < len(entries):
            yield from _cut_before(marks, run, entries[over].start)
        else:
            yield from _cut_last(marks, run, entries[place - 1].end if place else None, end - 1)
        place = over


def _cut_before(marks: Marks, run: Entry, following: int) -> Iterator[Piece]:
    """Entries that others follow: the next one takes their place, unless comments of it are between."""
    comma = marks.comma(run.end, following)
    if comma is None:
        raise CannotCutError(f"line {marks.line(run.end)}: no comma follows")
    rest = marks.rest_of_line(comma + 1)
    if marks.text[rest:following].strip():
        yield _own_lines(marks, run.start, rest)
        return
    if marks.begins_line(run.start):
        yield Piece(marks.comments_above(run.start), marks.line_start(run.start))
    yield Piece(run.start, following)


def _cut_last(marks: Marks, run: Entry, before: int | None, bracket: int) -> Iterator[Piece]:
    """Entries that nothing follows: the comma before them goes too, unless there is one after them."""
    trailing = marks.comma(run.end, bracket)
    over = run.end if trailing is None else trailing + 1
    rest = marks.rest_of_line(over)
    over = over if marks.after_break(rest) is None else rest
    comma = None if before is None else marks.comma(before, run.start)
    if comma is None:
        yield _own_lines(marks, run.start, over)
    elif not marks.text[comma + 1 : run.start].strip() and not marks.has_lines(run.start, over):
        yield Piece(comma if trailing is None else comma + 1, over)
    else:
        if trailing is None:
            yield Piece(comma, comma + 1)
        yield _own_lines(marks, run.start, over)


def _own_lines(marks: Marks, start: int, end: int) -> Piece:
    """From a place to another, and the lines as a whole where nothing else is on them."""
    if not marks.begins_line(start):
        return Piece(marks.before_blanks(start), end)
    above = marks.comments_above(start)
    over = marks.after_break(end)
    return Piece(above + (start - marks.line_start(start)), end) if over is None else Piece(above, over)


def pasted(text: str, pieces: Iterable[Piece]) -> str:
    """The text with these pieces replaced; none overlaps another."""
    parts: list[str] = []
    at = 0
    for piece in sorted(pieces, key=lambda piece: (piece.start, piece.end)):
        if piece.start < at:
            raise CannotCutError(f"line {text.count(chr(10), 0, piece.start) + 1}: two edits meet here")
        parts += [text[at : piece.start], piece.text]
        at = piece.end
    return "".join([*parts, text[at:]])
