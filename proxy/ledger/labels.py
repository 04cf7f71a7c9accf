"""Texts of labels, as a worker tells them: counts have numbers, and these are what the numbers mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from proxy.ledger.layout import (
    LABEL_BYTES,
    OTHER,
    T_COUNT,
    T_TENANT,
    TABLE_HEAD,
    texts,
)

_REMEMBERED: Final = 1024
"""Labels of which a worker remembers what is written in their place; what comes beyond is made anew each time."""
_REMEMBERED_CHARACTERS: Final = 256


class LabelTable:
    """Texts of one output's labels, numbered in the order they are first seen.

    `disguise` makes of a label what is written in its place; None writes the label. What it makes is all that leaves
    the worker, and labels that it makes alike are one label.
    """

    __slots__ = ("_base", "_bytes", "_cells", "_disguise", "_full", "_slots", "_written", "tenant")

    def __init__(
        self,
        cells: memoryview[float],
        raw: memoryview[int],
        base: int,
        tenant: int,
        disguise: Callable[[str], str] | None = None,
    ) -> None:
        self._cells, self._bytes, self._base = cells, raw, base
        self._full = OTHER
        self._disguise = disguise
        self.tenant = tenant
        if cells[base + T_TENANT] != tenant:
            cells[base + T_COUNT] = 0
            first = (base + TABLE_HEAD) * 8
            raw[first : first + OTHER * LABEL_BYTES] = bytes(OTHER * LABEL_BYTES)  # what another wrote is nobody's now
            cells[base + T_TENANT] = tenant
        self._written = {text: slot for slot, text in enumerate(texts(cells, raw, base))}
        self._slots: dict[str, int] = self._written if disguise is None else {}

    def slot(self, text: str) -> int:
        """The slot of a label: its own while there is room (63), else OTHER. Texts are cut at 62 bytes of UTF-8."""
        slot = self._slots.get(text)
        if slot is not None:
            return slot
        return self._add(text) if self._disguise is None else self._disguised(text, self._disguise)

    def close(self) -> None:
        """Take no more labels: the table is lent to another tenant."""
        self._full = 0

    def _disguised(self, text: str, disguise: Callable[[str], str]) -> int:
        slot = self._add(disguise(text))
        if slot != OTHER and len(self._slots) < _REMEMBERED and len(text) <= _REMEMBERED_CHARACTERS:
            self._slots[text] = slot
        return slot

    def _add(self, text: str) -> int:
        short = text.encode("utf-8", "replace")[: LABEL_BYTES - 2].decode("utf-8", "ignore")
        known = self._written.get(short)
        count = int(self._cells[self._base + T_COUNT])
        if known is not None or count >= self._full:
            return OTHER if known is None else known
        raw = short.encode()
        at = (self._base + TABLE_HEAD) * 8 + count * LABEL_BYTES
        self._bytes[at : at + 1 + len(raw)] = bytes((len(raw),)) + raw
        self._cells[self._base + T_COUNT] = count + 1
        self._written[short] = count
        return count
