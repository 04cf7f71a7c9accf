"""Texts of labels, as a worker tells them: counts have numbers, and these are what the numbers mean."""

from __future__ import annotations

from proxy.ledger.layout import (
    LABEL_BYTES,
    OTHER,
    T_COUNT,
    T_TENANT,
    TABLE_HEAD,
    texts,
)


class LabelTable:
    """Texts of one output's labels, numbered in the order they are first seen."""

    __slots__ = ("_base", "_bytes", "_cells", "_full", "_slots", "tenant")

    def __init__(self, cells: memoryview[float], raw: memoryview[int], base: int, tenant: int) -> None:
        self._cells, self._bytes, self._base = cells, raw, base
        self._full = OTHER
        self.tenant = tenant
        if cells[base + T_TENANT] != tenant:
            cells[base + T_COUNT] = 0
            cells[base + T_TENANT] = tenant
        self._slots = {text: slot for slot, text in enumerate(texts(cells, raw, base))}

    def slot(self, text: str) -> int:
        """The slot of a label: its own while there is room (63), else OTHER. Texts are cut at 62 bytes of UTF-8."""
        slot = self._slots.get(text)
        return slot if slot is not None else self._add(text)

    def close(self) -> None:
        """Take no more labels: the table is lent to another tenant."""
        self._full = 0

    def _add(self, text: str) -> int:
        short = text.encode("utf-8", "replace")[: LABEL_BYTES - 2].decode("utf-8", "ignore")
        known = self._slots.get(short)
        count = int(self._cells[self._base + T_COUNT])
        if known is not None or count >= self._full:
            return OTHER if known is None else known
        raw = short.encode()
        at = (self._base + TABLE_HEAD) * 8 + count * LABEL_BYTES
        self._bytes[at : at + 1 + len(raw)] = bytes((len(raw),)) + raw
        self._cells[self._base + T_COUNT] = count + 1
        self._slots[short] = count
        return count
