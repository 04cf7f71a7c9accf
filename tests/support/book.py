"""A ledger of one worker, with its reader."""

from __future__ import annotations

import os

from proxy.ledger.layout import create
from proxy.ledger.reader import Reader
from proxy.ledger.row import Row
from proxy.ledger.writer import Writer


class Book:
    """`writer` writes row 0 for tenant 7 as `row`; `restart` puts a new worker in the place of a dead one."""

    def __init__(self, outputs: int = 2) -> None:
        self.fd = create(2, 3, 2)
        self.outputs = outputs
        self.reader = Reader(self.fd)
        self.restart()

    def restart(self) -> None:
        self.writer = Writer(self.fd, 0)
        self.row: Row = self.writer.occupy(0, 7, self.outputs)

    def close(self) -> None:
        os.close(self.fd)
