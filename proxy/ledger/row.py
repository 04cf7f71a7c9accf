"""A worker's hold on a row of its slab."""

from __future__ import annotations

from typing import Final

from proxy.ledger.layout import L_OUTPUTS, LANE_CELLS, LANES, OUTPUT_CELLS, R_LANES, R_USERS


class Row:
    """A worker's hold on one row. `live` ends when the row is lent to another tenant."""

    __slots__ = ("base", "grouped", "index", "lane_bases", "lane_cells", "live", "tenant", "users")

    def __init__(self, index: int, tenant: int, base: int, outputs: int) -> None:
        self.index = index
        self.tenant = tenant
        self.base = base
        self.lane_bases = tuple(base + R_LANES + lane * LANE_CELLS for lane in range(LANES))
        self.lane_cells = L_OUTPUTS + outputs * OUTPUT_CELLS
        self.users = (base + R_USERS) * 8
        self.live = index >= 0
        self.grouped = False
        """Whether the mark is set by which cells of groups are cleared and read."""


NOWHERE: Final = Row(-1, 0, 0, 0)
"""The hold on no row: what is written there is dropped."""
